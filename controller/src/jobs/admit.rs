//! May a job start on a node: not while the node holds memory of a job that is over, and not
//! without its own pool.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rampool_proto::pool_name::Assembly;
use rampool_proto::size::Size;
use rampool_proto::v1::{
    AdmitJobRequest, AdmitNodeRequest, Failure, FailureKind, HoldingKind, PoolId,
};

use super::{Jobs, Kept, UNTIL_HEARD, runs, spec};
use crate::agents::Call;
use crate::pool::record::{Phase, PoolRecord};
use crate::pool::{health, status};

/// What fails, in the failures of this room.
const STEP: &str = "admit the job to the node";

impl Jobs {
    /// Lets a job start on a node, and says where it finds its pool; an empty answer where it asked
    /// for none. Waits for what is on its way out.
    pub async fn admit(self: &Arc<Self>, request: AdmitNodeRequest) -> Result<String, Failure> {
        let job = self.number(request.id.as_ref())?;
        let admitted = self.admit_to(job, &request).await;
        if let Err(failure) = &admitted {
            // Its Prolog fails: Slurm drains the node, and holds the job without a word of why.
            self.say_meanwhile(job, format!("rampool: refused: {failure}"));
        }
        admitted
    }

    async fn admit_to(&self, job: u32, request: &AdmitNodeRequest) -> Result<String, Failure> {
        let node = request.node.as_str();
        if self.nodes.get(node).is_none() {
            return self.of_no_node(request);
        }
        // What was heard last may be older than what was taken or freed since.
        self.nodes.refresh(&[node.to_owned()]).await;
        let patience = Duration::from_secs(request.patience_seconds.into());
        if !self.comes_to_be(patience, || self.foreign_on(node, job).is_empty()).await {
            return Err(self.still_held(node, job));
        }
        let said = request.wish.clone().unwrap_or_default();
        if spec::wanted(&said, &self.profiles)?.is_none() {
            return Ok(String::new());
        }
        let record = self.live(job).ok_or_else(|| {
            Failure::new(FailureKind::NotFound, STEP)
                .on(node)
                .saying(format!("job {job} has no pool"))
                .advising("PrologSlurmctld must call `rampool slurm prolog-slurmctld`")
        })?;
        if !self.comes_to_be(patience, || self.has_mount(&record, node)).await {
            return Err(Failure::new(FailureKind::NotNow, STEP).on(node).saying(format!(
                "the job's pool is not mounted there: {}",
                status::sentence(&record)
            )));
        }
        let admit = self.admission(&record, job, node);
        self.agents.call(node, Call::AdmitJob(admit), None).await?;
        self.note_admitted(&record, node);
        self.let_begin(&record, job, node).await;
        Ok(record.placement.mount_point.clone())
    }

    fn note_admitted(&self, record: &PoolRecord, node: &str) {
        let lives = |name: &str| self.pools.record(name).is_some_and(|known| !known.is_released());
        self.locked(|kept| {
            // Of pools that are gone, nobody asks any more.
            kept.admitted.retain(|name, _| lives(name));
            let name = record.assembly.name.to_string();
            kept.admitted.entry(name).or_default().insert(node.to_owned());
        });
    }

    /// Whether a run was let in on a node: by this controller, or, as the node says, by one before.
    fn was_admitted(&self, record: &PoolRecord, node: &str) -> bool {
        let name = record.assembly.name.as_str();
        let noted = |kept: &mut Kept| kept.admitted.get(name).is_some_and(|on| on.contains(node));
        self.locked(noted) || self.has(record, node, HoldingKind::Job)
    }

    /// Once the last of a job's nodes has let it in, its first node lets its script begin. Where
    /// that node cannot be told, no other is to blame: it is the script that is refused there.
    async fn let_begin(&self, record: &PoolRecord, job: u32, node: &str) {
        if is_alone(record) {
            return;
        }
        let others = || runs::nodes_of(record).into_iter().filter(|other| other != node);
        // A controller that was just started has not heard of all.
        let known = |node: &str| self.nodes.get(node).is_some_and(|it| it.current().is_some());
        let all = || others().all(|other| self.was_admitted(record, &other));
        let heard = || others().all(|other| known(&other)) || all();
        self.comes_to_be(UNTIL_HEARD, heard).await;
        let Some(first) = runs::first_node_of(record) else { return };
        if !all() {
            return;
        }
        let admit = AdmitJobRequest { everywhere: true, ..self.admission(record, job, &first) };
        if let Err(failure) = self.agents.call(&first, Call::AdmitJob(admit), None).await {
            tracing::warn!(job, %failure, "the job's script will not begin");
        }
    }

