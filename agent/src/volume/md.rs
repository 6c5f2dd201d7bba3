//! md arrays, as the kernel's device `md_rp.<pool>.<gen>`: stripes, mirrors, and parity.

use std::fs;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{FailureKind, Redundancy, VolumeLayout};

use super::array::{self, Array};
use super::groups;
use super::mdadm;
use super::members;
use super::plan::{self, Plan};
use super::{Volume, Wanted};
use crate::attach::disks::{self, OurDisk};
use crate::configfs;
use crate::modules;
use crate::names;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure};
use crate::roots::Roots;

/// The array behind the block device `name`, if that is ours.
pub(super) fn describe(roots: &Roots, name: &str) -> Option<Volume> {
    let assembly = names::parse_md_device(name)?;
    let array = Array::read(roots, name);
    let sectors: u64 =
        configfs::read(&roots.blocks().join(name).join("size")).ok()?.parse().ok()?;
    Some(Volume {
        assembly,
        layout: VolumeLayout::Md,
        name: name.to_owned(),
        device: roots.dev.join(name),
        number: disks::number(roots, name)?,
        bytes: sectors * 512,
        detail: detail(&array, &array::of_disks(roots, name)),
    })
}

fn detail(top: &Array, arrays: &[Array]) -> String {
    let vacant: usize = arrays.iter().map(Array::vacant).sum();
    let missing = if vacant > 0 { format!(", {vacant} missing") } else { String::new() };
    let groups = match arrays {
        [only] => format!("{} of {}", only.level, only.places),
        [first, ..] => format!("{} x {} of {}", arrays.len(), first.level, first.places),
        [] => top.level.clone(),
    };
    format!("md {groups}{missing}, {}", top.state)
}

/// The kernel module that brings a redundancy.
fn module(redundancy: Redundancy) -> &'static str {
    match redundancy {
        Redundancy::Mirror => "raid10",
        Redundancy::Parity | Redundancy::DoubleParity => "raid456",
        Redundancy::None | Redundancy::Unspecified => "raid0",
    }
}

/// Refuses if the array is another one than `wanted`.
///
/// The order matters to a stripe alone: of a redundant array, md itself decides who takes a
/// place, and members may be missing.
pub(super) fn compare(
    node: &Node,
    volume: &Volume,
    wanted: &Wanted,
    disks: &[OurDisk],
) -> Outcome<()> {
    let arrays = array::of_disks(&node.roots, &volume.name);
    let chunk = u64::from(wanted.chunk_kib) * 1024;
    let same = |array: &Array| {
        let members = &array.members;
        array.level == plan::level(wanted.redundancy)
            && array.chunk_bytes == chunk
            && match wanted.redundancy {
                Redundancy::None => stripe(array) == names_of(disks),
                _ => members.iter().all(|member| is_one_of(&node.roots, member, disks)),
            }
    };
    if arrays.iter().all(same) && has_room_for(&arrays, wanted) {
        return Ok(());
    }
    let listed: Vec<_> = arrays.iter().map(|array| stripe(array).join(" ")).collect();
    let said = format!(
        "is {} ({}); {} of {} ({}) in chunks of {} KiB was asked for",
        volume.detail,
        listed.join(" | "),
        plan::level(wanted.redundancy),
        wanted.serials.len(),
        names_of(disks).join(" "),
        wanted.chunk_kib,
    );
    Err(failure(FailureKind::Conflict, said)
        .by(volume.device.display().to_string())
        .advising("stop this volume first")
        .into())
}

/// The disks in the order of the stripe.
fn stripe(array: &Array) -> Vec<&str> {
    let disk = |place| array.holder(place).map_or("", |member| member.disk.as_str());
    (0..array.places).map(disk).collect()
}

fn names_of(disks: &[OurDisk]) -> Vec<&str> {
    disks.iter().map(|disk| disk.name.as_str()).collect()
}

fn has_room_for(arrays: &[Array], wanted: &Wanted) -> bool {
    let places: usize = arrays.iter().map(|array| array.places).sum();
    match wanted.formed {
        // Those that are not named are missing.
        Some(_) => places >= wanted.serials.len(),
        None => places == wanted.serials.len(),
    }
}

/// What md has given up, or will as soon as it looks, is nobody's: it may be the same disk from
/// before its session ended.
fn is_one_of(roots: &Roots, member: &array::Member, disks: &[OurDisk]) -> bool {
    member.state == array::State::Faulty
        || disks::is_lost(roots, &member.disk)
        || disks.iter().any(|disk| disk.name == member.disk)
}

/// The disks of a volume that is put together again, with the one that was being filled when its
/// head was lost. If that copy had ended, the old disk carries nothing any more.
fn after_copy(node: &Node, wanted: &Wanted, mut disks: Vec<OurDisk>) -> Outcome<Vec<OurDisk>> {
    let (Some(replacing), Some(formed)) = (&wanted.replacing, &wanted.formed) else {
        return Ok(disks);
    };
    let of = |disk: &OurDisk| members::superblock(&node.roots, disk);
    for new in super::disks_of(node, std::slice::from_ref(&replacing.new))? {
        if of(&new)?.and_then(|found| found.assembly()).as_ref() != Some(formed) {
            continue;
        }
        match disks.iter().position(|disk| disk.serial == replacing.old) {
            Some(old) if of(&disks[old])?.is_none() => disks[old] = new,
            _ => disks.push(new),
        }
    }
    Ok(disks)
}

