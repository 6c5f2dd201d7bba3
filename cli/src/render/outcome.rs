//! How operations, `renew` and `pki` end, in a few lines.

use std::fmt::Write;

use rampool_proto::size::Size;

use super::amount::took;
use super::look::{Look, Tone};
use super::plain::one_line;
use super::pools::state;
use super::redundancy::Volume;
use crate::output::{Failed, PoolReport, Raised, Renewed, Report, Settled};

impl Report for Raised {
    fn text(&self, look: &Look) -> String {
        let pool = &self.0;
        let time = match (pool.created_at, pool.ready_at) {
            (Some(created), Some(ready)) => format!(", in {}", took(ready.ms_since(created))),
            _ => String::new(),
        };
        let donors = pool.donors.len();
        let mut out = format!(
            "pool {} is {}: {}, from {donors} donors{time}\n",
            pool.name,
            state(pool),
            place(pool)
        );
        if pool.volatile {
            let words = format!("VOLATILE: {}", Volume::from(pool).volatile());
            out.push_str(&look.paint(Tone::Warning, &words));
            out.push('\n');
        }
        out + &alerts_and_remarks(pool, look)
    }
}

impl Report for Settled {
    fn text(&self, look: &Look) -> String {
        let pool = &self.0;
        let where_it_is = match pool.state.as_str() {
            "ready" | "degraded" | "replacing" => format!(": {}", place(pool)),
            _ => String::new(),
        };
        let (name, generation, state) = (&pool.name, pool.generation, state(pool));
        format!("pool {name} (generation {generation}) is {state}{where_it_is}\n")
            + &alerts_and_remarks(pool, look)
    }
}

impl Report for Renewed {
    fn text(&self, look: &Look) -> String {
        format!("pool {} lives until {}\n", self.0.name, self.0.until(look))
    }
}

/// `511 MiB on n1 at /mnt/rampool/demo`.
fn place(pool: &PoolReport) -> String {
    let at = match pool.fs.as_str() {
        "none" => pool.device.as_deref().unwrap_or("a bare block device"),
        _ => &pool.mount_point,
    };
    format!("{} on {} at {}", Size(pool.usable_bytes), one_line(&pool.head), one_line(at))
}

fn alerts_and_remarks(pool: &PoolReport, look: &Look) -> String {
    let mut out = String::new();
    for alert in &pool.alerts {
        let words = look.paint(Tone::Bad, &format!("ALERT: {}", one_line(alert)));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{words}");
    }
    for remark in &pool.remarks {
        let _ = writeln!(out, "remark: {}", one_line(remark));
    }
    out
}

/// People read failures on stderr; stdout has only the form for programs.
impl Report for Failed {
    fn text(&self, _: &Look) -> String {
        String::new()
    }
}
