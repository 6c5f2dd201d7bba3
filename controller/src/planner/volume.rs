//! How much of its members a volume can use, and how large members must be. Pure arithmetic,
//! exact to the byte, refusing what does not fit 64 bits.

use rampool_proto::v1::{FilesystemKind, Redundancy, VolumeLayout};

use super::redundancy;

/// Pieces are multiples of it.
pub const MIB: u64 = 1 << 20;

/// What md keeps at the front of each member, the write-intent bitmap included. The agent makes
/// arrays with metadata 1.2 and `--data-offset=1M`; mdadm's own choice would grow with the member.
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
    /// What it bears the loss of.
    pub redundancy: Redundancy,
    /// The chunk, in bytes.
    pub chunk: u64,
}

impl Striping {
    /// The most members, spares among them.
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

    fn halves(self, width: usize) -> u128 {
        redundancy::data_halves(self.redundancy, width) as u128
    }

    /// Usable bytes of a volume of `width` members of `piece` bytes; `None` if there are more
    /// than a volume can have.
    #[must_use]
    pub fn usable(self, piece: u64, width: usize) -> Option<u64> {
        let bytes = match self.over_groups(width) {
            None => self.of_one(piece, width)?,
            Some(over) => {
                let group = self.of_one(piece, width / over.groups)?;
                let units = group.saturating_sub(MD_DATA_OFFSET) / over.unit;
                (units * over.unit).checked_mul(over.groups as u64)?
            }
        };
        (bytes <= LARGEST_VOLUME).then_some(bytes)
    }

    /// A piece, a multiple of 1 MiB, of which `width` make at least `size` usable bytes: the
    /// least one, but where LVM's extents double. `None` if there is none.
    #[must_use]
    pub fn piece_for(self, size: u64, width: usize) -> Option<u64> {
        let piece = match self.over_groups(width) {
            None => self.piece_for_one(size, width)?,
            Some(over) => {
                let units = size.div_ceil(over.unit.checked_mul(over.groups as u64)?);
                let group = units.checked_mul(over.unit)?.checked_add(MD_DATA_OFFSET)?;
                self.piece_for_one(group, width / over.groups)?
            }
        };
        self.usable(piece, width).map(|_| piece)
    }

    /// The stripe over parity groups, where there are several: an array of arrays, with what md
    /// keeps at the front of each, in chunks of one full stripe of a group.
    fn over_groups(self, width: usize) -> Option<Over> {
        let groups = redundancy::groups(self.redundancy, width).filter(|groups| *groups > 1)?;
        let data = (width / groups).saturating_sub(redundancy::bears(self.redundancy));
        Some(Over { groups, unit: self.chunk.checked_mul(data as u64)? })
    }

    /// Usable bytes of one array or logical volume.
    fn of_one(self, piece: u64, width: usize) -> Option<u64> {
        let (overhead, unit) = self.overhead_and_unit(piece, width);
        let units = piece.saturating_sub(overhead) / unit;
        // The kernel counts whole chunks too: an odd one of an odd mirror has no second copy.
        let all = u128::from(units) * self.halves(width) / 2;
        u64::try_from(all.checked_mul(u128::from(unit))?).ok()
    }

    fn piece_for_one(self, size: u64, width: usize) -> Option<u64> {
        let halves = Some(self.halves(width)).filter(|halves| *halves > 0)?;
        let (mut overhead, mut unit) = self.overhead_and_unit(0, width);
        loop {
            let units = u128::from(size.div_ceil(unit)) * 2;
            let share = u64::try_from(units.div_ceil(halves)).ok()?;
            let data = share.checked_mul(unit)?;
            let piece = data.checked_add(overhead)?.checked_next_multiple_of(MIB)?;
            let needed = self.overhead_and_unit(piece, width);
            if needed.1 <= unit {
                return Some(piece);
            }
            (overhead, unit) = needed;
        }
    }
}

/// A stripe over groups.
struct Over {
    groups: usize,
    /// Its chunk, in bytes.
    unit: u64,
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

    const MD: Striping =
        Striping { layout: VolumeLayout::Md, redundancy: Redundancy::None, chunk: 64 << 10 };
    const LVM: Striping = Striping { layout: VolumeLayout::Lvm, ..MD };

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

    #[test]
    fn a_stripe_over_groups_has_a_front_of_its_own_and_coarser_chunks() {
        let wide = Striping { redundancy: Redundancy::Parity, ..MD };
        // Each group of ten: nine times 255 MiB, less 1 MiB, in chunks of 576 KiB.
        let group = (9 * 255 - 1) * MIB / (576 << 10) * (576 << 10);
        assert_eq!(wide.usable(256 * MIB, 20), Some(2 * group));
        assert_eq!(wide.piece_for(2 * group, 20), Some(256 * MIB));
        assert_eq!(wide.piece_for(2 * group + 1, 20), Some(257 * MIB));
    }

    #[test]
    fn redundancy_takes_its_share() {
        let of = |redundancy| Striping { redundancy, ..MD };
        let usable = |redundancy, width| of(redundancy).usable(256 * MIB, width).unwrap();
        assert_eq!(usable(Redundancy::Mirror, 4), 2 * 255 * MIB);
        assert_eq!(usable(Redundancy::Parity, 4), 3 * 255 * MIB);
        assert_eq!(usable(Redundancy::DoubleParity, 4), 2 * 255 * MIB);
        assert_eq!(usable(Redundancy::Mirror, 3), 255 * MIB * 3 / 2);
        // One chunk of 1 MiB on each of three members: of three copies two make a chunk.
        let large = Striping { chunk: MIB, ..of(Redundancy::Mirror) };
        assert_eq!(large.usable(2 * MIB, 3), Some(MIB));
        assert_eq!(large.piece_for(2 * MIB, 3), Some(3 * MIB));
    }

    fn any_striping() -> impl Strategy<Value = Striping> {
        (0..5usize, 2..=10u32).prop_map(|(kind, power)| Striping {
            layout: if kind == 4 { VolumeLayout::Lvm } else { VolumeLayout::Md },
            redundancy: [
                Redundancy::None,
                Redundancy::Mirror,
                Redundancy::Parity,
                Redundancy::DoubleParity,
                Redundancy::None,
            ][kind],
            chunk: 1024 << power,
        })
    }

    /// The size of an array as the kernel reckons it: `raid0_size`, `raid10_size`, `raid5_size`
    /// (drivers/md), of what mdadm leaves of each member.
    fn as_md_does(striping: Striping, piece: u64, width: u64) -> u64 {
        let chunks = piece.saturating_sub(MD_DATA_OFFSET) / striping.chunk;
        let chunks = match striping.redundancy {
            Redundancy::Mirror => chunks * width / 2,
            Redundancy::Parity => chunks * (width - 1),
            Redundancy::DoubleParity => chunks * (width - 2),
            _ => chunks * width,
        };
        chunks * striping.chunk
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
        fn usable_is_what_md_makes_of_it(
            striping in any_striping(), mib in 0..1u64 << 30, width in 4..=10usize
        ) {
            if striping.layout == VolumeLayout::Md {
                let usable = striping.usable(mib * MIB, width);
                prop_assert_eq!(usable, Some(as_md_does(striping, mib * MIB, width as u64)));
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
