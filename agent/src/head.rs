//! Whether this node may be a pool's head: asked before anything is made anywhere.

use std::path::PathBuf;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{FilesystemKind, Redundancy, VolumeLayout};

use crate::abilities;
use crate::headroom;
use crate::mount;
use crate::node::Node;
use crate::outcome::Outcome;
use crate::volume;

/// What the head will be asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// For which assembly.
    pub assembly: Assembly,
    /// How disks are made one.
    pub layout: VolumeLayout,
    /// What the pool shall bear.
    pub redundancy: Redundancy,
    /// What is made on them.
    pub filesystem: FilesystemKind,
    /// Where it is mounted; empty for the usual place.
    pub point: PathBuf,
    /// Whether it lends to the pool, whose job may use all other memory.
    pub lends_to_job: bool,
}

/// Refuses with the first thing that is missing or in the way. Changes nothing.
pub fn check(node: &Node, wanted: &Wanted) -> Outcome<()> {
    if wanted.lends_to_job {
        headroom::check(node)?;
    }
    volume::refuse_pair(wanted.layout, wanted.redundancy)?;
    abilities::require_head(node, wanted.layout, wanted.redundancy, wanted.filesystem)?;
    if wanted.filesystem == FilesystemKind::None {
        return Ok(());
    }
    let (point, is_usual) = mount::place(node, &wanted.assembly, &wanted.point);
    mount::check_place(node, &point, is_usual)
}
