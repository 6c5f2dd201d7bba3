//! From what is wanted and what nodes have to what goes where. Pure: the same input has the
//! same placement, and nothing is asked or changed.
//!
//! | module | idea |
//! | --- | --- |
//! | [`volume`] | sizes of members and of the volume they make |
//! | `donors` | which nodes lend, and how much each |

mod donors;
pub mod volume;

use rampool_proto::size::Size as Bytes;
use rampool_proto::v1::{
    Backend, Failure, FailureKind, FilesystemKind, Piece, Placement, VolumeLayout,
};

use crate::spec::Wanted;
use volume::{MIB, Striping};

/// What the planner knows of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Whether it can be asked.
    pub reach: Reach,
    /// What it can lend now, in bytes, less what is promised to pools being made.
    pub lendable: u64,
}

/// Whether a node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It does.
    Reachable,
    /// It does not, for this reason.
    Unreachable(String),
}

/// LIO's memory store takes its size as a signed 32-bit number of 4 KiB pages
/// (`match_int` in drivers/target/target_core_rd.c), here in whole MiB.
const RD_MCP_LARGEST_PIECE: u64 = ((1 << 31) - 1) / 256 * MIB;

pub(crate) fn refused(kind: FailureKind, said: impl std::fmt::Display) -> Failure {
    Failure::new(kind, "plan the pool").saying(said)
}

/// Places the pool on `nodes`, which are all nodes in the configuration's order.
pub fn plan(wanted: &Wanted, nodes: &[Candidate]) -> Result<Placement, Failure> {
    let spec = &wanted.spec;
    let striping = Striping { layout: spec.layout(), chunk: u64::from(spec.chunk_kib) * 1024 };
    require_reachable(&spec.head, "head", nodes)?;
    let chosen = donors::choose(wanted, striping, nodes)?;
    let width = chosen.donors.len();
    let usable = striping.usable(chosen.piece, width).ok_or_else(too_large)?;
    check_limits(spec.filesystem(), spec.backend(), chosen.piece, usable)?;
    let pieces = chosen.donors.into_iter().map(|donor| Piece {
        local: donor.name == spec.head,
        lendable_bytes: donor.lendable,
        bytes: chosen.piece,
        donor: donor.name,
        ..Piece::default()
    });
    Ok(Placement {
        head: spec.head.clone(),
        pieces: pieces.collect(),
        backend: spec.backend,
        layout: spec.layout,
        filesystem: spec.filesystem,
        chunk_kib: spec.chunk_kib,
        mount_point: spec.mount_point.clone(),
        usable_bytes: usable,
        patience_seconds: spec.patience_seconds,
        notes: notes(spec.layout(), width),
        redundancy: spec.redundancy,
        ..Placement::default()
    })
}

fn require_reachable<'a>(
    name: &str,
    role: &str,
    nodes: &'a [Candidate],
) -> Result<&'a Candidate, Failure> {
    let Some(node) = nodes.iter().find(|node| node.name == name) else {
        return Err(refused(FailureKind::NotFound, format!("{role} {name} is not a known node"))
            .on(name)
            .advising(
                "`rampool nodes` lists the nodes; the controller's configuration names them",
            ));
    };
    match &node.reach {
        Reach::Reachable => Ok(node),
        Reach::Unreachable(why) => {
            Err(refused(FailureKind::NotNow, format!("{role} {name} is unreachable: {why}"))
                .on(name)
                .advising(format!("on {name}: systemctl status rampool-agent")))
        }
    }
}

fn too_large() -> Failure {
    let said =
        format!("no volume can be so large: it has at most {}", Bytes(volume::LARGEST_VOLUME));
    refused(FailureKind::Invalid, said)
}

fn filesystem_name(filesystem: FilesystemKind) -> &'static str {
    match filesystem {
        FilesystemKind::Xfs => "xfs",
        FilesystemKind::Ext4 => "ext4",
        FilesystemKind::None | FilesystemKind::Unspecified => "a striped volume",
    }
}

fn check_limits(
    filesystem: FilesystemKind,
    backend: Backend,
    piece: u64,
    usable: u64,
) -> Result<(), Failure> {
    let least = volume::least_volume(filesystem);
    if usable < least {
        return Err(refused(
            FailureKind::Invalid,
            format!("{} usable are too small for {}", Bytes(usable), filesystem_name(filesystem)),
        )
        .advising(format!("ask for {} or more", Bytes(least))));
    }
    let greatest = volume::greatest_volume(filesystem);
    if usable > greatest {
        return Err(refused(
            FailureKind::Invalid,
            format!("{} usable are too large for the file system", Bytes(usable)),
        )
        .advising(format!("ask for {} or less, or for xfs", Bytes(greatest))));
    }
    if backend == Backend::RdMcp && piece > RD_MCP_LARGEST_PIECE {
        return Err(refused(
            FailureKind::Invalid,
            format!(
                "{} per donor; a ramdisk of backend rd_mcp has at most {}",
                Bytes(piece),
                Bytes(RD_MCP_LARGEST_PIECE)
            ),
        )
        .advising("use more donors, or backend tmpfs"));
    }
    Ok(())
}

fn notes(layout: VolumeLayout, width: usize) -> Vec<String> {
    let loss = match width {
        1 => "losing the one donor loses the pool".to_owned(),
        width => format!("losing any one of {width} donors loses the pool (no redundancy)"),
    };
    let moving = match layout {
        VolumeLayout::Lvm => "the lvm layout can be evacuated from a donor",
        VolumeLayout::Md | VolumeLayout::Unspecified => {
            "the md layout cannot be evacuated from a donor (lvm can)"
        }
    };
    let volatile = "the pool is memory: a reboot or power cut of a donor ends it";
    vec![volatile.to_owned(), loss, moving.to_owned()]
}

#[cfg(test)]
mod tests;
