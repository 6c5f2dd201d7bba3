//! The last gate, before each task: no line of a user's program runs without its scratch, whatever
//! became of the node's Prolog. Its output is for slurmstepd, which sets variables of it and prints
//! lines of it in the job's own output.

use std::io::Write;

use rampool_proto::v1::{Failure, FailureKind};
use rampool_slurm::commands::{self, Commands};
use rampool_slurm::environment::Environment;

use super::sign::Sign;
use super::{Call, not_told};
use crate::command::warn;
use crate::render::plain::one_line;

pub(super) async fn run(call: &Call) -> Result<(), Failure> {
    let job = call.environment.job().map_err(not_told)?;
    let text = match wants_scratch(call, job).await {
        Ok(false) => return Ok(()),
        Ok(true) => scratch(call, job).await,
        Err(failure) => Err(failure),
    };
    match text {
        Ok(text) => say(&text),
        Err(failure) => {
            // What a task prolog writes to stderr nobody ever sees.
            say(&format!("print rampool: {}\n", one_line(&failure.to_string())))?;
            Err(failure)
        }
    }
}

/// Whether the task must have scratch: as the node's Prolog said, the agent knows, or, where both
/// are silent, Slurm.
async fn wants_scratch(call: &Call, job: u32) -> Result<bool, Failure> {
    match call.signs.get(job)? {
        Some(Sign::Open) => Ok(true),
        Some(Sign::Without) => Ok(false),
        Some(Sign::Closed) => {
            let step = format!("give job {job} its scratch");
            Err(Failure::new(FailureKind::NotNow, step)
                .saying("this node's Prolog did not let the job in")
                .advising("sinfo -R and slurmd's log say why; tell your administrators"))
        }
        // Its Prolog failed before it called us; or the job is older than this program here.
        None if call.node.has_note(job)? => Ok(true),
        None => wants_as_slurm_says(call, job).await,
    }
}

async fn wants_as_slurm_says(call: &Call, job: u32) -> Result<bool, Failure> {
    let commands = Commands::of(&call.config()?.commands, commands::DEADLINE)
        .configured_by(call.environment.get("SLURM_CONF"));
    let ask = commands.ask_of_job(job).await?;
    let told: Environment =
        [("SLURM_JOB_CONSTRAINTS", ask.constraints), ("SLURM_JOB_COMMENT", ask.comment)]
            .into_iter()
            .collect();
    Ok(call.wish_of(&told)?.is_some())
}

/// What slurmstepd is told of a job's scratch.
async fn scratch(call: &Call, job: u32) -> Result<String, Failure> {
    let task = call.node.task(job).await?;
    for remark in &task.remarks {
        warn(&format!("rampool: {}", one_line(remark)));
    }
    let lines = task.lines.iter().map(|line| format!("print {}\n", one_line(line)));
    Ok(format!("export RAMPOOL_DIR={}\n{}", path(&task.path)?, lines.collect::<String>()))
}

/// A path that is one, and stays one line.
fn path(path: &str) -> Result<&str, Failure> {
    match path.starts_with('/') && !path.contains(char::is_control) {
        true => Ok(path),
        false => Err(Failure::new(FailureKind::Failed, "give the job its scratch")
            .saying(format!("the agent's path {path:?} is none"))),
    }
}

fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
        Failure::new(FailureKind::Failed, "tell slurmstepd of the job's scratch").saying(error)
    })
}
