//! What all operations share: they are followed on stderr, and Ctrl-C leaves them running.

use std::io::IsTerminal;
use std::pin::pin;

use rampool_proto::v1::{Event, Failure, FailureKind, Pool};
use tokio::signal::unix::{SignalKind, signal};
use tonic::Streaming;

use super::warn;
use crate::operation::{Ended, follow, proven};
use crate::progress::{Bars, Lines, Progress, Scope};

/// What is followed, so that it can be named.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation<'a> {
    /// `up` of a pool.
    Up(&'a str),
    /// Any other operation on one pool, by its name in events.
    OnPool(&'static str, &'a str),
    /// Whatever goes on with a pool.
    Any(&'a str),
    /// `evacuate` of a node.
    Evacuate(&'a str),
}

impl Operation<'_> {
    /// e.g. "up of demo".
    fn name(self) -> String {
        match self {
            Self::Up(pool) => format!("up of {pool}"),
            Self::OnPool(operation, pool) => format!("{operation} of {pool}"),
            Self::Any(pool) => format!("operation on {pool}"),
            Self::Evacuate(node) => format!("evacuation of {node}"),
        }
    }

    /// What who leaves is told; `doubt` is said where it is not known to have begun.
    fn left_running(self, doubt: &str) -> String {
        let name = self.name();
        let watch = match self {
            Self::Up(pool) | Self::OnPool(_, pool) | Self::Any(pool) => format!(
                "`rampool wait {pool}` follows it again, `rampool status {pool}` and `rampool \
                 events {pool}` tell of it"
            ),
            Self::Evacuate(node) => {
                format!("watch it by `rampool status` and `rampool nodes {node}`")
            }
        };
        let undo = match self {
            Self::Up(pool) => format!("; `rampool down {pool}` undoes it"),
            _ => String::new(),
        };
        format!(
            "rampool: interrupted; {doubt}the {name} goes on in the controller.\n\
             rampool: {watch}{undo}"
        )
    }
}

/// Begins an operation on one pool and follows it to its end. Nothing comes back where Ctrl-C
/// was pressed; what goes on, and how to watch and undo it, has been said then.
pub(super) async fn run(
    begin: impl Future<Output = Result<Streaming<Event>, Failure>>,
    operation: Operation<'_>,
) -> Result<Option<Pool>, Failure> {
    match run_to_end(begin, operation, Scope::OnePool).await? {
        Ended::Well(pool) => proven(pool, &operation.name()).map(Some),
        Ended::Interrupted => Ok(None),
    }
}

/// The same of an operation whose success the caller proves in its own way.
pub(super) async fn run_to_end(
    begin: impl Future<Output = Result<Streaming<Event>, Failure>>,
    operation: Operation<'_>,
    scope: Scope,
) -> Result<Ended, Failure> {
    // Listened for before anything is asked: from there on a Ctrl-C must not go untold.
    let mut signals = signal(SignalKind::interrupt())
        .map_err(|error| Failure::new(FailureKind::Failed, "listen for Ctrl-C").saying(error))?;
    let mut interrupt = pin!(async move {
        signals.recv().await;
    });
    let events = tokio::select! {
        events = begin => events?,
        () = &mut interrupt => {
            warn(&operation.left_running("if it has begun there, "));
            return Ok(Ended::Interrupted);
        }
    };
    let mut progress: Box<dyn Progress> = match std::io::stderr().is_terminal() {
        true => Box::new(Bars::new(scope)),
        false => Box::new(Lines::new(std::io::stderr(), scope)),
    };
    let ended = follow(events, &operation.name(), progress.as_mut(), interrupt).await?;
    if let Ended::Interrupted = ended {
        warn(&operation.left_running(""));
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::Operation;

    #[test]
    fn who_leaves_is_told_how_to_watch_and_how_to_undo() {
        let words = Operation::Up("demo").left_running("");
        for command in ["wait demo", "status demo", "events demo", "down demo"] {
            assert!(words.contains(&format!("`rampool {command}`")), "{words}");
        }
        let down = Operation::OnPool("down", "demo").left_running("");
        assert!(down.contains("the down of demo goes on") && !down.contains("undoes"), "{down}");
        let evacuation = Operation::Evacuate("n3").left_running("if it has begun there, ");
        assert!(evacuation.contains("rampool nodes n3"), "{evacuation}");
        assert!(!evacuation.contains("wait"), "{evacuation}");
    }
}
