//! md arrays, as the kernel's device `md_rp.<pool>.<gen>`: stripes, mirrors, and parity.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind, Redundancy, VolumeLayout};

use super::array::{self, Array};
use super::members::{self, Superblock};
use super::{Volume, Wanted};
use crate::attach::disks::{self, OurDisk};
use crate::command;
use crate::configfs;
use crate::memory::MIB;
use crate::modules;
use crate::names;
use crate::node::Node;
use crate::outcome::{During, Outcome, failure, refused};
use crate::roots::Roots;

/// A superblock on each of hundreds of disks, over the network.
const DEADLINE: Duration = Duration::from_secs(60);

/// mdadm's configuration while we use it: devices of the kernel carry the array's name, nothing
/// is assembled that was not asked for, and the host's name is no part of the array's.
const CONFIGURATION: &str = "CREATE names=yes\nHOMEHOST <none>\nAUTO -all\n";

/// Why md does not start an array that lacks a member and was written to when its head was lost.
const WRITE_HOLE: &str = "the head and a donor were lost together: parity of the stripes that \
    were being written may not match their data, and what the lost member held of them cannot be \
    computed; acknowledged data may be inconsistent (write hole)";

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
        detail: detail(&array),
    })
}

fn detail(array: &Array) -> String {
    let Array { level, places, state, .. } = array;
    match array.vacant() {
        0 => format!("md {level} of {places}, {state}"),
        vacant => format!("md {level} of {places}, {vacant} missing, {state}"),
    }
}

/// mdadm's word for a redundancy.
fn level(redundancy: Redundancy) -> &'static str {
    match redundancy {
        Redundancy::Mirror => "raid10",
        Redundancy::Parity => "raid5",
        Redundancy::DoubleParity => "raid6",
        Redundancy::None | Redundancy::Unspecified => "raid0",
    }
}

