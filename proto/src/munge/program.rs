//! Running `munge` and `unmunge`: an absolute path, a clean environment, a deadline, what is said
//! to them by their standard input (never in their arguments, which others can read), and no more
//! of their words read than they should say.

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::DEADLINE;
use crate::v1::{Failure, FailureKind};

/// More than either says.
const LARGEST_ANSWER: u64 = 16 * 1024;

/// As many characters of a program's words as a failure quotes.
const QUOTED: usize = 300;

/// Why there is no answer.
pub(super) enum No {
    /// The program's own words, which may be none, and how it ended.
    Said(String, ExitStatus),
    /// It could not be run, or not to its end.
    Broken(Failure),
}

/// What a program says that ends well.
pub(super) async fn run(program: &Path, arguments: &[&str], input: &[u8]) -> Result<String, No> {
    let failed = |kind, said: String| {
        let failure = Failure::new(kind, "ask MUNGE").by(program.display().to_string());
        No::Broken(
            failure.saying(said).advising("is the package munge installed, and munged running?"),
        )
    };
    match timeout(DEADLINE, answer(program, arguments, input)).await {
        Ok(Ok(answer)) => answer.map_err(|(said, status)| No::Said(said, status)),
        Ok(Err(error)) => Err(failed(FailureKind::Failed, error.to_string())),
        // It has been killed: it was dropped.
        Err(_) => {
            let said = format!("no end after {} s", DEADLINE.as_secs());
            Err(failed(FailureKind::TimedOut, said))
        }
    }
}

/// The outer error is of the system, the inner one the program's words.
async fn answer(
    program: &Path,
    arguments: &[&str],
    input: &[u8],
) -> std::io::Result<Result<String, (String, ExitStatus)>> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads nothing says why.
        let _ = stdin.write_all(input).await;
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (status, stdout, stderr) = tokio::try_join!(child.wait(), words(stdout), words(stderr))?;
    if status.success() {
        return Ok(Ok(stdout));
    }
    Ok(Err((stderr.trim().chars().take(QUOTED).collect(), status)))
}

async fn words(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let Some(pipe) = pipe else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    pipe.take(LARGEST_ANSWER + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > LARGEST_ANSWER {
        return Err(std::io::Error::other("its answer is larger than any should be"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
