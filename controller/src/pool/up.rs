//! `up` and `plan`: from a spec to an operation in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rampool_proto::pool_name::{Assembly, GREATEST_GENERATION, PoolName};
use rampool_proto::v1::{
    CheckHeadRequest, Event, EventKind, Failure, FailureKind, Placement, PoolId, PoolSpec,
};
use tokio::sync::OwnedSemaphorePermit;

use super::operation::Kind;
use super::record::{Phase, PoolRecord};
use super::slot::Now;
use super::state::Input;
use super::{Events, Pools, status, store_failure};
use crate::agents::Call;
use crate::clock::now_ms;
use crate::planner;
use crate::spec::{self, Defaults, Donors, Wanted};

/// How long a controller that was just started waits for nodes it has not heard of.
pub(super) const FIRST_WORDS: Duration = Duration::from_secs(5);

impl Pools {
    /// Brings a pool up, or attaches to the operation that does, or says that it is up. One of a
    /// job without nodes is reserved.
    pub async fn up(self: &Arc<Self>, spec: &PoolSpec) -> Result<Events, Failure> {
        self.up_if(spec, |_, _| Ok(())).await
    }

    /// The same of a pool that someone `allows` who looks at it as it would be recorded, beside all
    /// that are. None can be recorded between that look and its own record.
    pub async fn up_if(
        self: &Arc<Self>,
        spec: &PoolSpec,
        allows: impl Fn(&PoolRecord, &[Arc<PoolRecord>]) -> Result<(), Failure>,
    ) -> Result<Events, Failure> {
        let wanted = self.resolve(spec)?;
        if let Some(events) = self.existing(&wanted).await? {
            return Ok(events);
        }
        let permit = self.permit()?;
        self.hear(&wanted).await;
        let _alone = self.admission.lock().await;
        // Somebody may have asked for the same while this one waited.
        if let Some(events) = self.existing(&wanted).await? {
            return Ok(events);
        }
        let record = self.place(&wanted)?;
        allows(&record, &self.records())?;
        let warning = self.beyond_slurm(&wanted.spec, &record.placement);
        self.env.store.put(&record).await.map_err(store_failure)?;
        let slot = self.slot_for(wanted.name.as_str()).map_err(store_failure)?;
        let mut now = slot.lock();
        now.record = Some(Arc::new(record.clone()));
        let spec = Box::new(wanted.spec);
        let kind = if record.awaits_nodes() { Kind::Reserve(spec) } else { Kind::Up(spec) };
        let operation = self.begin(&slot, kind, record, Input::Begin, Some(permit));
        now.operation = Some(Arc::clone(&operation));
        if let Some(text) = warning {
            operation.tell(Event { kind: EventKind::Note.into(), text, ..Event::default() });
        }
        Ok(operation.subscribe())
    }

    /// What `up` would place where; the head is asked whether it can be it. Changes nothing.
    pub async fn plan(&self, spec: &PoolSpec) -> Result<Placement, Failure> {
        let wanted = self.resolve(spec)?;
        self.hear(&wanted).await;
        let mut placement = planner::plan(&wanted, &self.candidates_for(&wanted.spec)?)?;
        placement.notes.extend(self.beyond_slurm(&wanted.spec, &placement));
        self.refuse_shared_mount_point(&placement)?;
        let generation = self.next_generation(&wanted.name)?;
        let check = Call::CheckHead(CheckHeadRequest {
            pool: Some(PoolId { name: wanted.name.to_string(), generation }),
            redundancy: placement.redundancy,
            layout: placement.layout,
            filesystem: placement.filesystem,
            mount_point: placement.mount_point.clone(),
            lends_to_job: false,
        });
        self.env.agents.call(&placement.head, check, None).await?;
        Ok(placement)
    }

    /// Whether nodes, as they said last, have room for a pool.
    #[must_use]
    pub fn would_fit(&self, spec: &PoolSpec) -> bool {
        let place = |wanted: Wanted| planner::plan(&wanted, &self.candidates_for(&wanted.spec)?);
        self.resolve(spec).and_then(place).is_ok()
    }

