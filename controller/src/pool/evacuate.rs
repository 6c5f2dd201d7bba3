//! `evacuate`: every piece of memory moves off a node, one pool after the other; a pool whose spare
//! it lends does without that. Each is an operation of its pool and survives a restart; that there
//! are more is in the store, until all were tried.

use std::sync::Arc;

use futures::StreamExt;
use rampool_proto::v1::{Event, EventKind, Failure, FailureKind};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::operation::is_last;
use super::record::PoolRecord;
use super::spare::is_spare;
use super::up::FIRST_WORDS;
use super::{Events, Pools, replace, store_failure};
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
        failures.extend(self.note_evacuation(node, true).await.err());
        // What the next controller would not know of is not begun.
        let pools = if failures.is_empty() { pools } else { &[] };
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
        failures.extend(self.note_evacuation(node, false).await.err());
        _ = to.send(last(node, pools, failures.into_iter().next())).await;
    }

    async fn note_evacuation(&self, node: &str, begun: bool) -> Result<(), Failure> {
        self.env.store.evacuate(node, begun).await.map_err(store_failure)
    }

    /// Ends the evacuations that an earlier controller began.
    pub(super) fn go_on_evacuating(self: &Arc<Self>) {
        for node in std::mem::take(&mut *Self::lock(&self.evacuated)) {
            let pools = Arc::clone(self);
            tokio::spawn(async move { pools.evacuate_on(&node).await });
        }
    }

    async fn evacuate_on(self: &Arc<Self>, node: &str) {
        tracing::info!(node, "its evacuation goes on");
        let all: Vec<String> = self.env.nodes.all().into_iter().map(|node| node.name).collect();
        self.env.nodes.wait_known(&all, FIRST_WORDS).await;
        let ended = match self.evacuate(node) {
            // Nobody follows it: what was begun is seen through.
            Ok(_) => return,
            Err(failure) => {
                tracing::warn!(node, %failure, "it is not evacuated any further");
                self.note_evacuation(node, false).await
            }
        };
        if let Err(failure) = ended {
            tracing::error!(node, %failure, "the end of its evacuation is not recorded");
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

/// Why what a node lends to a pool stays where it is, if so.
fn fixed(record: &PoolRecord) -> Option<String> {
    replace::immovable(record).map(|why| format!("{}: {why}", record.assembly.name))
}
