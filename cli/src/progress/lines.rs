//! Plain lines, one an event: `[  0.42s] attach n1: 4 of 4 sessions`.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use rampool_proto::v1::{Event, EventKind};

use crate::render::plain::one_line;

use super::{LEAST_BYTES, Progress, Scope, about, seconds_since, step_of, words};

/// In a log, a step's progress is told at most this often.
const PROGRESS_EVERY_MS: u64 = 2_000;

/// Writes plain lines.
#[derive(Debug)]
pub struct Lines<W> {
    to: W,
    scope: Scope,
    first_ms: Option<u64>,
    /// How progress of each step on each node was told.
    told: HashMap<(String, String), Told>,
}

/// When progress was told, and how far it was then.
#[derive(Clone, Copy, Debug)]
struct Told {
    first_ms: u64,
    first_done: u64,
    last_ms: u64,
}

impl Told {
    fn first(event: &Event) -> Self {
        Self { first_ms: event.time_ms, first_done: event.done, last_ms: event.time_ms }
    }

    /// What is left at the pace since the first time, of bytes.
    fn left(self, event: &Event) -> Duration {
        let ms = event.time_ms.saturating_sub(self.first_ms);
        let moved = event.done.saturating_sub(self.first_done);
        if event.total < LEAST_BYTES || moved == 0 {
            return Duration::ZERO;
        }
        let left = u128::from(event.total.saturating_sub(event.done));
        let left_ms = left * u128::from(ms) / u128::from(moved);
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(u64::MAX))
    }
}

impl<W: Write> Lines<W> {
    /// Lines written to `to`.
    pub fn new(to: W, scope: Scope) -> Self {
        Self { to, scope, first_ms: None, told: HashMap::new() }
    }

    /// What is left by the progress told so far; nothing where this is too soon to be told.
    fn estimate(&mut self, event: &Event) -> Option<Duration> {
        if event.kind() != EventKind::Progress {
            return Some(Duration::ZERO);
        }
        let key = (step_of(event, self.scope), event.node.clone());
        match self.told.get_mut(&key) {
            Some(told) if event.time_ms < told.last_ms.saturating_add(PROGRESS_EVERY_MS) => None,
            // Behind the first: it began anew.
            Some(told) if event.done >= told.first_done => {
                told.last_ms = event.time_ms;
                Some(told.left(event))
            }
            _ => {
                self.told.insert(key, Told::first(event));
                Some(Duration::ZERO)
            }
        }
    }
}

/// One line of an operation that began at `first_ms`.
fn line(event: &Event, first_ms: u64, scope: Scope) -> String {
    let mut line = format!("[{:6.2}s]", seconds_since(first_ms, event));
    // What concerns no one step concerns the operation.
    let step = step_of(event, scope);
    let step = if step.is_empty() { &event.operation } else { &step };
    for part in [step, &event.node] {
        if !part.is_empty() {
            line.push(' ');
            line.push_str(&one_line(part));
        }
    }
    let words = words(event);
    if !words.is_empty() {
        line.push_str(": ");
        line.push_str(&words);
    }
    line
}

impl<W: Write> Progress for Lines<W> {
    fn show(&mut self, event: &Event) {
        let first_ms = *self.first_ms.get_or_insert(event.time_ms);
        // How it ended badly is told in full by the command itself.
        if event.kind() == EventKind::GaveUp {
            return;
        }
        if let Some(left) = self.estimate(event) {
            let line = line(event, first_ms, self.scope) + &about(left);
            // A closed stderr must not stop an operation from being followed to its end.
            let _ = writeln!(self.to, "{line}");
        }
    }

    fn end(&mut self) {
        let _ = self.to.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rampool_proto::size::MIB;
    use rampool_proto::v1::{Failure, FailureKind, PoolId};

    fn event(time_ms: u64, step: &str, node: &str, kind: EventKind, text: &str) -> Event {
        Event {
            time_ms,
            step: step.into(),
            node: node.into(),
            kind: kind.into(),
            text: text.into(),
            ..Event::default()
        }
    }

    #[test]
    fn lines_tell_time_step_node_and_words() {
        let mut lines = Lines::new(Vec::new(), Scope::OnePool);
        let failure = Failure::new(FailureKind::Failed, "log in to n3").saying("no\nroute");
        for event in [
            event(1_000, "up", "", EventKind::Started, ""),
            event(1_000, "export", "n2", EventKind::Progress, "64 MiB of 256 MiB"),
            event(1_100, "export", "n2", EventKind::Progress, "too soon to tell"),
            event(1_100, "export", "n3", EventKind::Progress, "32 MiB of 256 MiB"),
            event(1_420, "attach", "n1", EventKind::Done, "4 of 4 sessions"),
            event(3_000, "export", "n2", EventKind::Progress, "128 MiB of 256 MiB"),
            Event {
                failure: Some(failure),
                ..event(63_000, "attach", "n1", EventKind::Failed, "")
            },
        ] {
            lines.show(&event);
        }
        lines.end();
        let expected = "\
[  0.00s] up: begins
[  0.00s] export n2: 64 MiB of 256 MiB
[  0.10s] export n3: 32 MiB of 256 MiB
[  0.42s] attach n1: 4 of 4 sessions
[  2.00s] export n2: 128 MiB of 256 MiB
[ 62.00s] attach n1: log in to n3: no; route
";
        assert_eq!(String::from_utf8(lines.to).unwrap(), expected);
    }
    #[test]
    fn bytes_are_told_with_what_is_left_and_several_pools_with_their_names() {
        let mut lines = Lines::new(Vec::new(), Scope::ManyPools);
        for (time_ms, name, done) in [
            (1_000, "demo", 1),
            (2_000, "big", 0),
            (11_000, "demo", 3),
            (21_000, "demo", 0),
            (22_000, "big", 0),
        ] {
            let rebuild = event(time_ms, "rebuild", "n1", EventKind::Progress, "");
            let pool = Some(PoolId { name: name.into(), generation: 3 });
            lines.show(&Event { pool, done: done * MIB, total: 16 * MIB, ..rebuild });
        }
        let expected = "\
[  0.00s] demo rebuild n1: 1 MiB of 16 MiB
[  1.00s] big rebuild n1: 0 B of 16 MiB
[ 10.00s] demo rebuild n1: 3 MiB of 16 MiB, about 1m 5s left
[ 20.00s] demo rebuild n1: 0 B of 16 MiB
[ 21.00s] big rebuild n1: 0 B of 16 MiB
";
        assert_eq!(String::from_utf8(lines.to).unwrap(), expected);
    }
}
