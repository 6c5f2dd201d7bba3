//! A job is over, or about to be. Only a hint: its processes may still run, and the nodes' epilogs
//! count. So little time is spent on it: until this ends, the job's licences are not free.

use std::time::Duration;

use rampool_proto::v1::Failure;

use super::{Call, Jobs, not_told};

/// A controller that is there answers at once.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(call: &Call) -> Result<(), Failure> {
    if call.wish()?.is_none() {
        return Ok(());
    }
    let config = call.config()?;
    let question = call.environment.end_job(&config.cluster).map_err(not_told)?;
    let jobs = Jobs::within(&config, &call.config, PATIENCE.min(config.deadline()));
    jobs.end_job(question).await.map(|_| ())
}
