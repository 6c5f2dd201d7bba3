//! Nodes in memory that answer as agents do, and faults to inject into their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{
    Export, Failure, FailureKind, Holder, Holding, HoldingKind, Inventory, Memory, PoolId, Usage,
};
use tokio::sync::{Notify, watch};

use crate::agents::{Agents, Answer, Call, Progress};

pub(super) const GIB: u64 = 1 << 30;

/// What an injected fault does to a call.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It is refused, and nothing was done.
    Refuse(FailureKind),
    /// It is done, but the answer is lost.
    LoseAnswer,
    /// It waits until told to go on.
    Wait(Arc<Notify>),
    /// The node dies before it.
    Die,
    /// The controller's own code has a fault there.
    Panic,
}

/// What one node holds of one assembly.
#[derive(Clone, Default, Debug, PartialEq)]
struct Held {
    export: Option<u64>,
    session: bool,
    volume: bool,
    mount: bool,
}

struct FakeNode {
    boot: u32,
    alive: bool,
    memory: u64,
    mount_in_use: bool,
    held: BTreeMap<Assembly, Held>,
}

struct Inner {
    nodes: BTreeMap<String, FakeNode>,
    /// By node ("" is any) and call.
    faults: Vec<(String, String, Fault)>,
    calls: Vec<(String, String)>,
}

/// All fake nodes.
pub(super) struct FakeNodes {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

/// A call's bare name, e.g. "Attach".
pub(super) fn name_of(call: &Call) -> String {
    format!("{call:?}").split(['(', ' ']).next().unwrap_or_default().to_owned()
}

impl FakeNodes {
    pub(super) fn new(names: &[&str]) -> Arc<Self> {
        let node = |name: &&str| {
            let memory = 4 * GIB;
            let held = BTreeMap::new();
            (
                (*name).to_owned(),
                FakeNode { boot: 1, alive: true, memory, mount_in_use: false, held },
            )
        };
        let nodes = names.iter().map(node).collect();
        let inner = Inner { nodes, faults: Vec::new(), calls: Vec::new() };
        Arc::new(Self { inner: Mutex::new(inner), changed: watch::Sender::new(()) })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.inner.lock().unwrap());
        self.changed.send_replace(());
        result
    }

    fn node<T>(&self, name: &str, change: impl FnOnce(&mut FakeNode) -> T) -> T {
        self.change(|inner| change(inner.nodes.get_mut(name).unwrap()))
    }

    /// The next call of this name on this node ("" is any) meets this fault.
    pub(super) fn inject(&self, node: &str, call: &str, fault: Fault) {
        self.change(|inner| inner.faults.push((node.to_owned(), call.to_owned(), fault)));
    }

    pub(super) fn set_alive(&self, name: &str, alive: bool) {
        self.node(name, |node| node.alive = alive);
    }

    pub(super) fn reboot(&self, name: &str) {
        self.node(name, |node| {
            node.boot += 1;
            node.held.clear();
            node.alive = true;
        });
    }

    pub(super) fn set_memory(&self, name: &str, bytes: u64) {
        self.node(name, |node| node.memory = bytes);
    }

    pub(super) fn use_mount(&self, name: &str, in_use: bool) {
        self.node(name, |node| node.mount_in_use = in_use);
    }

    /// Puts an export on a node behind the controller's back.
    pub(super) fn plant_export(&self, name: &str, assembly: &str) {
        let assembly = assembly.parse().unwrap();
        self.node(name, |node| node.held.entry(assembly).or_default().export = Some(GIB));
    }

    /// What is held, as "node assembly".
    pub(super) fn held(&self) -> BTreeSet<String> {
        let inner = self.inner.lock().unwrap();
        let nodes = inner.nodes.iter();
        nodes
            .flat_map(|(name, node)| node.held.keys().map(move |held| format!("{name} {held}")))
            .collect()
    }

    /// The names of all calls so far but inventories, with their nodes.
    pub(super) fn calls(&self) -> Vec<(String, String)> {
        self.inner.lock().unwrap().calls.clone()
    }

    /// Waits until `so`.
    pub(super) async fn until(&self, so: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        while !so(self) {
            changed.changed().await.unwrap();
        }
    }

