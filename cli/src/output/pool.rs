//! A pool.

use rampool_proto::size::KIB;
use rampool_proto::v1::{
    AtExpiry, Backend, DonorStatus, FilesystemKind, Placement, Pool, PoolState, Redundancy, Usage,
    VolumeLayout,
};
use serde::Serialize;

use super::health::HealthReport;
use super::moment::Moment;
use super::words::word;

/// Several pools.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pools {
    /// The pools, by name.
    pub pools: Vec<PoolReport>,
}

/// Several pools: the same keys, all there is to know for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct PoolsInFull(pub Pools);

/// One pool, as `status` and the operations on one pool print it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct PoolReport {
    pub name: String,
    pub generation: u32,
    pub state: String,
    pub volatile: bool,
    pub owner: String,
    pub uid: u32,
    pub gid: u32,
    pub profile: Option<String>,
    pub created_at: Option<Moment>,
    pub ready_at: Option<Moment>,
    pub expires_at: Option<Moment>,
    pub head: String,
    pub mount_point: String,
    pub device: Option<String>,
    pub fs: String,
    pub layout: String,
    pub chunk_bytes: u64,
    pub width: usize,
    pub backend: String,
    pub usable_bytes: u64,
    pub patience_ms: u64,
    pub usage: Option<UsageReport>,
    pub donors: Vec<DonorReport>,
    pub remarks: Vec<String>,
    pub alerts: Vec<String>,
    pub redundancy: String,
    pub group_width: Option<u32>,
    pub usable_share: Option<f64>,
    pub spares: Vec<String>,
    pub auto_replace: Option<bool>,
    pub at_expiry: String,
    pub health: Option<HealthReport>,
    pub job: Option<u32>,
}

/// A pool as `up` left it: the same keys, other words for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Raised(pub PoolReport);

/// A pool as any other operation left it: the same keys, other words for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Settled(pub PoolReport);

/// A pool with a new lease: the same keys, other words for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Renewed(pub PoolReport);

/// What a mounted pool holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct UsageReport {
    pub total_bytes: u64,
    pub used_bytes: u64,
    pub free_bytes: u64,
    pub inodes_total: u64,
    pub inodes_used: u64,
    pub inodes_free: u64,
}

/// One donor of a pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct DonorReport {
    pub node: String,
    pub size_bytes: u64,
    pub local: bool,
    pub state: String,
    pub detail: Option<String>,
    pub rack: Option<String>,
}

/// A share that a message leaves at 0 is unknown; JSON has no word for what is no number.
pub(super) fn share(share: f64) -> Option<f64> {
    (share.is_finite() && share > 0.0).then_some(share)
}

/// A text that a message leaves empty is unknown.
pub(super) fn known(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl From<Vec<Pool>> for Pools {
    fn from(pools: Vec<Pool>) -> Self {
        let mut pools: Vec<PoolReport> = pools.into_iter().map(Into::into).collect();
        pools.sort_by(|a, b| (&a.name, a.generation).cmp(&(&b.name, b.generation)));
        Self { pools }
    }
}

impl From<Pool> for PoolReport {
    fn from(pool: Pool) -> Self {
        let state = word::<PoolState>(pool.state);
        let id = pool.id.unwrap_or_default();
        let spec = pool.spec.unwrap_or_default();
        let placement = pool.placement.unwrap_or_default();
        let device = pool.usage.as_ref().map(|usage| usage.device.clone()).and_then(known);
        let donors = pool.donors.into_iter().map(|status| donor(&placement, status)).collect();
        Self {
            name: id.name,
            generation: id.generation,
            state,
            volatile: pool.volatile_memory,
            owner: spec.owner,
            uid: spec.uid,
            gid: spec.gid,
            profile: known(spec.profile),
            created_at: Moment::known(pool.created_ms),
            ready_at: Moment::known(pool.ready_ms),
            expires_at: Moment::known(pool.expires_ms),
            donors,
            width: placement.pieces.len(),
            head: placement.head,
            mount_point: placement.mount_point,
            device,
            fs: word::<FilesystemKind>(placement.filesystem),
            layout: word::<VolumeLayout>(placement.layout),
            chunk_bytes: u64::from(placement.chunk_kib) * KIB,
            backend: word::<Backend>(placement.backend),
            usable_bytes: placement.usable_bytes,
            patience_ms: u64::from(placement.patience_seconds) * 1000,
            usage: pool.usage.as_ref().and_then(usage),
            remarks: pool.remarks,
            alerts: pool.alerts,
            redundancy: word::<Redundancy>(placement.redundancy),
            group_width: (placement.group_width > 0).then_some(placement.group_width),
            usable_share: share(placement.usable_share),
            spares: placement.spares.into_iter().map(|spare| spare.donor).collect(),
            auto_replace: spec.auto_replace,
            at_expiry: word::<AtExpiry>(spec.at_expiry),
            health: pool.health.map(Into::into),
            job: spec.job.and_then(|job| Some(job.id?.job)),
        }
    }
}

fn donor(placement: &Placement, donor: DonorStatus) -> DonorReport {
    let mut pieces = placement.pieces.iter().chain(&placement.spares);
    let piece = pieces.find(|piece| piece.donor == donor.node);
    DonorReport {
        local: piece.is_some_and(|piece| piece.local),
        rack: piece.and_then(|piece| known(piece.rack.clone())),
        node: donor.node,
        size_bytes: donor.bytes,
        state: donor.state,
        detail: known(donor.detail),
    }
}

/// A bare block device has no usage: nothing on it is counted.
fn usage(usage: &Usage) -> Option<UsageReport> {
    (!usage.mount_point.is_empty()).then(|| UsageReport {
        total_bytes: usage.bytes_total,
        used_bytes: usage.bytes_total.saturating_sub(usage.bytes_free),
        free_bytes: usage.bytes_free,
        inodes_total: usage.inodes_total,
        inodes_used: usage.inodes_total.saturating_sub(usage.inodes_free),
        inodes_free: usage.inodes_free,
    })
}
