//! teardown of `burst_buffer.lua`: the job is over, was cancelled while it waited, or is queued
//! again. Its share of the buffer is not free until this ends: when donors outside of the job have
//! their memory back.

use rampool_proto::v1::{EndJobRequest, Failure, JobId};

use super::{Call, Jobs};

pub(super) async fn run(call: &Call) -> Result<(), Failure> {
    let job = call.job_of_buffer()?;
    let config = call.config()?;
    let id = Some(JobId { cluster: config.cluster.clone(), job });
    let question = EndJobRequest { id, reserved_too: true, ..EndJobRequest::default() };
    let jobs = Jobs::within(&config, &call.config, config.deadline());
    jobs.end_job(question).await.map(|_| ())
}
