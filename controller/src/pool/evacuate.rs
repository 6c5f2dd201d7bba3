//! `evacuate`: every piece of memory moves off a node, one pool after the other; a pool whose spare
//! it lends does without that. Each is an operation of its pool and survives a restart; the rest
//! is begun by asking again.

use std::sync::Arc;

use futures::StreamExt;
use rampool_proto::v1::{Event, EventKind, Failure, FailureKind};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::operation::{Kind, is_last};
use super::record::{Phase, PoolRecord};
use super::state::Input;
use super::turn::Turn;
use super::{Events, Pools, replace, status};
use crate::clock::now_ms;

/// Events that a caller may lag behind.
const BUFFER: usize = 64;

impl Pools {
    /// Moves all that a node lends to others; refused before anything is moved where one of
    /// its pools cannot be moved.
    pub fn evacuate(self: &Arc<Self>, node: &str) -> Result<Events, Failure> {
        let failed = |kind| Failure::new(kind, "evacuate the node").on(node);
        if self.env.nodes.get(node).is_none() {
            return Err(failed(FailureKind::NotFound).saying("it is not a known node"));
        }
        let lends = |record: &Arc<PoolRecord>| {
            !record.is_released() && record.members().any(|piece| piece.donor == node)
        };
        let pools: Vec<Arc<PoolRecord>> = self.records().into_iter().filter(lends).collect();
        let fixed: Vec<String> = pools.iter().filter_map(|record| fixed(record)).collect();
        if !fixed.is_empty() {
            return Err(failed(FailureKind::NotNow)
                .saying(format!("nothing was moved: {}", fixed.join("; ")))
                .advising("`rampool down` ends such a pool; `rampool drain` keeps new ones off"));
        }
        let (sender, receiver) = mpsc::channel(BUFFER);
        let (all, node) = (Arc::clone(self), node.to_owned());
        // A task of its own: what was begun is seen through whoever leaves.
        tokio::spawn(async move { all.move_off(&node, &pools, &sender).await });
        Ok(ReceiverStream::new(receiver).boxed())
    }

    async fn move_off(
        self: &Arc<Self>,
        node: &str,
        pools: &[Arc<PoolRecord>],
        to: &mpsc::Sender<Event>,
    ) {
        let mut failures = Vec::new();
        for record in pools {
            let name = record.assembly.name.as_str();
            let begun = match is_spare(record, node) {
                true => self.give_up_spare(name, node).await,
                false => self.replace(name, node, "").await,
            };
            let mut events = match begun {
                Ok(events) => events,
                Err(failure) => {
                    failures.push(failure);
                    continue;
                }
            };
            while let Some(event) = events.next().await {
                if is_last(event.kind()) {
                    failures.extend(event.failure);
                } else {
                    // A caller that left: the moves go on.
                    _ = to.send(event).await;
                }
            }
        }
        _ = to.send(last(node, pools, failures.into_iter().next())).await;
    }

    /// Has a pool do without the spare that a node lends, or attaches to the operation that does.
    async fn give_up_spare(self: &Arc<Self>, name: &str, node: &str) -> Result<Events, Failure> {
        let refused =
            |said| Err(Failure::new(FailureKind::NotNow, "give up a spare").on(node).saying(said));
        let same = |kind: &Kind| matches!(kind, Kind::GiveUpSpare { donor } if donor == node);
        loop {
            let (slot, seen) = match self.turn(name, same).await? {
                Turn::Join(operation) => return Ok(operation.subscribe()),
                Turn::Free(slot, seen) => (slot, seen),
            };
            self.env.nodes.refresh(std::slice::from_ref(&seen.placement.head)).await;
            if seen.phase != Phase::Ready {
                return refused(status::sentence(&seen));
            }
            if !is_spare(&seen, node) {
                return self.replace(name, node, "").await;
            }
            if self.taken_spare(&seen).is_some_and(|taken| taken.donor == node) {
                return refused(format!(
                    "{name} has lost a member, and its spare {node} is taking that place; \
                     evacuate {node} again when that has ended"
                ));
            }
            let kind = Kind::GiveUpSpare { donor: node.to_owned() };
            let (record, first) = (PoolRecord::clone(&seen), Input::GiveUpSpare(node.to_owned()));
            if let Some(operation) = self.start(&slot, &seen, kind, record, first) {
                return Ok(operation.subscribe());
            }
        }
    }
}

/// What became of it all.
fn last(node: &str, pools: &[Arc<PoolRecord>], failure: Option<Failure>) -> Event {
    let last = Event {
        time_ms: now_ms(),
        operation: "evacuate".to_owned(),
        node: node.to_owned(),
        ..Event::default()
    };
    let spares = pools.iter().filter(|record| is_spare(record, node)).count();
    let moved = pools.len() - spares;
    let spares = if spares == 0 { String::new() } else { format!(", {spares} spares given up") };
    match failure {
        None => Event {
            kind: EventKind::Finished.into(),
            text: format!("{node} lends nothing any more: {moved} moved{spares}"),
            ..last
        },
        Some(failure) => Event {
            kind: EventKind::GaveUp.into(),
            text: failure.to_string(),
            failure: Some(failure),
            ..last
        },
    }
}

fn is_spare(record: &PoolRecord, node: &str) -> bool {
    record.placement.spares.iter().any(|spare| spare.donor == node)
}

/// Why what a node lends to a pool stays where it is, if so.
fn fixed(record: &PoolRecord) -> Option<String> {
    replace::immovable(record).map(|why| format!("{}: {why}", record.assembly.name))
}
