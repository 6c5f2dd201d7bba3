//! What nodes' kernels hold, a line each; and what `reap` did about it.

use rampool_proto::size::Size;

use super::look::Look;
use super::plain::one_line;
use super::table::{cell, table, text};
use crate::output::{HoldingReport, ReapReport, Report};

impl Report for ReapReport {
    fn text(&self, look: &Look) -> String {
        let node = one_line(&self.node);
        if self.holdings.is_empty() {
            return format!("{node} holds nothing that the controller does not know\n");
        }
        let mut out = holding_table(&self.holdings, look);
        out.push_str(&match self.applied {
            true => format!("\nremoved from {node}\n"),
            false => format!(
                "\nnothing was removed: `rampool reap {node} --apply` removes these for good\n"
            ),
        });
        out
    }
}

fn holding_table(holdings: &[HoldingReport], look: &Look) -> String {
    let mut table = table(&["POOL", "KIND", ">SIZE", "NAME", "DETAIL"], look);
    for holding in holdings {
        let size = match holding.size_bytes {
            0 => "-".into(),
            bytes => Size(bytes).to_string(),
        };
        table.add_row(vec![
            cell(format!("{}.{}", holding.pool, holding.generation)),
            cell(holding.kind.replace('_', " ")),
            cell(size),
            cell(&holding.name),
            cell(holding.detail.as_deref().unwrap_or_default()),
        ]);
    }
    text(&table)
}
