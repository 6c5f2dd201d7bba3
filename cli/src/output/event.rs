//! A pool's history.

use rampool_proto::v1::{Event, EventKind, ListEventsResponse};
use serde::Serialize;

use super::failure::FailureReport;
use super::moment::Moment;
use super::pool::known;
use super::words::word;

/// A pool's events, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Events {
    /// The events.
    pub events: Vec<EventLine>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct EventLine {
    pub sequence: u64,
    pub at: Option<Moment>,
    pub pool: String,
    pub generation: u32,
    pub operation: String,
    pub step: Option<String>,
    pub node: Option<String>,
    pub kind: String,
    pub text: String,
    pub done: u64,
    pub total: u64,
    pub took_ms: u64,
    pub failure: Option<FailureReport>,
}

impl From<ListEventsResponse> for Events {
    fn from(answer: ListEventsResponse) -> Self {
        let mut events: Vec<EventLine> = answer.events.into_iter().map(Into::into).collect();
        events.sort_by_key(|event| event.sequence);
        Self { events }
    }
}

impl From<Event> for EventLine {
    fn from(event: Event) -> Self {
        let pool = event.pool.unwrap_or_default();
        Self {
            sequence: event.sequence,
            at: Moment::known(event.time_ms),
            pool: pool.name,
            generation: pool.generation,
            operation: event.operation,
            step: known(event.step),
            node: known(event.node),
            kind: word::<EventKind>(event.kind),
            text: event.text,
            done: event.done,
            total: event.total,
            took_ms: event.took_ms,
            failure: event.failure.map(Into::into),
        }
    }
}
