//! How a volume is: its members, each with the donor behind it, and what is being copied.
//! Read from sysfs and the kernel's log alone: asking a dead disk would wait for it.

use std::collections::BTreeMap;

use rampool_proto::v1::{self, MemberState, Redundancy, VolumeHealth, VolumeLayout};

use super::Volume;
use super::array::{self, Array, Member, State};
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
        _ => of_arrays(&array::of_disks(&node.roots, &volume.name), &seen),
    }
}

/// What the node knows of a disk of ours by its name.
#[derive(Clone, Debug, Default)]
struct Known {
    serial: String,
    donor: String,
    /// Its session is past its patience: whatever is asked of it fails.
    lost: bool,
    /// Its session was, and may be open again: what was asked of it meanwhile has failed.
    ran_out: bool,
}

/// All disks of ours, by the kernel's names.
struct Disks(BTreeMap<String, Known>);

impl Disks {
    fn look(node: &Node) -> Self {
        let remote: BTreeMap<_, _> = sessions::list(node)
            .into_iter()
            .filter_map(|session| Some((session.disk(&node.roots)?.name, session)))
            .collect();
        let waited_for_in_vain = node.ran_out.sessions(node);
        let known = disks::all(&node.roots).into_iter().map(|disk| {
            let session = remote.get(&disk.name);
            // A disk without a session is this node's own piece.
            let donor = session.map_or(&node.config.node, |session| &session.donor).clone();
            let ran_out = session.is_some_and(|session| waited_for_in_vain.contains(&session.id));
            let lost = disks::is_lost(&node.roots, &disk.name);
            (disk.name, Known { serial: disk.serial, donor, lost, ran_out })
        });
        Self(known.collect())
    }

    /// Whether what has no other copy of this disk has got errors that nobody makes good.
    fn has_failed(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|known| known.ran_out)
    }

    /// A disk that is gone has no serial and no donor any more.
    fn member(&self, name: &str, state: MemberState) -> v1::Member {
        let known = self.0.get(name).cloned().unwrap_or(Known { lost: true, ..Known::default() });
        let state = if known.lost { MemberState::Faulty } else { state };
        v1::Member { serial: known.serial, donor: known.donor, state: state.into() }
    }
}

/// The places in their order, group after group, then whatever else is listed.
fn of_arrays(arrays: &[Array], disks: &Disks) -> VolumeHealth {
    let mut members: Vec<_> = arrays.iter().flat_map(|array| in_place(array, disks)).collect();
    let lacking = lacking(&members);
    members.extend(arrays.iter().flat_map(|array| beside(array, disks)));
    let first = arrays.first();
    let sync = arrays.iter().find_map(|array| array.sync.clone());
    VolumeHealth {
        layout: VolumeLayout::Md.into(),
        redundancy: first.map_or(Redundancy::None, Array::redundancy).into(),
        chunk_kib: first
            .and_then(|array| u32::try_from(array.chunk_bytes / 1024).ok())
            .unwrap_or(0),
        members,
        lacking,
        action: sync.as_ref().map(|sync| sync.action.clone()).unwrap_or_default(),
        done_bytes: sync.as_ref().map_or(0, |sync| sync.done),
        total_bytes: sync.as_ref().map_or(0, |sync| sync.total),
        bytes_per_second: sync.as_ref().map_or(0, |sync| sync.per_second),
        broken: arrays.iter().any(|array| is_broken(array, disks)),
    }
}

/// md knows it itself, but for a stripe: it asks on as if nothing had been.
fn is_broken(array: &Array, disks: &Disks) -> bool {
    let is_stripe = array.redundancy() == Redundancy::None;
    let failed = || array.members.iter().any(|member| disks.has_failed(&member.disk));
    array.is_broken() || (is_stripe && failed())
}

fn in_place(array: &Array, disks: &Disks) -> Vec<v1::Member> {
    let member = |place| match array.holder(place) {
        Some(member) => disks.member(&member.disk, told(member.state)),
        None => v1::Member { state: MemberState::Missing.into(), ..v1::Member::default() },
    };
    (0..array.places).map(member).collect()
}

fn beside(array: &Array, disks: &Disks) -> Vec<v1::Member> {
    let is_beside = |member: &&Member| member.place.is_none() || member.replacement;
    let tell = |member: &Member| disks.member(&member.disk, told(member.state));
    array.members.iter().filter(is_beside).map(tell).collect()
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
    let is_part = |name: &&String| Some(name.as_str()) != to;
    let broken = leaves.iter().filter(is_part).any(|name| disks.has_failed(name));
    let mut members: Vec<_> =
        leaves.iter().filter(is_part).map(|name| disks.member(name, MemberState::InSync)).collect();
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
        broken,
    }
}

