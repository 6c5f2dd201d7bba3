//! A job is over, or about to be. Only a hint: its processes may still run, and the nodes' epilogs
//! count. Until this ends, the job's licences are not free: it ends when donors outside of the job
//! have their memory back.

use rampool_proto::v1::Failure;

use super::{Call, Jobs, not_told};

pub(super) async fn run(call: &Call) -> Result<(), Failure> {
    if call.wish()?.is_none() {
        return Ok(());
    }
    let config = call.config()?;
    let question = call.environment.end_job(&config.cluster).map_err(not_told)?;
    let jobs = Jobs::within(&config, &call.config, config.deadline());
    jobs.end_job(question).await.map(|_| ())
}
