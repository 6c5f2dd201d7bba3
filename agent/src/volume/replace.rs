//! Puts one disk in another's place while the volume is in use.
//!
//! The kernel copies; the call looks on, and acts in between: only then it has the assembly's
//! turn, so that a copy of an hour keeps nobody from stopping the volume.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind, Redundancy, VolumeLayout};

use super::array::{self, Array, State};
use super::rebuild::{self, Next, Pair};
use super::{Volume, freeze, mdadm, members, pvmove};
use crate::attach::disks::{self, OurDisk};
use crate::configfs;
use crate::node::Node;
use crate::outcome::{During, Outcome, failure};

/// How often the copy is looked at.
const GLANCE: Duration = Duration::from_millis(300);

/// A copy that has not moved for so long will not: longer than the usual patience with a silent
/// donor, which stops every copy that reads from it.
const STALL: Duration = Duration::from_secs(300);

/// A copy that has ended is noticed by LVM within a second, unless whoever watched it is dead.
const UNNOTICED: Duration = Duration::from_secs(5);

/// md lets a dead member go once its own thread has looked.
const GRACE: Duration = Duration::from_secs(10);

const STALLED: &str = "the copy does not move";

/// Which disk takes whose place.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// In whose volume.
    pub assembly: Assembly,
    /// The serial that goes.
    pub old: String,
    /// The serial that comes.
    pub new: String,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Of one member, in bytes.
    pub done: u64,
    /// Of one member, in bytes.
    pub total: u64,
    /// 0 where it is not known.
    pub per_second: u64,
}

/// What a look shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The kernel copies.
    Copying(Progress),
    /// It is about to begin, or has just ended.
    Waiting,
    /// Something is to be done.
    Idle,
}

/// What a step led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The kernel copies, or is about to.
    Going,
    /// The new disk is in, the old one is out.
    Done,
}

/// Replaces, and tells how far it is. Where it does not succeed, the new disk is taken out
/// again, and the volume is as it was.
pub async fn run(node: Arc<Node>, wanted: Replacement, tell: impl Fn(Progress)) -> Outcome<()> {
    let outcome = drive(&node, &wanted, tell).await;
    // Of any other kind it is a refusal: nothing was begun.
    let begun =
        |failure: &Failure| matches!(failure.kind(), FailureKind::Failed | FailureKind::TimedOut);
    if outcome.as_ref().is_err_and(|failure| begun(failure)) {
        let assembly = wanted.assembly.clone();
        let undo = move |node: &Node| take_out(node, &wanted);
        // It says itself why it could not: the first failure is the one to tell.
        let _ = node.change(&assembly, "take the new disk out again", undo).await;
    }
    outcome
}

async fn drive(node: &Arc<Node>, wanted: &Replacement, tell: impl Fn(Progress)) -> Outcome<()> {
    let mut last = (Progress::default(), Instant::now());
    let mut told = 0;
    // The first step joins whatever an earlier call began.
    let mut act = true;
    loop {
        if act {
            let of = wanted.clone();
            let work = move |node: &Node| step(node, &of);
            if node.change(&wanted.assembly, "replace a disk", work).await? == Step::Done {
                return Ok(());
            }
        }
        tokio::time::sleep(GLANCE).await;
        let of = wanted.clone();
        let seen = node.read("look at the copy", move |node| look(node, &of)).await?;
        if let Seen::Copying(progress) = seen
            && progress.done != last.0.done
        {
            // Where it begins and where it ends, md tells none of what is done.
            if progress.done > told {
                told = progress.done;
                tell(progress);
            }
            last = (progress, Instant::now());
        }
        let still = last.1.elapsed();
        if still > STALL {
            let said = format!("{STALLED}, for {} s", still.as_secs());
            return Err(failure(FailureKind::TimedOut, said)
                .during("copy to the new disk")
                .advising("is a donor silent? `rampool status` names it; then repeat this")
                .into());
        }
        let ended = last.0.total > 0 && last.0.done == last.0.total;
        act = seen == Seen::Idle || (ended && still > UNNOTICED);
    }
}

fn look(node: &Node, wanted: &Replacement) -> Outcome<Seen> {
    let volume = super::require(node, &wanted.assembly)?;
    if volume.layout == VolumeLayout::Lvm {
        return Ok(pvmove::look(node, &wanted.assembly));
    }
    let (array, pair, _) = pair(node, &volume, wanted)?;
    if rebuild::next(&array, &pair) != Next::Wait {
        return Ok(Seen::Idle);
    }
    Ok(array.sync.map_or(Seen::Waiting, |sync| {
        Seen::Copying(Progress { done: sync.done, total: sync.total, per_second: sync.per_second })
    }))
}

