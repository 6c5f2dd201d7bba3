//! Nodes, a line each.

use comfy_table::Cell;
use rampool_proto::size::Size;

use super::look::{Look, Tone};
use super::table::{cell, table, text, toned};
use crate::output::{MemoryReport, NodeReport, Nodes, Report};

impl Report for Nodes {
    fn text(&self, look: &Look) -> String {
        if self.nodes.is_empty() {
            return "no nodes\n".into();
        }
        let headings = [
            "NODE",
            "REACHABLE",
            ">MEMORY",
            ">AVAILABLE",
            ">LENDABLE",
            ">LENT",
            ">LOAD",
            "POOLS",
            "DETAIL",
        ];
        let mut table = table(&headings, look);
        for node in &self.nodes {
            table.add_row(row(node));
        }
        text(&table)
    }
}

fn row(node: &NodeReport) -> Vec<Cell> {
    let (reachable, tone) = if node.reachable { ("yes", Tone::Good) } else { ("no", Tone::Bad) };
    let amount = |of: fn(&MemoryReport) -> u64| match &node.memory {
        Some(memory) => cell(Size(of(memory))),
        None => cell("-"),
    };
    let load = node.load.as_ref().and_then(|load| load.first());
    let pools = if node.pools.is_empty() { "-".into() } else { node.pools.join(",") };
    vec![
        cell(&node.node),
        toned(reachable, tone),
        amount(|memory| memory.total_bytes),
        amount(|memory| memory.available_bytes),
        amount(|memory| memory.lendable_bytes),
        amount(|memory| memory.lent_bytes),
        cell(load.map_or_else(|| "-".into(), |load| format!("{load:.2}"))),
        cell(pools),
        cell(node.detail.as_deref().unwrap_or_default()),
    ]
}
