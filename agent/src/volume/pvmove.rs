//! Moves a logical volume off one disk onto another, by LVM's pvmove.
//!
//! The device mapper copies, with the volume in use; a process of LVM's looks on and ends it.
//! That process is no child that dies with the agent, and whoever repeats the call starts
//! another: LVM's own locks keep two of them apart.

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::FailureKind;

use super::group::{self, Physical};
use super::mapped;
use super::replace::{Progress, Replacement, Seen, Step};
use super::{Volume, lvm};
use crate::attach::disks::{self, OurDisk};
use crate::modules;
use crate::names;
use crate::node::Node;
use crate::outcome::{During, Outcome, failure};

/// What is copied, as far as it is known.
pub(super) fn look(node: &Node, assembly: &Assembly) -> Seen {
    match mapped::moving(node, assembly) {
        Some(moving) => {
            Seen::Copying(Progress { done: moving.done, total: moving.total, per_second: 0 })
        }
        None => Seen::Idle,
    }
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Extend,
    Move,
    Reduce,
    Done,
    Refuse,
}

/// By what LVM says of both disks.
fn next(report: &[Physical], group: &str, old: &str, new: &str) -> Next {
    let find = |device: &str| {
        report.iter().find(|physical| physical.device == device && physical.group == group)
    };
    match (find(old), find(new)) {
        (Some(_), None) => Next::Extend,
        (Some(old), Some(_)) if old.used > 0 => Next::Move,
        (Some(_), Some(_)) => Next::Reduce,
        (None, Some(new)) if new.used > 0 => Next::Done,
        (None, _) => Next::Refuse,
    }
}

/// One step of a replacement; the assembly's turn is ours.
pub(super) fn step(node: &Node, volume: &Volume, wanted: &Replacement) -> Outcome<Step> {
    let group = names::object(&wanted.assembly);
    let new = find(node, &wanted.new)?;
    if let Some(moving) = mapped::moving(node, &wanted.assembly) {
        if moving.to != new.name {
            let said = format!("{} is being moved to {} already", moving.from, moving.to);
            return Err(failure(FailureKind::Conflict, said)
                .by(volume.device.display().to_string())
                .into());
        }
        watch(node, &group, &stack(node, volume, &[new])).during("go on moving the disk")?;
        return Ok(Step::Going);
    }
    let old = disks::by_serial(&node.roots, &wanted.old);
    let old_name = old.as_ref().map(|old| device(node, old)).unwrap_or_default();
    let all = stack(
        node,
        volume,
        &[Some(new.clone()), old.clone()].into_iter().flatten().collect::<Vec<_>>(),
    );
    let report = group::report(node, &wanted.assembly, &all).during("look at the disks")?;
    match next(&report, &group, &old_name, &device(node, &new)) {
        Next::Done => Ok(Step::Done),
        Next::Refuse => Err(refuse(wanted, old.is_some())),
        Next::Extend => {
            extend(node, &group, &all, &new).during("add the new disk")?;
            begin(node, &group, &all, &old_name, &new).during("move the disk")
        }
        Next::Move => begin(node, &group, &all, &old_name, &new).during("move the disk"),
        Next::Reduce => {
            reduce(node, &group, &all, &old_name).during("remove the old disk")?;
            Ok(Step::Done)
        }
    }
}

fn refuse(wanted: &Replacement, is_there: bool) -> Box<rampool_proto::v1::Failure> {
    let said = if is_there {
        format!("the disk {} is no part of the volume", wanted.old)
    } else {
        format!("the disk {} is gone, and without redundancy nobody else has its part", wanted.old)
    };
    failure(FailureKind::NotFound, said).into()
}

fn find(node: &Node, serial: &str) -> Outcome<OurDisk> {
    disks::by_serial(&node.roots, serial).ok_or_else(|| {
        let said = format!("no disk of rampool here has the serial {serial}");
        failure(FailureKind::NotFound, said).advising("attach the new donor's export first").into()
    })
}

