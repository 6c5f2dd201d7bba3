//! How much of its members a striped volume can use, and how large members must be. Pure
//! arithmetic, exact to the byte, refusing what does not fit 64 bits.

use rampool_proto::v1::{FilesystemKind, VolumeLayout};

/// Pieces are multiples of it.
pub const MIB: u64 = 1 << 20;

/// What md keeps at the front of each member. The agent makes arrays with metadata 1.2 and
/// `--data-offset=1M`; mdadm's own choice would grow with the member.
pub const MD_DATA_OFFSET: u64 = MIB;

/// What LVM keeps at the front of each physical volume: its default first extent is at 1 MiB,
/// and the agent asks for exactly that.
pub const LVM_METADATA: u64 = MIB;

/// LVM slows down with the number of a group's extents: they begin at 1 MiB, which loses least
/// of a small piece, and double until there are no more than this. The agent does the same.
const LVM_MOST_EXTENTS: u128 = 1 << 30;

/// LVM's limit on stripes (`MAX_STRIPES`, lvm2 lib/metadata/metadata-exported.h).
pub const LVM_WIDEST: usize = 128;

/// The most members that an md superblock of version 1.2 can name: 4 KiB, of which 256 bytes
/// are its header and two bytes a member's role (`struct mdp_superblock_1`).
pub const MD_WIDEST: usize = 1920;

/// A block device's size is a signed 64-bit number of bytes in the kernel (`loff_t`).
pub const LARGEST_VOLUME: u64 = i64::MAX as u64;

/// A way of striping.
#[derive(Clone, Copy, Debug)]
pub struct Striping {
    /// Who stripes.
    pub layout: VolumeLayout,
    /// The chunk, in bytes.
    pub chunk: u64,
}

impl Striping {
    /// The most members.
    #[must_use]
    pub fn widest(self) -> usize {
        match self.layout {
            VolumeLayout::Lvm => LVM_WIDEST,
            VolumeLayout::Md | VolumeLayout::Unspecified => MD_WIDEST,
        }
    }

    /// What the front of each member is kept for, and in which units the rest is used.
    fn overhead_and_unit(self, piece: u64, width: usize) -> (u64, u64) {
        match self.layout {
            VolumeLayout::Lvm => (LVM_METADATA, lvm_extent(piece, width)),
            VolumeLayout::Md | VolumeLayout::Unspecified => (MD_DATA_OFFSET, self.chunk),
        }
    }

    /// Usable bytes of a volume of `width` members of `piece` bytes; `None` if there are more
    /// than a volume can have.
    #[must_use]
    pub fn usable(self, piece: u64, width: usize) -> Option<u64> {
        let (overhead, unit) = self.overhead_and_unit(piece, width);
        let units = piece.saturating_sub(overhead) / unit;
        let bytes = (units * unit).checked_mul(u64::try_from(width).ok()?)?;
        (bytes <= LARGEST_VOLUME).then_some(bytes)
    }

    /// A piece, a multiple of 1 MiB, of which `width` make at least `size` usable bytes: the
    /// least one, but where LVM's extents double. `None` if there is none.
    #[must_use]
    pub fn piece_for(self, size: u64, width: usize) -> Option<u64> {
        let share = size.div_ceil(u64::try_from(width).ok().filter(|width| *width > 0)?);
        let (mut overhead, mut unit) = self.overhead_and_unit(0, width);
        loop {
            let data = share.checked_next_multiple_of(unit)?;
            let piece = data.checked_add(overhead)?.checked_next_multiple_of(MIB)?;
            let needed = self.overhead_and_unit(piece, width);
            if needed.1 <= unit {
                return self.usable(piece, width).map(|_| piece);
            }
            (overhead, unit) = needed;
        }
    }
}

fn lvm_extent(piece: u64, width: usize) -> u64 {
    let total = u128::from(piece) * width as u128;
    let mut extent = MIB;
    while total / u128::from(extent) > LVM_MOST_EXTENTS {
        extent *= 2;
    }
    extent
}

