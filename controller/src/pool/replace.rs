//! `replace`: one donor's piece moves to another node while the pool is in use.

use std::collections::BTreeSet;
use std::sync::Arc;

use rampool_proto::v1::{Failure, FailureKind, Piece, Redundancy, VolumeLayout};

use super::operation::Kind;
use super::record::{Phase, PoolRecord, Replacing};
use super::state::Input;
use super::turn::Turn;
use super::{Events, Pools, health, status};
use crate::planner::replacement::{self, Vacancy};

/// Why no piece of a pool can be moved while it is in use, if so.
pub(super) fn immovable(record: &PoolRecord) -> Option<&'static str> {
    let placement = &record.placement;
    let bare = matches!(placement.redundancy(), Redundancy::None | Redundancy::Unspecified);
    (bare && placement.layout() != VolumeLayout::Lvm).then_some(
        "a stripe of md without redundancy cannot give up a member while it is in use (lvm, and \
         pools with redundancy, can)",
    )
}

impl Pools {
    /// Moves what `old` lends to `new`, or to the node that the planner picks where that is
    /// empty; or attaches to the operation that does.
    pub async fn replace(
        self: &Arc<Self>,
        name: &str,
        old: &str,
        new: &str,
    ) -> Result<Events, Failure> {
        let same = |kind: &Kind| match kind {
            Kind::Replace { old: from, new: to } => from == old && (new.is_empty() || to == new),
            _ => false,
        };
        loop {
            let (slot, seen) = match self.turn(name, same).await? {
                Turn::Join(operation) => return Ok(operation.subscribe()),
                Turn::Free(slot, seen) => (slot, seen),
            };
            let all: Vec<String> = self.env.nodes.all().into_iter().map(|n| n.name).collect();
            self.env.nodes.refresh(&all).await;
            let _alone = self.admission.lock().await;
            let lends = |node: &str| seen.placement.pieces.iter().any(|p| p.donor == node);
            if seen.phase == Phase::Ready && !lends(old) && !new.is_empty() && lends(new) {
                return Ok(self.so_already("replace", &seen).await);
            }
            let replacing = self.choose(&seen, old, new)?;
            let record = self.with_boot_of(&replacing.new.donor, &seen);
            let kind = Kind::Replace { old: old.to_owned(), new: replacing.new.donor.clone() };
            let carved = replacing.new.carved;
            let first = Input::Replace(replacing);
            if let Some(operation) = self.start(&slot, &seen, kind, record, first, None) {
                let mut now = slot.lock();
                now.generation = now.generation.max(carved);
                return Ok(operation.subscribe());
            }
        }
    }

    fn choose(&self, record: &PoolRecord, old: &str, new: &str) -> Result<Replacing, Failure> {
        let refused = |kind, said: String| {
            Err(Failure::new(kind, "put one donor in another's place").on(old).saying(said))
        };
        if record.phase != Phase::Ready {
            return refused(FailureKind::NotNow, status::sentence(record));
        }
        if let Some(why) = immovable(record) {
            return refused(FailureKind::Invalid, why.to_owned());
        }
        let placement = &record.placement;
        let Some(slot) = placement.pieces.iter().position(|piece| piece.donor == old) else {
            let is_spare = placement.spares.iter().any(|spare| spare.donor == old);
            let what = if is_spare { "is only a spare of" } else { "lends nothing to" };
            return refused(
                FailureKind::NotFound,
                format!("{old} {what} {}", record.assembly.name),
            );
        };
        let replacing =
            |new, from_spare| Replacing { slot, new, from_spare, copying: false, trouble: None };
        let named = placement.spares.iter().find(|spare| spare.donor == new);
        if let Some(taken) = named.or_else(|| self.taken_spare(record).filter(|_| new.is_empty())) {
            return Ok(replacing(taken.clone(), true));
        }
        let knows = |name: &str| self.env.nodes.get(name);
        let anew = health::may_begin_anew(record, slot, &knows);
        let shut: BTreeSet<String> = record.debts.iter().map(|debt| debt.node.clone()).collect();
        let asked = Some(new).filter(|new| !new.is_empty());
        let vacancy = Vacancy { placement, slot, anew, shut: &shut };
        let nodes = match asked {
            // Whoever names a node has chosen.
            Some(_) => self.candidates(),
            None => self.candidates_for(&record.spec)?,
        };
        let chosen = replacement::choose(vacancy, asked, &nodes);
        // A spare comes before a donor that lost what it had.
        match self.able_spare(record).filter(|_| asked.is_none()) {
            Some(spare) if chosen.as_ref().map_or(true, |new| new.donor == old) => {
                Ok(replacing(spare.clone(), true))
            }
            _ => {
                let carved = self.next_generation(&record.assembly.name)?;
                Ok(replacing(Piece { carved, ..chosen? }, false))
            }
        }
    }
}
