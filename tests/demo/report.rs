//! The table at the demo's end.

use std::fmt;
use std::time::Duration;

use crate::speed::Row;

/// What was measured.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) up: Duration,
    pub(crate) down: Duration,
    pub(crate) rows: Vec<Row>,
    /// Bytes lent, and bytes back.
    pub(crate) returned: (u64, u64),
}

/// From design.md: what the disks gave in 2016, and what the pooled RAM disks gave.
const IN_2016: &str = "2016: disks 2,000-3,000, pooled RAM disks well over 20,000";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        writeln!(f, "measured now, on this machine (load {})", load.trim())?;
        writeln!(f, "  {:<32} {:>10.2} s", "time to mounted", self.up.as_secs_f64())?;
        for row in &self.rows {
            let beside = if row.title.starts_with("4k") { IN_2016 } else { "" };
            writeln!(f, "  {:<32} {:>10.0} /s  {beside}", row.title, row.rate)?;
        }
        writeln!(f, "  {:<32} {:>10.2} s", "time to torn down", self.down.as_secs_f64())?;
        let (lent, back) = self.returned;
        write!(f, "  {:<32} {:>6} of {} MiB", "memory returned", back >> 20, lent >> 20)
    }
}
