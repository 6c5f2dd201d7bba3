//! What file system a device carries, by its superblock: XFS's at the beginning, ext4's after
//! the first 1,024 bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rampool_proto::v1::FilesystemKind;
use uuid::Uuid;

use crate::outcome::{Outcome, refused};

/// A finished file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(super) kind: FilesystemKind,
    pub(super) uuid: Uuid,
}

/// XFS: `sb_magicnum`, `sb_uuid` and `sb_inprogress` of struct xfs_dsb (fs/xfs/libxfs/xfs_format.h).
const XFS_MAGIC: &[u8] = b"XFSB";
const XFS_UUID: usize = 32;
const XFS_IN_PROGRESS: usize = 126;

/// ext4: `s_magic` and `s_uuid` of struct ext4_super_block (fs/ext4/ext4.h). mke2fs writes it last.
const EXT4_SUPERBLOCK: usize = 1024;
const EXT4_MAGIC: [u8; 2] = 0xef53u16.to_le_bytes();
const EXT4_MAGIC_AT: usize = EXT4_SUPERBLOCK + 56;
const EXT4_UUID: usize = EXT4_SUPERBLOCK + 104;

pub(super) fn read(device: &Path) -> Outcome<Option<Signature>> {
    let mut block = [0; 4096];
    File::open(device)
        .and_then(|mut file| file.read_exact(&mut block))
        .map_err(|error| refused(device, "read its superblock", error))?;
    Ok(parse(&block))
}

pub(crate) fn parse(block: &[u8; 4096]) -> Option<Signature> {
    let uuid = |at: usize| Uuid::from_slice(&block[at..at + 16]).ok();
    if block.starts_with(XFS_MAGIC) {
        let finished = block[XFS_IN_PROGRESS] == 0;
        let kind = FilesystemKind::Xfs;
        return finished.then_some(Signature { kind, uuid: uuid(XFS_UUID)? });
    }
    if block[EXT4_MAGIC_AT..EXT4_MAGIC_AT + 2] == EXT4_MAGIC {
        return Some(Signature { kind: FilesystemKind::Ext4, uuid: uuid(EXT4_UUID)? });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Uuid = Uuid::from_u128(0x1234);

    #[test]
    fn a_finished_xfs_is_known_by_its_uuid_and_a_begun_one_is_not() {
        let mut block = [0; 4096];
        assert_eq!(parse(&block), None);
        block[..4].copy_from_slice(XFS_MAGIC);
        block[32..48].copy_from_slice(OURS.as_bytes());
        assert_eq!(parse(&block), Some(Signature { kind: FilesystemKind::Xfs, uuid: OURS }));
        block[126] = 1;
        assert_eq!(parse(&block), None);
    }

    #[test]
    fn ext4_is_known_by_its_uuid() {
        let mut block = [0; 4096];
        block[1080..1082].copy_from_slice(&[0x53, 0xef]);
        block[1128..1144].copy_from_slice(OURS.as_bytes());
        assert_eq!(parse(&block), Some(Signature { kind: FilesystemKind::Ext4, uuid: OURS }));
    }
}