/// The kernel module that brings it.
pub(super) fn module(redundancy: Redundancy) -> &'static str {
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
    let array = Array::read(&node.roots, &volume.name);
    let chunk = u64::from(wanted.chunk_kib) * 1024;
    let same_members = match wanted.redundancy {
        Redundancy::None => stripe(&array) == names_of(disks),
        _ => {
            has_room_for(&array, wanted)
                && array.members.iter().all(|m| is_one_of(&node.roots, m, disks))
        }
    };
    let same_shape = array.level == level(wanted.redundancy) && array.chunk_bytes == chunk;
    if same_shape && same_members {
        return Ok(());
    }
    let said = format!(
        "is {} of {} ({}) in chunks of {} bytes; {} of {} ({}) in chunks of {chunk} was asked for",
        array.level,
        array.places,
        stripe(&array).join(" "),
        array.chunk_bytes,
        level(wanted.redundancy),
        wanted.serials.len(),
        names_of(disks).join(" ")
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

fn has_room_for(array: &Array, wanted: &Wanted) -> bool {
    match wanted.formed {
        // Those that are not named are missing.
        Some(_) => array.places >= wanted.serials.len(),
        None => array.places == wanted.serials.len(),
    }
}

/// What md has given up, or will as soon as it looks, is nobody's: it may be the same disk from
/// before its session ended.
fn is_one_of(roots: &Roots, member: &array::Member, disks: &[OurDisk]) -> bool {
    member.state == array::State::Faulty
        || disks::is_lost(roots, &member.disk)
        || disks.iter().any(|disk| disk.name == member.disk)
}

/// Makes the array of `disks` and `spares`, or puts it together again.
pub(super) fn assemble(
    node: &Node,
    wanted: &Wanted,
    disks: &[OurDisk],
    spares: &[OurDisk],
) -> Outcome<()> {
    modules::ensure(node, &[module(wanted.redundancy)]).during("load md's module")?;
    let configuration = write_configuration(node)?;
    let found = superblocks(node, disks).during("look at the disks")?;
    let formed = wanted.formed.as_ref().unwrap_or(&wanted.assembly);
    let foreign = found.iter().position(|found| !is_of(found.as_ref(), formed));
    match foreign {
        None => again(node, wanted, &configuration, (disks, &found), spares)
            .during("assemble the array again"),
        Some(foreign) if wanted.formed.is_some() => {
            Err(refuse_foreign(node, &disks[foreign], found[foreign].as_ref(), formed).into())
        }
        Some(_) => create(node, wanted, &configuration, disks, spares).during("make the array"),
    }
}

fn superblocks(node: &Node, disks: &[OurDisk]) -> Outcome<Vec<Option<Superblock>>> {
    disks.iter().map(|disk| members::superblock(&node.roots, disk)).collect()
}

fn is_of(found: Option<&Superblock>, formed: &Assembly) -> bool {
    found.is_some_and(|found| found.assembly.as_ref() == Some(formed))
}

fn refuse_foreign(
    node: &Node,
    disk: &OurDisk,
    found: Option<&Superblock>,
    formed: &Assembly,
) -> Failure {
    let carries = match found.map(|found| &found.assembly) {
        None => "no array".to_owned(),
        Some(None) => "an array that is not rampool's".to_owned(),
        Some(Some(other)) => format!("an array of {other}"),
    };
    let said = format!("the disk {} carries {carries}, not that of {formed}", disk.serial);
    Failure::new(FailureKind::Conflict, "look at the disks")
        .by(disk.device(&node.roots).display().to_string())
        .saying(said)
        .advising("name only disks that belong to the volume")
}

fn create(
    node: &Node,
    wanted: &Wanted,
    configuration: &Path,
    disks: &[OurDisk],
    spares: &[OurDisk],
) -> Outcome<()> {
    let all: Vec<_> = disks.iter().chain(spares).cloned().collect();
    // Parity of zeros is zero, and zeros are each other's copies: nothing need be computed. What
    // an earlier volume on this memory left would be taken for right.
    let zero = members::are_fresh(&node.roots, &all).during("look at the disks")?;
    members::clear(&node.roots, &all).during("clear the disks")?;
    let name = names::object(&wanted.assembly);
    let mut arguments = vec![
        "--create".to_owned(),
        format!("/dev/md/{name}"),
        format!("--config={}", configuration.display()),
        "--run".to_owned(),
        // Without it, mdadm takes one disk for a slip, and fills a parity group's last member
        // as if it had been replaced.
        "--force".to_owned(),
        format!("--level={}", level(wanted.redundancy)),
        "--metadata=1.2".to_owned(),
        "--data-offset=1M".to_owned(),
        format!("--name={name}"),
        format!("--chunk={}", wanted.chunk_kib),
        format!("--raid-devices={}", disks.len()),
    ];
    arguments.extend(redundant(wanted.redundancy, zero, disks, spares.len()));
    arguments.extend(devices(node, &all));
    run(node, &arguments)
}

/// What mdadm is told of redundancy.
fn redundant(redundancy: Redundancy, zero: bool, disks: &[OurDisk], spares: usize) -> Vec<String> {
    if redundancy == Redundancy::None {
        return Vec::new();
    }
    let smallest = disks.iter().map(|disk| disk.bytes).min().unwrap_or(0);
    let mut arguments = vec![
        "--bitmap=internal".to_owned(),
        format!("--bitmap-chunk={}M", bitmap_chunk(smallest) / MIB),
    ];
    if redundancy == Redundancy::Mirror {
        arguments.push("--layout=n2".to_owned());
    }
    if zero {
        arguments.push("--assume-clean".to_owned());
    }
    if spares > 0 {
        arguments.push(format!("--spare-devices={spares}"));
    }
    arguments
}

/// How many bytes of a member one bit of the bitmap stands for: what was written while a donor
/// was cut off is copied in such pieces. Small enough that a short cut costs little, and no more
/// bits than a few pages hold.
fn bitmap_chunk(member_bytes: u64) -> u64 {
    let mut chunk = 8 * MIB;
    while member_bytes / chunk > 1 << 16 {
        chunk *= 2;
    }
    chunk
}

fn again(
    node: &Node,
    wanted: &Wanted,
    configuration: &Path,
    (disks, found): (&[OurDisk], &[Option<Superblock>]),
    spares: &[OurDisk],
) -> Outcome<()> {
    let found: Vec<_> = found.iter().flatten().collect();
    if parity_may_be_wrong(wanted.redundancy, &found) {
        return Err(failure(FailureKind::Failed, WRITE_HOLE)
            .by(node.programs.mdadm.path()?.display().to_string())
            .advising("bring the missing donor back with its memory, or make the pool anew")
            .into());
    }
    let formed = wanted.formed.as_ref().unwrap_or(&wanted.assembly);
    let spares_found = superblocks(node, spares)?;
    let (known, new): (Vec<_>, Vec<_>) = spares
        .iter()
        .cloned()
        .zip(spares_found)
        .partition(|(_, found)| is_of(found.as_ref(), formed));
    let known = known.into_iter().map(|(disk, _)| disk);
    let named: Vec<_> = disks.iter().cloned().chain(known).collect();
    let mut arguments = vec![
        "--assemble".to_owned(),
        format!("/dev/md/{}", names::object(&wanted.assembly)),
        format!("--config={}", configuration.display()),
        // Without some members too, where the level bears it.
        "--run".to_owned(),
    ];
    arguments.extend(devices(node, &named));
    run(node, &arguments)?;
    readmit(node, wanted, &named);
    let new: Vec<_> = new.into_iter().map(|(disk, _)| disk).collect();
    add(node, &wanted.assembly, &new).during("add the spares")
}

/// Whether the latest of the superblocks say that stripes were being written, while a member is
/// missing whose part of them only parity knows. md refuses such an array unless forced.
fn parity_may_be_wrong(redundancy: Redundancy, found: &[&Superblock]) -> bool {
    let parity = matches!(redundancy, Redundancy::Parity | Redundancy::DoubleParity);
    let latest = found.iter().map(|found| found.events).max().unwrap_or(0);
    // md counts as up to date whoever missed the last event alone: it may have been lost while
    // that was being written.
    let recent: Vec<_> = found.iter().filter(|found| found.events + 1 >= latest).collect();
    let dirty = recent.iter().any(|found| found.events == latest && found.dirty);
    parity && dirty && recent.iter().any(|found| recent.len() < found.places)
}

/// Members that md left out because they missed something: the bitmap knows what. One that
/// cannot be taken back so is shown as missing.
fn readmit(node: &Node, wanted: &Wanted, disks: &[OurDisk]) {
    let device = names::md_device(&wanted.assembly);
    let array = Array::read(&node.roots, &device);
    for disk in disks.iter().filter(|disk| array.member(&disk.name).is_none()) {
        if let Err(failure) = re_add(node, &wanted.assembly, disk) {
            tracing::warn!(%failure, serial = disk.serial, "a member stays out of its array");
        }
    }
}

/// Takes back a member that the bitmap still knows.
pub(super) fn re_add(node: &Node, assembly: &Assembly, disk: &OurDisk) -> Outcome<()> {
    manage(node, assembly, "--re-add", std::slice::from_ref(disk))
}

/// Adds disks as spares: md gives them the places that are vacant.
pub(super) fn add(node: &Node, assembly: &Assembly, disks: &[OurDisk]) -> Outcome<()> {
    if disks.is_empty() {
        return Ok(());
    }
    members::clear(&node.roots, disks).during("clear the disk")?;
    manage(node, assembly, "--add", disks)
}

fn manage(node: &Node, assembly: &Assembly, verb: &str, disks: &[OurDisk]) -> Outcome<()> {
    let array = node.roots.dev.join(names::md_device(assembly)).display().to_string();
    let mut arguments = vec!["--manage".to_owned(), array, verb.to_owned()];
    arguments.extend(devices(node, disks));
    run(node, &arguments)
}

/// Has `new`, a spare, filled to take the place of `old`.
pub(super) fn mark(node: &Node, assembly: &Assembly, old: &OurDisk, new: &OurDisk) -> Outcome<()> {
    let path = |disk: &OurDisk| disk.device(&node.roots).display().to_string();
    let array = node.roots.dev.join(names::md_device(assembly)).display().to_string();
    let words = ["--manage", &array, "--replace", &path(old), "--with", &path(new)];
    run(node, &words.map(str::to_owned))
}

/// Removes md's superblock from a disk that is no member any more.
pub(super) fn forget_member(node: &Node, disk: &OurDisk) -> Outcome<()> {
    let device = disk.device(&node.roots).display().to_string();
    run(node, &["--zero-superblock".to_owned(), device])
}

fn devices(node: &Node, disks: &[OurDisk]) -> Vec<String> {
    disks.iter().map(|disk| disk.device(&node.roots).display().to_string()).collect()
}

fn run(node: &Node, arguments: &[String]) -> Outcome<()> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    command::succeed(node.programs.mdadm.path()?, &arguments, DEADLINE).map(drop)
}

