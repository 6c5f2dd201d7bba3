//! How a file system is laid out on a stripe for many small files. Pure.

use rampool_proto::v1::{Failure, FailureKind};
use uuid::Uuid;

use crate::memory::MIB;
use crate::outcome::Outcome;

/// The volume's stripe.
#[derive(Clone, Copy, Debug)]
pub struct Stripe {
    /// Bytes on one disk before the next, in KiB.
    pub chunk_kib: u32,
    /// Number of disks that carry data in it: neither copies nor parity.
    pub width: u32,
}

const GIB: u64 = 1 << 30;

/// mkfs.xfs makes nothing smaller since xfsprogs 5.19.
const SMALLEST_XFS: u64 = 300 * MIB;

/// Below this a stripe's alignment would not leave room for the smallest log (64 MiB).
const TINY: u64 = 512 * MIB;

/// Below this mkfs.xfs makes more groups of a stripe than its smallest log fits into.
const SMALL: u64 = GIB;

/// As many groups as mkfs.xfs makes of a small volume without a stripe.
const SMALL_GROUPS: u64 = 4;

/// From this size on the shape is ours; between, mkfs.xfs finds a good one.
const LARGE: u64 = 16 * GIB;

/// XFS's greatest allocation group, less one block (`XFS_AG_MAX_BYTES`).
const LARGEST_GROUP: u64 = 1 << 40;

/// So many allocation groups at least, each with its own lock, so that many writers meet seldom.
const USUAL_GROUPS: u64 = 32;

/// No more than mkfs.xfs itself would make of the largest volumes with stripes.
const MOST_GROUPS: u64 = 1 << 20;

/// Refuses what mkfs.xfs would, with the size that would do.
pub fn refuse_small_xfs(bytes: u64) -> Outcome<()> {
    if bytes >= SMALLEST_XFS {
        return Ok(());
    }
    Err(Failure::new(FailureKind::Invalid, "")
        .saying(format!(
            "the volume has {} MiB; XFS takes {} at least",
            bytes / MIB,
            SMALLEST_XFS / MIB
        ))
        .advising("ask for more, or for ext4")
        .into())
}

/// mkfs.xfs's arguments, without the device.
pub fn xfs(bytes: u64, stripe: Stripe, cores: u64, uuid: &Uuid) -> Vec<String> {
    let striped = format!("su={}k,sw={}", stripe.chunk_kib, stripe.width);
    let mut arguments = Vec::new();
    let data = match bytes {
        ..TINY => "noalign".to_owned(),
        TINY..SMALL => format!("{striped},agcount={SMALL_GROUPS}"),
        SMALL..LARGE => striped,
        LARGE.. => {
            let log = xfs_log(bytes);
            arguments.extend(["-l".to_owned(), format!("size={}m", log / MIB)]);
            format!("{striped},agcount={}", xfs_groups(bytes, log, cores))
        }
    };
    // Memory is never thin: there is nothing to discard (-K). Only the pool's own volume is
    // ever named: leftovers on it are no reason to stop (-f). Sharing extents and the reverse
    // map cost every small file something, and scratch needs neither.
    let fixed = [
        "-q",
        "-K",
        "-f",
        "-m",
        &format!("uuid={uuid},reflink=0,rmapbt=0"),
        "-i",
        "size=512",
        "-d",
        &data,
    ];
    arguments.extend(fixed.map(str::to_owned));
    arguments
}

/// A log large enough that metadata-heavy work does not wait for it to empty: 1/32 of the
/// volume, from 512 MiB to 1 GiB (XFS's limit is 2 GiB).
fn xfs_log(bytes: u64) -> u64 {
    (bytes / 32 / MIB * MIB).clamp(512 * MIB, GIB)
}

/// Enough groups for the head's cores, but each at least twice the log, which lies in one.
fn xfs_groups(bytes: u64, log: u64, cores: u64) -> u64 {
    let useful = USUAL_GROUPS.max(cores.saturating_mul(4));
    let possible = (bytes / (2 * log)).max(1);
    let needed = bytes.div_ceil(LARGEST_GROUP - MIB);
    useful.min(possible).max(needed).min(MOST_GROUPS.max(needed))
}

/// ext4's block, which its stripe is counted in.
const EXT4_BLOCK_KIB: u32 = 4;

/// mkfs.ext4's arguments, without the device.
pub fn ext4(stripe: Stripe, uuid: &Uuid) -> Vec<String> {
    let stride = (stripe.chunk_kib / EXT4_BLOCK_KIB).max(1);
    let width = stride.saturating_mul(stripe.width);
    // One inode for 8 KiB, twice the usual: inodes are capacity, and scratch is for small
    // files. Their tables need no zeroing, now or later: the memory is zero (the mount says
    // `noinit_itable`). Nothing is kept back for root.
    let extended = format!("stride={stride},stripe_width={width},lazy_itable_init=1,nodiscard");
    ["-q", "-F", "-b", "4096", "-i", "8192", "-m", "0", "-U", &uuid.to_string(), "-E", &extended]
        .map(str::to_owned)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STRIPE: Stripe = Stripe { chunk_kib: 64, width: 4 };

    #[test]
    fn small_volumes_are_left_to_mkfs_and_too_small_ones_refused() {
        let arguments = xfs(GIB, STRIPE, 64, &Uuid::nil()).join(" ");
        assert!(arguments.contains("su=64k,sw=4") && !arguments.contains("agcount"), "{arguments}");
        let arguments = xfs(TINY - 1, STRIPE, 64, &Uuid::nil()).join(" ");
        assert!(arguments.contains("noalign") && !arguments.contains("su="), "{arguments}");
        assert!(refuse_small_xfs(SMALLEST_XFS).is_ok());
        let told = refuse_small_xfs(SMALLEST_XFS - 1).unwrap_err();
        assert!(told.said.contains("299 MiB"), "{told}");
    }

    #[test]
    fn terabytes_get_a_large_log_and_many_groups() {
        let arguments = xfs(3 << 40, STRIPE, 16, &Uuid::nil()).join(" ");
        assert!(arguments.contains("size=1024m"), "{arguments}");
        assert!(arguments.contains("agcount=64"), "{arguments}");
    }

    #[test]
    fn ext4_counts_its_stripe_in_blocks() {
        let arguments = ext4(STRIPE, &Uuid::nil()).join(" ");
        assert!(arguments.contains("stride=16,stripe_width=64"), "{arguments}");
    }

    proptest! {
        #[test]
        fn every_group_holds_its_log_and_is_no_larger_than_xfs_allows(
            bytes in LARGE..=u64::MAX, cores in 1u64..2048
        ) {
            let log = xfs_log(bytes);
            let groups = xfs_groups(bytes, log, cores);
            let group = bytes / groups;
            prop_assert!((512 * MIB..=GIB).contains(&log));
            prop_assert!(group >= 2 * log, "{} groups of {}", groups, group);
            prop_assert!(bytes.div_ceil(groups) <= LARGEST_GROUP);
        }
    }
}
