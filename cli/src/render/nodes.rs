//! Nodes, a line each.

use comfy_table::Cell;
use rampool_proto::size::Size;

use super::look::{Look, Tone};
use super::plain::one_line;
use super::table::{cell, table, text, toned};
use crate::output::{Evacuated, MemoryReport, NodeReport, Nodes, Report};

impl Report for Nodes {
    fn text(&self, look: &Look) -> String {
        if self.nodes.is_empty() {
            return "no nodes\n".into();
        }
        let mut headings = vec![
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
        let racks = self.nodes.iter().any(|node| node.rack.is_some());
        if racks {
            headings.insert(1, "RACK");
        }
        let mut table = table(&headings, look);
        for node in &self.nodes {
            table.add_row(row(node, racks));
        }
        text(&table)
    }
}

impl Report for Evacuated {
    fn text(&self, look: &Look) -> String {
        let mut out = self.0.text(look);
        for node in &self.0.nodes {
            let name = one_line(&node.node);
            if !node.pools.is_empty() {
                let pools = one_line(&node.pools.join(", "));
                out.push_str(&format!("\n{name} lends nothing; it is still the head of {pools}\n"));
            } else if !node.drained {
                out.push_str(&format!("\n`rampool drain {name}` keeps new pools off it\n"));
            }
        }
        out
    }
}

fn row(node: &NodeReport, racks: bool) -> Vec<Cell> {
    let (reachable, tone) = if node.reachable { ("yes", Tone::Good) } else { ("no", Tone::Bad) };
    let amount = |of: fn(&MemoryReport) -> u64| match &node.memory {
        Some(memory) => cell(Size(of(memory))),
        None => cell("-"),
    };
    let load = node.load.as_ref().and_then(|load| load.first());
    let pools = if node.pools.is_empty() { "-".into() } else { node.pools.join(",") };
    let mut cells = vec![cell(&node.node)];
    if racks {
        cells.push(cell(node.rack.as_deref().unwrap_or("-")));
    }
    cells.extend([
        toned(reachable, tone),
        amount(|memory| memory.total_bytes),
        amount(|memory| memory.available_bytes),
        amount(|memory| memory.lendable_bytes),
        amount(|memory| memory.lent_bytes),
        cell(load.map_or_else(|| "-".into(), |load| format!("{load:.2}"))),
        cell(pools),
        cell(detail(node)),
    ]);
    cells
}

/// Why it is away, why new pools are kept off it, and what nobody knows there.
fn detail(node: &NodeReport) -> String {
    let mut parts: Vec<String> = node.detail.iter().cloned().collect();
    match (node.drained, &node.drain_reason) {
        (true, Some(reason)) => parts.push(format!("drained: {reason}")),
        (true, None) => parts.push("drained".into()),
        (false, _) => {}
    }
    match node.unknown_holdings.len() {
        0 => {}
        1 => parts.push(format!("1 unknown object: `rampool reap {}`", node.node)),
        count => parts.push(format!("{count} unknown objects: `rampool reap {}`", node.node)),
    }
    parts.join("; ")
}
