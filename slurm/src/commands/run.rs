//! Running one of Slurm's commands.

use std::path::Path;
use std::process::Stdio;

use rampool_proto::v1::{Failure, FailureKind};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::Commands;

/// More than `scontrol show node` says of twenty thousand nodes; half an answer is none.
const LARGEST_ANSWER: u64 = 64 << 20;

/// As many characters of a command's words as a failure quotes.
const QUOTED: usize = 600;

impl Commands {
    /// What a command says that ends well.
    pub(super) async fn run(
        &self,
        step: &str,
        program: &str,
        arguments: &[&str],
    ) -> Result<String, Failure> {
        let path = self.folder.join(program);
        tracing::debug!(program = %path.display(), ?arguments, "run");
        let failed = |kind| Failure::new(kind, step).by(path.display().to_string());
        match timeout(self.deadline, self.answer(&path, arguments)).await {
            Ok(Ok(answer)) => answer.map_err(|said| {
                failed(FailureKind::Failed).saying(said).advising("is slurmctld there?")
            }),
            Ok(Err(error)) => Err(failed(FailureKind::Failed)
                .saying(error)
                .advising("are Slurm's commands in the folder that `commands` names?")),
            // The command has been killed: it was dropped.
            Err(_) => Err(failed(FailureKind::TimedOut)
                .saying(format!("no end after {} s", self.deadline.as_secs_f32()))
                .advising("is slurmctld there?")),
        }
    }

    /// The outer error is of the system, the inner one the command's words.
    async fn answer(
        &self,
        program: &Path,
        arguments: &[&str],
    ) -> std::io::Result<Result<String, String>> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin");
        if let Some(configuration) = &self.configuration {
            command.env("SLURM_CONF", configuration);
        }
        command.current_dir("/").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // In our own process group: who kills a hook kills its command too.
        let mut child = command.kill_on_drop(true).spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (status, stdout, stderr) =
            tokio::try_join!(child.wait(), words(stdout), words(stderr))?;
        if !status.success() {
            let said = if stderr.trim().is_empty() { stdout } else { stderr };
            return Ok(Err(match said.trim() {
                "" => status.to_string(),
                said => format!("{} ({status})", quoted(said)),
            }));
        }
        // A command may end well that could not ask.
        if stderr.contains("error") {
            return Ok(Err(quoted(&stderr)));
        }
        Ok(Ok(stdout))
    }
}

fn quoted(said: &str) -> String {
    said.trim().chars().take(QUOTED).collect()
}

async fn words(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let Some(pipe) = pipe else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    pipe.take(LARGEST_ANSWER + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > LARGEST_ANSWER {
        return Err(std::io::Error::other("its answer is larger than any should be"));
    }
    // A user's comment may hold any bytes.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::fake_slurm::FakeSlurm;
    use super::*;

    #[tokio::test]
    async fn nothing_of_our_environment_is_passed_on_but_slurm_conf() {
        let slurm = FakeSlurm::new();
        slurm.runs("scontrol", "env");
        let said = slurm.commands().run("", "scontrol", &[]).await.unwrap();
        let mut names: Vec<_> = said.lines().filter_map(|line| line.split('=').next()).collect();
        names.sort_unstable();
        names.retain(|name| !matches!(*name, "_" | "PWD"));
        assert_eq!(names, ["LC_ALL", "PATH", "SLURM_CONF"]);
    }

    #[tokio::test]
    async fn a_command_over_its_deadline_is_killed() {
        let slurm = FakeSlurm::new();
        slurm.runs("scontrol", "exec sleep 60");
        let told = slurm.commands().run("ask", "scontrol", &[]).await.unwrap_err();
        assert_eq!(told.kind(), FailureKind::TimedOut);
        assert!(told.to_string().contains("no end after 2 s"), "{told}");
    }

    #[tokio::test]
    async fn a_missing_command_is_named_with_what_to_do() {
        let told = FakeSlurm::new().commands().run("ask", "scontrol", &[]).await.unwrap_err();
        assert!(told.program.ends_with("/scontrol") && told.advice.contains("commands"), "{told}");
    }

    #[tokio::test]
    async fn endless_words_are_no_answer() {
        let slurm = FakeSlurm::new();
        slurm.runs("scontrol", "exec head -c 70000000 /dev/zero");
        let told = slurm.commands().run("ask", "scontrol", &[]).await.unwrap_err();
        assert!(told.said.contains("larger than any"), "{told}");
    }
}
