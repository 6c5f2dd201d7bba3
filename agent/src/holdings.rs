//! What the kernel holds for each pool and generation: the agent's only memory.

use rampool_proto::v1::{FilesystemKind, Holding, HoldingKind, PoolId};

use crate::attach;
use crate::export;
use crate::jobs;
use crate::mount;
use crate::node::Node;
use crate::outcome::Outcome;
use crate::ramdisk;
use crate::share;
use crate::volume;

/// Everything of every pool, in the order it is made: memory, exports, sessions and their
/// records, volumes, mounts, shares, jobs.
pub fn list(node: &Node) -> Outcome<Vec<Holding>> {
    let mut holdings: Vec<_> = ramdisk::list(node)?
        .into_iter()
        .map(|ramdisk| Holding {
            pool: Some(PoolId::from(&ramdisk.assembly)),
            kind: HoldingKind::Ramdisk.into(),
            name: ramdisk.object.map(|o| o.display().to_string()).unwrap_or_default(),
            bytes: ramdisk.bytes,
            detail: match (ramdisk::label(ramdisk.backend), ramdisk.ready) {
                (backend, true) => backend.to_owned(),
                (backend, false) => format!("{backend}, half made"),
            },
            ..Holding::default()
        })
        .collect();
    holdings.extend(export::list(node));
    holdings.extend(attach::list(node));
    let volumes = volume::list(node);
    holdings.extend(volumes.iter().map(|volume| Holding {
        pool: Some(PoolId::from(&volume.assembly)),
        kind: HoldingKind::Volume.into(),
        name: volume.device.display().to_string(),
        bytes: volume.bytes,
        detail: volume.detail.clone(),
        health: Some(volume::health(node, volume)),
        filesystem: match mount::is_given(volume) {
            true => FilesystemKind::None.into(),
            false => FilesystemKind::Unspecified.into(),
        },
        ..Holding::default()
    }));
    holdings.extend(mount::list(node, &volumes)?);
    holdings.extend(share::list(node)?);
    holdings.extend(jobs::list(node));
    Ok(holdings)
}

/// Memory that ramdisks hold.
#[must_use]
pub fn lent(holdings: &[Holding]) -> u64 {
    let ramdisks = holdings.iter().filter(|holding| holding.kind() == HoldingKind::Ramdisk);
    ramdisks.map(|holding| holding.bytes).sum()
}
