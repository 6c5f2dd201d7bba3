//! How commands reach a node: a small server in each node, asked over the node's management link.
//!
//! One connection is one request. The lab sends a [`Request`]; then, for a program, its standard input and signals; the
//! node answers with the program's output and at last a [`Reply`]. When the lab hangs up before that, the node kills
//! the program's whole process group.

pub mod client;
pub mod frame;
pub mod process;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// The port of the exec server, on the management address alone.
pub const PORT: u16 = 77;

/// Where programs handed in by the lab are found in a node.
pub const BINARIES: &str = "/opt/rampool/bin";

/// `PATH` of every program that the lab starts in a node.
pub const PATH: &str =
    "/opt/rampool/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where programs under test leave their logs in a node.
pub const LOGS: &str = "/var/log/rampool";

/// A program to run: what, where, with which environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables beside the usual ones (`PATH`, `HOME`, `TERM`, ...).
    pub env: BTreeMap<String, String>,
    /// The working directory; `/root` when not given.
    pub cwd: Option<String>,
}

/// What the lab asks of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Are you there? Answered by [`Reply::Hello`].
    Hello,
    /// Run a program and pass its streams. `stdin` says whether any input will come.
    Exec {
        /// The program.
        command: CommandSpec,
        /// Whether the lab sends input; without it the program reads from `/dev/null`.
        stdin: bool,
    },
    /// Start a program that outlives the connection, in a session of its own, output to `/var/log/rampool/<log>.log`.
    Daemon {
        /// The program.
        command: CommandSpec,
        /// The log's name.
        log: String,
    },
    /// Store the bytes that follow as a file, in one step (a reader sees the old file or the new one).
    Put {
        /// Where.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// Send a file's bytes.
    Get {
        /// Which.
        path: String,
    },
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The node is up, and this is its kernel's boot id.
    Hello {
        /// From `/proc/sys/kernel/random/boot_id`: another one after each boot.
        boot_id: String,
    },
    /// The program ended.
    Ended(ExitStatus),
    /// The program was started and has this process id.
    Started {
        /// The process id in the node.
        pid: u32,
    },
    /// The file was stored or sent; it has these permission bits.
    Done {
        /// The permission bits.
        mode: u32,
    },
}

/// How a program in a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it otherwise.
    pub signal: Option<i32>,
}

impl ExitStatus {
    /// Whether it ended by itself with code 0.
    #[must_use]
    pub fn success(self) -> bool {
        self.code == Some(0)
    }

    /// The code that a shell would give: the program's own, or 128 and the signal's number.
    #[must_use]
    pub fn shell_code(self) -> i32 {
        match (self.code, self.signal) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 255,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("no status"),
        }
    }
}