/// Makes the array of `disks` and `spares`, or puts it together again.
pub(super) fn assemble(
    node: &Node,
    wanted: &Wanted,
    disks: &[OurDisk],
    spares: &[OurDisk],
) -> Outcome<()> {
    modules::ensure(node, &[module(wanted.redundancy)]).during("load md's module")?;
    mdadm::write_configuration(node)?;
    let disks = &after_copy(node, wanted, disks.to_vec()).during("look at the disks")?;
    let groups = groups::split(node, wanted, disks, spares).during("look at the disks")?;
    let (name, formed) = (names::object(&wanted.assembly), wanted.formed.as_ref());
    let Some(groups) = groups else {
        let plan = Plan {
            name,
            made_as: formed.map(names::object),
            redundancy: wanted.redundancy,
            chunk_kib: wanted.chunk_kib,
            disks,
            spares,
        };
        return plan.carry_out(node);
    };
    for group in &groups {
        let plan = Plan {
            name: names::group(&wanted.assembly, group.number),
            made_as: formed.map(|formed| names::group(formed, group.number)),
            redundancy: wanted.redundancy,
            chunk_kib: wanted.chunk_kib,
            disks: &group.disks,
            spares: &group.spares,
        };
        plan.carry_out(node)?;
    }
    modules::ensure(node, &[module(Redundancy::None)]).during("load md's module")?;
    let devices = groups::arrays(node, &wanted.assembly);
    let top = Plan {
        name,
        made_as: formed.map(names::object),
        redundancy: Redundancy::None,
        chunk_kib: groups::stripe_kib(wanted),
        disks: &devices,
        spares: &[],
    };
    top.carry_out(node)
}

/// How fast a member is filled, in KiB a second: at least so that a piece of 64 GiB is whole
/// again within the hour whatever the pool's users do, at most what no network reaches. The
/// kernel's own 1 MiB and 200 MiB are for disks.
const SPEEDS: [(&str, &str); 2] = [("sync_speed_min", "20000"), ("sync_speed_max", "4000000")];

/// Lets copies run at the speed of memory.
pub(super) fn tune(node: &Node, volume: &Volume) {
    for array in array::of_disks(&node.roots, &volume.name) {
        let folder = array::folder(&node.roots, &array.name);
        for (file, value) in SPEEDS {
            if let Err(failure) = configfs::write(&folder.join(file), value) {
                tracing::debug!(%failure, "an array keeps its speed");
            }
        }
    }
}

/// Stops the array, whatever became of its members.
pub(super) fn stop(node: &Node, volume: &Volume) -> Outcome<()> {
    mdadm::stop(node, &volume.device).during("stop the array")
}

/// Stops the parity groups whose stripe is gone.
pub(super) fn stop_groups(node: &Node, assembly: &Assembly) -> Outcome<Change> {
    let groups = groups::arrays(node, assembly);
    for group in &groups {
        mdadm::stop(node, &group.device(&node.roots)).during("stop a parity group")?;
    }
    Ok(if groups.is_empty() { Change::Already } else { Change::Made })
}

/// Takes away the links that mdadm made to arrays that are gone: without udev nobody else does.
pub(super) fn forget(roots: &Roots, assembly: &Assembly) {
    let folder = roots.dev.join("md");
    if roots.udev_runs() {
        return;
    }
    let is_its = |name: &String| {
        *name == names::object(assembly)
            || names::parse_group(name).is_some_and(|(of, _)| of == *assembly)
    };
    for name in configfs::names(&folder).iter().filter(|name| is_its(name)) {
        // What is gone already need not go; the folder goes if nothing else is in it.
        let _ = fs::remove_file(folder.join(name));
        let _ = fs::remove_dir(&folder);
    }
}

#[cfg(test)]
mod tests {
    use super::array::tests::write_array;
    use super::*;
    use crate::names::tests::assembly;

    #[test]
    fn an_array_is_read_with_its_members_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::fake(folder.path());
        let members = [("sdb", "in_sync", "1"), ("sdc", "in_sync", "0")];
        write_array(&roots, "md_rp.demo.3", "raid0", 2, &members);
        let volume = describe(&roots, "md_rp.demo.3").unwrap();
        assert_eq!((volume.assembly, volume.bytes), (assembly("demo.3"), 128 << 20));
        assert_eq!((volume.number, volume.detail.as_str()), ((254, 3), "md raid0 of 2, clean"));
        assert_eq!(stripe(&Array::read(&roots, "md_rp.demo.3")), ["sdc", "sdb"]);
        assert_eq!(describe(&roots, "md127"), None);
    }
}
