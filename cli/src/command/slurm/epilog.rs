//! A job has left this node. Slurm gives the node to others when this ends: not before its memory
//! is free, or else the node takes no new jobs.

use std::path::Path;

use rampool_proto::v1::{Failure, FailureKind, LeaveNodeRequest};
use rampool_slurm::commands::{self, Commands, Drained};

use super::node::Held;
use super::{Call, Jobs, not_told};
use crate::command::{tell, warn};
use crate::render::plain::one_line;

pub(super) async fn run(call: &Call) -> Result<(), Failure> {
    let job = call.environment.job().map_err(not_told)?;
    if let Err(failure) = call.signs.remove(job) {
        tell(&failure);
    }
    match had_a_pool(call, job).await {
        Ok(false) => return Ok(()),
        Ok(true) => {}
        Err(failure) => return drain(call, job, failure).await,
    }
    match leave(call).await {
        Ok(()) => Ok(()),
        Err(failure) => drain(call, job, failure).await,
    }
}

/// Whether anything of the job may be here. What the job wants may have been changed since it
/// began, and its note be gone: the agent knows.
async fn had_a_pool(call: &Call, job: u32) -> Result<bool, Failure> {
    if call.node.has_note(job)? || call.wish()?.is_some() {
        return Ok(true);
    }
    // Where the agent is silent there is no sign that the job ever had one.
    Ok(matches!(call.node.held().await, Held::Of(jobs) if jobs.contains(&job)))
}

async fn leave(call: &Call) -> Result<(), Failure> {
    let config = call.config()?;
    let question = LeaveNodeRequest {
        id: Some(call.environment.job_of(&config.cluster).map_err(not_told)?),
        node: call.environment.node().map_err(not_told)?.to_owned(),
        ..LeaveNodeRequest::default()
    };
    let jobs = Jobs::within(&config, &call.config, config.node_deadline());
    jobs.leave_node(question).await.map(|_| ())
}

/// Takes this node out of use, for the reason that is told. Slurm would do so too where this hook
/// fails, with no more of a reason than "Epilog error".
async fn drain(call: &Call, job: u32, why: Failure) -> Result<(), Failure> {
    tell(&why);
    let node = call.environment.node().map_err(not_told)?;
    // A configuration that cannot be read may be the very reason.
    let folder = call.config().map(|config| config.commands);
    let folder = folder.as_deref().unwrap_or(Path::new(commands::FOLDER));
    let commands =
        Commands::of(folder, commands::DEADLINE).configured_by(call.environment.get("SLURM_CONF"));
    match commands.drain_node(node, &reason(job, &why)).await? {
        Drained::Ours => {}
        Drained::Before(other) => {
            warn(&format!("rampool: {node} was out of use before: {}", one_line(&other)));
        }
    }
    Ok(())
}

/// For `sinfo -R`, where few words fit: what is not known to be free.
fn reason(job: u32, why: &Failure) -> String {
    let cause = match (why.kind(), why.said.is_empty()) {
        (FailureKind::TimedOut, _) | (_, true) => why.step.clone(),
        (_, false) => format!("{}: {}", why.step, why.said),
    };
    format!("memory of job {job} not known to be free: {cause}")
}
