//! Runs one program for the exec server: passes its streams, and kills it when the lab hangs up.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{ChildStdin, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, anyhow};
use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, killpg},
    unistd::{Pid, pipe2},
};

use super::server::{Answers, Asks, answer, command};
use crate::exec::{
    CommandSpec, ExitStatus,
    frame::{self, Frame, Kind},
};

/// Runs a program to its end.
pub(super) fn run(
    spec: &CommandSpec,
    stdin: bool,
    asks: Asks,
    answers: &Answers,
) -> Result<ExitStatus> {
    let mut command = command(spec)?;
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if stdin { Stdio::piped() } else { Stdio::null() });
    let mut child =
        command.spawn().with_context(|| format!("cannot start `{}`", spec.argv.join(" ")))?;

    let group = Arc::new(Group::new(child.id())?);
    let input = child.stdin.take();
    let listener = Arc::clone(&group);
    thread::Builder::new()
        .spawn(move || listen(asks, input, &listener))
        .context("cannot start a thread")?;

    // Closing `running` is how the readers learn that the program has ended.
    let (ended, running) = pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe")?;
    let ended = Arc::new(ended);
    let stdout =
        child.stdout.take().map(|s| reader(s.into(), Kind::Stdout, answers, &ended)).transpose()?;
    let stderr =
        child.stderr.take().map(|s| reader(s.into(), Kind::Stderr, answers, &ended)).transpose()?;

    let status = child.wait().context("cannot wait for the program");
    group.forget();
    drop(running);
    for reader in [stdout, stderr].into_iter().flatten() {
        reader.join().map_err(|_| anyhow!("a reading thread panicked"))?;
    }
    let status = status?;
    Ok(ExitStatus { code: status.code(), signal: status.signal() })
}

/// The program's process group, until the program was waited for: after that the number may be somebody else's.
struct Group(Mutex<Option<Pid>>);

impl Group {
    fn new(pid: u32) -> Result<Self> {
        let pid = i32::try_from(pid).context("a process id beyond the kernel's range")?;
        Ok(Self(Mutex::new(Some(Pid::from_raw(pid)))))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // It may have ended this moment: then there is nothing to signal.
            let _ = killpg(group, signal);
        }
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Takes input and signals from the lab until it hangs up.
fn listen(mut asks: Asks, mut input: Option<ChildStdin>, group: &Group) {
    loop {
        match frame::read(&mut asks) {
            Ok(Some(Frame { kind: Kind::Stdin, payload })) => {
                // A program that reads no further closes its input; that is its own affair.
                if input.as_mut().is_some_and(|i| i.write_all(&payload).is_err()) {
                    input = None;
                }
            }
            Ok(Some(Frame { kind: Kind::StdinEnd, .. })) => input = None,
            Ok(Some(Frame { kind: Kind::Signal, payload })) => {
                let number = payload.try_into().map(i32::from_be_bytes);
                if let Some(signal) = number.ok().and_then(|n| Signal::try_from(n).ok()) {
                    group.signal(signal);
                }
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return group.signal(Signal::SIGKILL),
        }
    }
}

fn reader(
    pipe: OwnedFd,
    kind: Kind,
    answers: &Answers,
    ended: &Arc<OwnedFd>,
) -> Result<thread::JoinHandle<()>> {
    let (answers, ended) = (Arc::clone(answers), Arc::clone(ended));
    let pass_on = move || {
        // An error means that the lab has hung up; `listen` sees that too, and acts.
        let _ = pass_output(File::from(pipe), kind, &answers, &ended);
    };
    thread::Builder::new().spawn(pass_on).context("cannot start a thread")
}

/// Passes output on to its end. Processes that the program left in the background may hold the pipe open after it: then
/// the end is when the program has ended and the pipe is empty.
fn pass_output(mut pipe: File, kind: Kind, answers: &Answers, ended: &OwnedFd) -> io::Result<()> {
    let mut chunk = vec![0; frame::CHUNK];
    loop {
        let mut watched = [
            PollFd::new(pipe.as_fd(), PollFlags::POLLIN),
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut watched, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        let has_output = watched[0].any().unwrap_or(true);
        if !has_output {
            return Ok(());
        }
        match pipe.read(&mut chunk)? {
            0 => return Ok(()),
            n => answer(answers, kind, &chunk[..n])?,
        }
    }
}
