//! The last gate, before each task: no line of a user's program runs without its scratch. Its
//! output is for slurmstepd, which sets variables and prints lines of it in the job's own output.

use std::io::Write;

use rampool_proto::v1::{Failure, FailureKind};

use super::{Call, not_told};
use crate::command::warn;
use crate::render::plain::one_line;

pub(super) async fn run(call: &Call) -> Result<(), Failure> {
    let job = call.environment.job().map_err(not_told)?;
    if !call.node.has_note(job)? {
        return Ok(());
    }
    match scratch(call, job).await {
        Ok(text) => say(&text),
        Err(failure) => {
            // What a task prolog writes to stderr nobody ever sees.
            say(&format!("print rampool: {}\n", one_line(&failure.to_string())))?;
            Err(failure)
        }
    }
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
