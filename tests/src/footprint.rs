//! What a node holds that a pool could have left there: mounts, block devices, iSCSI sessions
//! and records, targets, files, memory. Two footprints are compared, before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Prints every object, one a line, as `section<TAB>object`. Caches are dropped first, so that
/// memory counts what is held and not what was read.
///
/// A mount is its source, target and type. What a kernel module brings when it is loaded
/// (a fabric's own attributes, the device mapper's control node) is no object of a pool's.
const PROBE: &str = r#"
sync; echo 3 > /proc/sys/vm/drop_caches
list() { section=$1; shift; "$@" 2>/dev/null | while read -r line; do printf '%s\t%s\n' "$section" "$line"; done; }
list mount awk '{ for (i = 7; $i != "-"; i++); print $(i+2), $5, $(i+1) }' /proc/self/mountinfo
list block ls /sys/block
list dm sh -c 'cat /sys/block/dm-*/dm/name'
list session sh -c 'cat /sys/class/iscsi_session/*/targetname'
list record find /etc/iscsi/nodes /etc/iscsi/ifaces /etc/iscsi/send_targets -mindepth 1
list target find /sys/kernel/config/target -mindepth 2 -maxdepth 6 -not -path '*/statistics*' -not -path '*/alua*' -not -name version -not -name discovery_auth
list file find /run/rampool /var/lib/rampool /rampool /dev/md /dev/mapper -mindepth 1 -not -path /dev/mapper/control
list share sh -c 'cat /var/lib/nfs/etab; ls /etc/exports.d'
list volume-group sh -c 'vgs --noheadings -o vg_name'
list module sh -c 'grep -o "^brd " /proc/modules'
list stuck sh -c 'ps -eo stat=,comm= | grep "^D"'
printf 'available\t%s\n' "$(awk '/^MemAvailable:/ { print $2 * 1024 }' /proc/meminfo)"
"#;

/// One node's objects, by section, and its available memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    objects: BTreeMap<String, BTreeSet<String>>,
    /// `MemAvailable`, after caches were dropped, in bytes.
    pub available: u64,
}

/// What differs between two footprints of one node; empty where nothing does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference(Vec<String>);

impl Footprint {
    /// The shell script whose output [`parse`](Self::parse) reads.
    #[must_use]
    pub fn probe() -> &'static str {
        PROBE
    }

    /// Reads the probe's output. Errors name the line that is not of its form.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut footprint = Self::default();
        for line in text.lines() {
            let Some((section, object)) = line.split_once('\t') else {
                anyhow::bail!("the probe printed {line:?}, which names no section");
            };
            if section == "available" {
                footprint.available = object.parse()?;
            } else {
                footprint.objects.entry(section.into()).or_default().insert(object.into());
            }
        }
        anyhow::ensure!(footprint.available > 0, "the probe did not say how much memory is free");
        Ok(footprint)
    }

    /// Whether any object's name contains `text`.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        self.objects.values().flatten().any(|object| object.contains(text))
    }

    /// What `later` holds that this does not, and the reverse. Memory is judged apart.
    #[must_use]
    pub fn difference(&self, later: &Self) -> Difference {
        let empty = BTreeSet::new();
        let sections: BTreeSet<_> = self.objects.keys().chain(later.objects.keys()).collect();
        let mut lines = Vec::new();
        for section in sections {
            let before = self.objects.get(section).unwrap_or(&empty);
            let after = later.objects.get(section).unwrap_or(&empty);
            lines.extend(
                after.difference(before).map(|new| format!("left behind: {section} {new}")),
            );
            lines.extend(before.difference(after).map(|gone| format!("gone: {section} {gone}")));
        }
        Difference(lines)
    }
}

impl Difference {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_what_went_are_both_named() {
        let before =
            Footprint::parse("mount\ttmpfs /run tmpfs\nblock\tram0\navailable\t10").unwrap();
        let after = Footprint::parse("mount\ttmpfs /run tmpfs\nblock\tsda\navailable\t10").unwrap();
        assert!(before.difference(&before).is_empty());
        assert_eq!(
            before.difference(&after).to_string(),
            "left behind: block sda\ngone: block ram0"
        );
        assert!(after.mentions("sda") && !after.mentions("sdb"));
    }

    #[test]
    fn an_output_without_memory_is_refused() {
        assert!(Footprint::parse("block\tsda").is_err());
        assert!(Footprint::parse("nonsense\n").is_err());
    }
}
