//! What every piece of work on this node needs: its configuration, its folders and programs,
//! and the order in which work is done.
//!
//! Everything below the gRPC face is plain blocking code. It runs on the runtime's blocking
//! threads, detached from the call that asked for it: a caller who leaves stops nothing halfway.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rampool_proto::pool_name::{Assembly, PoolName};
use rampool_proto::v1::{Failure, FailureKind};
use tokio::sync::{OwnedMutexGuard, watch};

use crate::abilities::Modules;
use crate::attach::RanOut;
use crate::config::Config;
use crate::export::Fences;
use crate::outcome::{During, Outcome};
use crate::programs::Programs;
use crate::roots::Roots;

/// How long a call waits for another one on the same pool.
const PATIENCE: Duration = Duration::from_secs(60);

/// One node.
pub struct Node {
    /// Its configuration.
    pub config: Config,
    /// Where the kernel shows itself.
    pub roots: Roots,
    /// The programs found at start.
    pub programs: Programs,
    /// The kernel's modules, as they were at start.
    pub(crate) modules: Modules,
    /// LIO's tree has one writer: its own tools are known to race.
    lio: Mutex<()>,
    /// Heads that are kept away from what this node lends.
    pub(crate) fences: Fences,
    /// Sessions that were waited for in vain.
    pub(crate) ran_out: RanOut,
    /// Held from admission to full reservation, so that memory is never promised twice.
    memory: Mutex<()>,
    /// The kernel's settings are everybody's.
    headroom: Mutex<()>,
    /// Shares have one root in common, and exportfs one table.
    shares: Mutex<()>,
    turns: Turns,
    changed: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
}

/// What calls take turns on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ground {
    /// What a head has of one assembly.
    Head(Assembly),
    /// What a donor lends to a pool: one piece of memory may serve several generations.
    Loan(PoolName),
    /// What the agent knows of one of Slurm's jobs.
    Job(u32),
}

/// Whose turn it is on each ground. An entry lives as long as somebody holds or awaits it.
#[derive(Default)]
struct Turns(Mutex<HashMap<Ground, Arc<tokio::sync::Mutex<()>>>>);

