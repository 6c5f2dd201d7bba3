//! What a node holds that a pool could have left there: mounts, block devices, iSCSI sessions
//! and records, targets, files, memory. Two footprints are compared, before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Prints every object, one a line, as `section<TAB>object`. It is one process but for `vgs`,
/// which is asked where there is a disk that a volume group could be on: each process costs a node
/// tens of milliseconds, and is counted in every test's time.
///
/// A mount is its source, target and type. What a kernel module brings when it is loaded
/// (a fabric's own attributes, the device mapper's control node) is no object of a pool's, nor is
/// what lies in a mounted one. A process that waits in the kernel is stuck if it still does after
/// some seconds.
const PROBE: &str = r#"perl -e '
use strict;
sub show { my $section = shift; print map { "$section\t$_\n" } @_ }
sub text { open my $file, "<", $_[0] or return ""; local $/; my $all = <$file>; $all // "" }
sub lines { map { split /\n/, text($_) } @_ }
sub names { opendir my $folder, $_[0] or return (); grep { !/^\.\.?$/ } readdir $folder }
sub below {
    my ($folder, $deep) = @_;
    map {
        my $path = "$folder/$_";
        ($path, $deep > 1 && !-l $path && -d _ ? below($path, $deep - 1) : ())
    } grep { !/^(statistics|alua)/ } names($folder)
}
sub waiting { grep { text("/proc/$_/stat") =~ /\) D / } grep { /^\d+$/ } names("/proc") }

for (lines("/proc/self/mountinfo")) {
    my ($place, $what) = split / - /; my ($type, $source) = split / /, $what;
    show("mount", join " ", $source, (split / /, $place)[4], $type);
}
my @blocks = names("/sys/block");
show("block", @blocks);
show("dm", lines(glob "/sys/block/dm-*/dm/name"));
show("session", lines(glob "/sys/class/iscsi_session/*/targetname"));
show("record", map { below("/etc/iscsi/$_", 9) } qw(nodes ifaces send_targets));
my $targets = "/sys/kernel/config/target";
show("target", grep { m{^$targets/.+/} && !m{/(version|discovery_auth)$} }
    below($targets, 6));
show("file", grep { $_ ne "/dev/mapper/control" }
    map({ below($_, 9) } qw(/run/rampool /var/lib/rampool /dev/md /dev/mapper)),
    below("/rampool", 1));
show("share", lines("/var/lib/nfs/etab"), names("/etc/exports.d"));
show("module", grep { /^brd / } lines("/proc/modules"));
my @stuck = waiting();
for (1 .. 100) {
    last unless @stuck;
    select undef, undef, undef, 0.1;
    my %still = map { $_ => 1 } waiting();
    @stuck = grep { $still{$_} } @stuck;
}
show("stuck", map { text("/proc/$_/stat") =~ /\((.*)\)/s ? $1 : () } @stuck);
text("/proc/meminfo") =~ /^MemAvailable: +(\d+)/m and show("available", $1 * 1024);
if (grep { !/^(loop|ram|ubd|zram)/ } @blocks) {
    show("volume-group", map { s/^ +| +$//gr } split /\n/, `vgs --noheadings -o vg_name 2>/dev/null`);
}
'"#;

/// One node's objects, by section, and its available memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    objects: BTreeMap<String, BTreeSet<String>>,
    /// `MemAvailable`, in bytes. It can be compared where caches were dropped first.
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
