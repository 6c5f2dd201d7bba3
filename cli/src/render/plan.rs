//! What `up` would do.

use std::fmt::Write;

use rampool_proto::size::Size;

use super::look::Look;
use super::plain::one_line;
use super::status::volume;
use super::table::{cell, table, text};
use crate::output::{PlanReport, Report};

impl Report for PlanReport {
    fn text(&self, look: &Look) -> String {
        let mut table = table(&["DONOR", ">PIECE", ">LENDABLE", "WAY"], look);
        for piece in &self.pieces {
            table.add_row(vec![
                cell(&piece.donor),
                cell(Size(piece.size_bytes)),
                cell(Size(piece.lendable_bytes)),
                cell(if piece.local { "local" } else { "network" }),
            ]);
        }
        let mut out = text(&table);
        out.push('\n');
        let facts = [
            ("pool", self.name.clone()),
            (
                "usable",
                format!("{} before the file system's own structures", Size(self.usable_bytes)),
            ),
            ("head", self.head.clone()),
            ("mount", self.mount_point.clone()),
            ("volume", volume(&self.layout, self.width, self.chunk_bytes)),
            ("file system", self.fs.clone()),
            ("backend", self.backend.clone()),
            ("patience", format!("{} s for a silent donor", self.patience_ms / 1000)),
        ];
        for (name, value) in facts {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name:<13} {}", one_line(&value));
        }
        for note in &self.notes {
            let _ = writeln!(out, "{:<13} {}", "note", one_line(note));
        }
        out
    }
}
