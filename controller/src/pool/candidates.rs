//! The nodes as the planner sees them.

use std::sync::Arc;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, HoldingKind, Piece, PoolId, PoolSpec};

use super::Pools;
use super::record::{Phase, PoolRecord};
use crate::nodes::Known;
use crate::planner::{Candidate, Reach};
use crate::spec;
use crate::version;

impl Pools {
    /// All nodes: less what is promised to pools being made, and those that are drained or
    /// speak another version shut.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let records = self.records();
        let drained = self.drained();
        let seen = |node: Known| Candidate {
            lendable: node.current().map_or(0, |inventory| {
                let lendable = inventory.memory.as_ref().map_or(0, |m| m.lendable_bytes);
                lendable.saturating_sub(promised(&node, &records))
            }),
            reach: match (reach(&node), drained.get(&node.name)) {
                (Reach::Reachable, Some(reason)) => Reach::Drained(reason.clone()),
                (reach, _) => reach,
            },
            address: node.current().map(|known| known.data_address.clone()).unwrap_or_default(),
            rack: self.env.racks.get(&node.name).cloned().unwrap_or_default(),
            name: node.name,
        };
        self.env.nodes.all().into_iter().map(seen).collect()
    }

    /// The same, where the nodes that a pool may not choose lend nothing, and those under Slurm no
    /// more than they may.
    pub(super) fn candidates_for(&self, spec: &PoolSpec) -> Result<Vec<Candidate>, Failure> {
        let among = spec::among_of(spec)?;
        let outside = spec.by_user || spec.job.as_ref().is_some_and(|job| job.outside);
        let others = self.lent_outside();
        let mut candidates = self.candidates();
        for candidate in &mut candidates {
            if !among.is_empty() && !among.contains(&candidate.name) {
                candidate.lendable = 0;
            }
            if outside {
                candidate.lendable = self.lendable_elsewhere(candidate, &others);
            }
        }
        Ok(candidates)
    }
}

fn reach(node: &Known) -> Reach {
    match node.current() {
        None => Reach::Unreachable(node.why_not().to_owned()),
        Some(inventory) if version::goes_with(&inventory.agent_version) => Reach::Reachable,
        Some(inventory) => Reach::OtherVersion(inventory.agent_version.clone()),
    }
}

/// What a node will lend to pools being made or mended, beyond what its inventory already shows
/// as lent.
pub(super) fn promised(node: &Known, records: &[Arc<PoolRecord>]) -> u64 {
    let pieces = records.iter().flat_map(|record| {
        let own = coming(record).filter(|piece| piece.donor == node.name);
        own.map(move |piece| (record.carved(piece), piece.bytes))
    });
    pieces.map(|(carved, bytes)| bytes.saturating_sub(lent(node, &carved))).sum()
}

/// The pieces that a pool is about to take.
fn coming(record: &PoolRecord) -> Box<dyn Iterator<Item = &Piece> + '_> {
    let placement = &record.placement;
    match &record.phase {
        Phase::Creating => Box::new(placement.pieces.iter().chain(&placement.spares)),
        Phase::Replacing(replacing) => Box::new(std::iter::once(&replacing.new)),
        _ => Box::new(std::iter::empty()),
    }
}

fn lent(node: &Known, carved: &Assembly) -> u64 {
    let id = PoolId::from(carved);
    let holdings = node.inventory.iter().flat_map(|inventory| &inventory.holdings);
    holdings
        .filter(|h| h.kind() == HoldingKind::Ramdisk && h.pool.as_ref() == Some(&id))
        .map(|holding| holding.bytes)
        .sum()
}
