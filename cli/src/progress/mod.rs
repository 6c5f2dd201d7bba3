//! Showing an operation while it runs: bars on a terminal, plain lines elsewhere; always on
//! stderr, so that stdout holds the result alone.

mod bars;
mod lines;

use std::time::Duration;

use rampool_proto::size::{MIB, Size};
use rampool_proto::v1::{Event, EventKind};

use crate::render::amount::rough;
use crate::render::plain::one_line;

pub use bars::Bars;
pub use lines::Lines;

/// Which pools an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One, that the reader knows.
    OnePool,
    /// Several: each event says whose it is.
    ManyPools,
}

/// Something that shows an operation's events.
pub trait Progress {
    /// Shows one event.
    fn show(&mut self, event: &Event);
    /// The operation has ended, or is left.
    fn end(&mut self);
}

/// Seconds from `first_ms` to the event, by the controller's clock: so a caller who joins an
/// operation late sees its true age.
fn seconds_since(first_ms: u64, event: &Event) -> f64 {
    // Operations last days at most, which f64 holds to the millisecond.
    Duration::from_millis(event.time_ms.saturating_sub(first_ms)).as_secs_f64()
}

/// The step an event is of, with its pool where there are several; empty where it is of none.
fn step_of(event: &Event, scope: Scope) -> String {
    match (scope, &event.pool) {
        (Scope::ManyPools, Some(pool)) if !pool.name.is_empty() && !event.step.is_empty() => {
            one_line(&format!("{} {}", pool.name, event.step))
        }
        _ => one_line(&event.step),
    }
}

/// `, about 2m 5s left`; empty where that is too short to be read: an estimate is noise there.
fn about(left: Duration) -> String {
    match left.as_secs() {
        0 | 1 => String::new(),
        _ => format!(", about {} left", rough(left)),
    }
}

/// What happened, in one line.
fn words(event: &Event) -> String {
    if let Some(failure) = &event.failure {
        return one_line(&failure.to_string());
    }
    if !event.text.is_empty() {
        return one_line(&event.text);
    }
    match event.kind() {
        EventKind::Started => "begins".into(),
        EventKind::Done if event.total <= 1 => "done".into(),
        _ if event.total > 0 => {
            let (done, total) = amounts(event);
            format!("{done} of {total}")
        }
        _ => String::new(),
    }
}

/// Totals from here on are bytes, below it nodes: a step counts one or the other, no cluster
/// has a million nodes, and no donor lends less than 1 MiB.
const LEAST_BYTES: u64 = MIB;

/// How far a step is, in words.
fn amounts(event: &Event) -> (String, String) {
    let word = |amount: u64| match event.total >= LEAST_BYTES {
        true => Size(amount).to_string(),
        false => amount.to_string(),
    };
    (word(event.done), word(event.total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_text_says_how_far_it_is() {
        let event = |kind: EventKind, done, total| {
            words(&Event { kind: kind.into(), done, total, ..Event::default() })
        };
        assert_eq!(event(EventKind::Started, 0, 4), "begins");
        assert_eq!(event(EventKind::Progress, 3, 4), "3 of 4");
        assert_eq!(event(EventKind::Progress, 3 * MIB, 4 * MIB), "3 MiB of 4 MiB");
        assert_eq!(event(EventKind::Done, 0, 0), "done");
    }
}
