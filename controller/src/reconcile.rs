//! What is wanted against what nodes hold: goes on with what is stuck or owed, repairs pools in
//! use, and removes what is left of assemblies that the store says are released. What the store does not know is
//! kept, and shown by `doctor`: only a person can say that it may go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{
    DestroyExportRequest, DetachRequest, Failure, HoldingKind, Inventory, PoolId,
    StopVolumeRequest, UnmountRequest,
};
use tokio::sync::mpsc;

use crate::agents::{Agents, Answer, Call};
use crate::clock::now_ms;
use crate::nodes::Nodes;
use crate::pool::Pools;
use crate::pool::record::{Phase, PoolRecord};
use crate::pressure::{Move, Pressed};
use crate::repair::Repair;

/// News of nodes come at once; this is for what was stuck on a node that answers.
const TICK: Duration = Duration::from_secs(5);

/// What failed is tried again after this, then after twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// A mount that somebody holds for days is asked about this often.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Released pools are shown and their events kept for so long.
const KEEP_RELEASED_MS: u64 = 30 * 86_400_000;

/// How often it is looked for older ones.
const FORGET_EVERY: Duration = Duration::from_secs(86_400);

/// What is left of a released assembly on one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leftover {
    /// Where.
    pub node: String,
    /// Of what.
    pub assembly: Assembly,
    /// Whether it is what a head holds (a mount, a volume, sessions); else a donor's export.
    pub of_head: bool,
}

/// What may be removed now, given the inventories of the nodes that answer, where `is_gone` says
/// that a node should hold nothing of a kind of an assembly. A donor's memory waits until no head holds
/// anything that is gone too of the same assembly.
#[must_use]
pub fn leftovers<'a>(
    inventories: impl IntoIterator<Item = &'a Inventory>,
    is_gone: impl Fn(&str, &Assembly, HoldingKind) -> bool,
) -> Vec<Leftover> {
    let mut found = Vec::new();
    for inventory in inventories {
        for holding in &inventory.holdings {
            let Some(Ok(assembly)) = holding.pool.as_ref().map(Assembly::try_from) else {
                continue;
            };
            if is_gone(&inventory.node, &assembly, holding.kind()) {
                let of_head = is_of_head(holding.kind());
                found.push(Leftover { node: inventory.node.clone(), assembly, of_head });
            }
        }
    }
    found.sort();
    found.dedup();
    let heads: Vec<Assembly> =
        found.iter().filter(|left| left.of_head).map(|left| left.assembly.clone()).collect();
    found.retain(|left| left.of_head || !heads.contains(&left.assembly));
    found
}

/// Whether only a head, or a client of one, holds such things.
fn is_of_head(kind: HoldingKind) -> bool {
    !matches!(kind, HoldingKind::Ramdisk | HoldingKind::Export | HoldingKind::Unspecified)
}

/// When what failed may be tried again.
#[derive(Default)]
struct Pauses(BTreeMap<String, (Instant, Duration)>);

impl Pauses {
    /// Whether `what` may be tried now; if so, the next time is later.
    fn try_now(&mut self, what: String) -> bool {
        let now = Instant::now();
        let (until, pause) = self.0.entry(what).or_insert((now, FIRST_PAUSE / 2));
        if now < *until {
            return false;
        }
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        *until = now + *pause;
        true
    }

    /// Forgets what was not tried for long: it succeeded, or is gone.
    fn forget_old(&mut self) {
        let now = Instant::now();
        self.0.retain(|_, (until, _)| *until + LONGEST_PAUSE > now);
    }

    /// A node came back: what concerns it may be tried at once.
    fn forget(&mut self, what: &str) {
        self.0.remove(what);
    }
}

/// Reconciles until the process ends.
pub async fn run(
    pools: Arc<Pools>,
    nodes: Arc<Nodes>,
    agents: Arc<dyn Agents>,
    mut news: mpsc::UnboundedReceiver<String>,
) {
    let mut pauses = Pauses::default();
    let mut pressed = Pressed::default();
    let mut repair = Repair::new(Arc::clone(&pools), Arc::clone(&nodes));
    let mut tick = tokio::time::interval(TICK);
    let mut forgotten: Option<Instant> = None;
    // A node that hangs must not keep the others from being looked after.
    let mut sweeps = FuturesUnordered::new();
    let mut under_way = BTreeSet::new();
    loop {
        tokio::select! {
            Some(node) = news.recv() => {
                let mut told = BTreeSet::from([node]);
                while let Ok(node) = news.try_recv() {
                    told.insert(node);
                }
                for record in pools.records().iter().filter(|r| waits_for(r, &told)) {
                    pauses.forget(&record.assembly.to_string());
                }
            }
            Some(left) = sweeps.next() => drop(under_way.take(&left)),
            _ = tick.tick() => {}
        }
        go_on(&pools, &nodes, &mut pauses);
        repair.look(|what| pauses.try_now(what)).await;
        keep_to_leases(&pools, &mut pauses).await;
        relieve(&pools, &nodes, &mut pressed, &mut pauses);
        for left in to_sweep(&pools, &nodes) {
            if !under_way.contains(&left) && pauses.try_now(format!("{left:?}")) {
                under_way.insert(left.clone());
                sweeps.push(sweep(Arc::clone(&pools), Arc::clone(&agents), left));
            }
        }
        if forgotten.is_none_or(|last| last.elapsed() > FORGET_EVERY) {
            forgotten = Some(Instant::now());
            pauses.forget_old();
            pools.forget_released_before(now_ms().saturating_sub(KEEP_RELEASED_MS)).await;
        }
    }
}

