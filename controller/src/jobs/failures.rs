//! Jobs whose pool could not be made, or was lost: tried again a few times, then held, with the
//! reason where the job's user looks for it. Lack of memory is no failure: the job waits its turn.

use std::collections::BTreeSet;

use rampool_proto::hostlist::HostList;
use rampool_proto::v1::{Failure, FailureKind};

use super::Jobs;
use crate::planner;

/// A job is queued again after so many failures, then held: what fails so often fails for a reason
/// that somebody must look at, while each try keeps its nodes from others for two minutes
/// (Slurm's own pause before a requeued job begins).
const MOST_TRIES: usize = 3;

/// What is known of a job's failures. Forgotten when the controller ends, at the worst for another
/// three tries.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures {
    count: usize,
    /// The nodes on which it failed, that Slurm was not told of yet.
    pub(super) to_avoid: BTreeSet<String>,
    /// The donors outside of the job on which its last try failed: for the next one.
    pub(super) donors: BTreeSet<String>,
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
            self.to_avoid.insert(failure.node.clone());
        } else if !failure.node.is_empty() {
            self.donors.insert(failure.node.clone());
        }
        if self.count > MOST_TRIES { Next::Held } else { Next::Again }
    }
}

impl Jobs {
    /// The pool of a job on these nodes could not be made. Once this ends, Slurm may be told.
    pub(super) async fn failed(&self, job: u32, nodes: &str, failure: &Failure) {
        // Where they cannot be read, that is the failure.
        let nodes: HostList = nodes.parse().unwrap_or_default();
        let next = self.locked(|kept| kept.failures.entry(job).or_default().note(&nodes, failure));
        tracing::warn!(job, %failure, ?next, "the job has no pool");
        let text = match next {
            Next::Waits => format!("rampool: waits for memory: {failure}"),
            Next::Again => format!("rampool: queued again: {failure}"),
            Next::Held => {
                format!("rampool: held: {failure}; when that is mended: scontrol release {job}")
            }
        };
        self.comment(job, &text).await;
        if next == Next::Held {
            // Only while its hook runs: a job that waits already cannot be queued again.
            if let Err(failure) = self.slurm.requeue_and_hold(job).await {
                tracing::error!(job, %failure, "a job that fails again and again is not held");
            }
        }
    }

    /// A job's pool is there: what failed before does not count any more.
    pub(super) fn succeeded(&self, job: u32) {
        self.locked(|kept| _ = kept.failures.remove(&job));
    }

    /// Keeps a waiting job off the nodes on which it failed. Where no other nodes are fit, Slurm
    /// says so as the reason why it waits.
    pub(super) async fn keep_off_failed_nodes(&self, job: u32) {
        let avoided = self.locked(|kept| {
            let failures = kept.failures.get_mut(&job)?;
            Some(std::mem::take(&mut failures.to_avoid)).filter(|nodes| !nodes.is_empty())
        });
        let Some(Ok(nodes)) = avoided.map(HostList::from_names) else { return };
        match self.slurm.exclude_nodes(job, &nodes).await {
            Ok(_) => tracing::info!(job, %nodes, "its next try is without these nodes"),
            Err(failure) => {
                tracing::warn!(job, %nodes, %failure, "its next try may be there again");
            }
        }
    }

    /// Says something about a job where `scontrol show job` shows it.
    pub(super) async fn comment(&self, job: u32, text: &str) {
        if let Err(failure) = self.slurm.comment_on_job(job, text).await {
            tracing::warn!(job, %failure, "the job's AdminComment does not say so: {text}");
        }
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
        assert_eq!(failures.to_avoid, BTreeSet::from(["n3".to_owned()]));
        let donor = Failure::new(FailureKind::Failed, "reserve the memory").on("n9");
        failures.note(&nodes, &donor);
        assert_eq!(failures.to_avoid.len(), 1, "Slurm need not keep the job off a donor");
        assert_eq!(failures.donors, BTreeSet::from(["n9".to_owned()]));
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
