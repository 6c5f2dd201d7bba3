//! What is asked of Slurm, by its own commands: an absolute path, a clean environment, a deadline,
//! and every answer read. Slurm that fails or says nothing is a failure, never "there is none".

mod run;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rampool_proto::v1::{Failure, FailureKind};

/// Where Debian's and the project's own packages put the commands.
pub const FOLDER: &str = "/usr/bin";

/// How long a command may take. Slurm's own commands give up after MessageTimeout (10 s unless
/// the site says otherwise) for each of a few tries.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Begins every reason that we give a node, so that we know our own.
pub const OURS: &str = "rampool: ";

/// Characters of a reason: it is read in the narrow columns of `sinfo`.
const LONGEST_REASON: usize = 300;

/// Slurm's commands.
#[derive(Clone, Debug)]
pub struct Commands {
    folder: PathBuf,
    configuration: Option<PathBuf>,
    deadline: Duration,
}

impl Commands {
    /// Those of a folder, each with so much time.
    #[must_use]
    pub fn of(folder: &Path, deadline: Duration) -> Self {
        Self { folder: folder.to_owned(), configuration: None, deadline }
    }

    /// With the slurm.conf that `SLURM_CONF` names.
    #[must_use]
    pub fn configured_by(mut self, file: Option<&str>) -> Self {
        self.configuration = file.map(PathBuf::from);
        self
    }

    /// Keeps new jobs off a node, for a reason that people read; `OURS` is put before it.
    ///
    /// # Errors
    /// Where Slurm did not confirm it.
    pub async fn drain_node(&self, node: &str, why: &str) -> Result<(), Failure> {
        let step = format!("drain {node} in Slurm");
        let node = format!("nodename={node}");
        let reason = format!("reason={}", reason(why));
        self.change(&step, &["update", &node, "state=drain", &reason]).await
    }

    /// Takes a job off its nodes and keeps it from being started until somebody releases it.
    ///
    /// # Errors
    /// Where Slurm did not confirm it.
    pub async fn requeue_and_hold(&self, job: u32) -> Result<(), Failure> {
        let step = format!("hold job {job} in Slurm");
        self.change(&step, &["requeuehold", &job.to_string()]).await
    }

    /// Says something about a job, for `scontrol show job`: its AdminComment.
    ///
    /// # Errors
    /// Where Slurm did not confirm it.
    pub async fn comment_on_job(&self, job: u32, text: &str) -> Result<(), Failure> {
        let step = format!("comment on job {job} in Slurm");
        let comment = format!("admincomment={}", plain(text));
        self.change(&step, &["update", &format!("jobid={job}"), &comment]).await
    }

    /// Runs a `scontrol` that says nothing where all went well.
    async fn change(&self, step: &str, arguments: &[&str]) -> Result<(), Failure> {
        let output = self.run(step, "scontrol", arguments).await?;
        match output.trim() {
            "" => Ok(()),
            said => Err(Failure::new(FailureKind::Failed, step)
                .by(self.folder.join("scontrol").display().to_string())
                .saying(said)),
        }
    }
}

/// A reason as it stands in Slurm: ours, in one line, of a length that can be read.
fn reason(why: &str) -> String {
    let why: String = plain(why).chars().take(LONGEST_REASON).collect();
    format!("{OURS}{}", why.strip_prefix(OURS).unwrap_or(&why))
}

/// One line, without what Slurm's parser takes for the end of a value.
fn plain(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace('"', "'").replace(char::is_control, "\u{fffd}")
}
