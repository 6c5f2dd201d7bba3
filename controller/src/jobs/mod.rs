//! Pools of Slurm's jobs: what its hooks ask for, and what is so. A job's pool is a pool like any;
//! what is kept of a job is in its pools' specs, and how often they failed.
//!
//! | module | idea |
//! | --- | --- |
//! | [`spec`] | from what a job said to what its pool shall be; pure |
//! | [`runs`] | the pools that one job was given, one after the other; pure |
//! | `reserve` | it waits for its nodes: donors outside of it hold its memory |
//! | `start` | its nodes are known: its pool is made |
//! | `guard` | who follows that, and leaves, gives the job up |
//! | `admit` | may a job start on a node |
//! | [`failures`] | jobs whose pool could not be made, or was lost |
//! | `watch` | what Slurm says against what is held for its jobs |
//! | `lasting` | what has been so for a while; pure |
//! | `shares` | what Slurm counts of its burst buffer for nobody |
//! | `donors` | those that lend to jobs elsewhere, and the licence that counts what they lend |
//! | `facts` | what `job_submit.lua` may know |
//! | `leave` | a job has ended on a node, or altogether |
//! | `list` | why a job waits, or failed |
//! | `doctor` | what in Slurm's configuration stands in the way |
//! | [`service`] | the gRPC face |

mod admit;
mod doctor;
mod donors;
mod facts;
pub mod failures;
mod guard;
mod lasting;
mod leave;
mod list;
mod reserve;
pub mod runs;
pub mod service;
mod shares;
pub mod spec;
mod start;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rampool_proto::pool_name::{Assembly, PoolName};
use rampool_proto::v1::{Failure, FailureKind, JobId};
use rampool_slurm::commands::{self, Commands};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::agents::Agents;
use crate::config;
use crate::nodes::Nodes;
use crate::pool::record::{Phase, PoolRecord};
use crate::pool::{Pools, status};
use crate::profile::{self, Profile};
use crate::store::Store;
use failures::Failures;

/// What the controller's configuration says of jobs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsConfig {
    /// Slurm's `ClusterName`: hooks of another cluster are refused, since its jobs have the same
    /// numbers.
    pub cluster: String,
    /// A job's pool is mounted at `<mount_root>/<job id>`.
    #[serde(default = "config::default_mount_root")]
    pub mount_root: PathBuf,
    /// The folder of Slurm's commands.
    #[serde(default = "default_commands")]
    pub commands: PathBuf,
    /// How long after its job a pool is released at the latest, where no Epilog said so before.
    /// Built in: 60 s.
    #[serde(default, deserialize_with = "profile::duration")]
    pub grace: Option<Duration>,
    /// The file that `job_submit.lua` reads. Left out: none is kept, and no job is refused when it
    /// is submitted.
    pub facts: Option<PathBuf>,
    /// By what jobs wait for the memory of donors outside of them.
    #[serde(default)]
    pub wait_by: Waiting,
}

impl JobsConfig {
    /// Says what in it cannot be meant.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.wait_by == Waiting::BurstBuffer && self.facts.is_none() {
            return Err("jobs: wait_by: burst_buffer needs `facts`: burst_buffer.lua reads what \
                        there is from that file"
                .to_owned());
        }
        Ok(())
    }
}

/// By what jobs wait for the memory of donors outside of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Licences of slurm.conf.
    #[default]
    Licence,
    /// `burst_buffer/lua`, as `burst_buffer.lua` says it.
    BurstBuffer,
}

fn default_commands() -> PathBuf {
    commands::FOLDER.into()
}

/// Longer than Slurm's own KillWait (30 s), within which a job's processes are ended.
const BUILT_IN_GRACE: Duration = Duration::from_secs(60);

/// How long nodes that answer may take to be heard of by a controller that was just started.
const UNTIL_HEARD: Duration = Duration::from_secs(5);

/// All jobs that have a pool.
pub struct Jobs {
    config: JobsConfig,
    profiles: BTreeMap<String, Profile>,
    pools: Arc<Pools>,
    nodes: Arc<Nodes>,
    agents: Arc<dyn Agents>,
    /// Cancelled when the controller ends: whoever followed a job then did not give it up.
    stopping: CancellationToken,
    slurm: Commands,
    store: Store,
    kept: Mutex<Kept>,
}