impl Node {
    /// A node by its configuration; looks for programs.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let roots = Roots::real(&config.run_folder, &config.iscsi_database);
        Self {
            modules: Modules::read(&roots),
            roots,
            programs: Programs::find(),
            lio: Mutex::default(),
            fences: Fences::default(),
            ran_out: RanOut::default(),
            memory: Mutex::default(),
            headroom: Mutex::default(),
            shares: Mutex::default(),
            turns: Turns::default(),
            changed: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            config,
        }
    }

    /// Lets watchers go: the agent is about to end.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Returns when the agent is about to end.
    pub async fn stopped(&self) {
        // The sender is ours: it cannot have gone before.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// The right to change LIO's tree. Taken after [`memory_turn`](Self::memory_turn), if both.
    pub(crate) fn lio_turn(&self) -> MutexGuard<'_, ()> {
        // The lock guards no data of ours: a panic under it leaves nothing half-written here.
        self.lio.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to admit and reserve memory.
    pub(crate) fn memory_turn(&self) -> MutexGuard<'_, ()> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to change what this node shares.
    pub(crate) fn share_turn(&self) -> MutexGuard<'_, ()> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to change the kernel's settings.
    pub(crate) fn headroom_turn(&self) -> MutexGuard<'_, ()> {
        self.headroom.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where tmpfs ramdisks are mounted and brd's owner is noted.
    pub(crate) fn ramdisk_folder(&self) -> PathBuf {
        self.roots.run.join("ramdisk")
    }

    /// Tells when the kernel's objects changed by our hand.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Does `work` of a head on `assembly` when it is its turn. The work goes on to its end if
    /// the caller leaves; watchers are told when it has ended.
    pub async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        assembly: &Assembly,
        step: &'static str,
        work: impl FnOnce(&Self) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        self.in_turn(Ground::Head(assembly.clone()), assembly, step, work).await
    }

    /// Like [`change`](Self::change), on what this node lends to the pool of `assembly`, in
    /// whichever generation.
    pub async fn lend<T: Send + 'static>(
        self: &Arc<Self>,
        assembly: &Assembly,
        step: &'static str,
        work: impl FnOnce(&Self) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        self.in_turn(Ground::Loan(assembly.name.clone()), assembly, step, work).await
    }

    async fn in_turn<T: Send + 'static>(
        self: &Arc<Self>,
        ground: Ground,
        assembly: &Assembly,
        step: &'static str,
        work: impl FnOnce(&Self) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let turn = self.await_turn(ground, assembly, step).await?;
        let (node, of) = (Arc::clone(self), assembly.clone());
        let task = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let outcome = work(&node);
            let (took, well) = (started.elapsed(), outcome.is_ok());
            tracing::info!(assembly = %of, step, well, took_ms = took.as_millis(), "ended");
            drop(turn);
            node.turns.forget_idle();
            node.tell_change();
            outcome
        });
        self.settle(task, step).await
    }

    async fn await_turn(
        &self,
        ground: Ground,
        of: &(dyn Display + Sync),
        step: &'static str,
    ) -> Outcome<OwnedMutexGuard<()>> {
        let turn = self.turns.of(ground);
        tokio::time::timeout(PATIENCE, turn.lock_owned()).await.map_err(|_| {
            let said = format!("another call on {of} has not ended for {PATIENCE:?}");
            let failure = Failure::new(FailureKind::TimedOut, step).saying(said);
            failure.on(&self.config.node).into()
        })
    }

    /// Does `work` on what the agent knows of a job, when it is its turn. The work goes on to its
    /// end if the caller leaves. Watchers are not told: many tasks may ask at once.
    pub async fn of_job<T: Send + 'static>(
        self: &Arc<Self>,
        job: u32,
        step: &'static str,
        work: impl FnOnce(&Self) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let turn = self.await_turn(Ground::Job(job), &format!("job {job}"), step).await?;
        let node = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let outcome = work(&node);
            drop(turn);
            node.turns.forget_idle();
            outcome
        });
        self.settle(task, step).await
    }

    /// Does `work` without waiting for anybody: it ends what the others wait for. Watchers are
    /// told when it has ended.
    pub async fn interrupt<T: Send + 'static>(
        self: &Arc<Self>,
        step: &'static str,
        work: impl FnOnce(&Self) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let node = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let outcome = work(&node);
            node.tell_change();
            outcome
        });
        self.settle(task, step).await
    }

    /// Watchers look again.
    pub(crate) fn tell_change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Reads something, in nobody's way.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        step: &'static str,
        work: impl FnOnce(&Self) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let node = Arc::clone(self);
        self.settle(tokio::task::spawn_blocking(move || work(&node)), step).await
    }

    async fn settle<T>(
        &self,
        task: tokio::task::JoinHandle<Outcome<T>>,
        step: &'static str,
    ) -> Outcome<T> {
        let outcome = task.await.unwrap_or_else(|error| {
            let failure = Failure::new(FailureKind::Failed, "").by("rampool-agent");
            Err(failure.saying(error).advising("this is a bug: please report it").into())
        });
        outcome.during(step).map_err(|failure| {
            let failure =
                if failure.node.is_empty() { failure.on(&self.config.node) } else { *failure };
            tracing::warn!(%failure, "refused or failed");
            Box::new(failure)
        })
    }
}

