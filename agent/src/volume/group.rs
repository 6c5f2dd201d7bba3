//! Which volume group disks belong to, as LVM reports it.

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::FailureKind;

use super::Wanted;
use super::lvm;
use crate::attach::disks::{self, OurDisk};
use crate::names;
use crate::node::Node;
use crate::outcome::{Outcome, failure};
use crate::roots::Roots;

/// One disk, as LVM knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Physical {
    /// Its device node.
    pub(super) device: String,
    /// Empty where it belongs to none.
    pub(super) group: String,
    /// How many logical volumes the group has.
    pub(super) volumes: u32,
    /// It is not to be seen, or was not when its group was last changed.
    pub(super) missing: bool,
    /// Bytes that logical volumes have of it.
    pub(super) used: u64,
}

/// What the disks of a volume carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The volume, in the group of this name.
    Whole(String),
    /// Nothing that is worth keeping.
    Nothing,
}

/// What a group misses of its disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// All of them are there.
    Nothing,
    /// One that no logical volume has a part of: a move that was cut short left it.
    Empty,
    /// One with data.
    Data,
}

/// What `group` misses.
pub(super) fn missing(report: &[Physical], group: &str) -> Missing {
    let missing = report.iter().filter(|physical| physical.missing && physical.group == group);
    match missing.map(|physical| physical.used).max() {
        None => Missing::Nothing,
        Some(0) => Missing::Empty,
        Some(_) => Missing::Data,
    }
}

/// Has `group` forget the disks that it misses and that hold nothing of it: LVM changes no group
/// that misses a disk. `seen` are the disks that were reported.
pub(super) fn forget_missing(
    node: &Node,
    group: &str,
    seen: &[OurDisk],
    report: &[Physical],
) -> Outcome<()> {
    if missing(report, group) != Missing::Empty {
        return Ok(());
    }
    tracing::warn!(group, "forgets an empty disk that is gone");
    // Without --force LVM itself refuses where a logical volume would lose a part.
    lvm::must(node, &lvm::lvm(node, group, seen, &["vgreduce", "--removemissing"], &[group])?)
}

/// The disks in `named`, and every other one of ours that answers and is in no other use: a
/// move that was cut short leaves the group on one disk more.
pub(super) fn readable(node: &Node, named: &[OurDisk]) -> Vec<OurDisk> {
    let is_free = |disk: &OurDisk| {
        disks::is_running(&node.roots, &disk.name)
            && disks::refuse_in_use(&node.roots, disk).is_ok()
            && !named.contains(disk)
    };
    named.iter().cloned().chain(disks::all(&node.roots).into_iter().filter(is_free)).collect()
}

/// What LVM says of the disks that are `seen`, and of those that their groups miss.
pub(super) fn report(node: &Node, assembly: &Assembly, seen: &[OurDisk]) -> Outcome<Vec<Physical>> {
    let group = names::object(assembly);
    let columns = "pv_name,vg_name,lv_count,pv_missing,pv_used";
    let arguments =
        ["pvs", "--noheadings", "--separator", ",", "--units", "b", "--nosuffix", "-o", columns];
    let output = lvm::lvm(node, &group, seen, &arguments, &[])?;
    lvm::must(node, &output)?;
    Ok(parse(&output.stdout))
}

pub(crate) fn parse(report: &str) -> Vec<Physical> {
    report
        .lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(',');
            Some(Physical {
                device: fields.next()?.to_owned(),
                group: fields.next()?.to_owned(),
                volumes: fields.next()?.parse().unwrap_or(0),
                missing: !fields.next()?.is_empty(),
                used: fields.next()?.parse().unwrap_or(0),
            })
        })
        .collect()
}

