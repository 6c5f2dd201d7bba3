//! A job waits for its nodes: donors outside of it hold its memory from now on, so that it finds
//! that when it has them. Who asks waits while others have that memory.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rampool_proto::v1::{Event, EventKind, Failure, FailureKind, JobId, ReserveJobRequest};
use rampool_slurm::facts::Lend;
use tokio::time::Instant;

use super::failures::Failures;
use super::guard::Guarded;
use super::spec::{Asker, Site, Wanted};
use super::start::{no_pool, nothing};
use super::{Jobs, spec};
use crate::planner;
use crate::pool::Events;
use crate::pool::record::{Phase, PoolRecord};

/// What fails, in the failures of this room.
const STEP: &str = "reserve the job's memory";

/// How the reason begins why Slurm holds a job whose setup failed.
const OF_BUFFER: &str = "burst_buffer/lua:";

impl Jobs {
    /// Reserves a job's pool, or attaches to that, or says that it is so. Whoever drops this waits
    /// no longer; whoever drops the events before their end gives the reservation up.
    pub async fn reserve(self: &Arc<Self>, request: ReserveJobRequest) -> Result<Events, Failure> {
        let job = self.number(request.id.as_ref())?;
        let said = request.wish.clone().unwrap_or_default();
        let Some(wanted) = spec::wanted(&said, &self.profiles)? else {
            return Ok(nothing(no_pool(&said)));
        };
        if wanted.lend == Lend::Own {
            return Ok(nothing(
                "its own nodes lend: nothing is reserved before it has them".into(),
            ));
        }
        let patience = Duration::from_secs(request.patience_seconds.into());
        let reserved = self.reserve_within(patience, job, &Asker::from(request), &wanted).await;
        if let Err(failure) = &reserved {
            self.not_reserved(job, failure).await;
        }
        reserved
    }

    /// Waits as long for memory that others have.
    async fn reserve_within(
        self: &Arc<Self>,
        patience: Duration,
        job: u32,
        asker: &Asker,
        wanted: &Wanted,
    ) -> Result<Events, Failure> {
        let end = Instant::now() + patience;
        self.earlier_gone(job, patience).await?;
        loop {
            let refusal = match self.try_to_reserve(job, asker, wanted).await {
                Err(refusal) if planner::is_lack_of_memory(&refusal) => refusal,
                other => return other,
            };
            self.say_meanwhile(job, format!("rampool: waits for memory: {refusal}"));
            let left = end.saturating_duration_since(Instant::now());
            let fits = || self.would_fit(job, asker, wanted);
            if !self.comes_to_be(left, fits).await {
                return Err(refusal);
            }
        }
    }

    /// Waits until nothing of an earlier run of the job is left.
    async fn earlier_gone(&self, job: u32, patience: Duration) -> Result<(), Failure> {
        let gone = || self.live(job).is_none_or(|record| is_reservation(&record));
        if self.comes_to_be(patience, gone).await {
            return Ok(());
        }
        let held = self.live(job).map(|record| self.why_held(&record.assembly));
        Err(Failure::new(FailureKind::TimedOut, STEP)
            .saying(format!("an earlier pool of it is still there: {}", held.unwrap_or_default()))
            .advising("`rampool status POOL` says what goes on"))
    }

    async fn try_to_reserve(
        self: &Arc<Self>,
        job: u32,
        asker: &Asker,
        wanted: &Wanted,
    ) -> Result<Events, Failure> {
        let (jobs, asker, wanted) = (Arc::clone(self), asker.clone(), wanted.clone());
        // A task of its own: of a caller who leaves meanwhile, it is the events that know.
        let begun = tokio::spawn(async move { jobs.begin_reserving(job, &asker, &wanted).await });
        begun
            .await
            .unwrap_or_else(|error| Err(Failure::new(FailureKind::Failed, STEP).saying(error)))
    }

