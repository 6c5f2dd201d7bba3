//! LVM: one volume group a pool, `rp.<pool>.<gen>`, with one striped logical volume, `scratch`.
//!
//! LVM is told which devices exist (`--devices`) and how to behave (`--config`): a node's own
//! groups, filters and configuration neither see ours nor are seen. It is stopped through the
//! device mapper alone, which reads no disk: LVM would look for its metadata on donors that may
//! be dead.

use std::fs;
use std::time::Duration;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{FailureKind, VolumeLayout};

use super::group::{self, Found};
use super::mapped;
use super::{Volume, Wanted};
use super::{members, undo};
use crate::attach::disks::{self, OurDisk};
use crate::command::{self, Output};
use crate::configfs;
use crate::memory::MIB;
use crate::names::{self, LOGICAL_VOLUME};
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure};
use crate::roots::Roots;

/// 128 disks over the network: labels and metadata took 4 s in the lab.
const DEADLINE: Duration = Duration::from_secs(60);

/// The logical volume behind the block device `name`, if that is ours.
pub(super) fn describe(roots: &Roots, name: &str) -> Option<Volume> {
    let dm = roots.blocks().join(name).join("dm");
    let mapped = configfs::read(&dm.join("name")).ok()?;
    let assembly = names::parse_dm_device(&mapped)?;
    // A name alone is not LVM's: everything LVM makes has an identifier that begins so.
    if !configfs::read(&dm.join("uuid")).ok()?.starts_with("LVM-") {
        return None;
    }
    let sectors: u64 =
        configfs::read(&roots.blocks().join(name).join("size")).ok()?.parse().ok()?;
    let width = mapped::leaves(roots, name).len();
    Some(Volume {
        assembly,
        layout: VolumeLayout::Lvm,
        name: name.to_owned(),
        device: roots.dev.join("mapper").join(mapped),
        number: disks::number(roots, name)?,
        bytes: sectors * 512,
        detail: format!("LVM striped over {width}"),
    })
}

/// Refuses if the volume stands on other disks than `wanted` or in other chunks. While a disk
/// is moved away, the one that it is moved to belongs to the volume too.
pub(super) fn compare(
    node: &Node,
    volume: &Volume,
    wanted: &Wanted,
    disks: &[OurDisk],
) -> Outcome<()> {
    let mut members: Vec<_> = disks.iter().map(|disk| disk.name.clone()).collect();
    members.sort();
    let moving = mapped::moving(node, &volume.assembly);
    let is_joining = |name: &String| {
        moving.as_ref().is_some_and(|moving| moving.to == *name) && !members.contains(name)
    };
    let mut now = mapped::leaves(&node.roots, &volume.name);
    now.retain(|name| !is_joining(name));
    let chunk = mapped::chunk_kib(&node.roots, &volume.name);
    if now == members && (chunk == wanted.chunk_kib || members.len() == 1) {
        return Ok(());
    }
    let said = format!(
        "is striped over {} in chunks of {chunk} KiB; {} in chunks of {} KiB were asked for",
        now.join(" "),
        members.join(" "),
        wanted.chunk_kib
    );
    Err(failure(FailureKind::Conflict, said)
        .by(volume.device.display().to_string())
        .advising("stop this volume first")
        .into())
}

pub(super) fn assemble(node: &Node, wanted: &Wanted, disks: &[OurDisk]) -> Outcome<()> {
    let seen = group::readable(node, disks);
    let mut found = group::report(node, &wanted.assembly, &seen).during("look at the disks")?;
    if let Some(name) = group::of_pool(wanted, &found)
        && undo::on_disks(node, &name, &seen, &found).during("undo a move")? == Change::Made
    {
        found = group::report(node, &wanted.assembly, &seen).during("look at the disks")?;
    }
    match group::judge(wanted, disks, &node.roots, &found).during("look at the disks")? {
        Found::Whole(name) => {
            group::forget_missing(node, &name, &seen, &found)
                .during("forget a disk that is gone")?;
            rename(node, wanted, &name, &seen).during("name the volume group")?;
            activate(node, &wanted.assembly, &seen).during("activate the volume again")
        }
        Found::Nothing => {
            members::clear(&node.roots, disks).during("clear the disks")?;
            make_group(node, wanted, disks).during("make the volume group")?;
            make_volume(node, wanted, disks).during("make the logical volume")
        }
    }
}

