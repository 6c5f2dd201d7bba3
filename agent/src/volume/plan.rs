//! One md array to be: made, or put together again.

use rampool_proto::v1::{Failure, FailureKind, Redundancy};

use super::array::Array;
use super::mdadm;
use super::members::{self, Superblock};
use crate::attach::disks::OurDisk;
use crate::memory::MIB;
use crate::node::Node;
use crate::outcome::{During, Outcome, failure};

/// Why md does not start an array that lacks a member and was written to when its head was lost.
const WRITE_HOLE: &str = "the head and a donor were lost together: parity of the stripes that \
    were being written may not match their data, and what the lost member held of them cannot be \
    computed; acknowledged data may be inconsistent (write hole)";

/// One array to be: the volume, or one of the parity groups that it is striped over.
pub(super) struct Plan<'a> {
    /// What it is called now.
    pub(super) name: String,
    /// What it was called when it was made, where it is only to be put together again.
    pub(super) made_as: Option<String>,
    pub(super) redundancy: Redundancy,
    pub(super) chunk_kib: u32,
    pub(super) disks: &'a [OurDisk],
    pub(super) spares: &'a [OurDisk],
}

impl Plan<'_> {
    /// Makes it of fresh disks, or puts it together if all its disks say that they are its.
    pub(super) fn carry_out(&self, node: &Node) -> Outcome<()> {
        let found = superblocks(node, self.disks).during("look at the disks")?;
        let foreign = found.iter().position(|found| !self.owns(found.as_ref()));
        match foreign {
            None => self.again(node, &found).during("assemble the array again"),
            Some(foreign) if self.made_as.is_some() || self.was_used(&found) => {
                let (disk, found) = (&self.disks[foreign], found[foreign].as_ref());
                Err(self.refuse_foreign(node, disk, found).into())
            }
            Some(_) => self.create(node).during("make the array"),
        }
    }

    /// Whether some of the disks are members of the array, and it was written to: then it is no
    /// leftover of an attempt to make it. (Of a stripe md counts no events.)
    fn was_used(&self, found: &[Option<Superblock>]) -> bool {
        found.iter().flatten().any(|found| self.owns(Some(found)) && found.events > 0)
    }

    fn made_as(&self) -> &str {
        self.made_as.as_ref().unwrap_or(&self.name)
    }

    fn owns(&self, found: Option<&Superblock>) -> bool {
        found.is_some_and(|found| found.name == self.made_as())
    }

    fn refuse_foreign(&self, node: &Node, disk: &OurDisk, found: Option<&Superblock>) -> Failure {
        let carries = match found {
            None => "no array".to_owned(),
            Some(found) => format!("the array {:?}", found.name),
        };
        let said = format!("{:?} carries {carries}, not {:?}", disk.serial, self.made_as());
        Failure::new(FailureKind::Conflict, "look at the disks")
            .by(disk.device(&node.roots).display().to_string())
            .saying(said)
            .advising("name only disks that belong to the volume")
    }

    fn create(&self, node: &Node) -> Outcome<()> {
        let all: Vec<_> = self.disks.iter().chain(self.spares).cloned().collect();
        // Parity of zeros is zero, and zeros are each other's copies: nothing need be computed.
        // What an earlier volume on this memory left would be taken for right.
        let zero = members::are_fresh(&node.roots, &all).during("look at the disks")?;
        members::clear(&node.roots, &all).during("clear the disks")?;
        let mut arguments = vec![
            "--create".to_owned(),
            format!("/dev/md/{}", self.name),
            mdadm::configured(node),
            "--run".to_owned(),
            // Without it, mdadm takes one disk for a slip, and fills a parity group's last
            // member as if it had been replaced.
            "--force".to_owned(),
            format!("--level={}", level(self.redundancy)),
            "--metadata=1.2".to_owned(),
            "--data-offset=1M".to_owned(),
            format!("--name={}", self.name),
            format!("--chunk={}", self.chunk_kib),
            format!("--raid-devices={}", self.disks.len()),
        ];
        arguments.extend(redundant(self.redundancy, zero, self.disks, self.spares.len()));
        arguments.extend(mdadm::devices(node, &all));
        mdadm::run(node, &arguments)
    }

    fn again(&self, node: &Node, found: &[Option<Superblock>]) -> Outcome<()> {
        let found: Vec<_> = found.iter().flatten().collect();
        if parity_may_be_wrong(self.redundancy, &found) {
            return Err(failure(FailureKind::Failed, WRITE_HOLE)
                .by(node.programs.mdadm.path()?.display().to_string())
                .advising("bring the missing donor back with its memory, or make the pool anew")
                .into());
        }
        let spares = superblocks(node, self.spares)?;
        let (known, new): (Vec<_>, Vec<_>) =
            self.spares.iter().cloned().zip(spares).partition(|(_, s)| self.owns(s.as_ref()));
        let known = known.into_iter().map(|(disk, _)| disk);
        let named: Vec<_> = self.disks.iter().cloned().chain(known).collect();
        let mut arguments = vec![
            "--assemble".to_owned(),
            format!("/dev/md/{}", self.name),
            mdadm::configured(node),
            // Without some members too, where the level bears it.
            "--run".to_owned(),
        ];
        arguments.extend(mdadm::devices(node, &named));
        mdadm::run(node, &arguments)?;
        self.readmit(node, &named);
        let new: Vec<_> = new.into_iter().map(|(disk, _)| disk).collect();
        mdadm::add(node, &self.device(), &new).during("add the spares")
    }

    /// The kernel's name of the array's block device.
    fn device(&self) -> String {
        format!("md_{}", self.name)
    }

    /// Members that md left out because they missed something: the bitmap knows what. One that
    /// cannot be taken back so is shown as missing.
    fn readmit(&self, node: &Node, disks: &[OurDisk]) {
        let array = Array::read(&node.roots, &self.device());
        for disk in disks.iter().filter(|disk| array.member(&disk.name).is_none()) {
            if let Err(failure) = mdadm::re_add(node, &array.name, disk) {
                tracing::warn!(%failure, serial = disk.serial, "a member stays out of its array");
            }
        }
    }
}

fn superblocks(node: &Node, disks: &[OurDisk]) -> Outcome<Vec<Option<Superblock>>> {
    disks.iter().map(|disk| members::superblock(&node.roots, disk)).collect()
}

/// mdadm's word for a redundancy.
pub(super) fn level(redundancy: Redundancy) -> &'static str {
    match redundancy {
        Redundancy::Mirror => "raid10",
        Redundancy::Parity => "raid5",
        Redundancy::DoubleParity => "raid6",
        Redundancy::None | Redundancy::Unspecified => "raid0",
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
            name: "rp.demo.3".to_owned(),
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
