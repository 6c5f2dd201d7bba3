//! Jobs whose pool could not be made, or was lost: tried again a few times, then held, with the
//! reason where the job's user looks for it. Lack of memory is no failure: the job waits its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rampool_proto::hostlist::HostList;
use rampool_proto::v1::{Failure, FailureKind};

use super::Jobs;
use crate::planner;
use crate::store::StoreError;

/// A job is queued again after so many failures, then held: what fails so often fails for a reason
/// that somebody must look at, while each try keeps its nodes from others for two minutes
/// (Slurm's own pause before a requeued job begins).
const MOST_TRIES: u32 = 3;

/// Jobs whose failures are kept, at most: many times what waits after failures at any moment. What
/// Slurm has forgotten is forgotten here too; the bound is for a Slurm that is never heard.
pub const MOST_KEPT: usize = 10_000;

/// What is known of a job's failures. It is in the store, until Slurm has forgotten the job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// How often it failed since it was last held.
    pub count: u32,
    /// The nodes on which it failed, while it may not be tried there.
    pub avoid: BTreeSet<String>,
    /// Those of which Slurm was told.
    pub told: BTreeSet<String>,
    /// The donors outside of the job on which its last try failed: for the next one.
    pub donors: BTreeSet<String>,
    /// Whether Slurm holds it since others had the memory that was to be reserved for it.
    pub lacks: bool,
    /// What was said of it last, while that holds.
    pub said: String,
    /// Its pool that failed in use, for which it was queued again.
    pub given_up: String,
}

/// What becomes of a job after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It waits for memory.
    Waits,
    /// It is tried again.
    Again,
    /// Somebody must look at it.
    Held,
}

impl Failures {
    /// Takes note of a failure of a job on these nodes.
    fn note(&mut self, nodes: &HostList, failure: &Failure) -> Next {
        if planner::is_lack_of_memory(failure) {
            return Next::Waits;
        }
        // What makes no sense now makes none later.
        if failure.kind() == FailureKind::Invalid {
            return Next::Held;
        }
        self.count += 1;
        if nodes.contains(&failure.node) {
            self.avoid.insert(failure.node.clone());
        } else if !failure.node.is_empty() {
            self.donors.insert(failure.node.clone());
        }
        if self.count > MOST_TRIES { Next::Held } else { Next::Again }
    }
}

impl Jobs {
    /// The pool of a job on these nodes could not be made, or failed in use. Once this ends, Slurm
    /// may be told.
    pub(super) async fn failed(&self, job: u32, nodes: &str, failure: &Failure) {
        // Where they cannot be read, that is the failure.
        let nodes: HostList = nodes.parse().unwrap_or_default();
        let next = self.change(job, |failures| failures.note(&nodes, failure)).await;
        tracing::warn!(job, %failure, ?next, "the job has no pool");
        let text = match next {
            Next::Waits => format!("rampool: waits for memory: {failure}"),
            // A job that may not be queued again is cancelled by Slurm instead.
            Next::Again => format!("rampool: its pool failed: {failure}"),
            Next::Held => {
                format!("rampool: held: {failure}; when that is mended: scontrol release {job}")
            }
        };
        self.say(job, text).await;
        if next == Next::Held {
            self.hold(job).await;
        }
    }

    /// Who releases it then has looked at it: it may fail as often again, and on the same nodes.
    async fn hold(&self, job: u32) {
        let anew = |failures: &mut Failures| {
            failures.count = 0;
            failures.avoid.clear();
        };
        // Only while its hook runs: a job that waits already cannot be queued again.
        match self.slurm.requeue_and_hold(job).await {
            Ok(()) => self.change(job, anew).await,
            Err(failure) => {
                tracing::error!(job, %failure, "a job that fails again and again is not held");
            }
        }
    }

    /// A job's pool is there: what was said before does not hold any more. How often it failed
    /// counts on: a pool that is made and lost again and again is no better.
    pub(super) async fn succeeded(&self, job: u32, text: &str) {
        if self.locked(|kept| kept.failures.contains_key(&job)) {
            self.change(job, |failures| failures.said.clear()).await;
        }
        self.comment(job, &format!("rampool: {text}")).await;
    }

    /// Keeps a waiting job off the nodes on which it failed, until it is held. Where no other nodes
    /// are fit, Slurm says so as the reason why it waits.
    pub(super) async fn keep_off_failed_nodes(&self, job: u32) {
        let known = self.locked(|kept| kept.failures.get(&job).cloned()).unwrap_or_default();
        if known.avoid == known.told {
            return;
        }
        let more: BTreeSet<_> = known.avoid.difference(&known.told).cloned().collect();
        let less: BTreeSet<_> = known.told.difference(&known.avoid).cloned().collect();
        match self.slurm.exclude_nodes(job, &more, &less).await {
            Ok(_) => tracing::info!(job, ?more, ?less, "its next try is without, or with, these"),
            Err(failure) => {
                tracing::warn!(job, ?more, ?less, %failure, "its next try may be where it failed");
            }
        }
        self.change(job, |failures| failures.told = known.avoid).await;
    }

