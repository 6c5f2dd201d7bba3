//! A controller's inside over fake nodes, and short words for what tests ask of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::{Event, EventKind, Failure, PoolSpec, PoolState};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::fake_nodes::{FakeAgents, FakeNodes, Fault};
use crate::agents::Agents;
use crate::nodes::Nodes;
use crate::pool::steps::Settings;
use crate::pool::{Env, Events, Pools};
use crate::reconcile;
use crate::store::Store;

pub(super) const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];

pub(super) struct Rig {
    pub(super) pools: Arc<Pools>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) fake: Arc<FakeNodes>,
    reconciler: tokio::task::JoinHandle<()>,
}

impl Rig {
    /// A controller over these nodes, with its store in `folder`.
    pub(super) fn start(folder: &Path, fake: &Arc<FakeNodes>) -> Self {
        Self::patient(folder, fake, Duration::from_millis(5))
    }

    /// One that waits so long for nodes that do not answer when it takes a pool away.
    pub(super) fn patient(folder: &Path, fake: &Arc<FakeNodes>, patience: Duration) -> Self {
        let agents: Arc<dyn Agents> = Arc::new(FakeAgents(Arc::clone(fake)));
        let (store, loaded) = Store::open(folder).unwrap();
        let (nodes, news) = Nodes::new(Arc::clone(&agents), fake.names());
        let env = Arc::new(Env {
            agents: Arc::clone(&agents),
            nodes: Arc::clone(&nodes),
            store,
            settings: Settings {
                contact: "ops".into(),
                iqn_authority: "iqn.2026-11.org.rampool".into(),
                allow_swap: false,
            },
            profiles: BTreeMap::new(),
            mount_root: "/rampool".into(),
            patience,
            racks: BTreeMap::new(),
        });
        let pools = Pools::new(env, loaded).unwrap();
        nodes.watch_all();
        pools.resume();
        let reconciler =
            tokio::spawn(reconcile::run(Arc::clone(&pools), Arc::clone(&nodes), agents, news));
        Self { pools, nodes, fake: Arc::clone(fake), reconciler }
    }

    pub(super) fn new(folder: &Path) -> Self {
        Self::start(folder, &FakeNodes::new(&NODES))
    }

    /// The next controller, on the store of one that was dropped: that lets go of it with its last
    /// task.
    pub(super) async fn start_again(folder: &Path, fake: &Arc<FakeNodes>) -> Self {
        while Store::open(folder).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self::start(folder, fake)
    }

    pub(super) async fn up(&self, spec: &PoolSpec) -> Vec<Event> {
        all(self.pools.up(spec).await.unwrap()).await
    }

    pub(super) async fn down(&self, force: bool) -> Vec<Event> {
        all(self.pools.down("demo", force).unwrap()).await
    }

    pub(super) async fn state(&self) -> PoolState {
        self.pools.status("demo").await.unwrap().state()
    }

    /// Waits until the pool is in this state; the reconciler may have to bring it there.
    pub(super) async fn until(&self, state: PoolState) {
        let so = async {
            while self.state().await != state {
                // No event tells of another's work: this is the test's own look.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), so).await.unwrap_or_else(|_| {
            panic!("not {state:?}: {:?}, {:?}", self.pools.record("demo"), self.fake.calls())
        });
    }

    pub(super) fn nothing_held(&self) {
        assert!(self.fake.held().is_empty(), "still held: {:?}", self.fake.held());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.reconciler.abort();
    }
}

/// All events of an operation; fails rather than waits for ever.
pub(super) async fn all(events: Events) -> Vec<Event> {
    let collected = events.collect::<Vec<Event>>();
    tokio::time::timeout(Duration::from_secs(60), collected).await.expect("an operation hangs")
}

/// A pool of 1 GiB on n1, of n2 to n4.
pub(super) fn spec() -> PoolSpec {
    PoolSpec {
        name: "demo".into(),
        head: "n1".into(),
        donors: "n[2-4]".into(),
        capacity: Some(Capacity::SizeBytes(1 << 30)),
        owner: "ada".into(),
        ..PoolSpec::default()
    }
}

pub(super) fn last(events: &[Event]) -> &Event {
    let last = events.last().expect("an operation has events");
    assert!(matches!(last.kind(), EventKind::Finished | EventKind::GaveUp), "{last:?}");
    last
}

pub(super) fn finished(events: &[Event]) -> &Event {
    let last = last(events);
    assert_eq!(last.kind(), EventKind::Finished, "{last:?}");
    last
}

pub(super) fn gave_up(events: &[Event]) -> &Failure {
    let last = last(events);
    assert_eq!(last.kind(), EventKind::GaveUp, "{last:?}");
    last.failure.as_ref().expect("a GAVE_UP says why")
}

/// Runs `first`, then `ask`, under a controller over `nodes`; when that call of `ask` is on its way
/// to that node, ends the controller at once: all its tasks are dropped where they stand. `then`
/// meets the next one, on the same store and nodes.
pub(super) fn killed_at<F, A, T>(
    nodes: &[&str],
    (node, call): (&str, &str),
    first: F,
    ask: A,
    then: T,
) where
    F: AsyncFnOnce(&Rig),
    A: AsyncFnOnce(&Rig),
    T: AsyncFnOnce(&Rig),
{
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeNodes::new(nodes);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let rig = Rig::start(folder.path(), &fake);
        first(&rig).await;
        let before = fake.calls().len();
        fake.inject(node, call, Fault::Wait(Arc::new(Notify::new())));
        ask(&rig).await;
        let on_its_way = |fake: &FakeNodes| {
            let new = fake.calls().into_iter().skip(before);
            new.into_iter().any(|(on, name)| (on.as_str(), name.as_str()) == (node, call))
        };
        tokio::time::timeout(Duration::from_secs(60), fake.until(on_its_way)).await.unwrap();
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    Runtime::new().unwrap().block_on(async { then(&Rig::start(folder.path(), &fake)).await });
}
