//! What Slurm says against what is held for its jobs: pools of jobs that are over are released,
//! nodes that were drained for their memory are Slurm's again when it is free, and jobs whose pool
//! failed under them are queued again. Slurm that does not answer says nothing, least of all that a
//! job is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rampool_proto::pool_name::Assembly;
use rampool_proto::size::MIB;
use rampool_proto::v1::{Failure, FailureKind};
use rampool_slurm::commands::{OURS, Resumed};
use rampool_slurm::text::job::{Job, Phase as SlurmPhase};
use rampool_slurm::text::node::Node;

use super::lasting::Lasting;
use super::list::end_ms;
use super::shares::Shares;
use super::{Jobs, admit, runs};
use crate::clock::now_ms;
use crate::pool::health;
use crate::pool::record::{Phase, PoolRecord};

/// How often Slurm is asked for jobs while there are pools of jobs: one short RPC.
const LOOK: Duration = Duration::from_secs(5);

/// How often it is asked for nodes that are drained: a longer one on a large cluster.
const LOOK_AT_NODES: Duration = Duration::from_secs(15);

/// What was seen of Slurm so far.
#[derive(Default)]
pub(super) struct Watch {
    /// Since when the job of a pool has not been on its nodes any more, by the pool's name.
    off_nodes: Lasting<String>,
    shares: Shares,
    nodes_seen: Option<Instant>,
    /// Whether Slurm answered last time.
    silent: bool,
}

impl Watch {
    /// The pools whose jobs have been off their nodes for longer than `grace`.
    fn over(
        &mut self,
        live: &[Arc<PoolRecord>],
        jobs: &[Job],
        grace: Duration,
        now: Instant,
    ) -> Vec<Arc<PoolRecord>> {
        let phases: BTreeMap<u32, SlurmPhase> =
            jobs.iter().map(|job| (job.id, job.phase())).collect();
        let off = |record: &&Arc<PoolRecord>| {
            let Some(job) = runs::job_of(record) else { return false };
            match phases.get(&job) {
                Some(SlurmPhase::OnNodes) => false,
                Some(SlurmPhase::Waiting) => !record.awaits_nodes(),
                Some(SlurmPhase::Over) | None => true,
            }
        };
        let name = |record: &Arc<PoolRecord>| record.assembly.name.to_string();
        let off = live.iter().filter(off).map(name).collect();
        let over = self.off_nodes.for_long(off, grace, now);
        live.iter().filter(|record| over.contains(&name(record))).cloned().collect()
    }
}

