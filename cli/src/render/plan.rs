//! What `up` would do.

use std::fmt::Write;

use comfy_table::Cell;
use rampool_proto::size::Size;

use super::look::Look;
use super::plain::one_line;
use super::redundancy::{Volume, usable};
use super::table::{cell, table, text};
use crate::output::{PieceReport, PlanReport, Report};

impl Report for PlanReport {
    fn text(&self, look: &Look) -> String {
        let racks = self.pieces.iter().chain(&self.spares).any(|piece| piece.rack.is_some());
        let mut headings = vec!["DONOR", ">PIECE", ">LENDABLE", "WAY"];
        if racks {
            headings.insert(1, "RACK");
        }
        let mut table = table(&headings, look);
        for piece in &self.pieces {
            table.add_row(row(piece, racks, if piece.local { "local" } else { "network" }));
        }
        for spare in &self.spares {
            table.add_row(row(spare, racks, "network, spare"));
        }
        let mut out = text(&table);
        out.push('\n');
        let facts = [
            ("pool", self.name.clone()),
            (
                "usable",
                format!(
                    "{} before the file system's own structures",
                    usable(self.usable_bytes, self.usable_share)
                ),
            ),
            ("head", self.head.clone()),
            ("mount", self.mount_point.clone()),
            ("volume", Volume::from(self).words()),
            ("redundancy", format!("{}: {}", self.redundancy, Volume::from(self).bears())),
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

fn row(piece: &PieceReport, racks: bool, way: &str) -> Vec<Cell> {
    let mut cells = vec![cell(&piece.donor)];
    if racks {
        cells.push(cell(piece.rack.as_deref().unwrap_or("-")));
    }
    cells.push(cell(Size(piece.size_bytes)));
    cells.push(cell(Size(piece.lendable_bytes)));
    cells.push(cell(way));
    cells
}
