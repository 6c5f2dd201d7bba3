//! A job has ended on a node, or altogether: its pool goes when no node uses it any more, and a
//! node is Slurm's again when it holds nothing of it.

use std::sync::Arc;
use std::time::Duration;

use rampool_proto::v1::{
    EndJobRequest, Failure, FailureKind, Holding, HoldingKind, LeaveNodeRequest,
};

use super::{Jobs, runs};
use crate::pool::record::{Phase, PoolRecord};

impl Jobs {
    /// Nothing of the job runs on this node any more. Waits until the node holds nothing of the
    /// job's pools. Says whether there was nothing.
    pub async fn leave(self: &Arc<Self>, request: LeaveNodeRequest) -> Result<bool, Failure> {
        let job = self.number(request.id.as_ref())?;
        let node = request.node.as_str();
        let patience = Duration::from_secs(request.patience_seconds.into());
        self.nodes.refresh(&[node.to_owned()]).await;
        if let Some(why) = self.refused_on(node, job) {
            let text = format!("rampool: refused: {node}: a task had no scratch: {why}");
            self.say_meanwhile(job, text);
        }
        // What is reserved is for the job's next run.
        let live = self.live(job).filter(|record| !record.awaits_nodes());
        let Some(record) = live.filter(|record| record.involves(node)) else {
            // Of an earlier run, or one that nobody knows: what is known to be over goes by itself.
            let nothing = !self.holds_any_of(node, job);
            self.must_come_to_be(node, patience, || !self.holds_any_of(node, job)).await?;
            return Ok(nothing);
        };
        self.note_left(&record, node);
        self.must_come_to_be(node, patience, || self.has_let_go(&record, node)).await?;
        Ok(false)
    }

    /// Waits until a node is free of a job, as long as whoever asks has patience.
    async fn must_come_to_be(
        &self,
        node: &str,
        patience: Duration,
        so: impl FnMut() -> bool,
    ) -> Result<(), Failure> {
        if self.comes_to_be(patience, so).await {
            return Ok(());
        }
        let held: Vec<String> = self.held_on(node).iter().map(|of| self.why_held(of)).collect();
        Err(Failure::new(FailureKind::TimedOut, "free the job's memory")
            .on(node)
            .saying(format!("after {} s it still holds {}", patience.as_secs(), held.join("; ")))
            .advising("`rampool status POOL` says what goes on; nothing was deleted"))
    }

    /// The job is over, Slurm says, or about to be. It runs this also while the job's processes are
    /// still being ended: only a pool that is still being made can be for nobody. Where donors
    /// outside of the job lend, this waits until they have it all back: the job has its licences, or
    /// its share of the burst buffer, as long.
    pub async fn end(self: &Arc<Self>, request: &EndJobRequest) -> Result<(), Failure> {
        let job = self.number(request.id.as_ref())?;
        let counts = |record: &Arc<PoolRecord>| request.reserved_too || !record.awaits_nodes();
        let Some(record) = self.live(job).filter(counts) else { return Ok(()) };
        if matches!(record.phase, Phase::Creating | Phase::Reserved) {
            self.release(&record.assembly.name);
        }
        let patience = Duration::from_secs(request.patience_seconds.into());
        let is_back = || self.live(job).filter(counts).is_none_or(|record| !record.is_outside());
        if self.comes_to_be(patience, is_back).await {
            return Ok(());
        }
        Err(Failure::new(FailureKind::TimedOut, "free the job's memory")
            .saying(format!(
                "after {} s its donors do not have it all back: {}",
                patience.as_secs(),
                self.why_held(&record.assembly)
            ))
            .advising("`rampool status POOL` says what goes on; nothing was deleted"))
    }

    /// Why a node's agent refused a task of the job, where it did.
    fn refused_on(&self, node: &str, job: u32) -> Option<String> {
        let known = self.nodes.get(node)?;
        let mut holdings = known.current()?.holdings.iter();
        let is_it = |holding: &&Holding| {
            holding.kind() == HoldingKind::Job && holding.name == job.to_string()
        };
        let refused = &holdings.find(is_it)?.refused;
        (!refused.is_empty()).then(|| refused.clone())
    }

    fn holds_any_of(&self, node: &str, job: u32) -> bool {
        self.held_on(node).iter().any(|held| held.name.job().is_some_and(|(of, _)| of == job))
    }

    /// Notes that a run left a node, and begins its pool's end with the last one.
    pub(super) fn note_left(&self, record: &PoolRecord, node: &str) {
        let name = record.assembly.name.to_string();
        let lives = |name: &str| self.pools.record(name).is_some_and(|known| !known.is_released());
        let all = self.locked(|kept| {
            // Of pools that are gone, nobody asks any more.
            kept.left.retain(|name, _| lives(name));
            let nodes = kept.left.entry(name).or_default();
            nodes.insert(node.to_owned());
            runs::nodes_of(record).is_subset(nodes)
        });
        if all {
            self.release(&record.assembly.name);
        }
    }

    /// Whether a node is known to hold nothing of a pool that is being released.
    fn has_let_go(&self, record: &PoolRecord, node: &str) -> bool {
        let now = self.pools.record(record.assembly.name.as_str());
        let Some(now) = now.filter(|now| !now.is_released()) else { return true };
        let answers = self.nodes.get(node).is_some_and(|known| known.reachable());
        matches!(now.phase, Phase::Releasing(_)) && answers && !self.holds(node, record)
    }
}
