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

/// The array's name within it: 32 bytes, ended by zeros.
const NAME: std::ops::Range<usize> = 32..64;

/// The assembly that md's superblock on `disk` names, if there is one and it is ours.
pub(super) fn md_assembly(roots: &Roots, disk: &OurDisk) -> Outcome<Option<Assembly>> {
    let device = disk.device(roots);
    let mut block = [0; 256];
    let mut read = || -> std::io::Result<()> {
        let mut file = File::open(&device)?;
        file.seek(SeekFrom::Start(SUPERBLOCK))?;
        file.read_exact(&mut block)
    };
    read().map_err(|error| refused(&device, "read its superblock", error))?;
    Ok(parse_superblock(&block))
}

fn parse_superblock(block: &[u8]) -> Option<Assembly> {
    let magic = block.first_chunk::<4>()?;
    if u32::from_le_bytes(*magic) != MAGIC {
        return None;
    }
    let name = block.get(NAME)?;
    let name = name.split(|byte| *byte == 0).next()?;
    names::parse_object(std::str::from_utf8(name).ok()?)
}

/// Where on a disk an earlier attempt that did not end may have left its mark: at the beginning
/// the superblock of md and the label of LVM, after the volume's own mebibyte (on whichever
/// disk is the first of the stripe) that of a file system.
const MARKS: [u64; 2] = [0, MIB];

/// Longer than any of those superblocks.
const MARK_BYTES: usize = 64 * 1024;

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
        let mut block = [0; 256];
        assert_eq!(parse_superblock(&block), None);
        block[..4].copy_from_slice(&MAGIC.to_le_bytes());
        block[32..41].copy_from_slice(b"rp.demo.3");
        assert_eq!(parse_superblock(&block), Some(assembly("demo.3")));
        block[32..41].copy_from_slice(b"n1:home\0\0");
        assert_eq!(parse_superblock(&block), None);
        assert_eq!(parse_superblock(&block[..40]), None);
    }
}
