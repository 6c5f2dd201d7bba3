//! One pool, with all there is to know.

use std::fmt::Write;

use comfy_table::Cell;
use rampool_proto::size::Size;

use super::amount::{percent, rough};
use super::health::{copying, members};
use super::look::{Look, Tone};
use super::plain::one_line;
use super::pools::{state, tone};
use super::redundancy::{Volume, usable};
use super::table::{cell, table, text, toned};
use crate::output::{DonorReport, HealthReport, MemberReport, PoolReport, PoolsInFull, Report};

impl Report for PoolReport {
    fn text(&self, look: &Look) -> String {
        let mut out = String::new();
        let mut fact = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name:<13} {value}");
        };
        fact("pool", &one_line(&format!("{} (generation {})", self.name, self.generation)));
        fact("state", &look.paint(tone(self), &one_line(&state(self))));
        for alert in &self.alerts {
            fact("ALERT", &look.paint(Tone::Bad, &one_line(alert)));
        }
        if self.volatile {
            fact("VOLATILE", &look.paint(Tone::Warning, &Volume::from(self).volatile()));
        }
        for (name, value) in self.facts(look) {
            fact(name, &one_line(&value));
        }
        for remark in &self.remarks {
            fact("remark", &one_line(remark));
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

impl PoolReport {
    fn facts(&self, look: &Look) -> Vec<(&'static str, String)> {
        let mut facts = vec![("owner", self.owner.clone())];
        facts.extend(self.job.map(|job| ("job", job.to_string())));
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
        facts.push(("volume", Volume::from(self).words()));
        facts.push(("redundancy", self.redundancy_words()));
        if let Some(health) = &self.health {
            facts.push(("members", members(health)));
            facts.extend(copying(health));
        }
        facts.push(("file system", self.fs.clone()));
        facts.push(("backend", self.backend.clone()));
        facts.push(("usable", usable(self.usable_bytes, self.usable_share)));
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

    /// `mirror; spare n6; any eligible node may take a lost donor's place`.
    fn redundancy_words(&self) -> String {
        let mut words = self.redundancy.clone();
        let named = self.spares.join(", ");
        match self.spares.len() {
            0 => {}
            1 => words.push_str(&format!("; spare {named}")),
            _ => words.push_str(&format!("; spares {named}")),
        }
        if self.auto_replace == Some(true) && self.redundancy != "none" {
            words.push_str("; any eligible node may take a lost donor's place");
        }
        words
    }

    /// When the pool ends, and how.
    pub(super) fn until(&self, look: &Look) -> String {
        let Some(end) = self.expires_at else { return "`rampool down`".into() };
        let (end_at, left) = (end.short(), end.left(look.now));
        let releases = self.at_expiry == "release";
        if left.is_zero() {
            let then = if releases { "to be released" } else { "kept until `rampool down`" };
            return format!("{end_at}, {} ago; {then}", rough(end.age(look.now)));
        }
        let then = if releases { "released with all that is in it" } else { "kept" };
        format!("{end_at} ({} left), then {then}", rough(left))
    }

    fn donor_table(&self, look: &Look) -> String {
        let racks = self.donors.iter().any(|donor| donor.rack.is_some());
        // A stripe's members are as its donors are.
        let health = self.health.as_ref().filter(|_| self.redundancy != "none");
        let mut headings = vec!["DONOR", ">SIZE", "STATE", "DETAIL"];
        if health.is_some() {
            headings.insert(3, "MEMBER");
        }
        if racks {
            headings.insert(1, "RACK");
        }
        let mut table = table(&headings, look);
        for donor in &self.donors {
            table.add_row(row(donor, racks, health));
        }
        text(&table)
    }
}

fn row(donor: &DonorReport, racks: bool, health: Option<&HealthReport>) -> Vec<Cell> {
    let tone = match donor.state.as_str() {
        "ok" | "spare" => Tone::Good,
        "rebuilding" => Tone::Warning,
        _ => Tone::Bad,
    };
    let mut detail = donor.detail.clone().unwrap_or_default();
    if donor.local {
        detail = format!("the head's own piece {detail}").trim_end().to_owned();
    }
    let mut cells = vec![cell(&donor.node)];
    if racks {
        cells.push(cell(donor.rack.as_deref().unwrap_or("-")));
    }
    cells.push(cell(Size(donor.size_bytes)));
    cells.push(toned(&donor.state, tone));
    if let Some(health) = health {
        let own = |member: &&MemberReport| member.donor.as_deref() == Some(donor.node.as_str());
        let member = health.members.iter().find(own);
        cells.push(cell(member.map_or_else(|| "-".into(), |m| m.state.replace('_', " "))));
    }
    cells.push(cell(detail));
    cells
}
