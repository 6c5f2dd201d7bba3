//! Spares of a pool in use: which of them can take a place, which has taken one by itself, and
//! how the pool does without one.

use std::sync::Arc;

use rampool_proto::v1::{Failure, FailureKind, MemberState, Piece};

use super::health::{self, Condition};
use super::operation::Kind;
use super::record::{Phase, PoolRecord};
use super::state::Input;
use super::turn::Turn;
use super::{Events, Pools, status};

/// Whether what a node lends to a pool is kept in reserve.
pub(super) fn is_spare(record: &PoolRecord, node: &str) -> bool {
    record.placement.spares.iter().any(|spare| spare.donor == node)
}

impl Pools {
    /// Has a pool do without the spare that a node lends, or attaches to the operation that does.
    pub async fn give_up_spare(
        self: &Arc<Self>,
        name: &str,
        node: &str,
    ) -> Result<Events, Failure> {
        let refused =
            |said| Err(Failure::new(FailureKind::NotNow, "give up a spare").on(node).saying(said));
        let same = |kind: &Kind| matches!(kind, Kind::GiveUpSpare { donor } if donor == node);
        loop {
            let (slot, seen) = match self.turn(name, same).await? {
                Turn::Join(operation) => return Ok(operation.subscribe()),
                Turn::Free(slot, seen) => (slot, seen),
            };
            self.env.nodes.refresh(std::slice::from_ref(&seen.placement.head)).await;
            if seen.phase != Phase::Ready {
                return refused(status::sentence(&seen));
            }
            if !is_spare(&seen, node) {
                return self.replace(name, node, "").await;
            }
            if self.taken_spare(&seen).is_some_and(|taken| taken.donor == node) {
                return refused(format!(
                    "{name} has lost a member, and its spare {node} is taking that place; \
                     evacuate {node} again when that has ended"
                ));
            }
            let kind = Kind::GiveUpSpare { donor: node.to_owned() };
            let (record, first) = (PoolRecord::clone(&seen), Input::GiveUpSpare(node.to_owned()));
            if let Some(operation) = self.start(&slot, &seen, kind, record, first, None) {
                return Ok(operation.subscribe());
            }
        }
    }

    /// The spare that the volume has taken by itself, if it has.
    pub(super) fn taken_spare<'a>(&self, record: &'a PoolRecord) -> Option<&'a Piece> {
        let head = self.env.nodes.get(&record.placement.head);
        let volume = health::volume(record, head.as_ref())?;
        let in_use = |spare: &&Piece| {
            let serial = record.serials.get(&spare.donor);
            volume.members.iter().any(|member| {
                Some(&member.serial) == serial
                    && matches!(member.state(), MemberState::Rebuilding | MemberState::InSync)
            })
        };
        record.placement.spares.iter().find(in_use)
    }

    /// The first spare that can take a place: one that lost its memory, or that the head does not
    /// reach, cannot.
    pub(super) fn able_spare<'a>(&self, record: &'a PoolRecord) -> Option<&'a Piece> {
        let conditions = health::conditions(record, &|name| self.env.nodes.get(name));
        let of_spares = conditions.into_iter().skip(record.placement.pieces.len());
        let able = |condition: &Condition| {
            !condition.is_out() && !matches!(condition, Condition::CutOff(_))
        };
        let mut spares = record.placement.spares.iter().zip(of_spares);
        spares.find(|(_, condition)| able(condition)).map(|(spare, _)| spare)
    }
}
