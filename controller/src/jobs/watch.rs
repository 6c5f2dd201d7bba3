//! What Slurm says against what is held for its jobs: pools of jobs that are over are released,
//! nodes that were drained for their memory are Slurm's again when it is free, and jobs whose pool
//! failed under them are queued again. Slurm that does not answer says nothing, least of all that a
//! job is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rampool_proto::size::MIB;
use rampool_proto::v1::{Failure, FailureKind};
use rampool_slurm::commands::{OURS, Resumed};
use rampool_slurm::text::job::{Job, Phase as SlurmPhase};
use rampool_slurm::text::node::Node;

use super::{BUILT_IN_GRACE, Jobs, runs};
use crate::pool::record::{Phase, PoolRecord};

/// How often Slurm is asked for jobs while there are pools of jobs: one short RPC.
const LOOK: Duration = Duration::from_secs(5);

/// How often it is asked for nodes that are drained: a longer one on a large cluster.
const LOOK_AT_NODES: Duration = Duration::from_secs(15);

/// What was seen of Slurm so far.
#[derive(Default)]
pub(super) struct Watch {
    /// Since when the job of a pool has not been on its nodes any more, by the pool's name.
    off_nodes: BTreeMap<String, Instant>,
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
        let on_nodes: BTreeSet<u32> = jobs
            .iter()
            .filter(|job| job.phase() == SlurmPhase::OnNodes)
            .map(|job| job.id)
            .collect();
        let off = |record: &&Arc<PoolRecord>| {
            runs::job_of(record).is_some_and(|job| !on_nodes.contains(&job))
        };
        let off: Vec<&Arc<PoolRecord>> = live.iter().filter(off).collect();
        let names: BTreeSet<String> = off.iter().map(|r| r.assembly.name.to_string()).collect();
        self.off_nodes.retain(|name, _| names.contains(name));
        off.into_iter()
            .filter(|record| {
                let since = self.off_nodes.entry(record.assembly.name.to_string()).or_insert(now);
                now.duration_since(*since) >= grace
            })
            .cloned()
            .collect()
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
        }
    }

    /// Pools of jobs that are not being released yet.
    fn all_live(&self) -> Vec<Arc<PoolRecord>> {
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
        let grace = self.config.grace.unwrap_or(BUILT_IN_GRACE);
        for record in watch.over(live, jobs, grace, Instant::now()) {
            tracing::info!(pool = %record.assembly, "its job is over: it is released");
            self.release(&record.assembly.name);
        }
        for record in live {
            self.give_up_failed(record, jobs).await;
        }
        for id in failed {
            match jobs.iter().find(|job| job.id == *id).map(Job::phase) {
                Some(SlurmPhase::Waiting) => self.keep_off_failed_nodes(*id).await,
                Some(SlurmPhase::OnNodes) => {}
                Some(SlurmPhase::Over) | None => self.succeeded(*id),
            }
        }
    }

    /// A job whose pool is lost runs on with errors: Slurm cannot know. It is queued again once.
    async fn give_up_failed(&self, record: &PoolRecord, jobs: &[Job]) {
        let Phase::Failed(failed) = &record.phase else { return };
        let Some(id) = runs::job_of(record) else { return };
        let runs = jobs.iter().any(|job| job.id == id && job.phase() == SlurmPhase::OnNodes);
        let name = record.assembly.name.to_string();
        if !runs || !self.locked(|kept| kept.given_up.insert(name)) {
            return;
        }
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

    /// Gives nodes back to Slurm that were drained for memory which is free now, and no others.
    async fn resume_nodes(&self) -> Result<(), Failure> {
        let nodes = self.slurm.nodes().await?;
        self.pools.allow(allowances(&nodes));
        let ours = nodes
            .into_iter()
            .filter(|node| node.state.is_drained() && node.reason.starts_with(OURS));
        for node in ours.map(|node| node.name) {
            let answers = self.nodes.get(&node).is_some_and(|known| known.reachable());
            if !answers || !self.foreign_on(&node, 0).is_empty() {
                continue;
            }
            match self.slurm.resume_node(&node).await {
                Ok(Resumed::Now) => tracing::info!(node, "its memory is free: resumed in Slurm"),
                Ok(Resumed::Before | Resumed::NotOurs(_)) => {}
                Err(failure) => tracing::warn!(node, %failure, "not resumed in Slurm"),
            }
        }
        Ok(())
    }
}

/// What nodes may lend to jobs elsewhere: the memory that Slurm gives to nobody.
fn allowances(nodes: &[Node]) -> BTreeMap<String, u64> {
    nodes.iter().map(|node| (node.name.clone(), node.mem_spec_limit_mib * MIB)).collect()
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
    fn a_job_that_is_seen_on_its_nodes_again_keeps_its_pool() {
        let live = [Arc::new(samples::ready("job-7-1.1"))];
        let (mut watch, begin) = (Watch::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(over(&mut watch, &live, &[], at(0)), 0);
        assert_eq!(over(&mut watch, &live, &[job(7, "COMPLETING")], at(59)), 0);
        assert_eq!(over(&mut watch, &live, &[], at(61)), 0);
    }
}
