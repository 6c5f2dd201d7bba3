//! Pools, a line each.

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
        let headings =
            ["POOL", "STATE", ">SIZE", ">USED", "HEAD", "MOUNT", ">DONORS", "OWNER", "AGE", "LEFT"];
        let mut table = table(&headings, look);
        for pool in &self.pools {
            table.add_row(row(pool, look));
        }
        text(&table)
    }
}

fn row(pool: &PoolReport, look: &Look) -> Vec<Cell> {
    let used = pool.usage.as_ref().map(|usage| percent(usage.used_bytes, usage.total_bytes));
    let age = pool.created_at.map(|created| rough(created.age(look.now)));
    let left = pool.expires_at.map(|expires| rough(expires.left(look.now)));
    vec![
        cell(&pool.name),
        toned(&pool.state, tone(pool)),
        cell(Size(pool.usable_bytes)),
        cell(used.unwrap_or_else(|| "-".into())),
        cell(&pool.head),
        cell(&pool.mount_point),
        cell(pool.donors.len()),
        cell(&pool.owner),
        cell(age.unwrap_or_else(|| "-".into())),
        cell(left.unwrap_or_else(|| "-".into())),
    ]
}

/// A pool with remarks is not all it should be, whatever its state.
pub(super) fn tone(pool: &PoolReport) -> Tone {
    match (pool.state.as_str(), pool.remarks.is_empty()) {
        ("ready", true) => Tone::Good,
        ("ready", false) => Tone::Bad,
        _ => Tone::Warning,
    }
}
