//! What `up` and `down` share: the operation is followed on stderr, and Ctrl-C leaves it
//! running.

use std::io::IsTerminal;
use std::pin::pin;

use rampool_proto::v1::{Event, Failure, FailureKind, Pool};
use tokio::signal::unix::{SignalKind, signal};
use tonic::Streaming;

use super::warn;
use crate::operation::{Ended, follow};
use crate::progress::{Bars, Lines, Progress};

/// Begins an operation and follows it to its end. Nothing comes back where Ctrl-C was pressed;
/// what goes on, and how to watch and undo it, has been said then.
pub(super) async fn run(
    begin: impl Future<Output = Result<Streaming<Event>, Failure>>,
    operation: &str,
    pool: &str,
) -> Result<Option<Pool>, Failure> {
    // Listened for before anything is asked: from there on a Ctrl-C must not go untold.
    let mut signals = signal(SignalKind::interrupt())
        .map_err(|error| Failure::new(FailureKind::Failed, "listen for Ctrl-C").saying(error))?;
    let mut interrupt = pin!(async move {
        signals.recv().await;
    });
    let events = tokio::select! {
        events = begin => events?,
        () = &mut interrupt => {
            warn(&left_running(operation, pool, "if it has begun there, "));
            return Ok(None);
        }
    };
    let mut progress: Box<dyn Progress> = match std::io::stderr().is_terminal() {
        true => Box::new(Bars::new()),
        false => Box::new(Lines::new(std::io::stderr())),
    };
    let operation_of_pool = format!("{operation} of {pool}");
    match follow(events, &operation_of_pool, progress.as_mut(), interrupt).await? {
        Ended::Well(pool) => Ok(Some(*pool)),
        Ended::Interrupted => {
            warn(&left_running(operation, pool, ""));
            Ok(None)
        }
    }
}

fn left_running(operation: &str, pool: &str, doubt: &str) -> String {
    let undo = match operation {
        "up" => format!("; `rampool down {pool}` undoes it"),
        _ => String::new(),
    };
    format!(
        "rampool: interrupted; {doubt}the {operation} of {pool} goes on in the controller.\n\
         rampool: watch it by `rampool status {pool}` and `rampool events {pool}`{undo}"
    )
}

#[cfg(test)]
mod tests {
    use super::left_running;

    #[test]
    fn who_leaves_is_told_how_to_watch_and_how_to_undo() {
        let words = left_running("up", "demo", "");
        for command in ["rampool status demo", "rampool events demo", "rampool down demo"] {
            assert!(words.contains(command), "{words}");
        }
        assert!(!left_running("down", "demo", "").contains("undoes"));
    }
}
