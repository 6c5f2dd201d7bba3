//! What nodes under Slurm may lend to jobs that run elsewhere: what Slurm itself gives to nobody
//! (MemSpecLimit). The rest of such a node's memory may be another job's any moment. What admins'
//! pools have of a node counts too; what a node lends to its own jobs is part of those jobs'.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rampool_proto::hostlist::HostList;
use rampool_proto::pool_name::Assembly;
use rampool_proto::size::Size;
use rampool_proto::v1::{Failure, HoldingKind, Placement, PoolId, PoolSpec};

use super::Pools;
use super::candidates::promised;
use super::record::PoolRecord;
use crate::nodes::Known;
use crate::planner::Candidate;
use crate::{planner, spec};

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

    /// All pools but those of jobs whose own nodes lend: what these have of a node is those jobs'.
    pub(super) fn lent_outside(&self) -> Vec<Arc<PoolRecord>> {
        let mut others = self.records();
        others.retain(|record| !record.is_own());
        others
    }

    /// What a node can lend now to a job that runs elsewhere, in bytes.
    pub(super) fn lendable_elsewhere(&self, node: &Candidate, others: &[Arc<PoolRecord>]) -> u64 {
        let known = self.env.nodes.get(&node.name);
        let may = known.and_then(|known| self.allowance_left(&known, others));
        may.map_or(node.lendable, |may| node.lendable.min(may))
    }

    /// What these nodes can lend now to jobs that run elsewhere, in bytes.
    #[must_use]
    pub fn free_elsewhere(&self, donors: &BTreeSet<String>) -> u64 {
        let others = self.lent_outside();
        let of_donors = self.candidates().into_iter().filter(|one| donors.contains(&one.name));
        of_donors.map(|one| self.lendable_elsewhere(&one, &others)).sum()
    }

    /// What these nodes lend, or are about to, beside what their own jobs have of them, in bytes: it
    /// changes with pools alone.
    #[must_use]
    pub fn taken_elsewhere(&self, donors: &BTreeSet<String>) -> u64 {
        let others = self.lent_outside();
        let known = donors.iter().filter_map(|donor| self.env.nodes.get(donor));
        known.map(|known| self.lent_elsewhere(&known) + promised(&known, &others)).sum()
    }

    /// What a node lends beside what its own jobs have of it, in bytes.
    #[must_use]
    pub fn lent_elsewhere(&self, node: &Known) -> u64 {
        lent(node, |assembly| {
            let record = assembly.and_then(|assembly| self.record(assembly.name.as_str()));
            !record.is_some_and(|record| record.is_own())
        })
    }

    /// What a node lends to pools that are no jobs', in bytes.
    #[must_use]
    pub fn lent_to_admins(&self, node: &Known) -> u64 {
        lent(node, |assembly| assembly.is_some_and(|assembly| assembly.name.job().is_none()))
    }

    /// Which donors of an admin's pool would lend what Slurm may give to jobs too, in a sentence.
    /// Nothing keeps them from it.
    pub(super) fn beyond_slurm(&self, spec: &PoolSpec, placement: &Placement) -> Option<String> {
        if spec.job.is_some() {
            return None;
        }
        let others = self.lent_outside();
        let beyond = placement.pieces.iter().chain(&placement.spares).filter(|piece| {
            let donor = self.env.nodes.get(&piece.donor);
            let left = donor.and_then(|donor| self.allowance_left(&donor, &others));
            left.is_some_and(|left| left < piece.bytes)
        });
        let beyond = HostList::from_names(beyond.map(|piece| &piece.donor)).ok()?;
        (!beyond.is_empty()).then(|| {
            format!("Slurm may give memory of {beyond} to jobs too: more than MemSpecLimit is lent")
        })
    }

    /// A refusal for lack of memory, with the nodes that have more than they may lend.
    pub(super) fn with_bounds(&self, refusal: Failure, spec: &PoolSpec) -> Failure {
        let outside = spec.job.as_ref().is_some_and(|job| job.outside);
        if !outside || !planner::is_lack_of_memory(&refusal) {
            return refusal;
        }
        let (Ok(among), Ok(bounded)) = (spec::among_of(spec), self.candidates_for(spec)) else {
            return refusal;
        };
        let all = self.candidates().into_iter().zip(bounded);
        let less: Vec<String> = all
            .filter(|(all, bounded)| among.contains(&all.name) && bounded.lendable < all.lendable)
            .map(|(all, bounded)| {
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

/// What a node lends to those pools that count, in bytes, as it said last; a name that cannot be
/// read is none.
fn lent(node: &Known, counts: impl Fn(Option<Assembly>) -> bool) -> u64 {
    let holdings = node.inventory.iter().flat_map(|inventory| &inventory.holdings);
    let lent = holdings.filter(|holding| holding.kind() == HoldingKind::Ramdisk);
    let of = |id: &PoolId| Assembly::try_from(id).ok();
    lent.filter(|holding| counts(holding.pool.as_ref().and_then(of))).map(|own| own.bytes).sum()
}
