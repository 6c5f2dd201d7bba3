//! Each node's free memory before, during and after.

use std::fmt;

use anyhow::{Result, ensure};
use rampool_e2e::footprint::Footprint;

/// What a donor may have less of afterwards: slabs and per-CPU lists that the kernel keeps of
/// work once done (dentries of configfs, sockets, SCSI commands), not the pool's pages.
const ALLOWANCE: u64 = 16 << 20;

/// Available memory of each node, in bytes.
pub(crate) struct Memory {
    rows: Vec<Row>,
}

struct Row {
    node: String,
    before: u64,
    during: u64,
    after: u64,
}

impl Memory {
    pub(crate) fn new(
        nodes: &[String],
        before: &[Footprint],
        during: &[Footprint],
        after: &[Footprint],
    ) -> Self {
        let rows = nodes
            .iter()
            .zip(before.iter().zip(during).zip(after))
            .map(|(node, ((before, during), after))| Row {
                node: node.clone(),
                before: before.available,
                during: during.available,
                after: after.available,
            })
            .collect();
        Self { rows }
    }

    fn of<'a>(&'a self, donors: &'a [&str]) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(|row| donors.contains(&row.node.as_str()))
    }

    /// Fails unless each donor has lent something, and has it back.
    pub(crate) fn ensure_returned(&self, donors: &[&str]) -> Result<()> {
        for row in self.of(donors) {
            ensure!(
                row.during + ALLOWANCE < row.before,
                "{} lent nothing: {} MiB available before, {} MiB while the pool was up",
                row.node,
                row.before >> 20,
                row.during >> 20
            );
            ensure!(
                row.after + ALLOWANCE >= row.before,
                "{} has {} MiB available, {} MiB before: more than {} MiB are missing",
                row.node,
                row.after >> 20,
                row.before >> 20,
                ALLOWANCE >> 20
            );
        }
        Ok(())
    }

    /// Bytes lent, and bytes come back, by all donors.
    pub(crate) fn returned(&self, donors: &[&str]) -> (u64, u64) {
        let sum = |part: fn(&Row) -> u64| self.of(donors).map(part).sum();
        (
            sum(|row| row.before.saturating_sub(row.during)),
            sum(|row| row.after.saturating_sub(row.during)),
        )
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "available memory, MiB    before   during    after")?;
        for row in &self.rows {
            write!(
                f,
                "\n{:<22} {:>8} {:>8} {:>8}",
                row.node,
                row.before >> 20,
                row.during >> 20,
                row.after >> 20
            )?;
        }
        Ok(())
    }
}
