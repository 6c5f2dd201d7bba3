//! How a volume is, and how far its copying.

use std::time::Duration;

use rampool_proto::size::Size;

use super::amount::{bar, rough};
use crate::output::HealthReport;

/// `3 of 4 members in sync, 1 rebuilding; 1 spare`.
pub(super) fn members(health: &HealthReport) -> String {
    let spares = health.count("spare");
    let (places, in_sync) = (health.members.len() - spares, health.count("in_sync"));
    let mut words = format!("{in_sync} of {places} members in sync");
    for state in ["rebuilding", "faulty", "missing", "unknown"] {
        match health.count(state) {
            0 => {}
            count => words.push_str(&format!(", {count} {state}")),
        }
    }
    match spares {
        0 => words,
        1 => words + "; 1 spare",
        count => words + &format!("; {count} spares"),
    }
}

/// What is copied, and how far that is; nothing where nothing is.
pub(super) fn copying(health: &HealthReport) -> Option<(&'static str, String)> {
    let name = match health.action.as_deref()? {
        "recover" => "rebuild",
        "resync" => "resync",
        "move" => "move",
        // A word of a newer controller.
        _ => "copying",
    };
    let (Some(done), Some(total)) = (health.done_bytes, health.total_bytes) else {
        return Some((name, "going on".into()));
    };
    let mut words = format!("{}, {} of {}", bar(done, total), Size(done), Size(total));
    if let Some(rate) = health.bytes_per_second {
        words.push_str(&format!(", {}/s", Size(rate)));
    }
    if let Some(left) = health.left_ms {
        words.push_str(&format!(", about {} left", rough(Duration::from_millis(left))));
    }
    Some((name, words))
}