fn step(node: &Node, wanted: &Replacement) -> Outcome<Step> {
    let volume = super::require(node, &wanted.assembly)?;
    if volume.layout == VolumeLayout::Lvm {
        return pvmove::step(node, &volume, wanted);
    }
    let deadline = Instant::now() + GRACE;
    loop {
        let (array, pair, new) = pair(node, &volume, wanted)?;
        refuse_stripe(&volume, &array)?;
        freeze::thaw(node, &array.name)?;
        match rebuild::next(&array, &pair) {
            Next::Wait => return Ok(Step::Going),
            Next::Done => {
                forget_old(node, wanted);
                return Ok(Step::Done);
            }
            Next::Refuse(kind, said) => {
                return Err(failure(kind, said).by(volume.device.display().to_string()).into());
            }
            next => act(node, &array, wanted, &new, next)?,
        }
        if Instant::now() > deadline {
            return Ok(Step::Going);
        }
    }
}

fn refuse_stripe(volume: &Volume, array: &Array) -> Outcome<()> {
    if array.redundancy() != Redundancy::None {
        return Ok(());
    }
    let said = "an md stripe without redundancy cannot let a member go while it is in use";
    Err(failure(FailureKind::Invalid, said)
        .by(volume.device.display().to_string())
        .advising("pools that shall be moved are made with LVM, or with redundancy")
        .into())
}

/// The array concerned, and the disks by their names.
fn pair(node: &Node, volume: &Volume, wanted: &Replacement) -> Outcome<(Array, Pair, OurDisk)> {
    let new = disks::by_serial(&node.roots, &wanted.new).ok_or_else(|| {
        let said = format!("no disk of rampool here has the serial {}", wanted.new);
        failure(FailureKind::Failed, said).advising("attach the new donor's export first")
    })?;
    let arrays = array::of_disks(&node.roots, &volume.name);
    let members = arrays.iter().flat_map(|array| &array.members);
    let lost = members
        .map(|member| member.disk.clone())
        .filter(|name| disks::is_lost(&node.roots, name))
        .collect();
    let old = disks::by_serial(&node.roots, &wanted.old).map(|disk| disk.name);
    let pair = Pair { old, new: new.name.clone(), lost };
    Ok((rebuild::choose(arrays, &pair), pair, new))
}

fn act(node: &Node, array: &Array, wanted: &Replacement, new: &OurDisk, next: Next) -> Outcome<()> {
    match next {
        Next::Fail(disk) => set_state(node, array, &disk, "faulty").during("fail the old disk"),
        Next::Remove(disk) => remove(node, array, &disk).during("remove the old disk"),
        Next::Add => {
            mdadm::add(node, &array.name, std::slice::from_ref(new)).during("add the new disk")
        }
        Next::Mark => {
            let old = disks::by_serial(&node.roots, &wanted.old).ok_or_else(|| {
                failure(FailureKind::Failed, format!("the disk {} is gone", wanted.old))
            })?;
            mdadm::mark(node, &array.name, &old, new).during("let the new disk take over")
        }
        Next::Wait | Next::Done | Next::Refuse(..) => Ok(()),
    }
}

pub(super) fn set_state(node: &Node, array: &Array, disk: &str, word: &str) -> Outcome<()> {
    let member = array::folder(&node.roots, &array.name).join(format!("dev-{disk}"));
    configfs::write(&member.join("state"), word)
}

/// Takes a dead member off the list, or a spare; md refuses until it has let it go itself.
pub(super) fn remove(node: &Node, array: &Array, disk: &str) -> Outcome<()> {
    let patience = Instant::now() + GRACE;
    loop {
        match set_state(node, array, disk, "remove") {
            Ok(()) => return Ok(()),
            Err(failure) if Instant::now() > patience => return Err(failure),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// A disk that was a member must not be taken for one. One that does not answer cannot be told,
/// and its memory is given back anyway.
fn forget_old(node: &Node, wanted: &Replacement) {
    let is_ours = |old: &OurDisk| {
        let found = members::superblock(&node.roots, old).ok().flatten();
        found.and_then(|found| found.assembly()).is_some_and(|of| of.name == wanted.assembly.name)
    };
    let old = disks::by_serial(&node.roots, &wanted.old)
        .filter(|old| disks::is_running(&node.roots, &old.name) && is_ours(old));
    if let Some(old) = old
        && let Err(failure) = mdadm::forget_member(node, &old)
    {
        tracing::debug!(%failure, "a disk that left keeps its superblock");
    }
}

/// Undoes what was begun: the new disk is no member any more, unless it is one in full.
fn take_out(node: &Node, wanted: &Replacement) -> Outcome<()> {
    let volume = super::require(node, &wanted.assembly)?;
    if volume.layout == VolumeLayout::Lvm {
        return pvmove::take_out(node, &volume, wanted);
    }
    let Some(new) = disks::by_serial(&node.roots, &wanted.new) else { return Ok(()) };
    let (array, ..) = pair(node, &volume, wanted)?;
    match array.member(&new.name) {
        Some(member) if member.state != State::InSync => {}
        _ => return Ok(()),
    }
    freeze::thaw(node, &array.name)?;
    set_state(node, &array, &new.name, "faulty")?;
    if let Some(old) = disks::by_serial(&node.roots, &wanted.old)
        && array.member(&old.name).is_some_and(|old| old.leaving)
    {
        set_state(node, &array, &old.name, "-want_replacement")?;
    }
    remove(node, &array, &new.name)?;
    if disks::is_running(&node.roots, &new.name) {
        mdadm::forget_member(node, &new)?;
    }
    Ok(())
}