/// The least volume that the file system can be made on, in bytes.
#[must_use]
pub fn least_volume(filesystem: FilesystemKind) -> u64 {
    match filesystem {
        // mkfs.xfs refuses less than 300 MiB since xfsprogs 5.19.
        FilesystemKind::Xfs => 300 * MIB,
        // mke2fs makes smaller ones, but without room for a journal.
        FilesystemKind::Ext4 => 16 * MIB,
        FilesystemKind::None | FilesystemKind::Unspecified => 1,
    }
}

/// The greatest volume that the file system can be made on, in bytes.
#[must_use]
pub fn greatest_volume(filesystem: FilesystemKind) -> u64 {
    match filesystem {
        // 2^48 blocks of 4 KiB: ext4(5).
        FilesystemKind::Ext4 => 1 << 60,
        // XFS: 8 EiB less one byte, which is the block device's own limit.
        _ => LARGEST_VOLUME,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MD: Striping = Striping { layout: VolumeLayout::Md, chunk: 64 << 10 };
    const LVM: Striping = Striping { layout: VolumeLayout::Lvm, chunk: 64 << 10 };

    #[test]
    fn the_front_of_each_member_is_not_usable() {
        assert_eq!(MD.usable(256 * MIB, 4), Some(4 * 255 * MIB));
        assert_eq!(LVM.usable(256 * MIB, 4), Some(4 * 255 * MIB));
        assert_eq!(MD.usable(MIB, 4), Some(0));
        assert_eq!(MD.usable(0, 4), Some(0));
    }

    #[test]
    fn three_tebibytes_of_135_members_are_what_arithmetic_says() {
        let piece = MD.piece_for(3 << 40, 135).unwrap();
        assert_eq!(piece, 23303 * MIB);
        assert!(MD.usable(piece, 135).unwrap() >= 3 << 40);
    }

    #[test]
    fn what_no_volume_can_be_is_refused_not_wrapped() {
        assert_eq!(MD.usable(u64::MAX, 2), None);
        assert_eq!(MD.piece_for(u64::MAX, 1), None);
        assert_eq!(MD.piece_for(1, 0), None);
        assert!(MD.piece_for(4 << 60, 1920).is_some());
        assert_eq!(LVM.piece_for(8 << 60, 128), None);
    }

    #[test]
    fn lvm_extents_double_beyond_a_pebibyte() {
        assert_eq!(lvm_extent(1 << 43, 128), MIB);
        assert_eq!(lvm_extent((1 << 43) + MIB, 128), 2 * MIB);
        let piece = LVM.piece_for(3 << 50, 128).unwrap();
        assert!(LVM.usable(piece, 128).unwrap() >= 3 << 50);
    }

    fn any_striping() -> impl Strategy<Value = Striping> {
        (any::<bool>(), 2..=10u32).prop_map(|(md, power)| Striping {
            layout: if md { VolumeLayout::Md } else { VolumeLayout::Lvm },
            chunk: 1024 << power,
        })
    }

    proptest! {
        #[test]
        fn the_piece_found_is_enough_and_a_smaller_one_is_not(
            striping in any_striping(), bits in 0..63u32, low in any::<u64>(), width in 1..=1920usize
        ) {
            let size = ((1u64 << bits) | (low & ((1 << bits) - 1))).max(1);
            let Some(piece) = striping.piece_for(size, width) else { return Ok(()) };
            prop_assert_eq!(piece % MIB, 0);
            prop_assert!(striping.usable(piece, width).unwrap() >= size);
            // Where extents double at this very piece, the one before may have been enough.
            let unit = |piece| striping.overhead_and_unit(piece, width).1;
            if unit(piece) == unit(piece - MIB) {
                prop_assert!(striping.usable(piece - MIB, width).unwrap() < size);
            }
        }

        #[test]
        fn usable_never_exceeds_the_members_and_grows_with_them(
            striping in any_striping(), piece in any::<u64>(), width in 1..=1920usize
        ) {
            if let Some(bytes) = striping.usable(piece, width) {
                prop_assert!(u128::from(bytes) <= u128::from(piece) * width as u128);
                prop_assert!(striping.usable(piece / 2, width).unwrap() <= bytes);
            }
        }
    }
}