    /// One of as many pools as may be made at once.
    pub(super) fn permit(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.ups).try_acquire_owned().map_err(|_| {
            Failure::new(FailureKind::NotNow, "make the pool")
                .saying("as many pools as can be made at once are being made")
                .advising("try again in a minute")
        })
    }

    pub(super) fn resolve(&self, spec: &PoolSpec) -> Result<Wanted, Failure> {
        let env = &self.env;
        spec::resolve(spec, Defaults { profiles: &env.profiles, mount_root: &env.mount_root })
    }

    /// What is already there under this name: an operation to attach to, the very pool, or a
    /// reason why it cannot be made now. `None`: the name is free.
    async fn existing(&self, wanted: &Wanted) -> Result<Option<Events>, Failure> {
        let Some(slot) = self.slot(wanted.name.as_str()) else { return Ok(None) };
        let Now { record, operation, .. } = slot.now();
        if let Some(operation) = operation {
            return match &operation.kind {
                Kind::Up(spec) | Kind::Reserve(spec) if **spec == wanted.spec => {
                    Ok(Some(operation.subscribe()))
                }
                kind => Err(in_use(&wanted.name, &format!("`{}` of it is under way", kind.name()))),
            };
        }
        match record {
            Some(record)
                if matches!(record.phase, Phase::Ready | Phase::Reserved)
                    && record.spec == wanted.spec =>
            {
                Ok(Some(self.so_already("up", &record).await))
            }
            Some(record) if !record.is_released() => {
                Err(in_use(&wanted.name, &status::sentence(&record)))
            }
            _ => Ok(None),
        }
    }

    /// Hears from the nodes concerned: the first time, or anew.
    pub(super) async fn hear(&self, wanted: &Wanted) {
        let mut concerned = match &wanted.donors {
            Donors::Listed(names) => names.clone(),
            Donors::Pick(_) if !wanted.among.is_empty() => wanted.among.iter().cloned().collect(),
            Donors::Pick(_) => self.env.nodes.all().into_iter().map(|node| node.name).collect(),
        };
        concerned.extend(wanted.head.clone());
        concerned.extend(wanted.clients.iter().cloned());
        concerned.sort();
        concerned.dedup();
        self.env.nodes.wait_known(&concerned, FIRST_WORDS).await;
        self.env.nodes.refresh(&concerned).await;
    }

    /// The record of a new assembly.
    fn place(&self, wanted: &Wanted) -> Result<PoolRecord, Failure> {
        let placement = planner::plan(wanted, &self.candidates_for(&wanted.spec)?)
            .map_err(|refusal| self.with_bounds(refusal, &wanted.spec))?;
        self.refuse_shared_mount_point(&placement)?;
        let generation = self.next_generation(&wanted.name)?;
        let slot = self.slot_for(wanted.name.as_str()).map_err(store_failure)?;
        slot.lock().generation = generation;
        let pieces = placement.pieces.iter().chain(&placement.spares);
        let nodes = pieces.map(|piece| &piece.donor).chain(&wanted.head);
        Ok(PoolRecord {
            boot_ids: self.boot_ids(nodes),
            assembly: Assembly { name: wanted.name.clone(), generation },
            spec: wanted.spec.clone(),
            placement,
            serials: BTreeMap::new(),
            formed: 0,
            given: 0,
            lacking: BTreeSet::new(),
            debts: Vec::new(),
            phase: Phase::Creating,
            created_ms: now_ms(),
            ready_ms: 0,
            released_ms: 0,
        })
    }

    /// The boot ids of these nodes, as far as they were heard of.
    pub(super) fn boot_ids<'a>(
        &self,
        nodes: impl Iterator<Item = &'a String>,
    ) -> BTreeMap<String, String> {
        let boot_id = |name: &String| {
            let inventory = self.env.nodes.get(name)?.inventory?;
            Some((name.clone(), inventory.boot_id.clone()))
        };
        nodes.filter_map(boot_id).collect()
    }

    /// Two pools being made at once would both find their mount point free.
    pub(super) fn refuse_shared_mount_point(&self, placement: &Placement) -> Result<(), Failure> {
        let same = |record: &Arc<PoolRecord>| {
            !record.is_released()
                && !placement.mount_point.is_empty()
                && record.placement.head == placement.head
                && record.placement.mount_point == placement.mount_point
        };
        let Some(other) = self.records().into_iter().find(same) else { return Ok(()) };
        Err(Failure::new(FailureKind::NotNow, "plan the pool")
            .on(&placement.head)
            .saying(format!("{} is the mount point of {}", placement.mount_point, other.assembly))
            .advising("use another mount point"))
    }

    /// A generation that was never given, here or by a controller whose store is lost.
    pub(super) fn next_generation(&self, name: &PoolName) -> Result<u32, Failure> {
        let given = self.last_generation(name.as_str());
        let held = self.env.nodes.all().into_iter().filter_map(|node| node.inventory);
        let held = held.flat_map(|inventory| {
            let of_name = |id: &&PoolId| id.name == name.as_str();
            let ids = inventory.holdings.iter().filter_map(|holding| holding.pool.as_ref());
            ids.filter(of_name).map(|id| id.generation).collect::<Vec<_>>()
        });
        match held.chain([given]).max().unwrap_or(0) + 1 {
            next if next <= GREATEST_GENERATION => Ok(next),
            _ => Err(Failure::new(FailureKind::NotNow, "make the pool")
                .saying(format!("{name} was assembled {GREATEST_GENERATION} times"))
                .advising("use another name")),
        }
    }
}

pub(super) fn in_use(name: &rampool_proto::pool_name::PoolName, state: &str) -> Failure {
    Failure::new(FailureKind::NotNow, "make the pool")
        .saying(format!("the name {name} is in use: {state}"))
        .advising(format!("use another name, or `rampool down {name}` first"))
}
