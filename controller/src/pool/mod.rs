//! Pools: what is recorded of them, what is going on with them, what they look like.
//!
//! | module | idea |
//! | --- | --- |
//! | [`state`], [`machine`] | one pool as a pure state machine |
//! | [`record`] | what is stored of it |
//! | [`takeover`] | whether another head may take over |
//! | `begin`, `drive`, `outcome` | an operation's life; carries out what the machine says |
//! | [`steps`] | from a step to a call, and to words |
//! | [`operation`] | an operation in flight, to which callers attach |
//! | [`patience`] | nodes that do not answer when something is taken away |
//! | `progress` | how far nodes are with reserving or copying memory |
//! | `journal` | a pool name's history |
//! | `slot` | all that is known of one name |
//! | `up`, `give`, `down`, `replace`, `evacuate`, `failover`, `fail`, `wait` | what is asked of pools |
//! | `spare` | spares: able, taken, given up |
//! | `turn` | one operation a pool at a time |
//! | `go_on` | what is done without being asked |
//! | `candidates` | the nodes as the planner sees them |
//! | `allowance` | what nodes under Slurm may lend to jobs that run elsewhere |
//! | `drain` | nodes that take no new pieces |
//! | [`health`] | how a pool in use is, and what should be done about it |
//! | [`status`], `alerts` | what a pool looks like, and what of it needs somebody |
//! | `renew` | leases |
//! | `adopt` | pools and parts of them that the store does not know |

mod adopt;
mod alerts;
mod allowance;
mod begin;
mod candidates;
mod down;
mod drain;
mod drive;
mod evacuate;
mod fail;
mod failover;
mod give;
mod go_on;
pub mod health;
mod journal;
pub mod machine;
pub mod operation;
mod outcome;
pub mod patience;
mod progress;
pub mod record;
mod renew;
mod replace;
mod slot;
mod spare;
pub mod state;
pub mod status;
pub mod steps;
pub mod takeover;
mod turn;
mod up;
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::BoxStream;
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Event, EventKind, Failure, FailureKind, HoldingKind, Pool, PoolId, Usage};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use crate::agents::Agents;
use crate::clock::now_ms;
use crate::lease::Lease;
use crate::nodes::Nodes;
use crate::profile::Profile;
use crate::store::{Loaded, Store, StoreError};
use journal::Journal;
use record::PoolRecord;
use slot::Slot;
use steps::Settings;

/// Pools that may be made at once: each holds a few calls and streams open on every donor.
const MOST_UPS: usize = 64;

/// What operations work with.
pub struct Env {
    /// The agents.
    pub agents: Arc<dyn Agents>,
    /// What is known of their nodes.
    pub nodes: Arc<Nodes>,
    /// What must not be forgotten.
    pub store: Store,
    /// What calls say of this controller.
    pub settings: Settings,
    /// What specs are completed from.
    pub profiles: BTreeMap<String, Profile>,
    /// Pools are mounted below it.
    pub mount_root: PathBuf,
    /// How long what takes pools away waits for nodes that do not answer.
    pub patience: Duration,
    /// The racks of nodes, where they are labelled.
    pub racks: BTreeMap<String, String>,
}

/// Events of an operation, as a caller gets them.
pub type Events = BoxStream<'static, Event>;

/// All pools.
pub struct Pools {
    env: Arc<Env>,
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    /// Every assembly known to be released.
    released: Mutex<BTreeSet<Assembly>>,
    /// The greatest generations given, of names that have no slot.
    generations: Mutex<BTreeMap<String, u32>>,
    /// One pool is planned and recorded at a time, so that none promises the memory that
    /// another was just promised.
    admission: AsyncMutex<()>,
    /// What nodes under Slurm may lend to jobs that run elsewhere, in bytes, once Slurm was heard.
    allowances: Mutex<Option<BTreeMap<String, u64>>>,
    /// The nodes that take no new pieces, and why.
    drained: Mutex<BTreeMap<String, String>>,
    /// The nodes whose evacuation an earlier controller did not end.
    evacuated: Mutex<BTreeSet<String>>,
    /// Leases that were renewed or told of, by pool name.
    leases: Mutex<BTreeMap<String, Lease>>,
    ups: Arc<Semaphore>,
}

