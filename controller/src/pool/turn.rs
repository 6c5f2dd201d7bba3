//! Whose turn it is: one operation a pool at a time. The same request again joins the one in
//! flight; what the controller does by itself is waited for; anything else is refused by name.

use std::sync::Arc;

use futures::{StreamExt, stream};
use rampool_proto::v1::{Event, EventKind, Failure, FailureKind, PoolId};

use tokio::sync::OwnedSemaphorePermit;

use super::operation::{Kind, Operation};
use super::record::PoolRecord;
use super::slot::Slot;
use super::state::Input;
use super::{Events, Pools, status, unknown};
use crate::clock::now_ms;

/// What a request finds.
pub(super) enum Turn {
    /// The very operation that is asked for.
    Join(Arc<Operation>),
    /// Nothing is going on, and this is the record.
    Free(Arc<Slot>, Arc<PoolRecord>),
}

impl Pools {
    /// Waits for its turn with a pool. `same` says whether an operation in flight is the one
    /// that is asked for.
    pub(super) async fn turn(
        &self,
        name: &str,
        same: impl Fn(&Kind) -> bool,
    ) -> Result<Turn, Failure> {
        loop {
            let slot = self.slot(name).ok_or_else(|| unknown(name))?;
            let now = slot.now();
            match now.operation {
                None => {
                    let record = now.record.ok_or_else(|| unknown(name))?;
                    return Ok(Turn::Free(slot, record));
                }
                Some(operation) if same(&operation.kind) => return Ok(Turn::Join(operation)),
                Some(operation) if operation.kind == Kind::Repair => see_out(&operation).await,
                Some(operation) => {
                    let what = operation.kind.name();
                    return Err(Failure::new(FailureKind::NotNow, "begin with the pool")
                        .saying(format!("`{what}` of {name} is under way"))
                        .advising(format!("`rampool wait {name}` follows it to its end")));
                }
            }
        }
    }

    /// Begins an operation, unless something happened since `seen` was looked at. The record may
    /// differ from it in what is noted of nodes.
    pub(super) fn start(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        seen: &Arc<PoolRecord>,
        kind: Kind,
        record: PoolRecord,
        first: Input,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Option<Arc<Operation>> {
        let mut now = slot.lock();
        if now.operation.is_some() || now.record.as_ref() != Some(seen) {
            return None;
        }
        let operation = self.begin(slot, kind, record, first, permit);
        now.operation = Some(Arc::clone(&operation));
        Some(operation)
    }

    /// The answer to who asks for what is so already.
    pub(super) async fn so_already(&self, operation: &str, record: &PoolRecord) -> Events {
        let pool = self.status_of(record).await;
        let finished = Event {
            time_ms: now_ms(),
            pool: Some(PoolId::from(&record.assembly)),
            operation: operation.to_owned(),
            kind: EventKind::Finished.into(),
            text: format!("it is so already: {}", status::sentence(record)),
            result: Some(pool),
            ..Event::default()
        };
        stream::iter([finished]).boxed()
    }

    /// A record that also knows under which boot a node joins the pool.
    pub(super) fn with_boot_of(&self, node: &str, record: &PoolRecord) -> PoolRecord {
        let mut record = record.clone();
        if let Some(inventory) = self.env.nodes.get(node).and_then(|known| known.inventory) {
            record.boot_ids.insert(node.to_owned(), inventory.boot_id.clone());
        }
        record
    }
}

/// Waits for an operation's end.
pub(super) async fn see_out(operation: &Arc<Operation>) {
    let mut events = operation.subscribe();
    while events.next().await.is_some() {}
}
