//! A pool.

use rampool_proto::size::KIB;
use rampool_proto::v1::{DonorStatus, Pool, Usage};
use serde::Serialize;

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

/// One pool, as `status`, `up` and `down` print it.
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
}

/// A pool as `up` left it: the same keys, other words for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Raised(pub PoolReport);

/// A pool as `down` left it: the same keys, other words for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Released(pub PoolReport);

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
        let state = word::<rampool_proto::v1::PoolState>(pool.state);
        let id = pool.id.unwrap_or_default();
        let spec = pool.spec.unwrap_or_default();
        let placement = pool.placement.unwrap_or_default();
        let device = pool.usage.as_ref().map(|usage| usage.device.clone()).and_then(known);
        let local = |node: &str| placement.pieces.iter().any(|p| p.local && p.donor == node);
        let donors = pool.donors.into_iter().map(|d| donor(&local, d)).collect();
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
            fs: word::<rampool_proto::v1::FilesystemKind>(placement.filesystem),
            layout: word::<rampool_proto::v1::VolumeLayout>(placement.layout),
            chunk_bytes: u64::from(placement.chunk_kib) * KIB,
            backend: word::<rampool_proto::v1::Backend>(placement.backend),
            usable_bytes: placement.usable_bytes,
            patience_ms: u64::from(placement.patience_seconds) * 1000,
            usage: pool.usage.as_ref().and_then(usage),
            remarks: pool.remarks,
        }
    }
}

fn donor(local: &impl Fn(&str) -> bool, donor: DonorStatus) -> DonorReport {
    DonorReport {
        local: local(&donor.node),
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
