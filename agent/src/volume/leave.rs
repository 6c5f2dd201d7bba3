//! Disks that hold nothing of a volume leave it before their sessions end: spares, what a move
//! left empty, and dead members of a redundant volume, which md lists until somebody takes them
//! off.

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::VolumeLayout;

use super::array::{self, Array, Member, State};
use super::{Volume, freeze, mdadm, pvmove, replace};
use crate::attach::disks::{self, OurDisk};
use crate::attach::{Whose, sessions};
use crate::node::Node;
use crate::outcome::{During, Outcome};

/// Has the volume of `assembly` do without the disks of these donors, as far as they hold nothing
/// of it. Of all donors nothing is asked: then the volume is to be stopped.
pub fn give_up(node: &Node, assembly: &Assembly, whose: &Whose) -> Outcome<()> {
    let (Some(volume), Whose::Donors(_)) = (super::find(node, assembly), whose) else {
        return Ok(());
    };
    let mut leaving: Vec<_> = sessions::of(node, assembly)
        .iter()
        .filter(|session| whose.includes(&session.donor))
        .filter_map(|session| session.disk(&node.roots))
        .collect();
    if volume.layout == VolumeLayout::Lvm {
        // LVM would wait for those that do not answer.
        leaving.retain(|disk| disks::is_running(&node.roots, &disk.name));
    }
    match volume.layout {
        _ if leaving.is_empty() => Ok(()),
        VolumeLayout::Lvm => pvmove::give_up(node, &volume, &leaving),
        _ => give_up_members(node, &volume, &leaving),
    }
}

fn give_up_members(node: &Node, volume: &Volume, leaving: &[OurDisk]) -> Outcome<()> {
    for array in array::of_disks(&node.roots, &volume.name) {
        for disk in leaving {
            match array.member(&disk.name) {
                Some(member) if is_dead(node, member) => take_off(node, &array, member)?,
                Some(member) if is_idle(&array, member) => take_out(node, &array, disk)?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// What md gave up, or would if it asked.
fn is_dead(node: &Node, member: &Member) -> bool {
    member.state == State::Faulty || disks::is_lost(&node.roots, &member.disk)
}

/// Whether it is a spare that no place waits for.
fn is_idle(array: &Array, member: &Member) -> bool {
    array.vacant() == 0 && member.state == State::Spare
}

/// md asks nothing of an idle member, and may not know yet. It refuses to give up the last copy.
fn take_off(node: &Node, array: &Array, dead: &Member) -> Outcome<()> {
    let doing = "take a dead member off the volume";
    freeze::thaw(node, &array.name)?;
    if dead.state != State::Faulty {
        replace::set_state(node, array, &dead.disk, "faulty").during(doing)?;
    }
    replace::remove(node, array, &dead.disk).during(doing)
}

fn take_out(node: &Node, array: &Array, spare: &OurDisk) -> Outcome<()> {
    freeze::thaw(node, &array.name)?;
    replace::remove(node, array, &spare.name).during("take the spare out of the array")?;
    mdadm::forget_member(node, spare).during("clear the spare")
}