fn device(node: &Node, disk: &OurDisk) -> String {
    disk.device(&node.roots).display().to_string()
}

/// The disks that LVM must see: the volume's, and those that are to come or go.
fn stack(node: &Node, volume: &Volume, others: &[OurDisk]) -> Vec<OurDisk> {
    let leaves = mapped::leaves(&node.roots, &volume.name);
    let mut disks = disks::all(&node.roots);
    disks.retain(|disk| leaves.contains(&disk.name) || others.contains(disk));
    disks
}

fn extend(node: &Node, group: &str, all: &[OurDisk], new: &OurDisk) -> Outcome<()> {
    let arguments = ["vgextend", "--yes", "--dataalignment", "1m"];
    lvm::must(node, &lvm::lvm(node, group, all, &arguments, &[group, &device(node, new)])?)
}

/// Returns when the copy has begun.
fn begin(node: &Node, group: &str, all: &[OurDisk], old: &str, new: &OurDisk) -> Outcome<Step> {
    modules::ensure(node, &["dm_mirror"])?;
    let arguments = ["pvmove", "--yes", "--background", "--interval", "1"];
    lvm::must(node, &lvm::lvm(node, group, all, &arguments, &[old, &device(node, new)])?)?;
    Ok(Step::Going)
}

/// Somebody of LVM's looks on from now, whoever did before.
fn watch(node: &Node, group: &str, all: &[OurDisk]) -> Outcome<()> {
    let arguments = ["pvmove", "--yes", "--background", "--interval", "1"];
    lvm::must(node, &lvm::lvm(node, group, all, &arguments, &[])?)
}

fn reduce(node: &Node, group: &str, all: &[OurDisk], disk: &str) -> Outcome<()> {
    lvm::must(node, &lvm::lvm(node, group, all, &["vgreduce", "--yes"], &[group, disk])?)?;
    lvm::must(node, &lvm::lvm(node, group, all, &["pvremove", "--yes"], &[disk])?)
}

/// Ends a move that does not end by itself; what was copied is kept where it was before.
pub(super) fn take_out(node: &Node, volume: &Volume, wanted: &Replacement) -> Outcome<()> {
    let group = names::object(&wanted.assembly);
    let Some(new) = disks::by_serial(&node.roots, &wanted.new) else { return Ok(()) };
    let all = stack(node, volume, std::slice::from_ref(&new));
    if mapped::moving(node, &wanted.assembly).is_some_and(|moving| moving.to == new.name) {
        lvm::must(node, &lvm::lvm(node, &group, &all, &["pvmove", "--yes", "--abort"], &[])?)?;
    }
    let report = group::report(node, &wanted.assembly, &all)?;
    let device = device(node, &new);
    match report.iter().find(|physical| physical.device == device && physical.group == group) {
        Some(physical) if physical.used == 0 => reduce(node, &group, &all, &device),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn physical(device: &str, group: &str, used: u64) -> Physical {
        Physical { device: device.into(), group: group.into(), volumes: 1, missing: 0, used }
    }

    #[test]
    fn each_state_of_a_move_has_its_next_step() {
        let of = |device: &str, used| physical(device, "rp.demo.1", used);
        for (report, wanted) in [
            (vec![of("a", 9), of("old", 9)], Next::Extend),
            (vec![of("a", 9), of("old", 9), physical("new", "", 0)], Next::Extend),
            (vec![of("a", 9), of("old", 9), of("new", 0)], Next::Move),
            (vec![of("a", 9), of("old", 0), of("new", 9)], Next::Reduce),
            (vec![of("a", 9), of("new", 9)], Next::Done),
            (vec![of("a", 9), of("new", 0)], Next::Refuse),
            (vec![of("a", 9)], Next::Refuse),
        ] {
            assert_eq!(next(&report, "rp.demo.1", "old", "new"), wanted, "{report:?}");
        }
    }
}