impl Jobs {
    /// Looks again and again, until the process ends.
    pub async fn watch(self: Arc<Self>) {
        let mut watch = Watch::default();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look(&mut watch).await;
        }
    }

    async fn look(&self, watch: &mut Watch) {
        let live = self.all_live();
        let failed: Vec<u32> = self.locked(|kept| kept.failures.keys().copied().collect());
        if !live.is_empty() || !failed.is_empty() {
            match self.slurm.jobs().await {
                Ok(jobs) => {
                    watch.silent = false;
                    self.look_at_jobs(watch, &live, &failed, &jobs).await;
                }
                Err(failure) => tell_silence(watch, &failure),
            }
        }
        if watch.nodes_seen.is_none_or(|last| last.elapsed() >= LOOK_AT_NODES) {
            watch.nodes_seen = Some(Instant::now());
            if let Err(failure) = self.resume_nodes().await {
                tell_silence(watch, &failure);
            }
            self.release_where_memory_is().await;
            if let Err(failure) = self.look_at_shares(&mut watch.shares).await {
                tracing::warn!(%failure, "shares of Slurm's burst buffer are not compared");
            }
        }
    }

    /// Pools of jobs that are not being released yet.
    pub(super) fn all_live(&self) -> Vec<Arc<PoolRecord>> {
        let live = |record: &Arc<PoolRecord>| {
            runs::job_of(record).is_some()
                && !matches!(record.phase, Phase::Releasing(_) | Phase::Released(_))
        };
        self.pools.records().into_iter().filter(live).collect()
    }

    async fn look_at_jobs(
        &self,
        watch: &mut Watch,
        live: &[Arc<PoolRecord>],
        failed: &[u32],
        jobs: &[Job],
    ) {
        for record in watch.over(live, jobs, self.grace(), Instant::now()) {
            tracing::info!(pool = %record.assembly, "its job is over: it is released");
            self.release(&record.assembly.name);
        }
        for record in live {
            let left = left(record, jobs);
            for node in &left {
                self.note_left(record, node);
            }
            self.give_up_on_lost_head(record, &left);
            self.end_patience(record, jobs).await;
            self.give_up_failed(record, jobs).await;
        }
        self.note_ends(live, jobs);
        for id in failed {
            match jobs.iter().find(|job| job.id == *id).map(Job::phase) {
                Some(SlurmPhase::Waiting) => self.keep_off_failed_nodes(*id).await,
                // Why it failed is told as long as Slurm tells that it did.
                Some(SlurmPhase::OnNodes | SlurmPhase::Over) => {}
                None => self.forget(*id).await,
            }
        }
    }

    fn note_ends(&self, live: &[Arc<PoolRecord>], jobs: &[Job]) {
        let with_pools: BTreeSet<u32> = live.iter().filter_map(|r| runs::job_of(r)).collect();
        let now = now_ms();
        let ends = jobs.iter().filter(|job| with_pools.contains(&job.id));
        let ends = ends.filter_map(|job| Some((job.id, end_ms(job.left, now)?))).collect();
        self.locked(|kept| kept.ends = ends);
    }

    /// A job whose pool is lost runs on with errors: Slurm cannot know. It is queued again once.
    async fn give_up_failed(&self, record: &PoolRecord, jobs: &[Job]) {
        let Phase::Failed(failed) = &record.phase else { return };
        let Some(id) = runs::job_of(record) else { return };
        // One that ends already has had its try.
        let runs = jobs
            .iter()
            .any(|job| job.id == id && job.phase() == SlurmPhase::OnNodes && !is_ending(job));
        let name = record.assembly.name.as_str();
        let is_new = self
            .locked(|kept| kept.failures.get(&id).is_none_or(|failures| failures.given_up != name));
        if !runs || !is_new {
            return;
        }
        self.change(id, |failures| name.clone_into(&mut failures.given_up)).await;
        let failure = Failure::new(FailureKind::Failed, "keep the job's pool").saying(&failed.why);
        let nodes = record.spec.job.as_ref().map_or("", |job| job.nodes.as_str());
        self.failed(id, nodes, &failure).await;
        if let Err(failure) = self.slurm.requeue(id).await {
            tracing::error!(job = id, %failure, "a job without its pool runs on");
        }
    }

    /// What Slurm's nodes may lend to jobs elsewhere is known once this has ended well. It changes
    /// with slurm.conf alone: what was heard before will do.
    pub(super) async fn hear_of_slurms_nodes(&self) -> Result<(), Failure> {
        if !self.pools.knows_allowances() {
            self.pools.allow(allowances(&self.slurm.nodes().await?));
        }
        Ok(())
    }

    /// Nothing of a job that ends waits for a lost donor: what it would still write is about to go,
    /// and a process that waits so cannot be ended. Slurm drains a node for such a one.
    async fn end_patience(&self, record: &PoolRecord, jobs: &[Job]) {
        let id = runs::job_of(record);
        let ends = jobs.iter().any(|job| Some(job.id) == id && is_ending(job));
        let waited_for = health::waited_for(record, &|node| self.nodes.get(node));
        let Some(donor) = waited_for.filter(|_| ends) else { return };
        let name = record.assembly.name.as_str();
        let why = format!("its job ends, and {donor} is lost");
        // What comes of it is in the pool's events.
        if let Err(failure) = self.pools.fail_now(name, &why).await {
            tracing::warn!(pool = name, %failure, "a silent donor is still waited for");
        }
    }

    /// Processes on a job's other nodes wait for a head that is lost, and cannot be ended: Slurm
    /// drains a node for such a one. So the pool goes before their Epilogs, which come after them.
    fn give_up_on_lost_head(&self, record: &PoolRecord, left: &[String]) {
        let head = &record.placement.head;
        let answers = self.nodes.get(head).is_some_and(|known| known.reachable());
        if left.contains(head) && !answers {
            tracing::info!(pool = %record.assembly, head, "its job ends, and its head is lost");
            self.release(&record.assembly.name);
        }
    }

    /// Gives nodes back to Slurm that were drained for memory which is free now, and no others.
    async fn resume_nodes(&self) -> Result<(), Failure> {
        let nodes = self.slurm.nodes().await?;
        self.pools.allow(allowances(&nodes));
        let mut ours: Vec<String> = nodes.into_iter().filter_map(ours).collect();
        ours.retain(|node| self.nodes.get(node).is_some_and(|known| known.reachable()));
        if ours.is_empty() {
            return Ok(());
        }
        self.nodes.refresh(&ours).await;
        // Asked for later: a drained node is given no job meanwhile.
        let jobs = self.slurm.jobs().await?;
        for node in &ours {
            let answers = self.nodes.get(node).is_some_and(|known| known.reachable());
            let only_lends = |held: &Assembly| {
                let record = self.pools.record(held.name.as_str());
                record.is_some_and(|record| admit::only_lends(&record, node))
            };
            let is_right = |held| only_lends(held) || is_for_a_job(held, node, &jobs);
            if !answers || !self.held_on(node).iter().all(is_right) {
                continue;
            }
            match self.slurm.resume_node(node).await {
                Ok(Resumed::Now) => tracing::info!(node, "its memory is free: resumed in Slurm"),
                Ok(Resumed::Before | Resumed::NotOurs(_)) => {}
                Err(failure) => tracing::warn!(node, %failure, "not resumed in Slurm"),
            }
        }
        Ok(())
    }
}

