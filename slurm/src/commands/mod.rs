//! What is asked of Slurm, by its own commands: an absolute path, a clean environment, a deadline,
//! and every answer read. Slurm that fails or says nothing is a failure, never "there is none".
//!
//! | module | idea |
//! | --- | --- |
//! | `run` | running one command |
//! | `jobs` | which jobs there are; holding one, saying something about it |
//! | `nodes` | which nodes there are; draining and resuming those that are ours to |
//! | `cluster` | partitions, the configuration and the burst buffer |

mod cluster;
#[cfg(test)]
mod fake_slurm;
mod jobs;
mod nodes;
mod run;

pub use nodes::{Drained, Resumed};

use std::path::{Path, PathBuf};
use std::time::Duration;

use rampool_proto::v1::{Failure, FailureKind};

use crate::text::TextError;

/// Where Debian's package puts the commands.
pub const FOLDER: &str = "/usr/bin";

/// How long a command may take, at most. Slurm's commands wait for MessageTimeout (10 s unless the
/// site says otherwise) before they say that slurmctld does not answer.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// Begins every reason that we give a node, so that we know our own.
pub const OURS: &str = "rampool: ";

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

    /// What `scontrol` says of what it is asked to show.
    async fn show<T>(
        &self,
        step: &str,
        arguments: &[&str],
        read: impl FnOnce(&str) -> Result<T, TextError>,
    ) -> Result<T, Failure> {
        let text = self.run(step, "scontrol", arguments).await?;
        read(&text).map_err(|error| self.odd(step, "scontrol", &error))
    }

    /// Runs a `scontrol` that says nothing where all went well.
    async fn change(&self, step: &str, arguments: &[&str]) -> Result<(), Failure> {
        match self.run(step, "scontrol", arguments).await?.trim() {
            "" => Ok(()),
            said => Err(self.odd(step, "scontrol", &said)),
        }
    }

    /// An answer that is none.
    fn odd(&self, step: &str, program: &str, said: &dyn std::fmt::Display) -> Failure {
        Failure::new(FailureKind::Failed, step)
            .by(self.folder.join(program).display().to_string())
            .saying(said)
    }
}

/// One line, without what Slurm's parser takes for the end of a value.
fn plain(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace('"', "'").replace(char::is_control, "\u{fffd}")
}