/// Written when the agent starts, and again before each use: anything may happen to a file
/// below /run.
pub(super) fn write_configuration(node: &Node) -> Outcome<PathBuf> {
    let path = node.roots.run.join("mdadm.conf");
    let write = || -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&node.roots.run)?;
        fs::write(&path, CONFIGURATION)
    };
    write().map_err(|error| refused(&path, "write it", error))?;
    Ok(path)
}

/// How fast a member is filled, in KiB a second: at least so that a piece of 64 GiB is whole
/// again within the hour whatever the pool's users do, at most what no network reaches. The
/// kernel's own 1 MiB and 200 MiB are for disks.
const SPEEDS: [(&str, &str); 2] = [("sync_speed_min", "20000"), ("sync_speed_max", "4000000")];

/// Lets copies run at the speed of memory.
pub(super) fn tune(node: &Node, volume: &Volume) {
    let folder = array::folder(&node.roots, &volume.name);
    for (file, value) in SPEEDS {
        if let Err(failure) = configfs::write(&folder.join(file), value) {
            tracing::debug!(%failure, "an array keeps its speed");
        }
    }
}

/// Stops the array, whatever became of its members.
pub(super) fn stop(node: &Node, volume: &Volume) -> Outcome<()> {
    let device = volume.device.display().to_string();
    run(node, &["--stop".to_owned(), device]).during("stop the array")
}

