//! Slurm's jobs that want a pool.

use rampool_proto::v1::{JobStatus, ListJobsResponse};
use serde::Serialize;

use super::failure::FailureReport;
use super::moment::Moment;
use super::pool::known;

/// Several jobs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Jobs {
    /// The jobs, by number.
    pub jobs: Vec<JobReport>,
    /// Why Slurm says nothing of them, where it does not.
    pub slurm: Option<FailureReport>,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct JobReport {
    pub job: u32,
    pub user: Option<String>,
    pub state: Option<String>,
    pub reason: Option<String>,
    pub nodes: Option<String>,
    pub pool: Option<String>,
    pub expires_at: Option<Moment>,
    pub failures: u32,
    pub text: String,
}

impl From<ListJobsResponse> for Jobs {
    fn from(answer: ListJobsResponse) -> Self {
        let mut jobs: Vec<JobReport> = answer.jobs.into_iter().map(Into::into).collect();
        jobs.sort_by_key(|job| job.job);
        Self { jobs, slurm: answer.silence.map(Into::into) }
    }
}

impl From<JobStatus> for JobReport {
    fn from(job: JobStatus) -> Self {
        Self {
            job: job.id.map_or(0, |id| id.job),
            user: known(job.user),
            state: known(job.state),
            reason: known(job.reason),
            nodes: known(job.nodes),
            pool: known(job.pool),
            expires_at: Moment::known(job.expires_ms),
            failures: job.failures,
            text: job.text,
        }
    }
}