/// Whether something half done or owed waits for one of these nodes.
fn waits_for(record: &PoolRecord, nodes: &BTreeSet<String>) -> bool {
    let awaited = |node: &str| nodes.contains(node);
    let owing = record.debts.iter().any(|debt| awaited(&debt.node));
    owing
        || match &record.phase {
            Phase::Releasing(releasing) => releasing.remains.iter().any(|left| awaited(&left.node)),
            Phase::FailingOver(over) => {
                awaited(&over.head) || over.remains.iter().any(|left| awaited(&left.node))
            }
            Phase::Replacing(_) | Phase::Failed(_) => awaited(&record.placement.head),
            Phase::Creating | Phase::Reserved | Phase::Ready | Phase::Released(_) => false,
        }
}

/// Goes on with what is half done or owed, where some node that it waits for answers.
fn go_on(pools: &Arc<Pools>, nodes: &Nodes, pauses: &mut Pauses) {
    let answers = |name: &str| nodes.get(name).is_some_and(|node| node.reachable());
    for record in pools.unsettled() {
        let any = |left: &[Failure]| left.is_empty() || left.iter().any(|left| answers(&left.node));
        let head = || answers(&record.placement.head);
        let owing = || record.debts.iter().any(|debt| answers(&debt.node));
        let worth_it = match &record.phase {
            Phase::Creating => true,
            Phase::Releasing(releasing) => any(&releasing.remains) || owing(),
            Phase::Replacing(_) => head(),
            Phase::FailingOver(over) => answers(&over.head) && any(&over.remains),
            Phase::Failed(failed) => {
                if failed.shut {
                    owing()
                } else {
                    head()
                }
            }
            Phase::Ready => owing(),
            Phase::Reserved | Phase::Released(_) => false,
        };
        if worth_it && pauses.try_now(record.assembly.to_string()) {
            pools.go_on(record.assembly.name.as_str());
        }
    }
}

/// Tells of leases that end, and takes the pools down of which that was asked for.
async fn keep_to_leases(pools: &Arc<Pools>, pauses: &mut Pauses) {
    for record in pools.look_at_leases().await {
        if !pauses.try_now(format!("the lease of {}", record.assembly)) {
            continue;
        }
        // Nobody follows it: what was begun is seen through.
        if let Err(failure) = pools.down(record.assembly.name.as_str(), true) {
            tracing::error!(pool = %record.assembly, %failure, "not released at its lease's end");
        }
    }
}

/// Moves pieces off donors that run out of memory, where the pools' profiles allow it.
fn relieve(pools: &Arc<Pools>, nodes: &Nodes, pressed: &mut Pressed, pauses: &mut Pauses) {
    let allowed = |record: &PoolRecord| pools.may_relieve(record);
    for Move { pool, donor } in pressed.to_move(&nodes.all(), &pools.records(), allowed, now_ms()) {
        if pauses.try_now(format!("pressure on {donor} of {pool}")) {
            let pools = Arc::clone(pools);
            tokio::spawn(async move {
                // Nobody follows it: what was begun is seen through.
                if let Err(failure) = pools.replace(&pool, &donor, "").await {
                    tracing::warn!(pool, node = donor, %failure, "not moved off under pressure");
                }
            });
        }
    }
}

fn to_sweep(pools: &Pools, nodes: &Nodes) -> Vec<Leftover> {
    let known = nodes.all();
    let inventories = known.iter().filter_map(|node| node.current());
    leftovers(inventories, |node, assembly, kind| pools.should_be_gone(node, assembly, kind))
}