    fn inventory(&self, name: &str) -> Result<Inventory, Failure> {
        let inner = self.inner.lock().unwrap();
        let node = &inner.nodes[name];
        if !node.alive {
            return Err(unreachable(name));
        }
        let lent: u64 = node.held.values().filter_map(|held| held.export).sum();
        Ok(Inventory {
            node: name.to_owned(),
            boot_id: format!("boot-{}", node.boot),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            memory: Some(Memory {
                total_bytes: node.memory + GIB,
                available_bytes: node.memory + GIB - lent.min(node.memory),
                lendable_bytes: node.memory.saturating_sub(lent),
                floor_bytes: GIB,
                lent_bytes: lent,
            }),
            holdings: node
                .held
                .iter()
                .flat_map(|(assembly, held)| holdings(assembly, held))
                .collect(),
            ..Inventory::default()
        })
    }

    /// Does what a call asks, as an agent would.
    fn carry_out(&self, name: &str, call: &Call) -> Result<Answer, Failure> {
        let exported: BTreeSet<Assembly> = {
            let inner = self.inner.lock().unwrap();
            let alive = inner.nodes.values().filter(|node| node.alive);
            alive
                .flat_map(|n| n.held.iter())
                .filter(|(_, h)| h.export.is_some())
                .map(|(a, _)| a.clone())
                .collect()
        };
        if !self.inner.lock().unwrap().nodes[name].alive {
            return Err(unreachable(name));
        }
        if let Call::GetInventory = call {
            return self.inventory(name).map(|inventory| Answer::Inventory(Box::new(inventory)));
        }
        let assembly = assembly_of(call);
        self.node(name, |node| {
            let in_use = node.mount_in_use;
            let held = node.held.entry(assembly.clone()).or_default();
            let answer = apply(name, held, call, in_use, exported.contains(&assembly));
            node.held.retain(|_, held| *held != Held::default());
            answer
        })
    }

    fn take_fault(&self, node: &str, call: &str) -> Option<Fault> {
        let mut inner = self.inner.lock().unwrap();
        let meant =
            |(on, what, _): &(String, String, Fault)| (on.is_empty() || on == node) && what == call;
        let at = inner.faults.iter().position(meant)?;
        Some(inner.faults.remove(at).2)
    }

    pub(super) async fn answer(
        self: Arc<Self>,
        node: String,
        call: Call,
        progress: Option<Progress>,
    ) -> Result<Answer, Failure> {
        let name = name_of(&call);
        if !matches!(call, Call::GetInventory | Call::GetUsage(_)) {
            self.change(|inner| inner.calls.push((node.clone(), name.clone())));
        }
        match self.take_fault(&node, &name) {
            None => {}
            Some(Fault::Refuse(kind)) => {
                return Err(Failure::new(kind, call.words()).on(&node).saying("injected"));
            }
            Some(Fault::LoseAnswer) => {
                _ = self.carry_out(&node, &call);
                return Err(Failure::new(FailureKind::TimedOut, call.words()).on(&node));
            }
            Some(Fault::Wait(go_on)) => go_on.notified().await,
            Some(Fault::Panic) => panic!("injected"),
            Some(Fault::Die) => self.set_alive(&node, false),
        }
        if let (Call::CreateExport(request), Some(tell)) = (&call, &progress) {
            tell(request.bytes / 2);
        }
        self.carry_out(&node, &call)
    }
}

fn unreachable(name: &str) -> Failure {
    Failure::new(FailureKind::NotNow, "reach the node's agent")
        .on(name)
        .saying("connection refused")
}

fn holdings(assembly: &Assembly, held: &Held) -> Vec<Holding> {
    let holding = |kind: HoldingKind| Holding {
        pool: Some(PoolId::from(assembly)),
        kind: kind.into(),
        bytes: if kind == HoldingKind::Ramdisk { held.export.unwrap_or(0) } else { 0 },
        ..Holding::default()
    };
    let kinds = [
        (held.export.is_some(), HoldingKind::Ramdisk),
        (held.export.is_some(), HoldingKind::Export),
        (held.session, HoldingKind::Session),
        (held.volume, HoldingKind::Volume),
        (held.mount, HoldingKind::Mount),
    ];
    kinds.into_iter().filter(|(is, _)| *is).map(|(_, kind)| holding(kind)).collect()
}

fn assembly_of(call: &Call) -> Assembly {
    let id = match call {
        Call::GetInventory => None,
        Call::CheckHead(m) => m.pool.as_ref(),
        Call::CreateExport(m) => m.pool.as_ref(),
        Call::DestroyExport(m) => m.pool.as_ref(),
        Call::Attach(m) => m.pool.as_ref(),
        Call::Detach(m) => m.pool.as_ref(),
        Call::AssembleVolume(m) => m.pool.as_ref(),
        Call::StopVolume(m) => m.pool.as_ref(),
        Call::MakeFilesystem(m) => m.pool.as_ref(),
        Call::Mount(m) => m.pool.as_ref(),
        Call::Unmount(m) => m.pool.as_ref(),
        Call::GetUsage(m) => m.pool.as_ref(),
        Call::FenceExport(m) => m.pool.as_ref(),
        Call::ReplaceMember(m) => m.pool.as_ref(),
        Call::ReaddMembers(m) => m.pool.as_ref(),
        Call::FailVolume(m) => m.pool.as_ref(),
    };
    Assembly::try_from(id.unwrap()).unwrap()
}

