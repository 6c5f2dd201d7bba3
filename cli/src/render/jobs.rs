//! Slurm's jobs that want a pool: a line each, and why it waits, or failed.

use std::fmt::Write;

use comfy_table::Cell;

use super::amount::rough;
use super::look::{Look, Tone};
use super::plain::one_line;
use super::table::{cell, table, text};
use crate::output::{JobReport, Jobs, Report};

impl Report for Jobs {
    fn text(&self, look: &Look) -> String {
        let mut out = String::new();
        if let Some(silence) = &self.slurm {
            let word = look.paint(Tone::Bad, "Slurm does not answer:");
            let said = silence.said.as_deref().unwrap_or(&silence.step);
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{word} {}; what is known without it:", one_line(said));
        }
        if self.jobs.is_empty() {
            out.push_str("no jobs that want a pool\n");
            return out;
        }
        let mut table = table(&["JOB", "USER", "STATE", "NODES", "POOL", ">LEFT", "WHY"], look);
        for job in &self.jobs {
            table.add_row(row(job, look));
        }
        out + &text(&table)
    }
}

fn row(job: &JobReport, look: &Look) -> Vec<Cell> {
    let or_none = |text: &Option<String>| cell(text.as_deref().unwrap_or("-"));
    let left = job.expires_at.map(|expires| rough(expires.left(look.now)));
    vec![
        cell(job.job),
        or_none(&job.user),
        or_none(&job.state),
        or_none(&job.nodes),
        or_none(&job.pool),
        cell(left.unwrap_or_else(|| "-".into())),
        cell(&job.text),
    ]
}
