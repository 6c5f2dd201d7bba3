//! Makes the file system on the pool's own volume, and nowhere else.
//!
//! A file system carries the assembly's UUID: by that, and by being finished, it is known as made.

pub mod shape;
pub(crate) mod signature;

use std::time::Duration;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind, FilesystemKind};

use crate::command;
use crate::names;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure};
use crate::volume::{self, Volume};
use shape::Stripe;

/// Terabytes of allocation groups over a network, each a few writes.
const DEADLINE: Duration = Duration::from_secs(300);

/// What a head is asked to make.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// On whose volume.
    pub assembly: Assembly,
    /// What.
    pub kind: FilesystemKind,
    /// Of the volume's stripe.
    pub chunk_kib: u32,
    /// Number of disks that carry data in one stripe.
    pub width: u32,
}

/// What the kernel calls so; unspecified where no pool has it.
#[must_use]
pub(crate) fn of_label(name: &str) -> FilesystemKind {
    let mut kinds = [FilesystemKind::Xfs, FilesystemKind::Ext4].into_iter();
    kinds.find(|kind| label(*kind) == name).unwrap_or_default()
}

/// Makes the file system, unless this assembly's is there.
pub fn make(node: &Node, wanted: &Wanted) -> Outcome<Change> {
    if wanted.kind == FilesystemKind::None {
        return Ok(Change::Already);
    }
    let volume = volume::require(node, &wanted.assembly)?;
    let uuid = names::filesystem_uuid(&wanted.assembly);
    let device = volume.device.display().to_string();
    match signature::read(&volume.device)? {
        Some(found) if found.uuid == uuid && found.kind == wanted.kind => {
            return Ok(Change::Already);
        }
        Some(found) if found.uuid == uuid => {
            let said = format!("carries {} of this pool already", label(found.kind));
            return Err(failure(FailureKind::Conflict, said).by(device).into());
        }
        // Leftovers of an attempt that did not end: the volume is ours alone.
        _ => {}
    }
    let stripe = Stripe { chunk_kib: wanted.chunk_kib, width: wanted.width };
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let (program, mut arguments) = match wanted.kind {
        FilesystemKind::Xfs => {
            shape::refuse_small_xfs(volume.bytes)?;
            (node.programs.mkfs_xfs.path()?, shape::xfs(volume.bytes, stripe, cores, &uuid))
        }
        FilesystemKind::Ext4 => (node.programs.mkfs_ext4.path()?, shape::ext4(stripe, &uuid)),
        FilesystemKind::None | FilesystemKind::Unspecified => {
            return Err(failure(FailureKind::Invalid, "no file system is named").into());
        }
    };
    arguments.push(device.clone());
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    command::succeed(program, &arguments, DEADLINE)?;
    match signature::read(&volume.device)? {
        Some(made) if made.uuid == uuid => Ok(Change::Made),
        found => {
            let said = format!("{} ended well, and left {found:?}", program.display());
            Err(Failure::new(FailureKind::Failed, "").by(device).saying(said).into())
        }
    }
    .during("verify the file system")
}

/// Refuses unless the volume carries the file system that was made for `formed`.
pub(crate) fn require(volume: &Volume, kind: FilesystemKind, formed: &Assembly) -> Outcome<()> {
    let found = signature::read(&volume.device)?;
    let uuid = names::filesystem_uuid(formed);
    if found.as_ref().is_some_and(|found| found.uuid == uuid && found.kind == kind) {
        return Ok(());
    }
    let carries = found.map_or("nothing that is known".to_owned(), |found| {
        format!("{} with the UUID {}", label(found.kind), found.uuid)
    });
    let said = format!("carries {carries}; {} of {formed} has {uuid}", label(kind));
    Err(failure(FailureKind::NotFound, said)
        .by(volume.device.display().to_string())
        .during("look for the pool's file system")
        .into())
}

/// The name that mount(2) and people know it by.
#[must_use]
pub fn label(kind: FilesystemKind) -> &'static str {
    match kind {
        FilesystemKind::Xfs => "xfs",
        FilesystemKind::Ext4 => "ext4",
        FilesystemKind::None => "none",
        FilesystemKind::Unspecified => "no file system",
    }
}
