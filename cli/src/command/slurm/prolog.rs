//! The gate of a node: no job starts where memory is still held for one that is over, and none
//! that wants a pool without it. It is closed first: Slurm may start tasks of a job although this
//! fails, or is killed.

use rampool_proto::v1::{AdmitNodeRequest, Failure, JobWish};

use super::node::Held;
use super::sign::Sign;
use super::{Call, Jobs, not_told};
use crate::command::{tell, warn};

pub(super) async fn run(call: &Call) -> Result<(), Failure> {
    let job = call.environment.job().map_err(not_told)?;
    let closed = call.signs.set(job, Sign::Closed);
    let wish = call.wish()?;
    let wants = wish.is_some();
    admit(call, wish).await?;
    match closed.and_then(|()| call.signs.set(job, if wants { Sign::Open } else { Sign::Without }))
    {
        // Its tasks ask Slurm what it wants.
        Err(failure) if !wants => {
            tell(&failure);
            Ok(())
        }
        left => left,
    }
}

async fn admit(call: &Call, wish: Option<JobWish>) -> Result<(), Failure> {
    if wish.is_none() && !may_hold_something(call).await? {
        return Ok(());
    }
    let config = call.config()?;
    let question = AdmitNodeRequest {
        id: Some(call.environment.job_of(&config.cluster).map_err(not_told)?),
        node: call.environment.node().map_err(not_told)?.to_owned(),
        wish,
        ..AdmitNodeRequest::default()
    };
    let jobs = Jobs::within(&config, &call.config, config.node_deadline());
    jobs.admit_node(question).await.map(|_| ())
}

/// Whether the controller must be asked before a job starts here that wants nothing. Where the
/// agent is silent its notes tell of jobs with a pool. A node without notes is used: at worst it
/// is short of memory, while a cluster whose agents are all stopped would lose all its nodes.
async fn may_hold_something(call: &Call) -> Result<bool, Failure> {
    match call.node.held().await {
        Held::Of(jobs) => Ok(!jobs.is_empty()),
        Held::Unknown(why) => {
            let noted = call.node.has_notes()?;
            if !noted && call.node.listened() {
                warn(&format!("rampool: {why}; it has no note of a job: this one starts"));
            }
            Ok(noted)
        }
    }
}
