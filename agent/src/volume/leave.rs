//! Disks that hold nothing of a volume leave it before their sessions end: spares, and what a move
//! left empty. The volume would miss them from then on.

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::VolumeLayout;

use super::array::{self, Array, State};
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
    let leaving: Vec<_> = sessions::of(node, assembly)
        .iter()
        .filter(|session| whose.includes(&session.donor))
        .filter_map(|session| session.disk(&node.roots))
        .filter(|disk| disks::is_running(&node.roots, &disk.name))
        .collect();
    match volume.layout {
        _ if leaving.is_empty() => Ok(()),
        VolumeLayout::Lvm => pvmove::give_up(node, &volume, &leaving),
        _ => give_up_spares(node, &volume, &leaving),
    }
}

fn give_up_spares(node: &Node, volume: &Volume, leaving: &[OurDisk]) -> Outcome<()> {
    for array in array::of_disks(&node.roots, &volume.name) {
        for spare in leaving.iter().filter(|disk| is_idle(&array, disk)) {
            freeze::thaw(node, &array.name)?;
            replace::remove(node, &array, &spare.name).during("take the spare out of the array")?;
            mdadm::forget_member(node, spare).during("clear the spare")?;
        }
    }
    Ok(())
}

/// Whether a disk is a spare that no place waits for.
fn is_idle(array: &Array, disk: &OurDisk) -> bool {
    array.vacant() == 0 && array.member(&disk.name).is_some_and(|m| m.state == State::Spare)
}
