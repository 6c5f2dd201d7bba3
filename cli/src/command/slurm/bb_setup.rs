//! setup of `burst_buffer.lua`: a job waits for its nodes, and donors outside of it hold its memory
//! from now on. Slurm kills this process when the job is cancelled meanwhile: as with
//! PrologSlurmctld, the connection breaks, and the controller undoes what was made.

use rampool_proto::v1::{Failure, JobId, JobWish, ReserveJobRequest};
use rampool_slurm::commands::{self, Commands};

use super::{BufferOf, Call, Jobs};

pub(super) async fn run(call: &Call, of: BufferOf) -> Result<(), Failure> {
    let (job, (uid, gid)) = (of.job()?, of.owner()?);
    let config = call.config()?;
    let slurm = Commands::of(&config.commands, commands::DEADLINE);
    let jobs = Jobs::within(&config, &call.config, config.deadline());
    let ask = slurm.ask_of_job(job).await?;
    let wish = JobWish {
        constraints: ask.constraints,
        comment: ask.comment,
        // The buffer is counted by its capacity, and its size stands in the comment.
        licenses: String::new(),
    };
    jobs.reserve_job(ReserveJobRequest {
        id: Some(JobId { cluster: config.cluster.clone(), job }),
        wish: Some(wish),
        user: ask.user,
        uid,
        gid,
        patience_seconds: 0,
    })
    .await
}
