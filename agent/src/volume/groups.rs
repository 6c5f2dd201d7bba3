//! Parity groups: a wide volume is a stripe over several arrays, each of which bears its own
//! losses.

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::Redundancy;

use super::Wanted;
use super::members;
use crate::attach::disks::OurDisk;
use crate::configfs;
use crate::names;
use crate::node::Node;
use crate::outcome::Outcome;

/// One group's disks.
pub(super) struct Group {
    /// Its place in the stripe.
    pub(super) number: u32,
    /// In the order of their places, when it is made.
    pub(super) disks: Vec<OurDisk>,
    /// Its own hot spares.
    pub(super) spares: Vec<OurDisk>,
}

/// How many members one group has, where there are several.
pub(super) fn width(wanted: &Wanted) -> Option<usize> {
    let parity = matches!(wanted.redundancy, Redundancy::Parity | Redundancy::DoubleParity);
    let width = usize::try_from(wanted.group_width).ok().filter(|width| *width > 0)?;
    (parity && wanted.serials.len() > width).then_some(width)
}

/// One full stripe of a group, in KiB: what is written as a whole needs nothing read.
pub(super) fn stripe_kib(wanted: &Wanted) -> u32 {
    let parity = if wanted.redundancy == Redundancy::DoubleParity { 2 } else { 1 };
    wanted.chunk_kib * wanted.group_width.saturating_sub(parity).max(1)
}

/// The groups of a volume, if it has several: of one that was made, as its disks say, for some
/// may be missing; of a new one, by their order.
pub(super) fn split(
    node: &Node,
    wanted: &Wanted,
    disks: &[OurDisk],
    spares: &[OurDisk],
) -> Outcome<Option<Vec<Group>>> {
    let numbers = if let Some(formed) = &wanted.formed {
        let mut numbers = Vec::with_capacity(disks.len());
        for disk in disks {
            let found = members::superblock(&node.roots, disk)?;
            let group = found.and_then(|found| names::parse_group(&found.name));
            numbers.push(group.filter(|(of, _)| of == formed).map(|(_, number)| number));
        }
        numbers
    } else {
        let width = width(wanted);
        (0..disks.len()).map(|at| u32::try_from(at / width?).ok()).collect()
    };
    Ok(by_number(&numbers, disks, spares))
}

/// None where any disk is in no group. Spares are dealt out in turn.
fn by_number(numbers: &[Option<u32>], disks: &[OurDisk], spares: &[OurDisk]) -> Option<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for (number, disk) in numbers.iter().zip(disks) {
        let number = (*number)?;
        match groups.iter_mut().find(|group| group.number == number) {
            Some(group) => group.disks.push(disk.clone()),
            None => groups.push(Group { number, disks: vec![disk.clone()], spares: Vec::new() }),
        }
    }
    groups.sort_by_key(|group| group.number);
    let count = groups.len().max(1);
    for (at, spare) in spares.iter().enumerate() {
        groups.get_mut(at % count)?.spares.push(spare.clone());
    }
    Some(groups)
}

/// The arrays of an assembly's groups that are there, in the order of the stripe, as disks.
pub(super) fn arrays(node: &Node, assembly: &Assembly) -> Vec<OurDisk> {
    let blocks = node.roots.blocks();
    configfs::names(&blocks)
        .into_iter()
        .filter(|name| names::parse_md_group(name).is_some_and(|(of, _)| of == *assembly))
        .map(|name| {
            let sectors = configfs::read(&blocks.join(&name).join("size")).unwrap_or_default();
            let bytes = sectors.parse::<u64>().unwrap_or(0) * 512;
            OurDisk { name, serial: String::new(), bytes }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks(names: &[&str]) -> Vec<OurDisk> {
        let disk = |name: &&str| OurDisk {
            name: (*name).to_owned(),
            serial: (*name).to_owned(),
            bytes: 1,
        };
        names.iter().map(disk).collect()
    }

    #[test]
    fn groups_are_found_whoever_is_missing() {
        let numbers = [Some(1), Some(0), Some(1)];
        let found =
            by_number(&numbers, &disks(&["c", "a", "d"]), &disks(&["s", "t", "u"])).unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|group| (group.number, group.disks.len(), group.spares.len()))
            .collect();
        assert_eq!(seen, [(0, 1, 2), (1, 2, 1)]);
        assert!(by_number(&[Some(0), None], &disks(&["a", "b"]), &[]).is_none());
    }
}
