//! teardown of `burst_buffer.lua`: the job is over, was cancelled while it waited, or is queued
//! again. Its share of the buffer is not free until this ends: when donors outside of the job have
//! their memory back.

use rampool_proto::v1::{EndJobRequest, Failure, JobId};

use super::{BufferOf, Call, Jobs};

pub(super) async fn run(call: &Call, of: BufferOf) -> Result<(), Failure> {
    let job = of.job()?;
    let config = call.config()?;
    let id = Some(JobId { cluster: config.cluster.clone(), job });
    let question = EndJobRequest { id, reserved_too: true, ..EndJobRequest::default() };
    let jobs = Jobs::within(&config, &call.config, config.deadline());
    jobs.end_job(question).await.map(|_| ())
}
