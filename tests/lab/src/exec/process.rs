//! A program that runs in a node, as its starter sees it.

use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, bail};

use super::{
    ExitStatus, Reply,
    client::{Connection, Sender},
    frame::Kind,
};
use crate::names::NodeId;

/// One of a program's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a program in a node left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Where and what it was, for error texts.
    pub what: String,
}

impl Output {
    /// Whether it ended with code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Its standard output as text (bytes that are no UTF-8 are replaced).
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its standard error as text.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Its standard output as text, without white space at both ends, if it ended with code 0.
    ///
    /// # Errors
    /// Otherwise: names node, program, how it ended and what it said.
    pub fn ok(self) -> Result<String> {
        if self.success() {
            return Ok(self.stdout_text().trim().to_owned());
        }
        let mut said = String::new();
        for (name, text) in [("stdout", self.stdout_text()), ("stderr", self.stderr_text())] {
            if !text.trim().is_empty() {
                let _ = write!(said, "\n  {name}: {}", text.trim().replace('\n', "\n          "));
            }
        }
        bail!("{}: {}{said}", self.what, self.status)
    }
}

/// A program that runs in a node. Dropped, it and its process group are killed.
pub struct RemoteProcess {
    what: String,
    connection: Connection,
    sender: Mutex<Sender>,
    deadline: Option<Instant>,
    ended: Option<ExitStatus>,
}

impl RemoteProcess {
    pub(crate) fn new(
        node: NodeId,
        argv: &[String],
        connection: Connection,
        deadline: Option<Instant>,
    ) -> Result<Self> {
        let what = format!("node {node}: `{}`", argv.join(" "));
        let sender = Mutex::new(connection.sender()?);
        Ok(Self { what, connection, sender, deadline, ended: None })
    }

    /// The next piece of output as it comes, or `None` when the program has ended.
    ///
    /// # Errors
    /// When the program could not be started, the node lost power, or the command's time-out has passed.
    pub fn next_output(&mut self) -> Result<Option<(Stream, Vec<u8>)>> {
        if self.ended.is_some() {
            return Ok(None);
        }
        let frame = self.connection.next(self.deadline).with_context(|| self.what.clone())?;
        match frame.kind {
            Kind::Stdout => Ok(Some((Stream::Stdout, frame.payload))),
            Kind::Stderr => Ok(Some((Stream::Stderr, frame.payload))),
            _ => match self.connection.decode(&frame).with_context(|| self.what.clone())? {
                Reply::Ended(status) => {
                    self.ended = Some(status);
                    Ok(None)
                }
                other => Err(anyhow!("{}: an unexpected reply: {other:?}", self.what)),
            },
        }
    }

    /// Gives each line of output to `on_line` as it comes (without its newline), and says how the program ended.
    ///
    /// # Errors
    /// Those of [`Self::next_output`].
    pub fn stream_lines(&mut self, mut on_line: impl FnMut(Stream, &str)) -> Result<ExitStatus> {
        let mut partial = [Vec::new(), Vec::new()];
        while let Some((stream, bytes)) = self.next_output()? {
            let pending = &mut partial[usize::from(stream == Stream::Stderr)];
            pending.extend_from_slice(&bytes);
            while let Some(end) = pending.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                on_line(stream, &String::from_utf8_lossy(&line[..end]));
            }
        }
        for (stream, rest) in [Stream::Stdout, Stream::Stderr].into_iter().zip(&partial) {
            if !rest.is_empty() {
                on_line(stream, &String::from_utf8_lossy(rest));
            }
        }
        self.wait()
    }

    /// Waits for the end; output that nobody has taken is dropped.
    ///
    /// # Errors
    /// Those of [`Self::next_output`].
    pub fn wait(&mut self) -> Result<ExitStatus> {
        while self.next_output()?.is_some() {}
        self.ended.ok_or_else(|| anyhow!("{}: ended without a status", self.what))
    }

    /// Waits for the end and collects all output.
    ///
    /// # Errors
    /// Those of [`Self::next_output`].
    pub fn output(mut self) -> Result<Output> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some((stream, bytes)) = self.next_output()? {
            match stream {
                Stream::Stdout => stdout.extend_from_slice(&bytes),
                Stream::Stderr => stderr.extend_from_slice(&bytes),
            }
        }
        let status = self.wait()?;
        Ok(Output { status, stdout, stderr, what: self.what.clone() })
    }

    /// Sends a signal to the program and its process group.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn signal(&self, number: i32) -> Result<()> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.signal(number).with_context(|| format!("{}: cannot send signal {number}", self.what))
    }

    /// Kills the program and its process group (SIGKILL).
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn kill(&self) -> Result<()> {
        self.signal(9)
    }

    /// Writes to the program's standard input (it must have been started with [`crate::Command::open_stdin`]).
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn write_stdin(&self, bytes: &[u8]) -> Result<()> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.write_all(bytes).with_context(|| format!("{}: cannot send input", self.what))
    }

    /// Ends the program's standard input.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn close_stdin(&self) -> Result<()> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.end_input().with_context(|| format!("{}: cannot end its input", self.what))
    }

    /// Feeds a stream to the program's standard input, in a thread of its own, to the stream's end (the program must
    /// have been started with [`crate::Command::open_stdin`]).
    ///
    /// # Errors
    /// When the connection or the thread cannot be had.
    pub fn feed_stdin(&self, input: impl Read + Send + 'static) -> Result<()> {
        let mut sender = self.sender()?;
        // An error while sending means that the program is gone, which the other side of this handle tells better.
        let feed = move || drop(sender.send_all(input));
        thread::Builder::new()
            .name("lab-stdin".to_owned())
            .spawn(feed)
            .map(drop)
            .context("cannot start a thread")
    }

    /// How the program ended, if it has.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        self.ended
    }

    /// A handle of its own on the sending side, for a thread that feeds input.
    fn sender(&self) -> Result<Sender> {
        self.connection.sender()
    }
}