/// What is kept of jobs. Whoever asked and was not answered asks again; only failures are in the
/// store.
#[derive(Default)]
struct Kept {
    /// The nodes that each run has left, by the name of its pool.
    left: BTreeMap<String, BTreeSet<String>>,
    /// The nodes that let each run in, by the name of its pool.
    admitted: BTreeMap<String, BTreeSet<String>>,
    /// By job.
    failures: BTreeMap<u32, Failures>,
    /// When Slurm ends each job that has a pool, at the latest, as far as it said; in milliseconds
    /// since the Unix epoch.
    ends: BTreeMap<u32, u64>,
    /// Jobs that are over, and of which Slurm still counts shares of its burst buffer.
    forgotten: BTreeSet<u32>,
}

impl Jobs {
    /// Jobs of these pools; `failures` are what the store has.
    #[must_use]
    #[allow(clippy::too_many_arguments, reason = "one of each room that it works with")]
    pub fn new(
        config: JobsConfig,
        profiles: BTreeMap<String, Profile>,
        pools: Arc<Pools>,
        nodes: Arc<Nodes>,
        agents: Arc<dyn Agents>,
        stopping: CancellationToken,
        store: Store,
        failures: BTreeMap<u32, Failures>,
    ) -> Arc<Self> {
        let slurm = Commands::of(&config.commands, commands::DEADLINE);
        let kept = Mutex::new(Kept { failures, ..Kept::default() });
        Arc::new(Self { config, profiles, pools, nodes, agents, stopping, slurm, store, kept })
    }

    fn grace(&self) -> Duration {
        self.config.grace.unwrap_or(BUILT_IN_GRACE)
    }

    fn locked<T>(&self, with: impl FnOnce(&mut Kept) -> T) -> T {
        // Each change is one insertion or removal: a panic elsewhere leaves it whole.
        with(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of a job of this cluster.
    fn number(&self, id: Option<&JobId>) -> Result<u32, Failure> {
        let invalid =
            |said: String| Failure::new(FailureKind::Invalid, "find the job").saying(said);
        let id = id.ok_or_else(|| invalid("no job is named".to_owned()))?;
        if id.cluster != self.config.cluster {
            let own = &self.config.cluster;
            let said = format!("this controller serves the cluster {own:?}, not {:?}", id.cluster);
            return Err(invalid(said).advising(
                "`jobs.cluster` in controller.yaml and `cluster` in slurm.yaml say Slurm's \
                 ClusterName",
            ));
        }
        match id.job {
            0 => Err(invalid("no job has the number 0".to_owned())),
            job => Ok(job),
        }
    }

    /// All pools that this job was ever given and that are not forgotten, the last one last.
    fn runs(&self, job: u32) -> Vec<Arc<PoolRecord>> {
        runs::of(job, self.pools.records())
    }

    /// The run that is not released yet, the last one if there are more.
    fn live(&self, job: u32) -> Option<Arc<PoolRecord>> {
        self.runs(job).into_iter().rev().find(|record| !record.is_released())
    }

    /// The pools of jobs that a node holds anything of, as it said last; none of a node that does
    /// not answer.
    fn held_on(&self, node: &str) -> BTreeSet<Assembly> {
        let known = self.nodes.get(node);
        let holdings = known.iter().filter_map(|known| known.current()).flat_map(|i| &i.holdings);
        holdings
            .filter_map(|holding| Assembly::try_from(holding.pool.as_ref()?).ok())
            .filter(|assembly| assembly.name.job().is_some())
            .collect()
    }

    /// Whether a node holds anything of a pool, as it said last.
    fn holds(&self, node: &str, record: &PoolRecord) -> bool {
        let held = self.held_on(node);
        record.assemblies().any(|assembly| held.contains(&assembly))
    }

    /// Waits until it is so, as far as nodes are heard of; says whether it came to be.
    async fn comes_to_be(&self, within: Duration, so: impl FnMut() -> bool) -> bool {
        tokio::time::timeout(within, self.nodes.until(so)).await.is_ok()
    }

    /// A pool and, in a few words, why it is still there.
    fn why_held(&self, assembly: &Assembly) -> String {
        match self.pools.record(assembly.name.as_str()) {
            None => format!("{assembly}, which no controller's store knows"),
            Some(record) => {
                let remains = match &record.phase {
                    Phase::Releasing(releasing) => releasing.remains.first(),
                    _ => None,
                };
                let why = remains.map(|failure| format!(": {failure}")).unwrap_or_default();
                format!("{}{why}", status::sentence(&record))
            }
        }
    }

    /// Takes a pool away in the background. Nobody follows it: what was begun is seen through.
    fn release(&self, name: &PoolName) {
        if let Err(failure) = self.pools.down(name.as_str(), true) {
            tracing::error!(pool = %name, %failure, "a job's pool is not released");
        }
    }
}
