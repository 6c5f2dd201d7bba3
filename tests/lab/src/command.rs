//! A program to run in a node, and how.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    exec::{
        CommandSpec, ExitStatus, Request,
        process::{Output, RemoteProcess, Stream},
    },
    node::Node,
};

/// How long a command may take when nothing else is said: a test that hangs should say where.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// A program to run in a node. Made by [`Node::command`].
#[derive(Clone)]
pub struct Command {
    node: Node,
    spec: CommandSpec,
    stdin: Option<Vec<u8>>,
    open_stdin: bool,
    timeout: Option<Duration>,
}

impl Command {
    pub(crate) fn new(node: &Node, argv: Vec<String>) -> Self {
        let spec = CommandSpec { argv, ..CommandSpec::default() };
        Self {
            node: node.clone(),
            spec,
            stdin: None,
            open_stdin: false,
            timeout: Some(DEFAULT_TIMEOUT),
        }
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.env.insert(name.into(), value.into());
        self
    }

    /// Sets its working directory (`/root` when not said).
    #[must_use]
    pub fn cwd(mut self, folder: impl Into<String>) -> Self {
        self.spec.cwd = Some(folder.into());
        self
    }

    /// Gives it these bytes as standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Keeps its standard input open, for [`RemoteProcess::write_stdin`].
    #[must_use]
    pub fn open_stdin(mut self) -> Self {
        self.open_stdin = true;
        self
    }

    /// How long it may take; then it is killed and an error returned. Five minutes when not said.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Lets it take as long as it likes.
    #[must_use]
    pub fn no_timeout(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the node does not answer. (A program that does not exist is an error of the returned handle.)
    pub fn spawn(self) -> Result<RemoteProcess> {
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let argv = self.spec.argv.clone();
        let stdin = self.open_stdin || self.stdin.is_some();
        let request = Request::Exec { command: self.spec, stdin };
        let connection =
            self.node.request_within(&request, self.timeout.unwrap_or(Duration::MAX))?;
        let process = RemoteProcess::new(self.node.id(), &argv, connection, deadline)?;
        if let Some(bytes) = self.stdin {
            process.feed_stdin(io::Cursor::new(bytes))?;
        }
        Ok(process)
    }

    /// Runs it and collects what it says.
    ///
    /// # Errors
    /// When it could not be started, the node lost power, or its time is over. A program that fails is no error here:
    /// see [`Output::ok`].
    pub fn output(self) -> Result<Output> {
        self.spawn()?.output()
    }

    /// Runs it and gives each line to `on_line` as it comes.
    ///
    /// # Errors
    /// Those of [`Self::output`].
    pub fn stream(self, on_line: impl FnMut(Stream, &str)) -> Result<ExitStatus> {
        self.spawn()?.stream_lines(on_line)
    }
}
