//! Plain lines, one an event: `[  0.42s] attach n1: 4 of 4 sessions`.

use std::collections::HashMap;
use std::io::Write;

use rampool_proto::v1::{Event, EventKind};

use crate::render::plain::one_line;

use super::{Progress, seconds_since, words};

/// In a log, a step's progress is told at most this often.
const PROGRESS_EVERY_MS: u64 = 2_000;

/// Writes plain lines.
#[derive(Debug)]
pub struct Lines<W> {
    to: W,
    first_ms: Option<u64>,
    /// When progress of a step on a node was last told.
    told_ms: HashMap<(String, String), u64>,
}

impl<W: Write> Lines<W> {
    /// Lines written to `to`.
    pub fn new(to: W) -> Self {
        Self { to, first_ms: None, told_ms: HashMap::new() }
    }

    fn too_soon(&mut self, event: &Event) -> bool {
        if event.kind() != EventKind::Progress {
            return false;
        }
        let key = (event.step.clone(), event.node.clone());
        match self.told_ms.get(&key) {
            Some(told) if event.time_ms < told + PROGRESS_EVERY_MS => true,
            _ => {
                self.told_ms.insert(key, event.time_ms);
                false
            }
        }
    }
}

/// One line of an operation that began at `first_ms`.
fn line(event: &Event, first_ms: u64) -> String {
    let mut line = format!("[{:6.2}s]", seconds_since(first_ms, event));
    // What concerns no one step concerns the operation.
    let step = if event.step.is_empty() { &event.operation } else { &event.step };
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
        if event.kind() != EventKind::GaveUp && !self.too_soon(event) {
            // A closed stderr must not stop an operation from being followed to its end.
            let _ = writeln!(self.to, "{}", line(event, first_ms));
        }
    }

    fn end(&mut self) {
        let _ = self.to.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rampool_proto::v1::{Failure, FailureKind};

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
        let mut lines = Lines::new(Vec::new());
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
}
