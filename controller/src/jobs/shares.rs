//! Shares of Slurm's burst buffer against what is held for jobs. Slurm sometimes forgets to tear down
//! what a job had that was cancelled during its setup: only a restart of slurmctld mends that. And
//! a slurmctld that was killed may have forgotten a share: what is reserved for its job would then
//! keep that job itself waiting.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use rampool_proto::v1::Failure;
use rampool_slurm::text::job::{Job, Phase as SlurmPhase};

use super::lasting::Lasting;
use super::{Jobs, Waiting, runs};
use crate::pool::record::{Phase, PoolRecord};

/// What was seen of shares so far, by job. Setup or teardown may be on their way.
#[derive(Default)]
pub(super) struct Shares {
    /// Since when each share has been for a job that is over and holds nothing.
    idle: Lasting<u32>,
    /// Since when what is reserved for each waiting job has had no share.
    unshared: Lasting<u32>,
}

/// Jobs that have a share, are over, and hold nothing.
fn idle(shares: &[u32], jobs: &[Job], holds: impl Fn(u32) -> bool) -> BTreeSet<u32> {
    let is_over = |job: u32| {
        let known = jobs.iter().find(|known| known.id == job);
        known.is_none_or(|known| known.phase() == SlurmPhase::Over)
    };
    shares.iter().copied().filter(|job| is_over(*job) && !holds(*job)).collect()
}

/// Jobs for which something is reserved, and which have no share.
fn unshared(shares: &[u32], live: &[Arc<PoolRecord>]) -> BTreeSet<u32> {
    let reserved = live.iter().filter(|record| record.phase == Phase::Reserved);
    let jobs = reserved.filter_map(|record| runs::job_of(record));
    jobs.filter(|job| !shares.contains(job)).collect()
}

impl Jobs {
    /// Compares Slurm's shares with its jobs, and with what is held for them.
    pub(super) async fn look_at_shares(&self, seen: &mut Shares) -> Result<(), Failure> {
        if self.config.wait_by != Waiting::BurstBuffer {
            return Ok(());
        }
        let shares = self.slurm.buffer().await?.jobs;
        let jobs = self.slurm.jobs().await?;
        let (now, grace, live) = (Instant::now(), self.grace(), self.all_live());
        let idle = idle(&shares, &jobs, |job| self.live(job).is_some());
        self.tell_forgotten(&seen.idle.for_long(idle, grace, now));
        let unshared = seen.unshared.for_long(unshared(&shares, &live), grace, now);
        for record in live {
            if runs::job_of(&record).is_some_and(|job| unshared.contains(&job)) {
                tracing::info!(pool = %record.assembly, "Slurm forgot its share: it is released");
                self.release(&record.assembly.name);
            }
        }
        Ok(())
    }

    /// In the log; doctor tells of them as long as it is so.
    fn tell_forgotten(&self, forgotten: &BTreeSet<u32>) {
        let before = self.locked(|kept| std::mem::replace(&mut kept.forgotten, forgotten.clone()));
        for job in forgotten.difference(&before) {
            tracing::warn!(job, "it is over, and Slurm still counts its share of the burst buffer");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::record::samples;

    #[test]
    fn a_share_is_idle_when_its_job_is_over_and_holds_nothing() {
        let job = |state: &str| Job::read_all(&format!("7|{state}|1001|main||1:00|")).unwrap();
        let is_idle = |jobs: &[Job], holds| !idle(&[7], jobs, |_| holds).is_empty();
        assert!(is_idle(&job("CANCELLED"), false) && is_idle(&[], false));
        assert!(!is_idle(&job("CANCELLED"), true) && !is_idle(&[], true));
        assert!(!is_idle(&job("PENDING"), false) && !is_idle(&job("RUNNING"), false));
    }

    #[test]
    fn what_is_reserved_needs_a_share_and_what_is_in_use_does_not() {
        let live = ["job-7-1.1", "job-8-1.1"].map(|name| Arc::new(samples::reserved(name)));
        assert_eq!(unshared(&[7], &live), BTreeSet::from([8]));
        assert!(unshared(&[], &[Arc::new(samples::ready("job-9-1.1"))]).is_empty());
    }
}
