//! What the node's own agent knows of jobs: the notes that it keeps, and what it answers.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rampool_proto::job_socket::{self, AskError, Task};
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::{Failure, FailureKind};

/// Where agents keep both.
pub(super) const FOLDER: &str = "/run/rampool";

/// The agent answers from what the kernel says, without asking anybody: a second is long.
const PATIENCE: Duration = Duration::from_secs(10);

/// The agent of this node.
pub(super) struct Node {
    socket: PathBuf,
    notes: PathBuf,
}

/// What a node holds of jobs' pools.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Of these jobs.
    Of(Vec<u32>),
    /// Nobody can say, for this reason.
    Unknown(String),
}

impl Node {
    /// The agent that keeps its socket and its notes in `folder`.
    pub(super) fn of(folder: &Path) -> Self {
        let own = |path: &str| Path::new(path).file_name().map(|name| folder.join(name));
        Self {
            socket: own(job_socket::SOCKET).unwrap_or_default(),
            notes: own(job_socket::NOTES).unwrap_or_default(),
        }
    }

    /// Whether the agent listened since the node started, and did not stop in peace.
    pub(super) fn listened(&self) -> bool {
        self.socket.exists()
    }

    /// Whether the agent was told that the job has a pool here.
    pub(super) fn has_note(&self, job: u32) -> Result<bool, Failure> {
        let note = self.notes.join(job.to_string());
        note.try_exists().map_err(|error| self.unreadable(&note, &error))
    }

    /// Whether it was told so of any job.
    pub(super) fn has_notes(&self) -> Result<bool, Failure> {
        match std::fs::read_dir(&self.notes) {
            Ok(mut entries) => Ok(entries.next().is_some()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.unreadable(&self.notes, &error)),
        }
    }

    fn unreadable(&self, path: &Path, error: &std::io::Error) -> Failure {
        Failure::new(FailureKind::Failed, "look for the agent's notes of jobs")
            .by(path.display().to_string())
            .saying(error)
    }

    /// Of which jobs' pools this node holds anything.
    pub(super) async fn held(&self) -> Held {
        match self.blocking(|socket| job_socket::ask_what_is_held(socket, PATIENCE)).await {
            // A name of another form would be no job's pool.
            Ok(pools) => Held::Of(pools.iter().filter_map(|pool| job_of(pool)).collect()),
            Err(why) => Held::Unknown(why),
        }
    }

    /// What a task of the job may use; without it, no task starts.
    pub(super) async fn task(&self, job: u32) -> Result<Task, Failure> {
        let asked = self.blocking(move |socket| job_socket::ask_for_task(socket, job, PATIENCE));
        asked.await.map_err(|why| {
            Failure::new(FailureKind::Failed, format!("give job {job} its scratch"))
                .saying(why)
                .advising("the job was not started without it; tell your administrators")
        })
    }

    async fn blocking<A: Send + 'static>(
        &self,
        ask: impl FnOnce(&Path) -> Result<A, AskError> + Send + 'static,
    ) -> Result<A, String> {
        let socket = self.socket.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&socket)).await;
        asked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

fn job_of(pool: &str) -> Option<u32> {
    pool.parse::<PoolName>().ok()?.job().map(|(job, _)| job)
}
