//! setup of `burst_buffer.lua`: a job waits for its nodes, and donors outside of it hold its memory
//! from now on. Slurm kills this process when the job is cancelled meanwhile: as with
//! PrologSlurmctld, the connection breaks, and the controller undoes what was made.

use rampool_proto::v1::{Failure, JobId, ReserveJobRequest};
use rampool_slurm::commands::{self, Commands};

use super::{Call, Jobs};

pub(super) async fn run(call: &Call) -> Result<(), Failure> {
    let job = call.job_of_buffer()?;
    let config = call.config()?;
    let slurm = Commands::of(&config.commands, commands::DEADLINE);
    let jobs = Jobs::within(&config, &call.config, config.deadline());
    let ask = slurm.ask_of_job(job).await?;
    jobs.reserve_job(ReserveJobRequest {
        id: Some(JobId { cluster: config.cluster.clone(), job }),
        wish: Some(ask.wish()),
        user: ask.user,
        uid: ask.uid,
        gid: ask.gid,
        patience_seconds: 0,
    })
    .await
}