/// What nodes may lend to jobs elsewhere: the memory that Slurm gives to nobody.
pub(super) fn allowances(nodes: &[Node]) -> BTreeMap<String, u64> {
    nodes.iter().map(|node| (node.name.clone(), node.mem_spec_limit_mib * MIB)).collect()
}

/// A node that was drained by us.
fn ours(node: Node) -> Option<String> {
    (node.state.is_drained() && node.reason.starts_with(OURS)).then_some(node.name)
}

/// Whether a node holds something for a job that is on it still. That its pool is in use is not
/// enough: it may be that nobody noticed yet that the job is over.
fn is_for_a_job(held: &Assembly, node: &str, jobs: &[Job]) -> bool {
    let of = |job: &&Job| held.name.job().is_some_and(|(id, _)| id == job.id);
    let job = jobs.iter().find(of);
    job.is_some_and(|job| job.phase() == SlurmPhase::OnNodes && job.nodes.contains(node))
}

/// Whether its processes are being ended, or have ended and its Epilogs run.
fn is_ending(job: &Job) -> bool {
    job.state == "COMPLETING"
}

/// The nodes that a job which ends has left: Slurm counts those alone whose Epilog is not over.
/// Here are also those whose Epilog never says so: it does not run on a node that is lost, and it
/// gives up where the controller does not answer.
fn left(record: &PoolRecord, jobs: &[Job]) -> Vec<String> {
    let id = runs::job_of(record);
    let ending = jobs.iter().find(|job| Some(job.id) == id && is_ending(job));
    let Some(job) = ending else { return Vec::new() };
    runs::nodes_of(record).into_iter().filter(|node| !job.nodes.contains(node)).collect()
}