/// A group is named for the assembly that uses it: the volume's device is named for the group.
fn rename(node: &Node, wanted: &Wanted, from: &str, seen: &[OurDisk]) -> Outcome<()> {
    let group = names::object(&wanted.assembly);
    if from == group {
        return Ok(());
    }
    must(node, &lvm(node, &group, seen, &["vgrename"], &[from, &group])?)
}

fn make_group(node: &Node, wanted: &Wanted, disks: &[OurDisk]) -> Outcome<()> {
    let group = names::object(&wanted.assembly);
    let extent = format!("{}m", extent_mib(disks.iter().map(|disk| disk.bytes)));
    let devices = devices(node, disks);
    let mut operands = vec![group.as_str()];
    operands.extend(devices.iter().map(String::as_str));
    // Data begins after the first mebibyte, as with md.
    let arguments = [
        "vgcreate",
        "--yes",
        "--setautoactivation",
        "n",
        "--dataalignment",
        "1m",
        "--physicalextentsize",
        &extent,
    ];
    must(node, &lvm(node, &group, disks, &arguments, &operands)?)
}

fn make_volume(node: &Node, wanted: &Wanted, disks: &[OurDisk]) -> Outcome<()> {
    let group = names::object(&wanted.assembly);
    let (width, chunk) = (disks.len().to_string(), format!("{}k", wanted.chunk_kib));
    let striped = ["--type", "striped", "--stripes", &width, "--stripesize", &chunk];
    let linear = ["--type", "linear"];
    let shape: &[&str] = if disks.len() > 1 { &striped } else { &linear };
    // The memory is zeroed: nothing to wipe, nothing to zero.
    let mut arguments = vec![
        "lvcreate",
        "--yes",
        "--setautoactivation",
        "n",
        "--zero",
        "n",
        "--wipesignatures",
        "n",
        "--extents",
        "100%FREE",
        "--name",
        LOGICAL_VOLUME,
    ];
    arguments.extend(shape);
    must(node, &lvm(node, &group, disks, &arguments, &[&group])?)
}

fn activate(node: &Node, assembly: &Assembly, seen: &[OurDisk]) -> Outcome<()> {
    let group = names::object(assembly);
    let volume = format!("{group}/{LOGICAL_VOLUME}");
    let arguments = ["lvchange", "--activate", "y", "--yes"];
    must(node, &lvm(node, &group, seen, &arguments, &[&volume])?)
}

/// A group counts its extents in 32 bits, and slows down with their number: one mebibyte each
/// loses least of a small piece, and doubles until there are fewer than 2^30.
fn extent_mib(bytes: impl Iterator<Item = u64>) -> u64 {
    let total: u128 = bytes.map(u128::from).sum();
    let mut extent = 1;
    while total / u128::from(extent * MIB) > 1 << 30 {
        extent *= 2;
    }
    extent
}

pub(super) fn devices(node: &Node, disks: &[OurDisk]) -> Vec<String> {
    disks.iter().map(|disk| disk.device(&node.roots).display().to_string()).collect()
}

/// Runs one LVM command that sees nothing but `disks`.
pub(super) fn lvm(
    node: &Node,
    group: &str,
    disks: &[OurDisk],
    command: &[&str],
    operands: &[&str],
) -> Outcome<Output> {
    let configuration = configuration(group, node.roots.udev_runs());
    let devices = devices(node, disks).join(",");
    let mut arguments = command.to_vec();
    arguments.extend(["--config", &configuration, "--devices", &devices]);
    arguments.extend(operands);
    command::run(node.programs.lvm.path()?, &arguments, DEADLINE)
}

pub(super) fn must(node: &Node, output: &Output) -> Outcome<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(failure(FailureKind::Failed, output.said())
        .by(node.programs.lvm.path()?.display().to_string())
        .into())
}

