//! What the disks of a stripe say of themselves before they are used.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::FailureKind;

use crate::attach::disks::OurDisk;
use crate::memory::MIB;
use crate::names;
use crate::outcome::{Outcome, failure, refused};
use crate::roots::Roots;

/// Where md's v1.2 superblock begins (Documentation/admin-guide/md.rst; struct mdp_superblock_1).
const SUPERBLOCK: u64 = 4096;

/// Its first four bytes, little-endian.
const MAGIC: u32 = 0xa92b_4efc;

/// As much of it as is read here.
const SUPERBLOCK_BYTES: usize = 256;

/// The array's identifier within it.
const ARRAY: std::ops::Range<usize> = 16..32;

/// The array's name: 32 bytes, ended by zeros.
const NAME: std::ops::Range<usize> = 32..64;

/// How many members make the array whole.
const PLACES: usize = 92;

/// Goes up at each change of the array's members or state.
const EVENTS: usize = 200;

/// Up to where the array's redundancy is right, in sectors: all ones where it is right everywhere.
const RESYNC_OFFSET: usize = 208;

/// What md's superblock on a disk says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// The array's own identifier.
    pub(super) array: [u8; 16],
    /// The array's name: of ours, one of [`names`].
    pub(super) name: String,
    /// How many members make the array whole.
    pub(super) places: usize,
    /// The higher, the later.
    pub(super) events: u64,
    /// Writes were under way when it was written: the redundancy may be wrong somewhere.
    pub(super) dirty: bool,
}

/// md's superblock on `disk`, if there is one.
pub(super) fn superblock(roots: &Roots, disk: &OurDisk) -> Outcome<Option<Superblock>> {
    let device = disk.device(roots);
    let mut block = [0; SUPERBLOCK_BYTES];
    let mut read = || -> std::io::Result<()> {
        let mut file = File::open(&device)?;
        file.seek(SeekFrom::Start(SUPERBLOCK))?;
        file.read_exact(&mut block)
    };
    read().map_err(|error| refused(&device, "read its superblock", error))?;
    Ok(parse_superblock(&block))
}

pub(crate) fn parse_superblock(block: &[u8]) -> Option<Superblock> {
    let long = |at| Some(u64::from_le_bytes(*block.get(at..)?.first_chunk::<8>()?));
    let short = |at| Some(u32::from_le_bytes(*block.get(at..)?.first_chunk::<4>()?));
    if short(0)? != MAGIC {
        return None;
    }
    let name = block.get(NAME)?.split(|byte| *byte == 0).next()?;
    Some(Superblock {
        array: block.get(ARRAY)?.try_into().ok()?,
        name: String::from_utf8_lossy(name).into_owned(),
        places: usize::try_from(short(PLACES)?).ok()?,
        events: long(EVENTS)?,
        dirty: long(RESYNC_OFFSET)? != u64::MAX,
    })
}

impl Superblock {
    /// The assembly whose volume it is part of, if it is ours.
    pub(super) fn assembly(&self) -> Option<Assembly> {
        let whole = names::parse_object(&self.name);
        whole.or_else(|| Some(names::parse_group(&self.name)?.0))
    }
}

/// Where on a disk an earlier attempt that did not end may have left its mark: at the beginning
/// the superblock of md and the label of LVM, after the volume's own mebibyte (on whichever
/// disk is the first of the stripe) that of a file system.
const MARKS: [u64; 2] = [0, MIB];

/// Longer than any of those superblocks.
const MARK_BYTES: usize = 64 * 1024;

/// Whether none of the disks carries a mark: they are as zero as their memory was when it was
/// taken.
pub(super) fn are_fresh(roots: &Roots, disks: &[OurDisk]) -> Outcome<bool> {
    for disk in disks {
        let device = disk.device(roots);
        if !is_fresh(&device).map_err(|error| refused(&device, "read its marks", error))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_fresh(device: &Path) -> std::io::Result<bool> {
    let mut file = File::open(device)?;
    let mut bytes = vec![0; MARK_BYTES];
    for mark in MARKS {
        file.seek(SeekFrom::Start(mark))?;
        file.read_exact(&mut bytes)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Clears all marks, on all disks side by side. The kernel refuses to open a disk so that is
/// part of anything.
pub(super) fn clear(roots: &Roots, disks: &[OurDisk]) -> Outcome<()> {
    std::thread::scope(|scope| {
        let writers: Vec<_> =
            disks.iter().map(|disk| scope.spawn(|| clear_one(&disk.device(roots)))).collect();
        writers.into_iter().try_for_each(|writer| {
            writer.join().unwrap_or_else(|_| Err(failure(FailureKind::Failed, "panicked").into()))
        })
    })
}

fn clear_one(device: &Path) -> Outcome<()> {
    let write = || -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).custom_flags(nix::libc::O_EXCL).open(device)?;
        for mark in MARKS {
            file.seek(SeekFrom::Start(mark))?;
            file.write_all(&[0; MARK_BYTES])?;
        }
        file.sync_all()
    };
    write().map_err(|error| refused(device, "clear it", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;

    #[test]
    fn only_a_superblock_with_our_name_is_ours() {
        let mut block = [0; SUPERBLOCK_BYTES];
        assert_eq!(parse_superblock(&block), None);
        block[..4].copy_from_slice(&MAGIC.to_le_bytes());
        for (name, of) in [
            (b"rp.demo.3", Some(assembly("demo.3"))),
            (b"g1.demo.3", Some(assembly("demo.3"))),
            (b"n1:home\0\0", None),
        ] {
            block[32..41].copy_from_slice(name);
            assert_eq!(parse_superblock(&block).unwrap().assembly(), of);
        }
        assert_eq!(parse_superblock(&block[..40]), None);
    }

    #[test]
    fn a_superblock_says_how_far_the_array_had_come() {
        let mut block = [0; SUPERBLOCK_BYTES];
        block[..4].copy_from_slice(&MAGIC.to_le_bytes());
        block[PLACES] = 4;
        block[EVENTS..EVENTS + 8].copy_from_slice(&77_u64.to_le_bytes());
        let read = parse_superblock(&block).unwrap();
        assert_eq!((read.places, read.events, read.dirty), (4, 77, true));
        block[RESYNC_OFFSET..RESYNC_OFFSET + 8].fill(0xff);
        assert!(!parse_superblock(&block).unwrap().dirty);
    }

    #[test]
    fn a_mark_anywhere_makes_a_disk_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sdb");
        let mut disk = vec![0; 2 << 20];
        std::fs::write(&path, &disk).unwrap();
        assert!(is_fresh(&path).unwrap());
        for at in [4096, (1 << 20) + 7] {
            disk[at] = 1;
            std::fs::write(&path, &disk).unwrap();
            assert!(!is_fresh(&path).unwrap(), "{at}");
            disk[at] = 0;
        }
    }
}