fn tell_silence(watch: &mut Watch, failure: &Failure) {
    if !std::mem::replace(&mut watch.silent, true) {
        tracing::warn!(%failure, "Slurm does not say which jobs there are: nothing is released");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::record::samples;

    fn job(id: u32, state: &str) -> Job {
        Job {
            id,
            state: state.to_owned(),
            uid: 1001,
            partition: "main".to_owned(),
            nodes: "n[2-3]".parse().unwrap(),
            left: rampool_slurm::text::time::TimeLeft::Unlimited,
            excluded: Default::default(),
            user: String::new(),
            constraints: String::new(),
            reason: String::new(),
        }
    }

    fn over(watch: &mut Watch, live: &[Arc<PoolRecord>], jobs: &[Job], now: Instant) -> usize {
        watch.over(live, jobs, Duration::from_secs(60), now).len()
    }

    #[test]
    fn a_pool_outlives_its_job_by_the_grace_and_no_longer() {
        let live = [Arc::new(samples::ready("job-7-1.1"))];
        let (mut watch, begin) = (Watch::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(over(&mut watch, &live, &[job(7, "RUNNING")], at(0)), 0);
        assert_eq!(over(&mut watch, &live, &[], at(10)), 0);
        assert_eq!(over(&mut watch, &live, &[job(7, "PENDING")], at(69)), 0);
        assert_eq!(over(&mut watch, &live, &[job(7, "CANCELLED")], at(70)), 1);
    }

    #[test]
    fn what_is_reserved_is_kept_while_its_job_waits_and_goes_when_that_is_gone() {
        let live = [Arc::new(samples::reserved("job-7-1.1"))];
        let (mut watch, begin) = (Watch::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(over(&mut watch, &live, &[job(7, "PENDING")], at(0)), 0);
        assert_eq!(over(&mut watch, &live, &[job(7, "PENDING")], at(100)), 0);
        assert_eq!(over(&mut watch, &live, &[], at(101)), 0);
        assert_eq!(over(&mut watch, &live, &[], at(161)), 1);
    }

    #[test]
    fn a_job_that_is_seen_on_its_nodes_again_keeps_its_pool() {
        let live = [Arc::new(samples::ready("job-7-1.1"))];
        let (mut watch, begin) = (Watch::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(over(&mut watch, &live, &[], at(0)), 0);
        assert_eq!(over(&mut watch, &live, &[job(7, "COMPLETING")], at(59)), 0);
        assert_eq!(over(&mut watch, &live, &[], at(61)), 0);
    }

    #[test]
    fn nodes_are_left_that_slurm_does_not_count_any_more() {
        let mut pool = samples::ready("job-7-1.1");
        pool.spec.job = Some(rampool_proto::v1::Job {
            nodes: "n[2-3]".to_owned(),
            ..rampool_proto::v1::Job::default()
        });
        let on = |state: &str, nodes: &str| Job { nodes: nodes.parse().unwrap(), ..job(7, state) };
        assert_eq!(left(&pool, &[on("COMPLETING", "n2")]), ["n3"]);
        assert_eq!(
            left(&pool, &[Job { nodes: Default::default(), ..on("COMPLETING", "n2") }]).len(),
            2
        );
        assert!(left(&pool, &[on("RUNNING", "n2")]).is_empty());
        assert!(left(&pool, &[job(8, "COMPLETING")]).is_empty());
        assert!(left(&pool, &[]).is_empty(), "that it is over is for the grace to say");
    }

    #[test]
    fn a_node_is_ours_to_resume_when_it_holds_nothing_of_a_job_that_left_it() {
        let held: Assembly = "job-7-1.1".parse().unwrap();
        let on = |state: &str, nodes: &str| Job { nodes: nodes.parse().unwrap(), ..job(7, state) };
        assert!(is_for_a_job(&held, "n2", &[on("RUNNING", "n[2-3]")]));
        assert!(is_for_a_job(&held, "n2", &[on("COMPLETING", "n2")]));
        assert!(!is_for_a_job(&held, "n3", &[on("COMPLETING", "n2")]));
        assert!(!is_for_a_job(&held, "n2", &[on("PENDING", "n2"), job(8, "RUNNING")]));
        assert!(!is_for_a_job(&held, "n2", &[]));
    }
}