#[cfg(test)]
mod tests {
    use super::array::tests::write_array;
    use super::*;
    use crate::attach::disks::tests::write_disk;
    use crate::attach::ran_out::tests::{log, timed_out};
    use crate::attach::sessions::tests::write_session;
    use crate::node::tests::fake;
    use crate::ramdisk::VENDOR;
    use std::fs;

    #[test]
    fn members_are_told_with_their_disks_and_a_lost_one_is_faulty_whatever_md_says() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        let roots = &node.roots;
        for name in ["sda", "sdb", "sdd"] {
            write_disk(roots, name, VENDOR, &format!("serial-{name}"), "8:0");
        }
        let offline = roots.blocks().join("sdb/device/state");
        fs::write(offline, "transport-offline\n").unwrap();
        let members = [
            ("sda", "in_sync", "0"),
            ("sdb", "in_sync", "1"),
            ("sdc", "in_sync", "2"),
            ("sdd", "spare", "none"),
        ];
        write_array(roots, "md_rp.demo.3", "raid0", 4, &members);
        let volume = super::super::find(&node, &"demo.3".parse().unwrap()).unwrap();
        let health = of(&node, &volume);
        let seen: Vec<_> = health.members.iter().map(|m| (m.serial.as_str(), m.state())).collect();
        assert_eq!(
            seen,
            [
                ("serial-sda", MemberState::InSync),
                ("serial-sdb", MemberState::Faulty),
                ("", MemberState::Faulty),
                ("", MemberState::Missing),
                ("serial-sdd", MemberState::Spare),
            ]
        );
        assert_eq!((health.lacking, health.redundancy()), (3, Redundancy::None));
        assert_eq!(health.members[0].donor, "n1", "a disk without a session is the node's own");
    }

    #[test]
    fn a_stripe_whose_patience_ran_out_is_broken_and_a_mirror_is_not() {
        for (level, broken) in [("raid0", true), ("raid10", false)] {
            let folder = tempfile::tempdir().unwrap();
            let node = fake(folder.path());
            let roots = &node.roots;
            write_array(roots, "md_rp.demo.3", level, 1, &[("sd7", "in_sync", "0")]);
            write_session(&node, 7, "iqn.2026-11.org.rampool:demo.3.n2", "rp.demo.3", "LOGGED_IN");
            write_disk(roots, "sd7", VENDOR, "serial", "8:0");
            fs::create_dir(roots.blocks().join("sd7/holders/md_rp.demo.3")).unwrap();
            let volume = super::super::find(&node, &"demo.3".parse().unwrap()).unwrap();
            log(roots, &[]);
            assert!(!of(&node, &volume).broken);
            log(roots, &[&timed_out(7)]);
            let health = of(&node, &volume);
            assert_eq!((health.broken, health.lacking), (broken, 0), "{level}");
        }
    }

    #[test]
    fn groups_are_told_as_one_volume() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        let groups = [("md_g0.demo.3", "in_sync", "0"), ("md_g1.demo.3", "in_sync", "1")];
        write_array(&node.roots, "md_rp.demo.3", "raid0", 2, &groups);
        for (group, disks) in [("md_g0.demo.3", ["sda", "sdb"]), ("md_g1.demo.3", ["sdc", "sdd"])] {
            let members = [(disks[0], "in_sync", "0"), (disks[1], "faulty", "none")];
            write_array(&node.roots, group, "raid5", 2, &members);
            write_disk(&node.roots, disks[0], VENDOR, disks[0], "8:0");
        }
        let volume = super::super::find(&node, &"demo.3".parse().unwrap()).unwrap();
        let health = of(&node, &volume);
        let seen: Vec<_> = health.members.iter().map(|m| (m.serial.as_str(), m.state())).collect();
        assert_eq!(
            seen,
            [
                ("sda", MemberState::InSync),
                ("", MemberState::Missing),
                ("sdc", MemberState::InSync),
                ("", MemberState::Missing),
                ("", MemberState::Faulty),
                ("", MemberState::Faulty),
            ]
        );
        assert_eq!((health.lacking, health.redundancy()), (2, Redundancy::Parity));
    }
}
