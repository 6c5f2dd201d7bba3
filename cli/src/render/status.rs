//! One pool, with all there is to know.

use std::fmt::Write;

use rampool_proto::size::Size;

use super::amount::{percent, rough};
use super::look::{Look, Tone};
use super::plain::one_line;
use super::pools::tone;
use super::table::{cell, table, text, toned};
use crate::output::{PoolReport, PoolsInFull, Report};

impl Report for PoolReport {
    fn text(&self, look: &Look) -> String {
        let mut out = String::new();
        let mut fact = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name:<13} {value}");
        };
        fact("pool", &one_line(&format!("{} (generation {})", self.name, self.generation)));
        fact("state", &look.paint(tone(self), &one_line(&self.state)));
        if self.volatile {
            fact("VOLATILE", &look.paint(Tone::Warning, VOLATILE));
        }
        for (name, value) in self.facts(look) {
            fact(name, &one_line(&value));
        }
        for remark in &self.remarks {
            fact("remark", &look.paint(Tone::Bad, &one_line(remark)));
        }
        if !self.donors.is_empty() {
            out.push('\n');
            out.push_str(&self.donor_table(look));
        }
        out
    }
}

impl Report for PoolsInFull {
    fn text(&self, look: &Look) -> String {
        match self.0.pools.as_slice() {
            [] => "no pools\n".into(),
            pools => pools.iter().map(|pool| pool.text(look)).collect::<Vec<_>>().join("\n"),
        }
    }
}

const VOLATILE: &str = "it lives in memory: if a donor or the head fails, all of it is lost";

impl PoolReport {
    fn facts(&self, look: &Look) -> Vec<(&'static str, String)> {
        let mut facts = vec![("owner", self.owner.clone())];
        if let Some(created) = self.created_at {
            facts.push((
                "age",
                format!("{}, since {}", rough(created.age(look.now)), created.short()),
            ));
        }
        facts.push(("until", self.until(look)));
        facts.push(("head", self.head.clone()));
        facts.push(("mount", self.mount_point.clone()));
        if let Some(device) = &self.device {
            facts.push(("device", device.clone()));
        }
        facts.push(("volume", volume(&self.layout, self.width, self.chunk_bytes)));
        facts.push(("file system", self.fs.clone()));
        facts.push(("backend", self.backend.clone()));
        facts.push(("usable", Size(self.usable_bytes).to_string()));
        if let Some(usage) = &self.usage {
            let used = percent(usage.used_bytes, usage.total_bytes);
            let (total, free) = (Size(usage.total_bytes), Size(usage.free_bytes));
            let bytes = format!("{} used ({used}), {free} free of {total}", Size(usage.used_bytes));
            facts.push(("bytes", bytes));
            let used = percent(usage.inodes_used, usage.inodes_total);
            let (total, free) = (usage.inodes_total, usage.inodes_free);
            facts.push((
                "inodes",
                format!("{} used ({used}), {free} free of {total}", usage.inodes_used),
            ));
        }
        facts
    }

    fn until(&self, look: &Look) -> String {
        match self.expires_at {
            None => "`rampool down`".into(),
            Some(end) => format!("{} ({} left)", end.short(), rough(end.left(look.now))),
        }
    }

    fn donor_table(&self, look: &Look) -> String {
        let mut table = table(&["DONOR", ">SIZE", "STATE", "DETAIL"], look);
        for donor in &self.donors {
            let tone = if donor.state == "ok" { Tone::Good } else { Tone::Bad };
            let mut detail = donor.detail.clone().unwrap_or_default();
            if donor.local {
                detail = format!("the head's own piece {detail}").trim_end().to_owned();
            }
            table.add_row(vec![
                cell(&donor.node),
                cell(Size(donor.size_bytes)),
                toned(&donor.state, tone),
                cell(detail),
            ]);
        }
        text(&table)
    }
}

/// `md raid0, 4 wide, chunk 64 KiB`.
pub(super) fn volume(layout: &str, width: usize, chunk_bytes: u64) -> String {
    let layout = match layout {
        "md" => "md raid0",
        "lvm" => "striped LVM volume",
        other => other,
    };
    format!("{layout}, {width} wide, chunk {}", Size(chunk_bytes))
}
