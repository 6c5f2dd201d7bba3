//! What nodes under Slurm may lend to jobs that run elsewhere: what Slurm itself gives to nobody
//! (MemSpecLimit). The rest of such a node's memory may be another job's any moment. What admins'
//! pools have of a node counts too; what a node lends to its own jobs is part of those jobs'.

use std::collections::BTreeMap;
use std::sync::Arc;

use rampool_proto::pool_name::Assembly;
use rampool_proto::size::Size;
use rampool_proto::v1::{Failure, HoldingKind, PoolSpec};

use super::Pools;
use super::candidates::promised;
use super::record::PoolRecord;
use crate::nodes::Known;
use crate::planner;

/// Nodes that a refusal names, so that one about a thousand stays one line.
const SHOWN: usize = 5;

impl Pools {
    /// Takes note of what nodes under Slurm may lend, in bytes by node. A node that is not among
    /// them is not under Slurm.
    pub fn allow(&self, allowances: BTreeMap<String, u64>) {
        *Self::lock(&self.allowances) = Some(allowances);
    }

    /// Whether that was ever told.
    #[must_use]
    pub fn knows_allowances(&self) -> bool {
        Self::lock(&self.allowances).is_some()
    }

    /// What a node may lend to jobs that run elsewhere, all such pools and admins' together; none
    /// where it is not under Slurm.
    #[must_use]
    pub fn allowance(&self, node: &str) -> Option<u64> {
        Self::lock(&self.allowances).as_ref()?.get(node).copied()
    }

    /// The same, of which nothing is lent or promised yet.
    pub(super) fn allowance_left(&self, node: &Known, others: &[Arc<PoolRecord>]) -> Option<u64> {
        let allowance = self.allowance(&node.name)?;
        let promised = promised(node, others);
        Some(allowance.saturating_sub(self.lent_elsewhere(node)).saturating_sub(promised))
    }

    /// What a node lends beside what its own jobs have of it, in bytes.
    #[must_use]
    pub fn lent_elsewhere(&self, node: &Known) -> u64 {
        let own = |assembly: &Assembly| {
            self.record(assembly.name.as_str()).is_some_and(|record| record.is_own())
        };
        let holdings = node.inventory.iter().flat_map(|inventory| &inventory.holdings);
        holdings
            .filter(|holding| holding.kind() == HoldingKind::Ramdisk)
            .filter(|holding| {
                let assembly = holding.pool.as_ref().map(Assembly::try_from);
                !assembly.is_some_and(|assembly| assembly.is_ok_and(|assembly| own(&assembly)))
            })
            .map(|holding| holding.bytes)
            .sum()
    }

    /// A refusal for lack of memory, with the nodes that have more than they may lend.
    pub(super) fn with_bounds(&self, refusal: Failure, spec: &PoolSpec) -> Failure {
        let outside = spec.job.as_ref().is_some_and(|job| job.outside);
        if !outside || !planner::is_lack_of_memory(&refusal) {
            return refusal;
        }
        let (Ok(bounded), all) = (self.candidates_for(spec), self.candidates()) else {
            return refusal;
        };
        let among = crate::spec::among_of(spec).unwrap_or_default();
        let less = bounded
            .iter()
            .zip(&all)
            .filter(|(bounded, all)| among.contains(&all.name) && bounded.lendable < all.lendable);
        let less: Vec<String> = less
            .map(|(bounded, all)| {
                let (may, can) = (Size(bounded.lendable), Size(all.lendable));
                format!("{} may lend {may} of {can}", all.name)
            })
            .collect();
        if less.is_empty() {
            return refusal;
        }
        let more = less.len().saturating_sub(SHOWN);
        let shown = less[..less.len().min(SHOWN)].join(", ");
        let more = if more == 0 { String::new() } else { format!(", and {more} more nodes less") };
        let said = format!(
            "{}; a donor under Slurm lends no more than its MemSpecLimit: {shown}{more}",
            refusal.said
        );
        refusal.saying(said)
    }
}
