//! What is taken away is asked for once more where a node does not answer: its agent may be
//! starting, or its link be up again since a moment. Every such call may be repeated. What cannot
//! be reached even then is told, and stays held or owed.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rampool_proto::v1::{Event, EventKind, Failure, FailureKind};
use tokio::time::Instant;

use super::operation::Operation;
use super::state::{State, Step};
use crate::nodes::Nodes;

/// How long an operation waits for nodes that do not answer, all its calls together. A lost node is
/// dialled again after 5 s at the latest; the rest is for the dial.
pub const PATIENCE: Duration = Duration::from_secs(7);

/// The patience of one operation.
pub(super) struct Patience {
    nodes: Arc<Nodes>,
    operation: Arc<Operation>,
    length: Duration,
    /// When it ends; it begins with the first call that was not answered.
    until: OnceLock<Instant>,
}

impl Patience {
    pub(super) fn new(nodes: Arc<Nodes>, operation: Arc<Operation>, length: Duration) -> Arc<Self> {
        Arc::new(Self { nodes, operation, length, until: OnceLock::new() })
    }

    /// Whether a call is worth making once more: its node did not answer, and does now.
    pub(super) async fn sees_back(&self, node: &str, failure: &Failure) -> bool {
        if failure.kind() != FailureKind::NotNow {
            return false;
        }
        let until = *self.until.get_or_init(|| Instant::now() + self.length);
        if Instant::now() >= until {
            return false;
        }
        self.operation.tell(Event {
            node: node.to_owned(),
            kind: EventKind::Note.into(),
            text: format!(
                "{node} does not answer: it is waited for, at most {} s",
                self.length.as_secs()
            ),
            ..Event::default()
        });
        tokio::time::timeout_at(until, self.nodes.wait_reachable(node)).await.is_ok()
    }
}

/// Whether a step gives back what a pool holds, and its call may be made twice. The first unmount
/// of a pool in use may not: whether the mount is still in use is for its own answer alone to say.
pub(super) fn may_ask_again(step: Step, state: &State) -> bool {
    let State::Releasing(release) = state else { return false };
    match step {
        Step::Unmount | Step::UnmountShare(_) => release.back.is_none(),
        // What is merely owed is asked for whenever its node answers.
        Step::PayDebt(_) => false,
        _ => true,
    }
}