fn apply(
    node: &str,
    held: &mut Held,
    call: &Call,
    in_use: bool,
    exported: bool,
) -> Result<Answer, Failure> {
    let refuse = |kind, said: &str| Err(Failure::new(kind, call.words()).on(node).saying(said));
    match call {
        Call::CreateExport(request) => {
            held.export = Some(request.bytes);
            Ok(Answer::Export(Export {
                donor: node.to_owned(),
                bytes: request.bytes,
                serial: format!("serial-of-{node}"),
                ..Export::default()
            }))
        }
        Call::DestroyExport(_) => Ok(Answer::Freed(held.export.take().unwrap_or(0))),
        Call::Attach(_) if !exported => refuse(FailureKind::Failed, "no such target"),
        Call::Attach(request) => {
            assert!(request.exports.iter().all(|export| !export.serial.is_empty()));
            held.session = true;
            Ok(Answer::Done)
        }
        Call::AssembleVolume(_) => {
            held.volume = true;
            Ok(Answer::Volume("/dev/fake".into(), GIB))
        }
        Call::Mount(request) => {
            assert!(request.readme.contains("MEMORY"));
            held.mount = true;
            Ok(Answer::Usage(Usage { bytes_total: GIB, bytes_free: GIB, ..Usage::default() }))
        }
        Call::Unmount(request) if held.mount && in_use && !request.force => {
            refuse(FailureKind::Busy, "used by 4711 (vi, ada)")
        }
        Call::Unmount(_) => {
            let holder =
                Holder { pid: 4711, command: "vi".into(), user: "ada".into(), ..Holder::default() };
            let terminated = if held.mount && in_use { vec![holder] } else { Vec::new() };
            held.mount = false;
            Ok(Answer::Unmounted(terminated))
        }
        Call::StopVolume(_) if held.mount => refuse(FailureKind::Conflict, "mounted"),
        Call::StopVolume(_) => {
            held.volume = false;
            Ok(Answer::Done)
        }
        Call::Detach(_) if held.volume => refuse(FailureKind::Conflict, "in a volume"),
        Call::Detach(_) => {
            held.session = false;
            Ok(Answer::Done)
        }
        Call::GetUsage(_) if held.mount => {
            Ok(Answer::Usage(Usage { bytes_total: GIB, bytes_free: GIB / 2, ..Usage::default() }))
        }
        Call::GetUsage(_) => refuse(FailureKind::NotFound, "not mounted"),
        Call::FenceExport(_)
        | Call::ReplaceMember(_)
        | Call::ReaddMembers(_)
        | Call::FailVolume(_)
        | Call::CheckHead(_)
        | Call::MakeFilesystem(_)
        | Call::GetInventory => Ok(Answer::Done),
    }
}

/// The nodes as the controller sees them, without gRPC.
pub(super) struct FakeAgents(pub(super) Arc<FakeNodes>);

impl Agents for FakeAgents {
    fn call(
        &self,
        node: &str,
        call: Call,
        progress: Option<Progress>,
    ) -> BoxFuture<'static, Result<Answer, Failure>> {
        Arc::clone(&self.0).answer(node.to_owned(), call, progress).boxed()
    }

    fn watch(&self, node: &str, _: u32) -> BoxStream<'static, Result<Inventory, Failure>> {
        watch_node(Arc::clone(&self.0), node.to_owned())
    }
}

/// A node's inventories at each change of any node, until it dies.
pub(super) fn watch_node(
    nodes: Arc<FakeNodes>,
    name: String,
) -> BoxStream<'static, Result<Inventory, Failure>> {
    let mut changed = nodes.changed.subscribe();
    changed.mark_changed();
    stream::unfold(Some(changed), move |changed| {
        let (nodes, name) = (Arc::clone(&nodes), name.clone());
        async move {
            let mut changed = changed?;
            changed.changed().await.ok()?;
            let inventory = nodes.inventory(&name);
            let go_on = inventory.is_ok().then_some(changed);
            Some((inventory, go_on))
        }
    })
    .boxed()
}
