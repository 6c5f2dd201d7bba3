//! How `up`, `down` and `pki` end, in a few lines.

use std::fmt::Write;

use rampool_proto::size::Size;

use super::amount::took;
use super::look::{Look, Tone};
use super::plain::one_line;
use crate::output::{Failed, MadeFiles, PoolReport, Raised, Released, Report};

impl Report for Raised {
    fn text(&self, look: &Look) -> String {
        let pool = &self.0;
        let place = match pool.fs.as_str() {
            "none" => pool.device.as_deref().unwrap_or("a bare block device"),
            _ => &pool.mount_point,
        };
        let time = match (pool.created_at, pool.ready_at) {
            (Some(created), Some(ready)) => format!(", in {}", took(ready.ms_since(created))),
            _ => String::new(),
        };
        let (size, donors) = (Size(pool.usable_bytes), pool.donors.len());
        let mut out = format!(
            "pool {} is {}: {size} on {} at {}, from {donors} donors{time}\n",
            pool.name,
            pool.state,
            one_line(&pool.head),
            one_line(place)
        );
        if pool.volatile {
            out.push_str(&look.paint(
                Tone::Warning,
                "VOLATILE: it lives in memory; if a donor or the head fails, all of it is lost",
            ));
            out.push('\n');
        }
        out + &remarks(pool)
    }
}

impl Report for Released {
    fn text(&self, _: &Look) -> String {
        let pool = &self.0;
        format!("pool {} (generation {}) is {}\n", pool.name, pool.generation, pool.state)
            + &remarks(pool)
    }
}

fn remarks(pool: &PoolReport) -> String {
    let mut out = String::new();
    for remark in &pool.remarks {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "remark: {}", one_line(remark));
    }
    out
}

impl Report for MadeFiles {
    fn text(&self, _: &Look) -> String {
        self.files.iter().map(|file| format!("{}\n", file.display())).collect()
    }
}

/// People read failures on stderr; stdout has only the form for programs.
impl Report for Failed {
    fn text(&self, _: &Look) -> String {
        String::new()
    }
}