/// Whether the disks carry the volume that is wanted. Refuses where they carry a part of it, or
/// do not carry what was formed earlier: that is never made anew.
pub(super) fn judge(
    wanted: &Wanted,
    disks: &[OurDisk],
    roots: &Roots,
    report: &[Physical],
) -> Outcome<Found> {
    let find = |disk: &OurDisk| {
        let device = disk.device(roots).display().to_string();
        report.iter().find(|physical| physical.device == device)
    };
    let groups: Vec<_> = disks.iter().map(find).collect();
    let ours = |found: &Physical| is_ours(wanted, &found.group) && found.volumes > 0;
    match groups.iter().flatten().find(|found| ours(found)) {
        Some(first) => {
            let same =
                |found: &Option<&Physical>| found.is_some_and(|found| found.group == first.group);
            if groups.iter().all(same) && missing(report, &first.group) != Missing::Data {
                return Ok(Found::Whole(first.group.clone()));
            }
            let said = format!("only a part of the volume group {} is there", first.group);
            Err(failure(FailureKind::Conflict, said)
                .advising("attach all of its disks first; without redundancy none may be missing")
                .into())
        }
        None if wanted.formed.is_some() => {
            let said = "none of the disks carries the volume that was made earlier";
            Err(failure(FailureKind::Conflict, said).into())
        }
        None => Ok(Found::Nothing),
    }
}

/// The group among those reported that is this pool's.
pub(super) fn of_pool(wanted: &Wanted, report: &[Physical]) -> Option<String> {
    let ours = |found: &&Physical| is_ours(wanted, &found.group) && found.volumes > 0;
    report.iter().find(ours).map(|found| found.group.clone())
}

/// Whether a group is this pool's, from when it was formed until now: each assembly of it gives
/// it its own name.
fn is_ours(wanted: &Wanted, group: &str) -> bool {
    let now = &wanted.assembly;
    let first = wanted.formed.as_ref().map_or(now.generation, |formed| formed.generation);
    names::parse_object(group)
        .is_some_and(|of| of.name == now.name && (first..=now.generation).contains(&of.generation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;
    use rampool_proto::v1::{Redundancy, VolumeLayout};
    use std::path::Path;

    fn wanted(formed: Option<&str>) -> Wanted {
        Wanted {
            assembly: assembly("demo.5"),
            layout: VolumeLayout::Lvm,
            redundancy: Redundancy::None,
            chunk_kib: 64,
            serials: vec!["one".into(), "two".into()],
            spares: Vec::new(),
            formed: formed.map(assembly),
            group_width: 0,
            replacing: None,
        }
    }

    fn judged(formed: Option<&str>, report: &str) -> Outcome<Found> {
        let disk = |name: &str| OurDisk { name: name.into(), serial: name.into(), bytes: 1 };
        let roots = Roots::fake(Path::new(""));
        judge(&wanted(formed), &[disk("sdb"), disk("sdc")], &roots, &parse(report))
    }

    #[test]
    fn only_a_whole_group_of_ours_is_activated_again() {
        let both = |group: &str, rest: &str| {
            format!("  dev/sdb,{group},{rest},9\n  dev/sdc,{group},{rest},9\n")
        };
        let whole = |name: &str| Found::Whole(name.to_owned());
        assert_eq!(judged(None, &both("rp.demo.5", "1,")).unwrap(), whole("rp.demo.5"));
        assert_eq!(judged(Some("demo.3"), &both("rp.demo.3", "1,")).unwrap(), whole("rp.demo.3"));
        assert_eq!(judged(Some("demo.3"), &both("rp.demo.4", "1,")).unwrap(), whole("rp.demo.4"));
        for nothing in ["", &both("rp.demo.3", "1,"), &both("rp.demo.5", "0,"), &both("site", "1,")]
        {
            assert_eq!(judged(None, nothing).unwrap(), Found::Nothing, "{nothing}");
        }
        let gone = |used| both("rp.demo.5", "1,") + "  [unknown],rp.demo.5,1,missing," + used;
        assert_eq!(judged(None, &gone("0")).unwrap(), whole("rp.demo.5"));
        for part in ["  dev/sdb,rp.demo.5,1,,9\n  dev/sdc,,,,0\n", &gone("9")] {
            assert_eq!(judged(None, part).unwrap_err().kind(), FailureKind::Conflict, "{part}");
        }
        let told = judged(Some("demo.3"), "").unwrap_err();
        assert_eq!(told.kind(), FailureKind::Conflict);
    }
}