/// Removes one leftover, and says so in the pool's history.
async fn sweep(pools: Arc<Pools>, agents: Arc<dyn Agents>, left: Leftover) -> Leftover {
    let removed = match still_there(&agents, &left).await {
        Ok(true) => remove(&agents, &left).await,
        // What was last heard of the node was looked up before the release.
        Ok(false) => return left,
        Err(failure) => Err(failure),
    };
    let text = match removed {
        Ok(()) => format!("removed what was left of {}", left.assembly),
        Err(failure) => format!(
            "{} should hold nothing of {} any more, yet: {failure}",
            left.node, left.assembly
        ),
    };
    tracing::warn!(node = left.node, "{text}");
    pools.note(&left.assembly, &left.node, text);
    left
}

async fn still_there(agents: &Arc<dyn Agents>, left: &Leftover) -> Result<bool, Failure> {
    let answer = agents.call(&left.node, Call::GetInventory, None).await?;
    let Answer::Inventory(inventory) = answer else { return Ok(false) };
    let is_it = |_: &str, assembly: &Assembly, kind| {
        *assembly == left.assembly && is_of_head(kind) == left.of_head
    };
    Ok(!leftovers([inventory.as_ref()], is_it).is_empty())
}

/// The calls that remove a leftover, one after the other.
pub(crate) fn removal(left: &Leftover) -> Vec<Call> {
    let pool = Some(PoolId::from(&left.assembly));
    if left.of_head {
        vec![
            Call::Unmount(UnmountRequest { pool: pool.clone(), force: false }),
            Call::StopVolume(StopVolumeRequest { pool: pool.clone() }),
            Call::Detach(DetachRequest { pool, donors: Vec::new() }),
        ]
    } else {
        vec![Call::DestroyExport(DestroyExportRequest { pool, force: false, carved: 0 })]
    }
}

async fn remove(agents: &Arc<dyn Agents>, left: &Leftover) -> Result<(), Failure> {
    for call in removal(left) {
        agents.call(&left.node, call, None).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rampool_proto::v1::Holding;

    fn holding(assembly: &str, kind: HoldingKind) -> Holding {
        let (name, generation) = assembly.split_once('.').unwrap();
        let pool = PoolId { name: name.into(), generation: generation.parse().unwrap() };
        Holding { pool: Some(pool), kind: kind.into(), ..Holding::default() }
    }

    fn inventory(node: &str, holdings: Vec<Holding>) -> Inventory {
        Inventory { node: node.into(), holdings, ..Inventory::default() }
    }

    fn left(node: &str, assembly: &str, of_head: bool) -> Leftover {
        Leftover { node: node.into(), assembly: assembly.parse().unwrap(), of_head }
    }

    #[test]
    fn what_the_store_does_not_know_as_released_is_kept() {
        let nodes = [inventory("n1", vec![holding("demo.1", HoldingKind::Ramdisk)])];
        assert!(leftovers(&nodes, |_, _, _| false).is_empty());
        assert_eq!(leftovers(&nodes, |_, _, _| true), [left("n1", "demo.1", false)]);
    }

    #[test]
    fn a_donors_memory_waits_for_the_head() {
        let nodes = [
            inventory("n1", vec![holding("demo.1", HoldingKind::Session)]),
            inventory(
                "n2",
                vec![
                    holding("demo.1", HoldingKind::Ramdisk),
                    holding("demo.1", HoldingKind::Export),
                    holding("demo.2", HoldingKind::Export),
                    holding("Foreign.1", HoldingKind::Export),
                ],
            ),
        ];
        let found = leftovers(&nodes, |_, assembly, _| assembly.generation < 3);
        assert_eq!(found, [left("n1", "demo.1", true), left("n2", "demo.2", false)]);
    }

    #[test]
    fn what_fails_is_tried_less_and_less_often_until_its_node_has_news() {
        let mut pauses = Pauses::default();
        assert!(pauses.try_now("a".into()));
        assert!(!pauses.try_now("a".into()));
        pauses.forget("a");
        assert!(pauses.try_now("a".into()));
    }

    proptest! {
        #[test]
        fn nothing_but_the_released_is_ever_removed(
            held in prop::collection::vec((0..3u8, 1..6u32, 1..7i32), 0..30), released in 0..6u32
        ) {
            let nodes: Vec<Inventory> = (0..3u8).map(|node| {
                let own = held.iter().filter(|(on, ..)| *on == node);
                let holdings = own.map(|(_, generation, kind)| {
                    holding(&format!("demo.{generation}"), HoldingKind::try_from(*kind).unwrap())
                });
                inventory(&format!("n{node}"), holdings.collect())
            }).collect();
            for left in leftovers(&nodes, |_, assembly, _| assembly.generation <= released) {
                prop_assert!(left.assembly.generation <= released);
            }
        }
    }
}
