//! What the device mapper shows of a logical volume: the disks under it, and a move under way.

use std::time::Duration;

use rampool_proto::pool_name::Assembly;

use crate::attach::disks;
use crate::command;
use crate::configfs;
use crate::mount::table;
use crate::names;
use crate::node::Node;
use crate::roots::Roots;

/// Asks the kernel's memory, no disk.
const DEADLINE: Duration = Duration::from_secs(5);

/// Deeper than LVM stacks devices: the volume, a move, its copies.
const DEEPEST: usize = 4;

const SECTOR: u64 = 512;

/// A disk's content on its way to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moving {
    /// The kernel's name of the disk that is left.
    pub(super) from: String,
    /// And of the one that is filled.
    pub(super) to: String,
    /// In bytes.
    pub(super) done: u64,
    /// In bytes.
    pub(super) total: u64,
    /// A read or a write of one of them has failed, and counts as done all the same.
    pub(super) failed: bool,
}

/// The block device with this name in the device mapper.
pub(super) fn block(roots: &Roots, mapped: &str) -> Option<String> {
    configfs::names(&roots.blocks()).into_iter().find(|name| {
        configfs::read(&roots.blocks().join(name).join("dm/name")).is_ok_and(|n| n == mapped)
    })
}

/// The disks at the bottom of the block device `name`, sorted.
pub(super) fn leaves(roots: &Roots, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(roots, name, DEEPEST, &mut found);
    found.sort();
    found.dedup();
    found
}

fn collect(roots: &Roots, name: &str, depth: usize, found: &mut Vec<String>) {
    for slave in configfs::names(&roots.blocks().join(name).join("slaves")) {
        if depth > 0 && slave.starts_with("dm-") {
            collect(roots, &slave, depth - 1, found);
        } else {
            found.push(slave);
        }
    }
}

/// The stripe's chunk in KiB: LVM tells it as the least that is well read or written at once.
pub(super) fn chunk_kib(roots: &Roots, name: &str) -> u32 {
    let file = roots.blocks().join(name).join("queue/minimum_io_size");
    let bytes: u32 = configfs::read(&file).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    bytes / 1024
}

/// The move of a disk of `assembly` to another, if there is one.
pub(super) fn moving(node: &Node, assembly: &Assembly) -> Option<Moving> {
    let mapped = names::dm_move(assembly);
    block(&node.roots, &mapped)?;
    let dmsetup = node.programs.dmsetup.path().ok()?;
    // It may have ended since.
    let status = command::succeed(dmsetup, &["status", &mapped], DEADLINE).ok()?.stdout;
    let Status { from, to, done, total, failed } = parse_status(&status)?;
    let name = |number| by_number(&node.roots, number);
    Some(Moving { from: name(from)?, to: name(to)?, done, total, failed })
}

fn by_number(roots: &Roots, number: &str) -> Option<String> {
    let number = table::parse_device(number)?;
    let mut names = configfs::names(&roots.blocks()).into_iter();
    names.find(|name| disks::number(roots, name) == Some(number))
}

/// A [`Moving`], its disks by their numbers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Status<'a> {
    from: &'a str,
    to: &'a str,
    done: u64,
    total: u64,
    failed: bool,
}

/// Of a mirror: `start length mirror 2 from to done/total 1 health ...`, the share in regions, the
/// health a letter for each disk: `A` where nothing failed since the move was begun or gone on
/// with (`device_status_char`, drivers/md/dm-raid1.c).
pub(crate) fn parse_status(status: &str) -> Option<Status<'_>> {
    status.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, length, "mirror", "2", from, to, share, "1", health, ..] = words.as_slice() else {
            return None;
        };
        let (done, regions) = share.split_once('/')?;
        let (done, regions): (u64, u64) = (done.parse().ok()?, regions.parse().ok()?);
        let total = length.parse::<u64>().ok()?.checked_mul(SECTOR)?;
        let done = u128::from(total) * u128::from(done.min(regions)) / u128::from(regions.max(1));
        let done = u64::try_from(done).ok()?;
        Some(Status { from, to, done, total, failed: *health != "AA" })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_mirror_tells_what_it_copies_how_far_it_is_and_what_failed() {
        let status = |health| format!("0 520192 mirror 2 8:16 8:32 127/254 1 {health} 1 core\n");
        for (health, failed) in [("AA", false), ("AS", true), ("AD", true), ("RA", true)] {
            let told = status(health);
            let (done, total) = (133_169_152, 266_338_304);
            let wanted = Status { from: "8:16", to: "8:32", done, total, failed };
            assert_eq!(parse_status(&told), Some(wanted), "{health}");
        }
        for odd in ["", "0 520192 striped 2", "0 520192 mirror 2 8:16 8:32 x/y", "0 1 mirror 2"] {
            assert_eq!(parse_status(odd), None, "{odd}");
        }
    }

    #[test]
    fn leaves_are_the_disks_below_a_move_too() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::fake(folder.path());
        for (device, slave) in [("dm-0", "dm-1"), ("dm-0", "sdb"), ("dm-1", "sdd"), ("dm-1", "sdc")]
        {
            fs::create_dir_all(roots.blocks().join(device).join("slaves").join(slave)).unwrap();
        }
        assert_eq!(leaves(&roots, "dm-0"), ["sdb", "sdc", "sdd"]);
    }
}
