//! A bar a step, on a terminal.

use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rampool_proto::v1::{Event, EventKind};

use super::{LEAST_BYTES, Progress, Scope, about, seconds_since, step_of, words};
use crate::render::plain::one_line;

/// Steps with a total.
const BAR: &str = "{prefix:12} {bar:30.cyan} {msg}";
/// Steps of unknown length.
const SPINNER: &str = "{prefix:12} {spinner} {msg}";
/// How often a spinner turns.
const TURN: std::time::Duration = std::time::Duration::from_millis(120);

/// Draws bars.
#[derive(Debug)]
pub struct Bars {
    screen: MultiProgress,
    scope: Scope,
    bars: HashMap<String, ProgressBar>,
    first_ms: Option<u64>,
}

impl Bars {
    /// Bars on stderr.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self::on(ProgressDrawTarget::stderr(), scope)
    }

    fn on(target: ProgressDrawTarget, scope: Scope) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        Self { screen, scope, bars: HashMap::new(), first_ms: None }
    }

    /// The step's bar; a step that begins anew, as undoing may, gets a new one.
    fn bar(&mut self, event: &Event) -> ProgressBar {
        let anew = |bar: &ProgressBar| bar.is_finished() && event.kind() == EventKind::Started;
        let step = step_of(event, self.scope);
        if let Some(bar) = self.bars.get(&step).filter(|bar| !anew(bar)) {
            return bar.clone();
        }
        let bar = self.screen.add(ProgressBar::no_length().with_style(style(SPINNER)));
        bar.set_prefix(step.clone());
        bar.enable_steady_tick(TURN);
        self.bars.insert(step, bar.clone());
        bar
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants of this file, tested below")
        .progress_chars("=> ")
}

/// What stands beside a bar.
fn message(event: &Event, bar: &ProgressBar) -> String {
    let mut message = words(event);
    if !event.node.is_empty() {
        message = format!("{}: {message}", one_line(&event.node));
    }
    if event.kind() == EventKind::Progress && event.done > 0 {
        message.push_str(&about(bar.eta()));
    }
    message
}

/// Moves the bar. A step may count nodes in some events and bytes in others: bytes say more,
/// so where they are told, they alone move it, until the step is whole.
fn advance(bar: &ProgressBar, event: &Event) {
    if event.total == 0 {
        return;
    }
    match bar.length() {
        None => bar.set_style(style(BAR)),
        Some(length) if length >= LEAST_BYTES && event.total < LEAST_BYTES => {
            if event.kind() == EventKind::Done && is_whole(event) {
                bar.set_position(length);
            }
            return;
        }
        Some(_) => {}
    }
    bar.set_length(event.total);
    bar.set_position(event.done);
}

/// Whether a DONE ends its step, and not only one node's part of it.
fn is_whole(event: &Event) -> bool {
    event.done >= event.total
}

impl Progress for Bars {
    fn show(&mut self, event: &Event) {
        let first_ms = *self.first_ms.get_or_insert(event.time_ms);
        match event.kind() {
            EventKind::Note => {
                let seconds = seconds_since(first_ms, event);
                let _ = self.screen.println(format!("[{seconds:6.2}s] {}", words(event)));
                return;
            }
            // The end is told in full by the command itself.
            EventKind::Finished | EventKind::GaveUp => return,
            _ if event.step.is_empty() => return,
            _ => {}
        }
        let bar = self.bar(event);
        if bar.is_finished() {
            // Its failure, or its end, stays to be read.
            return;
        }
        advance(&bar, event);
        bar.set_message(message(event, &bar));
        if event.kind() == EventKind::Failed || event.kind() == EventKind::Done && is_whole(event) {
            bar.abandon();
        }
    }

    fn end(&mut self) {
        for bar in self.bars.values().filter(|bar| !bar.is_finished()) {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;
    use rampool_proto::size::MIB;
    use rampool_proto::v1::PoolId;

    use super::*;

    fn event(step: &str, kind: EventKind, done: u64, total: u64, text: &str) -> Event {
        let (step, text) = (step.to_owned(), text.to_owned());
        Event { step, kind: kind.into(), done, total, text, ..Event::default() }
    }

    fn drawn(events: &[Event]) -> String {
        drawn_of(events, Scope::OnePool)
    }

    fn drawn_of(events: &[Event], scope: Scope) -> String {
        let screen = InMemoryTerm::new(10, 100);
        let mut bars = Bars::on(ProgressDrawTarget::term_like(Box::new(screen.clone())), scope);
        for event in events {
            bars.show(event);
        }
        bars.end();
        screen.contents()
    }

    const FULL: &str = "==============================";

    #[test]
    fn each_step_has_one_bar_that_stays_when_it_is_done() {
        let drawn = drawn(&[
            event("export", EventKind::Started, 0, 4, ""),
            event("export", EventKind::Done, 2, 4, "n2"),
            event("export", EventKind::Done, 4, 4, "4 of 4 pieces"),
            event("attach", EventKind::Failed, 0, 0, "no route"),
            event("attach", EventKind::Done, 1, 2, "another one went well"),
            event("", EventKind::Note, 0, 0, "undoing"),
        ]);
        assert!(drawn.contains(&format!("export       {FULL} 4 of 4 pieces")), "{drawn}");
        assert!(drawn.contains("no route") && drawn.contains("undoing"), "{drawn}");
        assert_eq!(drawn.matches("export").count(), 1, "{drawn}");
    }

    #[test]
    fn where_bytes_are_told_nodes_do_not_move_the_bar() {
        let bytes = |done| event("export", EventKind::Progress, done * MIB, 4 * MIB, "");
        let began = [event("export", EventKind::Started, 0, 4, ""), bytes(2)];
        let half = drawn(&[&began[..], &[event("export", EventKind::Done, 3, 4, "")]].concat());
        assert!(half.contains("===============>"), "{half}");
        assert!(!half.contains(FULL), "{half}");
        let whole = drawn(&[&began[..], &[event("export", EventKind::Done, 4, 4, "")]].concat());
        assert!(whole.contains(FULL), "{whole}");
    }

    #[test]
    fn a_step_that_begins_anew_has_a_new_bar() {
        let once = [
            event("release", EventKind::Started, 0, 1, ""),
            event("release", EventKind::Done, 1, 1, ""),
        ];
        let twice = drawn(&[&once[..], &once[..]].concat());
        assert_eq!(twice.matches(FULL).count(), 2, "{twice}");
    }
    #[test]
    fn of_several_pools_each_has_bars_of_its_own() {
        let rebuild = |name: &str, done| Event {
            pool: Some(PoolId { name: name.into(), generation: 3 }),
            ..event("rebuild", EventKind::Done, done, 2, "")
        };
        let drawn = drawn_of(&[rebuild("demo", 2), rebuild("big", 1)], Scope::ManyPools);
        assert!(drawn.contains(&format!("demo rebuild {FULL} 2 of 2")), "{drawn}");
        assert!(drawn.contains("big rebuild") && drawn.contains("1 of 2"), "{drawn}");
    }
}
