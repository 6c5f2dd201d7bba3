//! How full a pool is: bytes and inodes.

use nix::sys::statvfs::statvfs;
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{FailureKind, Usage};

use crate::mount;
use crate::node::Node;
use crate::outcome::{Outcome, failure, refused};
use crate::volume::{self, Volume};

/// The usage of the pool of `assembly`; of a bare block device its size alone.
pub fn of(node: &Node, assembly: &Assembly) -> Outcome<Usage> {
    let volume = volume::require(node, assembly)?;
    match mount::of_volume(node, &volume)? {
        Some(point) => mounted(&volume, &point.point),
        None => Ok(bare(&volume)),
    }
}

/// Like [`of`], where a file system must be mounted.
pub fn require_mounted(node: &Node, volume: &Volume) -> Outcome<Usage> {
    match mount::of_volume(node, volume)? {
        Some(point) => mounted(volume, &point.point),
        None => {
            let said = format!("{} is not mounted", volume.device.display());
            Err(failure(FailureKind::NotFound, said).into())
        }
    }
}

/// The size of a volume without a file system.
#[must_use]
pub fn bare(volume: &Volume) -> Usage {
    Usage {
        device: volume.device.display().to_string(),
        bytes_total: volume.bytes,
        ..Usage::default()
    }
}

fn mounted(volume: &Volume, point: &std::path::Path) -> Outcome<Usage> {
    let found = statvfs(point).map_err(|errno| refused(point, "ask how full it is", errno))?;
    let block = found.fragment_size();
    Ok(Usage {
        device: volume.device.display().to_string(),
        mount_point: point.display().to_string(),
        bytes_total: found.blocks() * block,
        bytes_free: found.blocks_available() * block,
        inodes_total: found.files(),
        inodes_free: found.files_available(),
    })
}