    fn still_held(&self, node: &str, job: u32) -> Failure {
        let foreign = self.foreign_on(node, job);
        let held: Vec<String> = foreign.iter().map(|held| self.why_held(held)).collect();
        Failure::new(FailureKind::NotNow, STEP)
            .on(node)
            .saying(format!("it still holds memory of jobs that are over: {}", held.join("; ")))
            .advising("`rampool status POOL` says what goes on; `rampool doctor` what is unknown")
    }

    /// A node that the controller does not know lends nothing and holds nothing.
    fn of_no_node(&self, request: &AdmitNodeRequest) -> Result<String, Failure> {
        let said = request.wish.clone().unwrap_or_default();
        match spec::wanted(&said, &self.profiles)? {
            None => Ok(String::new()),
            Some(_) => Err(Failure::new(FailureKind::NotFound, STEP)
                .on(&request.node)
                .saying("it is not a known node")
                .advising("`nodes` in controller.yaml names the nodes, as Slurm does")),
        }
    }

    /// Pools on a node whose jobs are over, or that nobody knows.
    pub(super) fn foreign_on(&self, node: &str, job: u32) -> BTreeSet<Assembly> {
        let mut held = self.held_on(node);
        held.retain(|assembly| !self.is_due(assembly, node, job));
        held
    }

    /// Whether a node holds something of a job's pool rightly: that pool is in use or being made,
    /// for this job or for one that shares the node. A donor that only lends to jobs elsewhere
    /// lends what no job here is given.
    fn is_due(&self, assembly: &Assembly, node: &str, job: u32) -> bool {
        let Some(record) = self.pools.record(assembly.name.as_str()) else { return false };
        if only_lends(&record, node) {
            return true;
        }
        let own = assembly.name.job().is_some_and(|(of, _)| of == job);
        let last = !own || self.live(job).is_some_and(|live| live.assembly == *assembly);
        let in_use = !matches!(record.phase, Phase::Releasing(_) | Phase::Released(_));
        in_use && last && record.assembly == *assembly && record.involves(node)
    }

    fn has_mount(&self, record: &PoolRecord, node: &str) -> bool {
        let head = record.placement.head == node;
        self.has(record, node, if head { HoldingKind::Mount } else { HoldingKind::ShareMount })
    }

    /// Whether a node has something of a kind for a pool, as it said last.
    fn has(&self, record: &PoolRecord, node: &str, kind: HoldingKind) -> bool {
        let id = PoolId::from(&record.assembly);
        let known = self.nodes.get(node);
        known
            .as_ref()
            .and_then(|known| known.current())
            .is_some_and(|now| health::holds(now, &id, kind))
    }

    fn admission(&self, record: &PoolRecord, job: u32, node: &str) -> AdmitJobRequest {
        let of_node = record.members().filter(|piece| piece.donor == node);
        AdmitJobRequest {
            job,
            uid: record.spec.uid,
            pool: Some(PoolId::from(&record.assembly)),
            mount_point: record.placement.mount_point.clone(),
            lent_bytes: of_node.map(|piece| piece.bytes).sum(),
            head: runs::first_node_of(record).is_some_and(|first| first == node),
            lines: lines(record),
            everywhere: is_alone(record),
        }
    }
}

/// Whether a node is no more than a donor of a job elsewhere.
pub(super) fn only_lends(record: &PoolRecord, node: &str) -> bool {
    record.is_outside() && !record.is_used_on(node)
}

/// Whether the job of a pool has one node.
fn is_alone(record: &PoolRecord) -> bool {
    runs::nodes_of(record).len() <= 1
}

/// What the job's output begins with.
fn lines(record: &PoolRecord) -> Vec<String> {
    let placement = &record.placement;
    let donors = placement.pieces.len();
    let of = if donors == 1 { "one node".to_owned() } else { format!("{donors} nodes") };
    vec![
        format!(
            "rampool: {} of scratch at {} ($RAMPOOL_DIR), from the memory of {of}",
            Size(placement.usable_bytes),
            placement.mount_point,
        ),
        "rampool: it is MEMORY: gone when the job ends, or when a node is lost; copy what you need"
            .to_owned(),
    ]
}