    /// The donors outside of a job on which its last try failed; they count for one try.
    pub(super) async fn donors_to_avoid(&self, job: u32) -> BTreeSet<String> {
        let is_any = |failures: &Failures| !failures.donors.is_empty();
        if !self.locked(|kept| kept.failures.get(&job).is_some_and(is_any)) {
            return BTreeSet::new();
        }
        self.change(job, |failures| std::mem::take(&mut failures.donors)).await
    }

    /// Says something of a job that people look for: in Slurm, and in `rampool list --job`.
    pub(super) async fn say(&self, job: u32, text: String) {
        self.change(job, |failures| failures.said.clone_from(&text)).await;
        self.comment(job, &text).await;
    }

    /// The same, while a hook's time runs: Slurm may be slow to take it.
    pub(super) fn say_meanwhile(self: &Arc<Self>, job: u32, text: String) {
        let jobs = Arc::clone(self);
        tokio::spawn(async move { jobs.say(job, text).await });
    }

    /// Says something about a job where `scontrol show job` shows it: while it is not over, since
    /// Slurm then takes no more comments.
    async fn comment(&self, job: u32, text: &str) {
        if let Err(failure) = self.slurm.comment_on_job(job, text).await {
            tracing::warn!(job, %failure, "the job's AdminComment does not say so: {text}");
        }
    }

    /// Changes what is known of a job's failures, and what a controller that is started anew will
    /// know of them.
    pub(super) async fn change<T>(&self, job: u32, with: impl FnOnce(&mut Failures) -> T) -> T {
        let (answer, written) = self.locked(|kept| {
            let failures = kept.failures.entry(job).or_default();
            let answer = with(failures);
            // Handed over under the lock: the last one in the store is the last one here.
            let mut written = vec![self.store.put_failures(job, Some(failures))];
            if let Some(oldest) = forget_oldest(&mut kept.failures, job) {
                written.push(self.store.put_failures(oldest, None));
            }
            (answer, written)
        });
        for written in futures::future::join_all(written).await {
            tell_unwritten(job, written);
        }
        answer
    }

    /// Slurm has forgotten the job: so is what is known of it.
    pub(super) async fn forget(&self, job: u32) {
        let written = self.locked(|kept| {
            kept.failures.remove(&job);
            self.store.put_failures(job, None)
        });
        tell_unwritten(job, written.await);
    }
}

/// Where more are kept than may be, forgets the oldest but for that of `job`, and says which.
fn forget_oldest(failures: &mut BTreeMap<u32, Failures>, job: u32) -> Option<u32> {
    // Slurm numbers them as they come.
    let oldest = failures.keys().copied().find(|other| *other != job);
    let oldest = oldest.filter(|_| failures.len() > MOST_KEPT)?;
    failures.remove(&oldest);
    Some(oldest)
}

fn tell_unwritten(job: u32, written: Result<(), StoreError>) {
    if let Err(error) = written {
        tracing::error!(job, %error, "how often the job failed is not in the store");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_are_tried_again_and_the_fourth_is_held() {
        let failure = Failure::new(FailureKind::Failed, "log in").on("n3").saying("refused");
        let mut failures = Failures::default();
        let nodes: HostList = "n[2-3]".parse().unwrap();
        let nexts: Vec<Next> = (0..4).map(|_| failures.note(&nodes, &failure)).collect();
        assert_eq!(nexts, [Next::Again, Next::Again, Next::Again, Next::Held]);
        assert_eq!(failures.avoid, BTreeSet::from(["n3".to_owned()]));
        let donor = Failure::new(FailureKind::Failed, "reserve the memory").on("n9");
        failures.note(&nodes, &donor);
        assert_eq!(failures.avoid.len(), 1, "Slurm need not keep the job off a donor");
        assert_eq!(failures.donors, BTreeSet::from(["n9".to_owned()]));
    }

    #[test]
    fn failures_of_so_many_jobs_are_kept_and_the_oldest_is_forgotten() {
        let most = u32::try_from(MOST_KEPT).unwrap();
        let mut failures: BTreeMap<_, _> =
            (1..=most).map(|job| (job, Failures::default())).collect();
        assert_eq!(forget_oldest(&mut failures, most), None);
        failures.insert(most + 1, Failures::default());
        assert_eq!(forget_oldest(&mut failures, most + 1), Some(1));
        assert_eq!(failures.len(), MOST_KEPT);
        // Slurm begins its numbers anew: what was just noted stays.
        failures.insert(1, Failures::default());
        assert_eq!(forget_oldest(&mut failures, 1), Some(2));
        assert!(failures.contains_key(&1) && failures.len() == MOST_KEPT);
    }

    #[test]
    fn lack_of_memory_is_not_counted_and_nonsense_is_held_at_once() {
        let lack = planner::refused(FailureKind::NotNow, "what is asked for does not fit");
        let mut failures = Failures::default();
        let nodes: HostList = "n3".parse().unwrap();
        assert!((0..9).all(|_| failures.note(&nodes, &lack) == Next::Waits));
        let silent = planner::refused(FailureKind::NotNow, "donor n3 is unreachable").on("n3");
        assert_eq!(failures.note(&nodes, &silent), Next::Again);
        let nonsense = Failure::new(FailureKind::Invalid, "read what the job wants");
        assert_eq!(failures.note(&nodes, &nonsense), Next::Held);
    }
}