impl Pools {
    /// The pools that the store knows. Nothing is done yet.
    pub fn new(env: Arc<Env>, loaded: Loaded) -> Result<Arc<Self>, StoreError> {
        let mut slots: BTreeMap<String, Arc<Slot>> = BTreeMap::new();
        for record in loaded.records {
            let name = record.assembly.name.to_string();
            let given = loaded.generations.get(&name).copied().unwrap_or(0);
            let journal = Arc::new(Journal::open(env.store.clone(), &name)?);
            slots.insert(name, Arc::new(Slot::new(journal, Some(record), given)));
        }
        Ok(Arc::new(Self {
            env,
            slots: Mutex::new(slots),
            released: Mutex::new(loaded.released.into_iter().collect()),
            generations: Mutex::new(loaded.generations),
            admission: AsyncMutex::new(()),
            allowances: Mutex::default(),
            drained: Mutex::new(loaded.drained),
            evacuated: Mutex::new(loaded.evacuated),
            leases: Mutex::new(loaded.leases),
            ups: Arc::new(Semaphore::new(MOST_UPS)),
        }))
    }

    fn lock<'a, T>(what: &'a Mutex<T>) -> MutexGuard<'a, T> {
        // Each change is one insertion: a panic elsewhere leaves it whole.
        what.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        Self::lock(&self.slots).get(name).cloned()
    }

    /// The slot of a name, made if there is none yet.
    fn slot_for(&self, name: &str) -> Result<Arc<Slot>, StoreError> {
        if let Some(slot) = self.slot(name) {
            return Ok(slot);
        }
        let journal = Arc::new(Journal::open(self.env.store.clone(), name)?);
        let generation = self.last_generation(name);
        let new = Arc::new(Slot::new(journal, None, generation));
        Ok(Arc::clone(Self::lock(&self.slots).entry(name.to_owned()).or_insert(new)))
    }

    /// The greatest generation given to a name; 0: none yet.
    fn last_generation(&self, name: &str) -> u32 {
        match self.slot(name) {
            Some(slot) => slot.lock().generation,
            None => Self::lock(&self.generations).get(name).copied().unwrap_or(0),
        }
    }

    /// The last assembly of every name that was ever used and is not forgotten.
    #[must_use]
    pub fn records(&self) -> Vec<Arc<PoolRecord>> {
        let slots = Self::lock(&self.slots);
        slots.values().filter_map(|slot| slot.lock().record.clone()).collect()
    }

    /// Whether the pool's profile has its pieces moved off donors under memory pressure.
    #[must_use]
    pub fn may_relieve(&self, record: &PoolRecord) -> bool {
        let profile = self.env.profiles.get(&record.spec.profile);
        profile.is_some_and(|profile| profile.evacuate_under_pressure)
    }

    /// The last assembly of a name.
    #[must_use]
    pub fn record(&self, name: &str) -> Option<Arc<PoolRecord>> {
        self.slot(name)?.lock().record.clone()
    }

    /// Whether the store says that nothing of this assembly is left.
    #[must_use]
    pub fn is_released(&self, assembly: &Assembly) -> bool {
        Self::lock(&self.released).contains(assembly)
    }

    /// Whether a node should hold nothing of this kind of this assembly: it is released, or its pool is in
    /// use without that node, and nothing is going on with it.
    #[must_use]
    pub fn should_be_gone(&self, node: &str, assembly: &Assembly, kind: HoldingKind) -> bool {
        let unused = || {
            let now = self.slot(assembly.name.as_str())?.now();
            let record = now.record.filter(|_| now.operation.is_none())?;
            Some(record.has_no_use_for(node, assembly, kind))
        };
        self.is_released(assembly) || unused().unwrap_or(false)
    }

    /// Whether the store knows this assembly at all.
    #[must_use]
    pub fn is_known(&self, assembly: &Assembly) -> bool {
        self.is_released(assembly)
            || self
                .record(assembly.name.as_str())
                .is_some_and(|record| record.assemblies().any(|own| own == *assembly))
    }

    /// Whether an assembly is none of ours for sure. A later one of a pool that lives is not:
    /// the store may be an older copy, and what it holds is that pool's data.
    #[must_use]
    pub fn is_foreign(&self, assembly: &Assembly) -> bool {
        let newer = |record: Arc<PoolRecord>| {
            !record.is_released() && assembly.generation > record.assembly.generation
        };
        !self.is_known(assembly) && !self.record(assembly.name.as_str()).is_some_and(newer)
    }

    /// The history of a name.
    pub async fn events(&self, name: &str) -> Result<Vec<Event>, Failure> {
        let events = self.env.store.events(name).await.map_err(store_failure)?;
        if events.is_empty() && self.slot(name).is_none() { Err(unknown(name)) } else { Ok(events) }
    }

    /// What a pool looks like now.
    pub async fn status(&self, name: &str) -> Result<Pool, Failure> {
        let record = self.record(name).ok_or_else(|| unknown(name))?;
        Ok(self.status_of(&record).await)
    }

    async fn status_of(&self, record: &PoolRecord) -> Pool {
        let usage = status::ask_usage(&self.env, record).await;
        self.seen(record, usage)
    }

    fn seen(&self, record: &PoolRecord, usage: Option<Usage>) -> Pool {
        let lease = self.lease(record);
        status::pool(record, &lease, &|name| self.env.nodes.get(name), usage, now_ms())
    }

    /// What all pools that hold anything look like now, of those that are to be `shown`.
    pub async fn list(&self, shown: impl Fn(&PoolRecord) -> bool) -> Vec<Pool> {
        let records = self.records();
        let live = records.iter().filter(|record| !record.is_released() && shown(record));
        futures::future::join_all(live.map(|record| self.status_of(record))).await
    }

    /// Notes something in a pool's history.
    pub fn note(&self, assembly: &Assembly, node: &str, text: String) {
        let event = Event {
            pool: Some(PoolId::from(assembly)),
            operation: "reconcile".to_owned(),
            node: node.to_owned(),
            kind: EventKind::Note.into(),
            text,
            ..Event::default()
        };
        let noted = self.slot_for(assembly.name.as_str()).map(|slot| slot.journal.enter(event));
        if let Err(error) = noted {
            tracing::error!(%assembly, node, %error, "a note was not stored");
        }
    }

    /// Forgets the pools that were released before `before_ms`: their records and events. A
    /// generation once given stays given.
    pub async fn forget_released_before(&self, before_ms: u64) {
        let old = |record: &Arc<PoolRecord>| record.is_released() && record.released_ms < before_ms;
        for record in self.records().into_iter().filter(old) {
            // No `up` may begin between the look and the end of the name.
            let _alone = self.admission.lock().await;
            let name = record.assembly.name.as_str();
            let Some(slot) = self.slot(name) else { continue };
            let now = slot.now();
            if now.operation.is_some() || now.record.as_ref() != Some(&record) {
                continue;
            }
            if let Err(error) = self.env.store.forget(name).await {
                tracing::error!(%error, pool = name, "an old pool was not forgotten");
                continue;
            }
            Self::lock(&self.generations).insert(name.to_owned(), now.generation);
            Self::lock(&self.slots).remove(name);
            Self::lock(&self.released).retain(|released| released.name.as_str() != name);
        }
    }
}

/// What is said where there is no pool of that name.
pub fn unknown(name: &str) -> Failure {
    let shown: String = name.chars().take(80).collect();
    Failure::new(FailureKind::NotFound, "find the pool")
        .saying(format!("there is no pool {shown:?}"))
        .advising("`rampool list` shows the pools")
}

fn store_failure(error: StoreError) -> Failure {
    Failure::new(FailureKind::Failed, "use the controller's store")
        .saying(error)
        .advising("check the controller's state folder: is its file system full?")
}
