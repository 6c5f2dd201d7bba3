//! Disks that hold nothing of a volume leave it before their sessions end: what a move left empty.
//! The volume would miss them from then on.

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::VolumeLayout;

use super::pvmove;
use crate::attach::disks;
use crate::attach::{Whose, sessions};
use crate::node::Node;
use crate::outcome::Outcome;

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
        _ => Ok(()),
    }
}
