//! What `recover` found, or took over.

use std::fmt::Write;

use super::look::{Look, Tone};
use super::plain::one_line;
use super::pools::pool_table;
use crate::output::{RecoverReport, Report};

impl Report for RecoverReport {
    fn text(&self, look: &Look) -> String {
        let mut out = String::new();
        if !self.pools.is_empty() {
            out.push_str(&pool_table(&self.pools, look));
            out.push('\n');
        }
        for refused in &self.refused {
            let word = look.paint(Tone::Bad, "refused:");
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{word} {}", one_line(refused));
        }
        out.push_str(match (self.pools.is_empty(), self.applied) {
            (true, _) => "there is no pool to take over\n",
            (false, true) => "taken over\n",
            (false, false) => "nothing was changed: `rampool recover --apply` takes these over\n",
        });
        out
    }
}
