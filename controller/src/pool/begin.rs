//! An operation's life: begun under its pool's lock, driven in a task of its own, ended with the
//! name free for the next one before anybody hears of the end.

use std::sync::Arc;

use rampool_proto::v1::{Event, EventKind, Failure, FailureKind, PoolId};
use tokio::sync::OwnedSemaphorePermit;

use super::drive::Drive;
use super::operation::{Kind, Operation};
use super::outcome::Outcome;
use super::record::PoolRecord;
use super::slot::Slot;
use super::state::Input;
use super::{Pools, status};

impl Pools {
    /// Starts an operation, which goes on whoever leaves. The slot is locked by the caller, who
    /// puts the operation into it. The permit is given back at the end.
    pub(super) fn begin(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        kind: Kind,
        record: PoolRecord,
        first: Input,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Arc<Operation> {
        let id = PoolId::from(&record.assembly);
        let (operation, orders) = Operation::new(kind, id, Arc::clone(&slot.journal));
        let drive = Drive::new(
            Arc::clone(&self.env),
            Arc::clone(slot),
            Arc::clone(&operation),
            orders,
            record,
        );
        let (pools, slot, driven) = (Arc::clone(self), Arc::clone(slot), Arc::clone(&operation));
        tokio::spawn(async move {
            // A task within the task: a panic in it must not leave the name in use for ever.
            let outcome = tokio::spawn(drive.run(first)).await;
            match outcome {
                Ok(outcome) => pools.finish(&slot, &driven, outcome),
                Err(error) => broken(&slot, &driven, &error),
            }
            drop(permit);
        });
        operation
    }

    fn finish(&self, slot: &Slot, operation: &Operation, outcome: Outcome) {
        if outcome.record.is_released() {
            Self::lock(&self.released).extend(outcome.record.assemblies());
        }
        slot.settle(outcome.record.clone());
        operation.tell(match outcome.failure {
            None => Event {
                kind: EventKind::Finished.into(),
                text: status::sentence(&outcome.record),
                result: Some(self.seen(&outcome.record, outcome.usage)),
                ..Event::default()
            },
            Some(failure) => gave_up(failure),
        });
    }
}

fn gave_up(failure: Failure) -> Event {
    Event {
        kind: EventKind::GaveUp.into(),
        node: failure.node.clone(),
        text: failure.to_string(),
        failure: Some(failure),
        ..Event::default()
    }
}

/// What is in the store says how to go on, as after a crash of the whole controller.
fn broken(slot: &Slot, operation: &Operation, error: &tokio::task::JoinError) {
    tracing::error!(%error, "an operation broke off");
    slot.lock().operation = None;
    operation.tell(gave_up(
        Failure::new(FailureKind::Failed, operation.kind.name())
            .saying("a fault in the controller broke it off; it is settled as after a restart")
            .advising("report it with the controller's log: journalctl -u rampool-controller"),
    ));
}
