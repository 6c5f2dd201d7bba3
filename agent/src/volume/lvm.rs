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

use super::members;
use super::{Volume, Wanted};
use crate::attach::disks::{self, OurDisk};
use crate::command::{self, Output};
use crate::configfs;
use crate::memory::MIB;
use crate::names::{self, LOGICAL_VOLUME};
use crate::node::Node;
use crate::outcome::{During, Outcome, failure};
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
    let width = slaves(roots, name).len();
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

fn slaves(roots: &Roots, name: &str) -> Vec<String> {
    configfs::names(&roots.blocks().join(name).join("slaves"))
}

/// Refuses if the volume stands on other disks than `wanted` or in other chunks.
pub(super) fn compare(
    node: &Node,
    volume: &Volume,
    wanted: &Wanted,
    disks: &[OurDisk],
) -> Outcome<()> {
    let mut members: Vec<_> = disks.iter().map(|disk| disk.name.clone()).collect();
    members.sort();
    let now = slaves(&node.roots, &volume.name);
    // The stripe's width times its chunk, as the device tells file systems.
    let queue = node.roots.blocks().join(&volume.name).join("queue/minimum_io_size");
    let chunk = configfs::read(&queue).unwrap_or_default();
    let wanted_chunk = (u64::from(wanted.chunk_kib) * 1024).to_string();
    if now == members && (chunk == wanted_chunk || members.len() == 1) {
        return Ok(());
    }
    let said = format!(
        "is striped over {} in chunks of {chunk} bytes; {} in chunks of {wanted_chunk} were \
         asked for",
        now.join(" "),
        members.join(" ")
    );
    Err(failure(FailureKind::Conflict, said)
        .by(volume.device.display().to_string())
        .advising("stop this volume first")
        .into())
}

pub(super) fn assemble(node: &Node, wanted: &Wanted, disks: &[OurDisk]) -> Outcome<()> {
    if is_whole(node, &wanted.assembly, disks).during("look at the disks")? {
        return activate(node, &wanted.assembly, disks).during("activate the volume again");
    }
    members::clear(&node.roots, disks).during("clear the disks")?;
    make_group(node, wanted, disks).during("make the volume group")?;
    make_volume(node, wanted, disks).during("make the logical volume")
}

/// Whether the disks carry this assembly's group with its volume, and nobody else does.
fn is_whole(node: &Node, assembly: &Assembly, disks: &[OurDisk]) -> Outcome<bool> {
    let group = names::object(assembly);
    let columns = "vg_name,lv_name,pv_count,vg_missing_pv_count";
    let arguments = ["lvs", "--noheadings", "--separator", ",", "-o", columns];
    let output = lvm(node, &group, disks, &arguments, &[])?;
    Ok(output.status.success() && reports_whole(&output.stdout, &group, disks.len()))
}

fn reports_whole(report: &str, group: &str, width: usize) -> bool {
    report.trim() == format!("{group},{LOGICAL_VOLUME},{width},0")
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

fn activate(node: &Node, assembly: &Assembly, disks: &[OurDisk]) -> Outcome<()> {
    let group = names::object(assembly);
    let volume = format!("{group}/{LOGICAL_VOLUME}");
    let arguments = ["lvchange", "--activate", "y", "--yes"];
    must(node, &lvm(node, &group, disks, &arguments, &[&volume])?)
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

fn devices(node: &Node, disks: &[OurDisk]) -> Vec<String> {
    disks.iter().map(|disk| disk.device(&node.roots).display().to_string()).collect()
}

/// Runs one LVM command that sees nothing but `disks`.
fn lvm(
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

fn must(node: &Node, output: &Output) -> Outcome<()> {
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

/// Removes the mapped device. The metadata stays on the disks, until their memory goes.
pub(super) fn stop(node: &Node, volume: &Volume) -> Outcome<()> {
    let mapped = names::dm_device(&volume.assembly);
    command::succeed(node.programs.dmsetup.path()?, &["remove", "--retry", &mapped], DEADLINE)
        .during("stop the logical volume")
        .map(drop)
}

/// Takes away the names in /dev of a volume that is gone: without udev nobody else does.
pub(super) fn forget(roots: &Roots, assembly: &Assembly) {
    if roots.udev_runs() {
        return;
    }
    let folder = roots.dev.join(names::object(assembly));
    let mapped = roots.dev.join("mapper").join(names::dm_device(assembly));
    // What is not there need not go; the folder goes if nothing else is in it.
    let _ = fs::remove_file(mapped);
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
    fn only_a_whole_group_of_ours_is_activated_again() {
        assert!(reports_whole("  rp.demo.3,scratch,4,0\n", "rp.demo.3", 4));
        for report in [
            "",
            "  rp.demo.3,scratch,4,1\n",
            "  rp.demo.3,scratch,3,0\n",
            "  rp.demo.3,scratch,4,0\n  other,home,1,0\n",
        ] {
            assert!(!reports_whole(report, "rp.demo.3", 4), "{report}");
        }
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