/// Takes away the link that mdadm made to an array that is gone: without udev nobody else does.
pub(super) fn forget(roots: &Roots, assembly: &Assembly) {
    let folder = roots.dev.join("md");
    if !roots.udev_runs() && fs::remove_file(folder.join(names::object(assembly))).is_ok() {
        // The folder goes if nothing else is in it.
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

    #[test]
    fn a_bitmap_is_fine_and_never_long() {
        assert_eq!(bitmap_chunk(256 * MIB), 8 * MIB);
        assert_eq!(bitmap_chunk(512 << 30), 8 * MIB);
        assert_eq!(bitmap_chunk(1 << 40), 16 * MIB);
    }

    #[test]
    fn parity_is_doubted_only_if_written_to_and_a_member_is_missing() {
        let member = |events, dirty| Superblock {
            array: [7; 16],
            assembly: Some(assembly("demo.3")),
            places: 3,
            events,
            dirty,
        };
        let (clean, dirty) = (member(9, false), member(9, true));
        let late = member(4, true);
        for (found, doubted) in [
            (vec![&dirty, &dirty, &dirty], false),
            (vec![&dirty, &dirty], true),
            (vec![&dirty, &dirty, &late], true),
            (vec![&clean, &clean], false),
            (vec![&clean, &clean, &late], false),
        ] {
            for parity in [Redundancy::Parity, Redundancy::DoubleParity] {
                assert_eq!(parity_may_be_wrong(parity, &found), doubted, "{found:?}");
            }
            assert!(!parity_may_be_wrong(Redundancy::Mirror, &found));
        }
    }
}
