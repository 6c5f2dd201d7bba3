//! A job has its nodes: its pool is made before anything of it starts.
//!
//! Slurm kills this process, not its nodes' work, when the job is cancelled meanwhile: the
//! connection breaks, and the controller undoes what was made. So nothing here outlives it.

use rampool_proto::v1::{Failure, FailureKind};
use rampool_slurm::commands::{self, Commands};

use super::config::SlurmConfig;
use super::{Call, Jobs, not_told};
use crate::command::tell;

pub(super) async fn run(call: &Call) -> Result<(), Failure> {
    let Some(wish) = call.wish()? else { return Ok(()) };
    let config = call.config()?;
    let question = call.environment.start_job(&config.cluster, wish).map_err(not_told)?;
    if call.environment.is_heterogeneous() {
        let job = call.environment.job().map_err(not_told)?;
        return Err(refuse_heterogeneous(&config, job).await);
    }
    Jobs::within(&config, &call.config, config.deadline()).start_job(question).await
}

/// Slurm would try such a job again for ever: it is held, and says why.
async fn refuse_heterogeneous(config: &SlurmConfig, job: u32) -> Failure {
    let refusal = Failure::new(FailureKind::Invalid, format!("make the pool of job {job}"))
        .saying("a heterogeneous job has no one set of nodes for a pool")
        .advising("ask for the pool in a job of one component");
    let commands = Commands::of(&config.commands, commands::DEADLINE);
    let comment = commands.comment_on_job(job, &format!("{}{refusal}", commands::OURS)).await;
    for problem in
        [comment, commands.requeue_and_hold(job).await].into_iter().filter_map(Result::err)
    {
        tell(&problem);
    }
    refusal
}
