//! Shares of Slurm's burst buffer that are nobody's: Slurm sometimes forgets to tear down what a job
//! had that was cancelled during its setup. Only a restart of slurmctld mends it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rampool_proto::v1::Failure;
use rampool_slurm::text::job::{Job, Phase};

use super::{Jobs, Waiting};

/// Since when each share has been for a job that is over and holds nothing, by job.
#[derive(Default)]
pub(super) struct Shares(BTreeMap<u32, Instant>);

impl Shares {
    /// The jobs of which that has been so for longer than `grace`: a teardown may be on its way.
    fn forgotten(
        &mut self,
        shares: &[u32],
        jobs: &[Job],
        holds: impl Fn(u32) -> bool,
        grace: Duration,
        now: Instant,
    ) -> BTreeSet<u32> {
        let is_over = |job: u32| {
            let known = jobs.iter().find(|known| known.id == job);
            known.is_none_or(|known| known.phase() == Phase::Over)
        };
        let idle: BTreeSet<u32> =
            shares.iter().copied().filter(|job| is_over(*job) && !holds(*job)).collect();
        self.0.retain(|job, _| idle.contains(job));
        let long = |job: &u32| {
            let since = *self.0.entry(*job).or_insert(now);
            now.duration_since(since) >= grace
        };
        idle.into_iter().filter(long).collect()
    }
}

impl Jobs {
    /// Compares Slurm's shares with its jobs; doctor tells of those that it forgot.
    pub(super) async fn look_at_shares(&self, shares: &mut Shares) -> Result<(), Failure> {
        if self.config.wait_by != Waiting::BurstBuffer {
            return Ok(());
        }
        let counted = self.slurm.buffer().await?.jobs;
        let jobs = self.slurm.jobs().await?;
        let holds = |job| self.live(job).is_some();
        let forgotten = shares.forgotten(&counted, &jobs, holds, self.grace(), Instant::now());
        let before = self.locked(|kept| std::mem::replace(&mut kept.forgotten, forgotten.clone()));
        for job in forgotten.difference(&before) {
            tracing::warn!(job, "it is over, and Slurm still counts its share of the burst buffer");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_forgotten_when_its_job_is_over_and_holds_nothing_for_a_while() {
        let job = |state: &str| Job::read_all(&format!("7|{state}|1001|main||1:00|")).unwrap();
        let (mut shares, begin) = (Shares::default(), Instant::now());
        let mut forgotten = |jobs: &[Job], holds: bool, seconds| {
            let at = begin + Duration::from_secs(seconds);
            shares.forgotten(&[7], jobs, |_| holds, Duration::from_secs(60), at).len()
        };
        assert_eq!(forgotten(&job("PENDING"), false, 0), 0);
        assert_eq!(forgotten(&job("CANCELLED"), true, 100), 0);
        assert_eq!(forgotten(&job("CANCELLED"), false, 101), 0);
        assert_eq!(forgotten(&[], false, 161), 1);
        assert_eq!(forgotten(&job("RUNNING"), false, 162), 0);
    }
}
