//! Runs an external program: absolute path, clean environment, a deadline after which it and
//! its children are killed, and no more of its words kept than a person would read.
//!
//! Called on blocking threads of the runtime only.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rampool_proto::v1::{Failure, FailureKind};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::outcome::{Outcome, refused};

/// Output beyond this is read and thrown away.
const KEPT_OUTPUT: usize = 64 * 1024;

/// As many characters of it as a failure quotes.
const QUOTED: usize = 600;

/// A program's pipe can outlive it, held by a daemon it started: reading ends this long after.
const PIPE_GRACE: Duration = Duration::from_millis(500);

/// How long a killed program may take to die; one that waits in the kernel may never.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// What a program said.
#[derive(Debug)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// What to quote: its errors, or its output where it had none, or how it ended.
    pub(crate) fn said(&self) -> String {
        let words = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        match words.trim() {
            "" => self.status.to_string(),
            words => format!("{} ({})", shortened(words), self.status),
        }
    }
}

/// The beginning of what was said: some programs answer a mistake with all they know.
fn shortened(words: &str) -> String {
    match words.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{} ...", words[..end].trim_end()),
        None => words.to_owned(),
    }
}

/// Runs `program` with `arguments` to its end, well or badly.
pub(crate) fn run(program: &Path, arguments: &[&str], deadline: Duration) -> Outcome<Output> {
    tracing::debug!(program = %program.display(), ?arguments, "run");
    tokio::runtime::Handle::current().block_on(run_within(program, arguments, deadline))
}

/// Like [`run`], once for each set of arguments, all side by side; answers in their order.
pub(crate) fn run_each(
    program: &Path,
    each: Vec<Vec<String>>,
    deadline: Duration,
) -> Outcome<Vec<Output>> {
    tracing::debug!(program = %program.display(), ?each, "run side by side");
    let started: Vec<_> = each
        .into_iter()
        .map(|arguments| {
            let program = program.to_owned();
            tokio::spawn(async move {
                let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
                run_within(&program, &arguments, deadline).await
            })
        })
        .collect();
    let wait = |task: JoinHandle<Outcome<Output>>| {
        let ended = tokio::runtime::Handle::current().block_on(task);
        ended.unwrap_or_else(|error| Err(refused(program, "wait for it", error)))
    };
    // All are waited for, so that none outlives the call.
    let ended: Vec<_> = started.into_iter().map(wait).collect();
    ended.into_iter().collect()
}

/// Like [`run`]; an exit code other than 0 is a failure in the program's words.
pub(crate) fn succeed(program: &Path, arguments: &[&str], deadline: Duration) -> Outcome<Output> {
    let output = run(program, arguments, deadline)?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Failure::new(FailureKind::Failed, "")
        .by(program.display().to_string())
        .saying(output.said())
        .into())
}

async fn run_within(program: &Path, arguments: &[&str], deadline: Duration) -> Outcome<Output> {
    let mut child = start(program, arguments).map_err(|error| refused(program, "run it", error))?;
    let stdout = Words::listen(child.stdout.take());
    let stderr = Words::listen(child.stderr.take());
    let status = match timeout(deadline, child.wait()).await {
        Ok(ended) => ended.map_err(|error| refused(program, "wait for it", error))?,
        Err(_) => return Err(kill(program, child, deadline).await.into()),
    };
    Ok(Output { status, stdout: stdout.end().await, stderr: stderr.end().await })
}

fn start(program: &Path, arguments: &[&str]) -> std::io::Result<Child> {
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        // LVM complains of every descriptor it inherits, ours being closed on exec or not.
        .env("LVM_SUPPRESS_FD_WARNINGS", "1")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

async fn kill(program: &Path, mut child: Child, deadline: Duration) -> Failure {
    // The child is not reaped yet, so its id, which is its group's, is nobody else's.
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
    let end = match timeout(KILL_GRACE, child.wait()).await {
        Ok(_) => "it was killed",
        Err(_) => "it was killed but does not die: it waits in the kernel",
    };
    Failure::new(FailureKind::TimedOut, "")
        .by(program.display().to_string())
        .saying(format!("no end after {} s; {end}", deadline.as_secs_f32()))
}

/// What comes out of a pipe, as far as it came.
struct Words {
    heard: Arc<Mutex<Vec<u8>>>,
    listener: JoinHandle<()>,
}

impl Words {
    fn listen(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let listener = tokio::spawn(read_all(pipe, Arc::clone(&heard)));
        Self { heard, listener }
    }

    async fn end(self) -> String {
        let _ = timeout(PIPE_GRACE, self.listener).await;
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&heard).into_owned()
    }
}

async fn read_all(pipe: Option<impl AsyncRead + Unpin>, heard: Arc<Mutex<Vec<u8>>>) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut piece).await {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT_OUTPUT.saturating_sub(heard.len()).min(count);
        heard.extend_from_slice(&piece[..room]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &'static str, deadline: Duration) -> Outcome<Output> {
        run_within(Path::new("/bin/sh"), &["-c", script], deadline).await
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn output_errors_and_exit_code_come_through() {
        let output = shell("echo out; echo err >&2; exit 7", LONG).await.unwrap();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(output.status.code(), Some(7));
        assert_eq!(output.said(), "err (exit status: 7)");
    }

    #[tokio::test]
    async fn a_program_over_its_deadline_is_killed_with_its_children() {
        let started = std::time::Instant::now();
        let told = shell("sleep 60 & sleep 60", Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(told.kind(), FailureKind::TimedOut);
        assert_eq!(told.program, "/bin/sh");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn endless_output_is_cut_not_kept() {
        let script = "head -c 1000000 /dev/zero | tr '\\0' x";
        assert_eq!(shell(script, LONG).await.unwrap().stdout.len(), KEPT_OUTPUT);
    }

    #[tokio::test]
    async fn a_daemon_holding_the_pipe_does_not_hold_us() {
        let started = std::time::Instant::now();
        let output = shell("echo said; sleep 30 & exit 0", LONG).await.unwrap();
        assert_eq!(output.stdout, "said\n");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn nothing_of_our_environment_is_passed_on() {
        let output = shell("env | cut -d= -f1 | sort | tr '\\n' ' '", LONG).await.unwrap();
        let names = output.stdout.replace("_ ", "").replace("PWD ", "");
        assert_eq!(names.trim(), "LC_ALL LVM_SUPPRESS_FD_WARNINGS PATH");
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let told = run_within(Path::new("/no/such"), &[], LONG).await.unwrap_err();
        assert_eq!(told.program, "/no/such");
    }
}
