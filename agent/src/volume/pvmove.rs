//! Moves a logical volume off one disk onto another, by LVM's pvmove.
//!
//! The device mapper copies, with the volume in use; a process of LVM's looks on and ends it.
//! That process is no child that dies with the agent, and whoever repeats the call starts
//! another: LVM's own locks keep two of them apart.

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::FailureKind;

use super::group::{self, Physical};
use super::mapped::{self, Moving};
use super::rebuild::NEW_FAILED;
use super::replace::{Progress, Replacement, Seen, Step};
use super::{Volume, lvm, undo};
use crate::attach::disks::{self, OurDisk};
use crate::modules;
use crate::names;
use crate::node::Node;
use crate::outcome::{During, Outcome, failure};

/// Whatever it has, the volume could not count on it.
const NEW_WAS_LOST: &str = "the patience with the new disk's donor ran out since it was attached";

/// What is copied, as far as it is known.
pub(super) fn look(node: &Node, assembly: &Assembly) -> Seen {
    match mapped::moving(node, assembly) {
        Some(moving) if has_failed(node, &moving) => Seen::Idle,
        Some(moving) => {
            Seen::Copying(Progress { done: moving.done, total: moving.total, per_second: 0 })
        }
        None => Seen::Idle,
    }
}

/// The device mapper goes on as if it copied, and to the end.
fn has_failed(node: &Node, moving: &Moving) -> bool {
    moving.failed
        || disks::is_lost(&node.roots, &moving.to)
        || node.ran_out.includes(node, &moving.to)
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
        if has_failed(node, &moving) {
            return Err(failure(FailureKind::Failed, NEW_FAILED)
                .by(new.device(&node.roots).display().to_string())
                .into());
        }
        watch(node, &group, &stack(node, volume, &[new])).during("go on moving the disk")?;
        return Ok(Step::Going);
    }
    if node.ran_out.includes(node, &new.name) {
        return Err(failure(FailureKind::Failed, NEW_WAS_LOST)
            .by(new.device(&node.roots).display().to_string())
            .advising("detach its donor and attach it again")
            .into());
    }
    let old = disks::by_serial(&node.roots, &wanted.old);
    let old_name = old.as_ref().map(|old| device(node, old)).unwrap_or_default();
    let both: Vec<_> = [Some(new.clone()), old.clone()].into_iter().flatten().collect();
    let all = stack(node, volume, &both);
    let report = group::report(node, &wanted.assembly, &all).during("look at the disks")?;
    group::forget_missing(node, &group, &all, &report).during("forget a disk that is gone")?;
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

/// The disks that LVM must see: the volume's, those that are to come or go, and what else answers
/// and may be of the group.
fn stack(node: &Node, volume: &Volume, others: &[OurDisk]) -> Vec<OurDisk> {
    let leaves = mapped::leaves(&node.roots, &volume.name);
    let mut disks = disks::all(&node.roots);
    disks.retain(|disk| leaves.contains(&disk.name) || others.contains(disk));
    group::readable(node, &disks)
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

/// Ends a move that does not end by itself; what was copied is kept where it was before. The new
/// disk may be gone.
pub(super) fn take_out(node: &Node, volume: &Volume, wanted: &Replacement) -> Outcome<()> {
    let mut new: Vec<_> = disks::by_serial(&node.roots, &wanted.new).into_iter().collect();
    end_move_to(node, volume, &new)?;
    new.retain(|disk| disks::is_running(&node.roots, &disk.name));
    give_up(node, volume, &new)
}

/// Takes disks, which answer, out of the group if nothing of the volume is on them, and ends a
/// move to one of them. Those that are gone leave it, too.
pub(super) fn give_up(node: &Node, volume: &Volume, leaving: &[OurDisk]) -> Outcome<()> {
    let group = names::object(&volume.assembly);
    end_move_to(node, volume, leaving)?;
    let all = stack(node, volume, leaving);
    let report = group::report(node, &volume.assembly, &all).during("look at the disks")?;
    group::forget_missing(node, &group, &all, &report).during("forget a disk that is gone")?;
    let empty = |disk: &String| {
        let mut found = report.iter().filter(|physical| physical.device == *disk);
        found.any(|physical| physical.group == group && physical.used == 0)
    };
    for disk in leaving.iter().map(|disk| device(node, disk)).filter(empty) {
        reduce(node, &group, &all, &disk).during("take an empty disk out of the volume group")?;
    }
    Ok(())
}

fn end_move_to(node: &Node, volume: &Volume, disks: &[OurDisk]) -> Outcome<()> {
    match mapped::moving(node, &volume.assembly) {
        Some(moving) if disks.iter().any(|disk| disk.name == moving.to) => {
            abort(node, volume, &moving).during("end the move of a disk")
        }
        _ => Ok(()),
    }
}

/// LVM ends no move to a disk that is gone, and calls that success.
fn abort(node: &Node, volume: &Volume, moving: &Moving) -> Outcome<()> {
    let (group, mut all) = (names::object(&volume.assembly), stack(node, volume, &[]));
    if disks::is_lost(&node.roots, &moving.to) {
        all.retain(|disk| disk.name != moving.to);
        let report = group::report(node, &volume.assembly, &all)?;
        undo::on_disks(node, &group, &all, &report)?;
        // Also after an agent that was killed in between.
        return undo::in_kernel(node, &volume.assembly, &all);
    }
    let output = lvm::lvm(node, &group, &all, &["pvmove", "--yes", "--abort"], &[])?;
    lvm::must(node, &output)?;
    if mapped::moving(node, &volume.assembly).is_none() {
        return Ok(());
    }
    let said = format!("the move from {} to {} goes on: {}", moving.from, moving.to, output.said());
    Err(failure(FailureKind::Failed, said)
        .by(node.programs.lvm.path()?.display().to_string())
        .advising("repeat it; the volume keeps all its data")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn physical(device: &str, group: &str, used: u64) -> Physical {
        Physical { device: device.into(), group: group.into(), volumes: 1, missing: false, used }
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
