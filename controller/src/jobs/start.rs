//! A job has its nodes: its pool is made, of what is reserved for it where something is, and
//! whatever an earlier run left on them goes first.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use rampool_proto::hostlist::HostList;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::{Event, EventKind, Failure, FailureKind, JobWish, StartJobRequest};
use rampool_slurm::facts::Lend;

use super::spec::{Asker, Wanted};
use super::{Jobs, guard::Guarded, runs, spec};
use crate::clock::now_ms;
use crate::pool::Events;
use crate::pool::record::{Phase, PoolRecord};

impl Jobs {
    /// Makes a job's pool, or attaches to its making, or says that it is there. Where it cannot be
    /// made, Slurm is told before whoever asked.
    pub async fn start(self: &Arc<Self>, request: StartJobRequest) -> Result<Events, Failure> {
        let job = self.number(request.id.as_ref())?;
        match self.begin(job, &request).await {
            Ok(events) => Ok(events),
            Err(failure) => {
                self.failed(job, &request.nodes, &failure).await;
                Err(failure)
            }
        }
    }

    async fn begin(
        self: &Arc<Self>,
        job: u32,
        request: &StartJobRequest,
    ) -> Result<Events, Failure> {
        let said = request.wish.clone().unwrap_or_default();
        let Some(wanted) = spec::wanted(&said, &self.profiles)? else {
            return Ok(nothing(no_pool(&said)));
        };
        let nodes: HostList = request.nodes.parse().map_err(|error| {
            Failure::new(FailureKind::Invalid, "read the job's nodes").saying(error)
        })?;
        match self.earlier(job, &nodes, &wanted).await? {
            Some(events) => Ok(events),
            None => self.next(job, request, &nodes, &wanted).await,
        }
    }

    /// The run that is there already; none once what is left of another is out of the way.
    async fn earlier(
        self: &Arc<Self>,
        job: u32,
        nodes: &HostList,
        wanted: &Wanted,
    ) -> Result<Option<Events>, Failure> {
        let head = self.profiles[&wanted.profile].head.iter();
        let of_service = head.filter(|_| wanted.lend == Lend::Pool).map(String::as_str);
        let places: Vec<&str> = nodes.iter().chain(of_service).collect();
        while let Some(record) = self.live(job) {
            if record.phase == Phase::Reserved && can_take(&record, nodes, wanted) {
                return Ok(None);
            }
            if self.goes_on(&record, nodes) {
                match self.pools.up(&record.spec).await {
                    Ok(events) => {
                        let name = record.assembly.name.clone();
                        return Ok(Some(self.guarded(job, name, nodes, events)));
                    }
                    // Something happened to it since it was looked at.
                    Err(_) if !self.live(job).is_some_and(|now| self.goes_on(&now, nodes)) => {
                        continue;
                    }
                    Err(failure) => return Err(failure),
                }
            }
            self.clear(&record, &places).await?;
            if !self.is_in_the_way(&record, &places) {
                break;
            }
        }
        Ok(None)
    }

    /// Begins the job's next run.
    async fn next(
        self: &Arc<Self>,
        job: u32,
        request: &StartJobRequest,
        nodes: &HostList,
        wanted: &Wanted,
    ) -> Result<Events, Failure> {
        if wanted.lend == Lend::Pool {
            self.hear_of_slurms_nodes().await?;
        }
        let site = self.site_of(wanted);
        let reserved = self.live(job).filter(|record| record.phase == Phase::Reserved);
        let (name, events) = match reserved {
            Some(record) => {
                let name = record.assembly.name.clone();
                let spec = spec::given(&record.spec, nodes, site)?;
                (name, self.pools.give(&spec).await?)
            }
            None => {
                let name = self.next_name(job)?;
                let avoid = self.donors_to_avoid(job).await;
                let asker = Asker::from(request.clone());
                let spec = spec::pool(&asker, nodes, wanted, &name, site, &avoid)?;
                (name, self.pools.up(&spec).await?)
            }
        };
        Ok(self.guarded(job, name, nodes, events))
    }

    /// The name of a job's next pool.
    pub(super) fn next_name(&self, job: u32) -> Result<PoolName, Failure> {
        runs::next(job, &self.runs(job))
            .map_err(|error| Failure::new(FailureKind::Failed, "name the pool").saying(error))
    }

    /// Whether a run is of these nodes, made or being made, and none of them has left it.
    fn goes_on(&self, record: &PoolRecord, nodes: &HostList) -> bool {
        let left = self.locked(|kept| kept.left.contains_key(record.assembly.name.as_str()));
        let same = record.spec.job.as_ref().is_some_and(|job| job.nodes == nodes.to_string());
        same && !left && matches!(record.phase, Phase::Creating | Phase::Ready)
    }

    /// Takes an earlier run away, and waits until these nodes hold nothing of it. Nodes that do
    /// not answer are not waited for: the next run is refused there.
    async fn clear(&self, record: &PoolRecord, nodes: &[&str]) -> Result<(), Failure> {
        let mut events = self.pools.down(record.assembly.name.as_str(), true)?;
        while let Some(event) = events.next().await {
            let gave_up = event.kind() == EventKind::GaveUp;
            if let Some(failure) = event.failure.filter(|_| gave_up)
                && self.is_in_the_way(record, nodes)
            {
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Whether an earlier run holds anything on a node of the next one.
    fn is_in_the_way(&self, record: &PoolRecord, nodes: &[&str]) -> bool {
        let released = self.pools.record(record.assembly.name.as_str());
        released.is_some_and(|record| !record.is_released())
            && nodes.iter().any(|node| self.holds(node, record))
    }

    /// Events whose reader gives the job up if it leaves before their end.
    fn guarded(
        self: &Arc<Self>,
        job: u32,
        name: PoolName,
        nodes: &HostList,
        events: Events,
    ) -> Events {
        let jobs = Arc::clone(self);
        let guarded = Guarded::new(self, name, events);
        let nodes: Arc<str> = nodes.to_string().into();
        let told = guarded.then(move |event| {
            let (jobs, nodes) = (Arc::clone(&jobs), Arc::clone(&nodes));
            async move {
                jobs.take_note(job, &nodes, &event).await;
                event
            }
        });
        told.boxed()
    }

    async fn take_note(&self, job: u32, nodes: &str, event: &Event) {
        match event.kind() {
            EventKind::Finished => self.succeeded(job, &event.text).await,
            EventKind::GaveUp => {
                let said =
                    || Failure::new(FailureKind::Failed, "make the pool").saying(&event.text);
                self.failed(job, nodes, &event.failure.clone().unwrap_or_else(said)).await;
            }
            _ => {}
        }
    }
}

/// To a job that wants no pool.
pub(super) fn no_pool(said: &JobWish) -> String {
    format!("the job asks for no pool (--constraint={:?})", said.constraints)
}

/// Whether what is reserved for a job is what it wants on these nodes: a node that runs the job
/// does not lend to it.
fn can_take(record: &PoolRecord, nodes: &HostList, wanted: &Wanted) -> bool {
    let (spec, wish) = (&record.spec, &wanted.wish);
    spec.profile == wanted.profile
        && wish.size.is_none_or(|size| spec.capacity == Some(Capacity::SizeBytes(size.0)))
        && wish.redundancy.is_none_or(|redundancy| spec.redundancy() == redundancy)
        && !record.members().any(|piece| nodes.contains(&piece.donor))
}

/// The answer to a job of which nothing has to be made.
pub(super) fn nothing(text: String) -> Events {
    let kind = EventKind::Finished.into();
    stream::iter([Event { time_ms: now_ms(), kind, text, ..Event::default() }]).boxed()
}