impl Turns {
    fn of(&self, ground: Ground) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(ground).or_default())
    }

    fn forget_idle(&self) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::memory::Floor;
    use crate::names::tests::assembly;
    use rampool_proto::tls::TlsFiles;
    use std::path::Path;
    use std::sync::mpsc;

    /// A node whose folders are all below `folder`.
    pub(crate) fn fake(folder: &Path) -> Node {
        let tls = TlsFiles { ca: "/a".into(), cert: "/b".into(), key: "/c".into() };
        let config = Config {
            node: "n1".into(),
            listen: "127.0.0.1:7702".parse().unwrap(),
            data: "127.0.0.1:3260".parse().unwrap(),
            data_networks: Vec::new(),
            authority: "iqn.2026-11.org.rampool".into(),
            floor: Floor::Usual,
            mount_root: folder.join("rampool"),
            mount_roots: Vec::new(),
            run_folder: folder.join("run"),
            iscsi_database: folder.join("iscsi"),
            slurm_commands: None,
            tls,
        };
        Node { roots: Roots::fake(folder), ..Node::new(config) }
    }

    /// Has a fake node's kernel say that it has so many MiB of memory, half of them available.
    pub(crate) fn remember(node: &Node, mib: u64) {
        let zero = [
            "Buffers",
            "Cached",
            "SwapCached",
            "Active",
            "Inactive",
            "SwapTotal",
            "SwapFree",
            "Dirty",
            "Writeback",
            "Mapped",
            "Slab",
            "Committed_AS",
            "VmallocTotal",
            "VmallocUsed",
            "VmallocChunk",
        ];
        let mut text =
            format!("MemTotal: {} kB\nMemFree: 0 kB\nMemAvailable: {} kB\n", mib * 1024, mib * 512);
        text.extend(zero.map(|name| format!("{name}: 0 kB\n")));
        std::fs::create_dir_all(&node.roots.proc).unwrap();
        std::fs::write(node.roots.proc.join("meminfo"), text).unwrap();
    }

    fn node() -> (tempfile::TempDir, Arc<Node>) {
        let folder = tempfile::tempdir().unwrap();
        let node = Arc::new(fake(folder.path()));
        (folder, node)
    }

    #[tokio::test]
    async fn work_goes_on_when_its_caller_leaves_and_the_next_waits_for_it() {
        let (_folder, node) = node();
        let (go, wait) = mpsc::channel::<()>();
        let (tell, hear) = mpsc::channel();
        let mut changes = node.changes();
        let demo = assembly("demo.1");
        let told = tell.clone();
        let call = node.change(&demo, "first", move |_| {
            wait.recv().unwrap();
            told.send("first").unwrap();
            Ok(())
        });
        // The caller leaves while the work waits.
        assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
        let second = node.change(&demo, "second", move |_| {
            tell.send("second").unwrap();
            Ok(())
        });
        go.send(()).unwrap();
        second.await.unwrap();
        assert_eq!(hear.iter().take(2).collect::<Vec<_>>(), ["first", "second"]);
        changes.changed().await.unwrap();
    }

    #[tokio::test]
    async fn assemblies_do_not_wait_for_each_other() {
        let (_folder, node) = node();
        let (go, wait) = mpsc::channel::<()>();
        let (one, other) = (assembly("demo.1"), assembly("demo.2"));
        let first = node.change(&one, "first", move |_| {
            wait.recv().unwrap();
            Ok(())
        });
        let second = async {
            node.change(&other, "second", |_| Ok(())).await.unwrap();
            go.send(()).unwrap();
        };
        let (first, ()) = tokio::join!(first, second);
        first.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_and_locks_nobody_out() {
        let (_folder, node) = node();
        let demo = assembly("demo.1");
        let failure = node
            .change(&demo, "break", |node| -> Outcome<()> {
                let _turn = node.lio_turn();
                panic!("on purpose");
            })
            .await
            .unwrap_err();
        assert_eq!((failure.node.as_str(), failure.step.as_str()), ("n1", "break"));
        assert!(failure.said.contains("on purpose"), "{failure}");
        let again = node.change(&demo, "go on", |node| {
            drop(node.lio_turn());
            Ok(())
        });
        again.await.unwrap();
    }
}