/// Overrides what a site's lvm.conf could say against our disks, and keeps no copies of
/// metadata that describes memory.
fn configuration(group: &str, udev: bool) -> String {
    let udev = u8::from(udev);
    format!(
        "devices {{ filter=[\"a|.*|\"] global_filter=[\"a|.*|\"] hints=\"none\" \
         multipath_component_detection=0 md_component_detection=0 \
         obtain_device_list_from_udev=0 }} \
         activation {{ udev_sync={udev} udev_rules={udev} monitoring=0 \
         volume_list=[\"{group}\"] }} \
         global {{ use_lvmlockd=0 use_lvmpolld=0 }} \
         backup {{ backup=0 archive=0 }}"
    )
}

/// Removes the mapped device, and what of a move is under it. The metadata stays on the disks,
/// until their memory goes.
pub(super) fn stop(node: &Node, volume: &Volume) -> Outcome<()> {
    remove(node, &names::dm_device(&volume.assembly)).during("stop the logical volume")
}

/// Removes what a move left when its volume went first.
pub(super) fn stop_moving(node: &Node, assembly: &Assembly) -> Outcome<Change> {
    let mapped = names::dm_move(assembly);
    if mapped::block(&node.roots, &mapped).is_none() {
        return Ok(Change::Already);
    }
    remove(node, &mapped).during("stop the move of a disk")?;
    Ok(Change::Made)
}

fn remove(node: &Node, mapped: &str) -> Outcome<()> {
    let dmsetup = node.programs.dmsetup.path()?;
    command::succeed(dmsetup, &["remove", "--retry", mapped], DEADLINE).map(drop)
}

/// Takes away the names in /dev of a volume that is gone: without udev nobody else does.
pub(super) fn forget(roots: &Roots, assembly: &Assembly) {
    if roots.udev_runs() {
        return;
    }
    let folder = roots.dev.join(names::object(assembly));
    // What is not there need not go; the folder goes if nothing else is in it.
    for mapped in [names::dm_device(assembly), names::dm_move(assembly)] {
        let _ = fs::remove_file(roots.dev.join("mapper").join(mapped));
    }
    let _ = fs::remove_file(folder.join(LOGICAL_VOLUME));
    let _ = fs::remove_dir(&folder);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn extents_are_always_countable(pieces in proptest::collection::vec(0..=u64::MAX, 1..128)) {
            let extent = extent_mib(pieces.iter().copied());
            prop_assert!(extent.is_power_of_two());
            let total: u128 = pieces.iter().copied().map(u128::from).sum();
            prop_assert!(total / u128::from(extent * MIB) <= 1 << 30);
        }
    }

    #[test]
    fn extents_of_usual_pools_lose_nothing() {
        assert_eq!(extent_mib([1 << 40; 128].into_iter()), 1);
    }

    #[test]
    fn only_lvms_own_devices_of_our_name_are_volumes() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::fake(folder.path());
        let write = |device: &str, name: &str, uuid: &str| {
            let block = roots.blocks().join(device);
            fs::create_dir_all(block.join("dm")).unwrap();
            fs::create_dir_all(block.join("slaves/sdb")).unwrap();
            fs::write(block.join("dm/name"), format!("{name}\n")).unwrap();
            fs::write(block.join("dm/uuid"), format!("{uuid}\n")).unwrap();
            fs::write(block.join("size"), "2048\n").unwrap();
            fs::write(block.join("dev"), "253:0\n").unwrap();
        };
        write("dm-0", "rp.my--pool.3-scratch", "LVM-abc");
        write("dm-1", "rp.other.3-scratch", "CRYPT-abc");
        write("dm-2", "site-home", "LVM-abc");
        let volume = describe(&roots, "dm-0").unwrap();
        assert_eq!((volume.assembly, volume.bytes), (assembly("my-pool.3"), MIB));
        assert!(volume.device.ends_with("mapper/rp.my--pool.3-scratch"));
        assert_eq!((describe(&roots, "dm-1"), describe(&roots, "dm-2")), (None, None));
    }
}
