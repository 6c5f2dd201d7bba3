//! `failover`: a pool comes up on another head, with its data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rampool_proto::v1::{CheckHeadRequest, Failure, FailureKind, HoldingKind, PoolId};

use super::operation::Kind;
use super::record::{Phase, PoolRecord};
use super::state::Input;
use super::takeover::Standing;
use super::turn::Turn;
use super::{Events, Pools, health, status, takeover};
use crate::agents::Call;
use crate::nodes::Known;
use crate::planner::Reach;

/// What fails, in the failures of this room.
const STEP: &str = "fail over to another head";

impl Pools {
    /// Brings a pool up on `head`, or attaches to the operation that does. Refused before
    /// anything is changed where the donors that answer are not enough for it, or those that
    /// do not could go on serving the old head (unless `force`).
    pub async fn failover(
        self: &Arc<Self>,
        name: &str,
        head: &str,
        force: bool,
    ) -> Result<Events, Failure> {
        let same = |kind: &Kind| matches!(kind, Kind::Failover { head: to } if to == head);
        loop {
            let (slot, seen) = match self.turn(name, same).await? {
                Turn::Join(operation) => return Ok(operation.subscribe()),
                Turn::Free(slot, seen) => (slot, seen),
            };
            let mut concerned: Vec<String> =
                seen.members().map(|piece| piece.donor.clone()).collect();
            concerned.extend([head.to_owned(), seen.placement.head.clone()]);
            self.env.nodes.refresh(&concerned).await;
            if seen.placement.head == head && self.heads(&seen) {
                return Ok(self.so_already("failover", &seen).await);
            }
            self.check_failover(&seen, head, force)?;
            let generation = self.next_generation(&seen.assembly.name)?;
            self.ask_head(&seen, head, generation).await?;
            let record = self.with_boot_of(head, &seen);
            let kind = Kind::Failover { head: head.to_owned() };
            let first = Input::FailOver { head: head.to_owned(), generation, force };
            if let Some(operation) = self.start(&slot, &seen, kind, record, first, None) {
                slot.lock().generation = generation;
                return Ok(operation.subscribe());
            }
        }
    }

    /// Whether the pool is up on its head.
    fn heads(&self, record: &PoolRecord) -> bool {
        let kind = if record.has_filesystem() { HoldingKind::Mount } else { HoldingKind::Volume };
        matches!(record.phase, Phase::Ready | Phase::Replacing(_)) && self.head_has(record, kind)
    }

    /// Whether the head answers and has such a thing of the pool.
    fn head_has(&self, record: &PoolRecord, kind: HoldingKind) -> bool {
        let id = PoolId::from(&record.assembly);
        let head = self.env.nodes.get(&record.placement.head);
        head.as_ref().and_then(Known::current).is_some_and(|now| health::holds(now, &id, kind))
    }

    fn check_failover(&self, record: &PoolRecord, head: &str, force: bool) -> Result<(), Failure> {
        let refused = |kind, said: String| Err(Failure::new(kind, STEP).on(head).saying(said));
        match &record.phase {
            Phase::Ready | Phase::Replacing(_) | Phase::FailingOver(_) | Phase::Failed(_) => {}
            _ => return refused(FailureKind::NotNow, status::sentence(record)),
        }
        if record.is_shared() {
            let said = "its clients mount it from the head that it has";
            return Err(Failure::new(FailureKind::NotNow, STEP)
                .on(head)
                .saying(said)
                .advising("rampool down, then rampool up with another head"));
        }
        self.refuse_head(head, force)?;
        if record.owes(head) {
            let said = format!("{head} still holds an older part of this pool");
            return refused(FailureKind::NotNow, said);
        }
        self.refuse_stuck_volume(record, head)?;
        self.refuse_mount_point_of_others(record, head)?;
        takeover::decide(record, &self.standing(record), force)
    }

    /// A drained node takes no head either, unless a person insists.
    fn refuse_head(&self, head: &str, force: bool) -> Result<(), Failure> {
        let Some(node) = self.candidates().into_iter().find(|node| node.name == head) else {
            let said = format!("head {head} is not a known node");
            return Err(Failure::new(FailureKind::NotFound, STEP).on(head).saying(said));
        };
        let Some(mut refusal) = node.reach.refusal("head", head) else { return Ok(()) };
        refusal.step = STEP.to_owned();
        match node.reach {
            Reach::Drained(_) if force => return Ok(()),
            Reach::Drained(_) => refusal.advice += ", name another node, or use --force",
            _ => {}
        }
        Err(refusal)
    }

    /// What is known of the donors now. Who answers can shut the old head out, also where it lost
    /// what it had.
    fn standing(&self, record: &PoolRecord) -> Standing {
        let knows = |name: &str| self.env.nodes.get(name);
        let known = |number: &usize| {
            let piece = record.member(*number);
            let donor = knows(&piece.donor).filter(|known| known.reachable() && !piece.local)?;
            Some((*number, health::lost_memory(record, piece, &donor).is_none()))
        };
        let answers: BTreeMap<usize, bool> =
            record.live().filter_map(|number| known(&number)).collect();
        let of = |kept: bool| answers.iter().filter(move |own| *own.1 == kept).map(|own| *own.0);
        let (kept, lost): (BTreeSet<usize>, BTreeSet<usize>) =
            (of(true).collect(), of(false).collect());
        let whole = health::have_all(record, &kept, &lost, &knows);
        Standing { shut: answers.into_keys().collect(), kept, whole }
    }

    /// A head that was not booted anew may still have what does not work any more: only another
    /// one begins without it.
    fn refuse_stuck_volume(&self, record: &PoolRecord, head: &str) -> Result<(), Failure> {
        let goes_on = matches!(record.phase, Phase::FailingOver(_));
        let is_another = record.placement.head != head;
        if goes_on || is_another || !self.head_has(record, HoldingKind::Volume) {
            return Ok(());
        }
        Err(Failure::new(FailureKind::NotNow, STEP)
            .on(head)
            .saying(format!(
                "{head} still has the volume of {} that does not work",
                record.assembly
            ))
            .advising("name another node as the head: this one is shut out, and cleaned then"))
    }

    fn refuse_mount_point_of_others(&self, record: &PoolRecord, head: &str) -> Result<(), Failure> {
        let mount_point = &record.placement.mount_point;
        let same = |other: &Arc<PoolRecord>| {
            !other.is_released()
                && other.assembly.name != record.assembly.name
                && !mount_point.is_empty()
                && other.placement.head == head
                && other.placement.mount_point == *mount_point
        };
        let Some(other) = self.records().into_iter().find(same) else { return Ok(()) };
        Err(Failure::new(FailureKind::NotNow, STEP)
            .on(head)
            .saying(format!("{mount_point} is the mount point of {}", other.assembly)))
    }

    async fn ask_head(
        &self,
        record: &PoolRecord,
        head: &str,
        generation: u32,
    ) -> Result<(), Failure> {
        let placement = &record.placement;
        let check = Call::CheckHead(CheckHeadRequest {
            pool: Some(PoolId { name: record.assembly.name.to_string(), generation }),
            redundancy: placement.redundancy,
            layout: placement.layout,
            filesystem: placement.filesystem,
            mount_point: placement.mount_point.clone(),
            lends_to_job: false,
        });
        self.env.agents.call(head, check, None).await.map(drop)
    }
}
