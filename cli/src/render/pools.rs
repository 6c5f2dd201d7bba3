//! Pools, a line each.

use std::time::Duration;

use comfy_table::Cell;
use rampool_proto::size::Size;

use super::amount::{percent, rough};
use super::look::{Look, Tone};
use super::table::{cell, table, text, toned};
use crate::output::{PoolReport, Pools, Report};

impl Report for Pools {
    fn text(&self, look: &Look) -> String {
        if self.pools.is_empty() {
            return "no pools\n".into();
        }
        pool_table(&self.pools, look)
    }
}

/// These pools, a line each.
pub(super) fn pool_table(pools: &[PoolReport], look: &Look) -> String {
    let headings = [
        "POOL", "STATE", ">SIZE", ">USED", "HEAD", "MOUNT", ">DONORS", "JOB", "OWNER", "AGE",
        "LEFT",
    ];
    let mut table = table(&headings, look);
    for pool in pools {
        table.add_row(row(pool, look));
    }
    text(&table)
}

fn row(pool: &PoolReport, look: &Look) -> Vec<Cell> {
    let used = pool.usage.as_ref().map(|usage| percent(usage.used_bytes, usage.total_bytes));
    let age = pool.created_at.map(|created| rough(created.age(look.now)));
    let left = pool.expires_at.map(|expires| match expires.left(look.now) {
        Duration::ZERO => "ended".into(),
        left => rough(left),
    });
    vec![
        cell(&pool.name),
        toned(&state(pool), tone(pool)),
        cell(Size(pool.usable_bytes)),
        cell(used.unwrap_or_else(|| "-".into())),
        cell(&pool.head),
        cell(&pool.mount_point),
        cell(pool.donors.len()),
        cell(pool.job.map_or_else(|| "-".into(), |job| job.to_string())),
        cell(&pool.owner),
        cell(age.unwrap_or_else(|| "-".into())),
        cell(left.unwrap_or_else(|| "-".into())),
    ]
}

/// The state's words.
pub(super) fn state(pool: &PoolReport) -> String {
    pool.state.replace('_', " ")
}

/// A pool with alerts is not all it should be, whatever its state. Remarks alone are for reading.
pub(super) fn tone(pool: &PoolReport) -> Tone {
    match (pool.state.as_str(), pool.alerts.is_empty()) {
        ("ready", true) => Tone::Good,
        ("ready", false) | ("failed", _) => Tone::Bad,
        _ => Tone::Warning,
    }
}