    async fn begin_reserving(
        self: &Arc<Self>,
        job: u32,
        asker: &Asker,
        wanted: &Wanted,
    ) -> Result<Events, Failure> {
        self.hear_of_slurms_nodes().await?;
        let spec = match self.live(job) {
            Some(record) => record.spec.clone(),
            None => {
                let avoid = self.donors_to_avoid(job).await;
                let name = self.next_name(job)?;
                spec::reserved(asker, wanted, &name, self.site_of(wanted), &avoid)?
            }
        };
        let events = self.pools.up(&spec).await?;
        let name = spec
            .name
            .parse()
            .map_err(|error| Failure::new(FailureKind::Failed, "name the pool").saying(error))?;
        let jobs = Arc::clone(self);
        let told = Guarded::new(self, name, events).then(move |event| {
            let jobs = Arc::clone(&jobs);
            async move {
                jobs.take_note_of_reserving(job, &event).await;
                event
            }
        });
        Ok(told.boxed())
    }

    /// Whether there is memory now for what a job wants.
    fn would_fit(&self, job: u32, asker: &Asker, wanted: &Wanted) -> bool {
        let spec = self.next_name(job).and_then(|name| {
            spec::reserved(asker, wanted, &name, self.site_of(wanted), &[].into())
        });
        spec.is_ok_and(|spec| self.pools.would_fit(&spec))
    }

    pub(super) fn site_of(&self, wanted: &Wanted) -> Site<'_> {
        Site { config: &self.config, profile: &self.profiles[&wanted.profile] }
    }

    async fn take_note_of_reserving(&self, job: u32, event: &Event) {
        match event.kind() {
            EventKind::Finished => {
                if self.locked(|kept| kept.failures.get(&job).is_some_and(|known| known.lacks)) {
                    self.change(job, |failures| failures.lacks = false).await;
                }
                self.succeeded(job, &event.text).await;
            }
            EventKind::GaveUp => {
                let said = || Failure::new(FailureKind::Failed, STEP).saying(&event.text);
                self.not_reserved(job, &event.failure.clone().unwrap_or_else(said)).await;
            }
            _ => {}
        }
    }

    /// Slurm holds a job whose memory could not be reserved: until others give it back, or somebody
    /// looked at it. Its next try is without the donor where it failed.
    async fn not_reserved(&self, job: u32, failure: &Failure) {
        tracing::warn!(job, %failure, "its memory is not reserved");
        let donor = Some(failure.node.clone()).filter(|node| !node.is_empty());
        let lacks = planner::is_lack_of_memory(failure);
        let noted = |failures: &mut Failures| {
            failures.donors.extend(donor);
            failures.lacks = lacks;
        };
        self.change(job, noted).await;
        let text = match lacks {
            true => format!("rampool: waits for memory, and is held until there is: {failure}"),
            false => {
                format!("rampool: held: {failure}; when that is mended: scontrol release {job}")
            }
        };
        self.say(job, text).await;
    }

    /// Lets jobs wait for their nodes again that Slurm holds for lack of memory, where there is
    /// some now.
    pub(super) async fn release_where_memory_is(&self) {
        let lacks = |(job, failures): (&u32, &Failures)| failures.lacks.then_some(*job);
        let held: Vec<u32> = self.locked(|kept| kept.failures.iter().filter_map(lacks).collect());
        for job in held {
            if let Err(failure) = self.release_where_it_fits(job).await {
                tracing::warn!(job, %failure, "it may be held though there is memory for it");
            }
        }
    }

    async fn release_where_it_fits(&self, job: u32) -> Result<(), Failure> {
        let ask = self.slurm.ask_of_job(job).await?;
        let Some(wanted) = spec::wanted(&ask.wish(), &self.profiles)? else { return Ok(()) };
        let id = JobId { cluster: self.config.cluster.clone(), job };
        if !self.would_fit(job, &Asker::of(id, ask), &wanted) {
            return Ok(());
        }
        // Of a job that somebody else holds too, Slurm gives that as the reason.
        let known = self.slurm.job(job).await?;
        if !known.is_some_and(|known| known.reason.starts_with(OF_BUFFER)) {
            return Ok(());
        }
        // Before it: its next setup may fail at once.
        self.change(job, |failures| failures.lacks = false).await;
        tracing::info!(job, "there is memory for it: it is released in Slurm");
        let released = self.slurm.release(job).await;
        if released.is_err() {
            self.change(job, |failures| failures.lacks = true).await;
        }
        released
    }
}

/// Whether a job's pool has no head, and is not on its way out.
fn is_reservation(record: &PoolRecord) -> bool {
    record.awaits_nodes() && matches!(record.phase, Phase::Creating | Phase::Reserved)
}
