//! A pool's history, a line each.

use comfy_table::Cell;

use super::amount::took;
use super::look::{Look, Tone};
use super::table::{cell, table, text, toned};
use crate::output::{EventLine, Events, Report};

impl Report for Events {
    fn text(&self, look: &Look) -> String {
        if self.events.is_empty() {
            return "no events\n".into();
        }
        let headings = ["TIME", "POOL", "OPERATION", "STEP", "NODE", "EVENT", ">TOOK", "TEXT"];
        let mut table = table(&headings, look);
        for event in &self.events {
            table.add_row(row(event));
        }
        text(&table)
    }
}

fn row(event: &EventLine) -> Vec<Cell> {
    let or_dash = |text: &Option<String>| cell(text.as_deref().unwrap_or("-"));
    vec![
        cell(event.at.map_or_else(|| "-".into(), |at| at.to_string())),
        cell(format!("{}.{}", event.pool, event.generation)),
        cell(&event.operation),
        or_dash(&event.step),
        or_dash(&event.node),
        match event.kind.as_str() {
            kind @ ("failed" | "gave_up") => toned(kind, Tone::Bad),
            kind @ "finished" => toned(kind, Tone::Good),
            kind => cell(kind),
        },
        cell(took(event.took_ms)),
        cell(what(event)),
    ]
}

/// The event's words; for a failure all of them, with what to do.
fn what(event: &EventLine) -> String {
    let Some(failure) = &event.failure else { return event.text.clone() };
    let parts = [&failure.program, &failure.said, &failure.advice];
    let parts = parts.into_iter().flatten().map(String::as_str);
    std::iter::once(failure.step.as_str()).chain(parts).collect::<Vec<_>>().join(": ")
}
