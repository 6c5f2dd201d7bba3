//! How a volume is: its members, each with the donor behind it, and what is being copied.
//! Read from sysfs alone: asking a dead disk would wait for it.

use std::collections::BTreeMap;

use rampool_proto::v1::{self, MemberState, Redundancy, VolumeHealth, VolumeLayout};

use super::Volume;
use super::array::{Array, Member, State};
use super::mapped;
use crate::attach::disks;
use crate::attach::sessions;
use crate::node::Node;

/// How `volume` is now.
#[must_use]
pub(super) fn of(node: &Node, volume: &Volume) -> VolumeHealth {
    let seen = Disks::look(node);
    match volume.layout {
        VolumeLayout::Lvm => of_logical_volume(node, volume, &seen),
        _ => of_array(&Array::read(&node.roots, &volume.name), &seen),
    }
}

/// What the node knows of a disk of ours by its name.
#[derive(Clone, Debug, Default)]
struct Known {
    serial: String,
    donor: String,
    /// Its session is past its patience: whatever is asked of it fails.
    lost: bool,
}

/// All disks of ours, by the kernel's names.
struct Disks(BTreeMap<String, Known>);

impl Disks {
    fn look(node: &Node) -> Self {
        let remote: BTreeMap<_, _> = sessions::list(node)
            .into_iter()
            .filter_map(|session| Some((session.disk(&node.roots)?.name, session.donor)))
            .collect();
        let known = disks::all(&node.roots).into_iter().map(|disk| {
            // A disk without a session is this node's own piece.
            let donor = remote.get(&disk.name).unwrap_or(&node.config.node).clone();
            let lost = disks::is_lost(&node.roots, &disk.name);
            (disk.name, Known { serial: disk.serial, donor, lost })
        });
        Self(known.collect())
    }

    /// A disk that is gone has no serial and no donor any more.
    fn member(&self, name: &str, state: MemberState) -> v1::Member {
        let known = self.0.get(name).cloned().unwrap_or(Known { lost: true, ..Known::default() });
        let state = if known.lost { MemberState::Faulty } else { state };
        v1::Member { serial: known.serial, donor: known.donor, state: state.into() }
    }
}

/// The places in their order, then whatever else is listed.
fn of_array(array: &Array, disks: &Disks) -> VolumeHealth {
    let tell = |member: &Member| disks.member(&member.disk, told(member.state));
    let in_place = (0..array.places).map(|place| match array.holder(place) {
        Some(member) => tell(member),
        None => v1::Member { state: MemberState::Missing.into(), ..v1::Member::default() },
    });
    let beside = array.members.iter().filter(|member| member.place.is_none() || member.replacement);
    let mut members: Vec<_> = in_place.collect();
    let lacking = lacking(&members);
    members.extend(beside.map(tell));
    let sync = array.sync.clone();
    VolumeHealth {
        layout: VolumeLayout::Md.into(),
        redundancy: array.redundancy().into(),
        chunk_kib: u32::try_from(array.chunk_bytes / 1024).unwrap_or(0),
        members,
        lacking,
        action: sync.as_ref().map(|sync| sync.action.clone()).unwrap_or_default(),
        done_bytes: sync.as_ref().map_or(0, |sync| sync.done),
        total_bytes: sync.as_ref().map_or(0, |sync| sync.total),
        bytes_per_second: sync.as_ref().map_or(0, |sync| sync.per_second),
    }
}

fn told(state: State) -> MemberState {
    match state {
        State::InSync => MemberState::InSync,
        State::Rebuilding => MemberState::Rebuilding,
        State::Spare => MemberState::Spare,
        State::Faulty => MemberState::Faulty,
    }
}

fn lacking(members: &[v1::Member]) -> u32 {
    let lacking = members.iter().filter(|member| member.state() != MemberState::InSync).count();
    u32::try_from(lacking).unwrap_or(u32::MAX)
}

/// The kernel tells no order of a logical volume's disks: they come by name. While one is moved
/// away, the disk that it is moved to stands last, and is being filled.
fn of_logical_volume(node: &Node, volume: &Volume, disks: &Disks) -> VolumeHealth {
    let moving = mapped::moving(node, &volume.assembly);
    let to = moving.as_ref().map(|moving| moving.to.as_str());
    let leaves = mapped::leaves(&node.roots, &volume.name);
    let mut members: Vec<_> = leaves
        .iter()
        .filter(|name| Some(name.as_str()) != to)
        .map(|name| disks.member(name, MemberState::InSync))
        .collect();
    let lacking = lacking(&members);
    members.extend(to.map(|name| disks.member(name, MemberState::Rebuilding)));
    VolumeHealth {
        layout: VolumeLayout::Lvm.into(),
        redundancy: Redundancy::None.into(),
        chunk_kib: mapped::chunk_kib(&node.roots, &volume.name),
        members,
        lacking,
        action: if moving.is_some() { "move".to_owned() } else { String::new() },
        done_bytes: moving.as_ref().map_or(0, |moving| moving.done),
        total_bytes: moving.as_ref().map_or(0, |moving| moving.total),
        bytes_per_second: 0,
    }
}
