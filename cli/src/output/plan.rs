//! What `up` would do.

use rampool_proto::size::KIB;
use rampool_proto::v1::{Backend, FilesystemKind, Piece, Placement, Redundancy, VolumeLayout};
use serde::Serialize;

use super::pool::{known, share};
use super::words::word;

/// Where a pool's pieces would go, and what would come of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct PlanReport {
    pub name: String,
    pub head: String,
    pub mount_point: String,
    pub fs: String,
    pub layout: String,
    pub chunk_bytes: u64,
    pub width: usize,
    pub backend: String,
    pub usable_bytes: u64,
    pub patience_ms: u64,
    pub pieces: Vec<PieceReport>,
    pub notes: Vec<String>,
    pub redundancy: String,
    pub group_width: Option<u32>,
    pub usable_share: Option<f64>,
    pub spares: Vec<PieceReport>,
}

/// What one donor would lend.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct PieceReport {
    pub donor: String,
    pub size_bytes: u64,
    pub lendable_bytes: u64,
    pub local: bool,
    pub rack: Option<String>,
}

impl PlanReport {
    /// The plan for the pool `name`.
    #[must_use]
    pub fn new(name: String, placement: Placement) -> Self {
        let pieces: Vec<PieceReport> = placement.pieces.into_iter().map(Into::into).collect();
        Self {
            name,
            head: placement.head,
            mount_point: placement.mount_point,
            fs: word::<FilesystemKind>(placement.filesystem),
            layout: word::<VolumeLayout>(placement.layout),
            chunk_bytes: u64::from(placement.chunk_kib) * KIB,
            width: pieces.len(),
            backend: word::<Backend>(placement.backend),
            usable_bytes: placement.usable_bytes,
            patience_ms: u64::from(placement.patience_seconds) * 1000,
            pieces,
            notes: placement.notes,
            redundancy: word::<Redundancy>(placement.redundancy),
            group_width: (placement.group_width > 0).then_some(placement.group_width),
            usable_share: share(placement.usable_share),
            spares: placement.spares.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Piece> for PieceReport {
    fn from(piece: Piece) -> Self {
        Self {
            donor: piece.donor,
            size_bytes: piece.bytes,
            lendable_bytes: piece.lendable_bytes,
            local: piece.local,
            rack: known(piece.rack),
        }
    }
}
