//! What a keeper can be asked, over a unix socket in the lab's state folder: one JSON line there, one back.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    os::{
        fd::AsRawFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{lab::Init, names::NodeId};

/// Raised when keeper and library of different builds would not understand each other.
pub const PROTOCOL: u32 = 2;

/// The socket's name in the state folder.
const SOCKET: &str = "keeper.sock";

/// What a lab is made of. Written by its owner, read by the keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabSpec {
    /// [`PROTOCOL`] of its owner.
    pub protocol: u32,
    /// The lab's name.
    pub name: String,
    /// How many nodes it has.
    pub nodes: u8,
    /// Memory of a node, in MiB.
    pub memory_mib: u64,
    /// What runs as a node's first process.
    pub init: Init,
    /// The root image.
    pub image: PathBuf,
    /// The UML kernel.
    pub kernel: PathBuf,
    /// The folder of all UML kernels' modules.
    pub modules: PathBuf,
}

/// A request to the keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Switch a node on.
    Boot(NodeId),
    /// Take a node's power away.
    Kill(NodeId),
    /// Stop a node's processes, without its notice.
    Pause(NodeId),
    /// Let them go on.
    Resume(NodeId),
    /// Take a node's data link away.
    Cut(NodeId),
    /// Give it back.
    Heal(NodeId),
    /// How are all nodes?
    Status,
    /// End the lab.
    Shutdown,
}

/// The keeper's answer: all nodes as they are after the request, or why it was not carried out.
pub type Answer = Result<Vec<NodeStatus>, String>;

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Which node.
    pub node: NodeId,
    /// Whether it runs.
    pub power: Power,
    /// Whether its data link was taken away.
    pub cut: bool,
    /// How many times it was switched on.
    pub boots: u32,
}

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    /// It was never switched on, or its power was taken away.
    Off,
    /// It runs.
    On,
    /// Its processes are stopped.
    Paused,
    /// Its kernel ended by itself (halted or crashed: see its console).
    Ended,
}

impl std::fmt::Display for Power {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Paused => "paused",
            Self::Ended => "ended",
        })
    }
}

/// Asks a keeper.
///
/// # Errors
/// When it does not answer, or refuses: then with its reason.
pub fn ask(folder: &Path, ask: Ask) -> Result<Vec<NodeStatus>> {
    let mut stream = connect(folder)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).context("cannot set a time-out")?;
    send(&mut stream, &ask)?;
    let answer: Answer =
        receive(&stream).context("the lab's keeper gave no answer (see keeper.log)")?;
    answer.map_err(|why| anyhow!(why))
}

/// The keeper's process id, as the kernel tells it of a connection's other side.
///
/// # Errors
/// When no lab runs in this folder.
pub fn keeper_pid(folder: &Path) -> Result<i32> {
    let stream = connect(folder)?;
    Ok(getsockopt(&stream, PeerCredentials)
        .context("cannot ask for the keeper's process id")?
        .pid())
}

fn connect(folder: &Path) -> Result<UnixStream> {
    let no_lab = || format!("no lab is running in {}", folder.display());
    let handle = File::open(folder).with_context(no_lab)?;
    UnixStream::connect(short_path(&handle)).with_context(no_lab)
}

/// Makes the keeper's socket in the state folder.
pub(super) fn listen(folder: &Path) -> Result<UnixListener> {
    let handle = File::open(folder).with_context(|| format!("cannot open {}", folder.display()))?;
    UnixListener::bind(short_path(&handle)).context("cannot make the keeper's socket")
}

/// The socket's path by way of an open folder: a socket's path has 107 bytes at most, a work tree's may be longer.
fn short_path(folder: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(SOCKET)
}

/// Sends one JSON line.
pub(super) fn send(stream: &mut UnixStream, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message).context("cannot encode a message")?;
    line.push(b'\n');
    stream.write_all(&line).context("cannot send to the lab's keeper")
}

/// Reads one JSON line.
pub(super) fn receive<T: DeserializeOwned>(stream: &UnixStream) -> Result<T> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).context("cannot read")?;
    if line.is_empty() {
        bail!("the other side hung up");
    }
    serde_json::from_str(&line).context("the message is not understood")
}
