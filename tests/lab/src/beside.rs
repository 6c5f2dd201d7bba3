//! A program of the machine that runs in a lab's network, as on a host beside the nodes. On a node
//! a process costs tens of milliseconds to start; here it costs what it costs on the machine.

use std::{
    io::{self, Read},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use crate::{
    exec::{ExitStatus, process::Output},
    lab::Lab,
};

impl Lab {
    /// Runs a program of the machine in the lab's network (as 10.77.0.1 on the nodes' data network), without input and
    /// with a clean environment, to its end.
    ///
    /// # Errors
    /// When it cannot be started, or did not end within `timeout`: then it is killed.
    pub fn run_beside(
        &self,
        program: &Path,
        arguments: &[impl AsRef<str>],
        timeout: Duration,
    ) -> Result<Output> {
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let what = format!("beside the nodes: `{} {}`", program.display(), arguments.join(" "));
        let mut command = Command::new(program);
        command.args(&arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.start_beside(command).with_context(|| what.clone())?;
        let ended = end_of(child, timeout).with_context(|| what.clone())?;
        let status = ExitStatus { code: ended.status.code(), signal: ended.status.signal() };
        Ok(Output { status, stdout: ended.stdout, stderr: ended.stderr, what })
    }

    /// A program is in the network namespace of the thread that started it, so a thread goes into the lab's, starts it,
    /// and ends.
    fn start_beside(&self, mut command: Command) -> Result<Child> {
        let netns = Arc::clone(&self.shared.netns);
        let starting = thread::Builder::new().name("lab-beside".to_owned()).spawn(move || {
            setns(netns.as_ref(), CloneFlags::CLONE_NEWNET)
                .context("cannot enter the lab's network namespace: only root can (use sudo)")?;
            command.spawn().context("cannot start it")
        });
        let started = starting.context("cannot start a thread")?.join();
        started.map_err(|_| anyhow!("the starting thread panicked"))?
    }
}

/// Waits until both of its outputs are closed, which a program does by ending.
fn end_of(mut child: Child, timeout: Duration) -> Result<std::process::Output> {
    let deadline = Instant::now() + timeout;
    let (tell, closed) = mpsc::channel();
    let stdout = collect(child.stdout.take(), tell.clone())?;
    let stderr = collect(child.stderr.take(), tell)?;
    for _ in 0..2 {
        let left = deadline.saturating_duration_since(Instant::now());
        if closed.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            child.kill().context("it did not end in time, and cannot be killed")?;
            child.wait().context("cannot wait for it")?;
            bail!("it did not end within {timeout:?}, and was killed");
        }
    }
    let status = child.wait().context("cannot wait for it")?;
    let output = |of: JoinHandle<io::Result<Vec<u8>>>| {
        of.join().map_err(|_| anyhow!("the reading thread panicked"))?.context("cannot read")
    };
    Ok(std::process::Output { status, stdout: output(stdout)?, stderr: output(stderr)? })
}

/// Reads a pipe to its end in a thread, which then tells so.
fn collect(
    pipe: Option<impl Read + Send + 'static>,
    tell: Sender<()>,
) -> Result<JoinHandle<io::Result<Vec<u8>>>> {
    let mut pipe = pipe.context("an output is no pipe")?;
    let reading = thread::Builder::new().name("lab-beside".to_owned()).spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.read_to_end(&mut bytes);
        // Nobody listens any more when its time is over.
        let _ = tell.send(());
        read.map(|_| bytes)
    });
    reading.context("cannot start a thread")
}
