//! Nodes in memory that answer as agents do, and faults to inject into their answers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use rampool_proto::v1::{Failure, FailureKind, Inventory};
use tokio::sync::{Notify, watch};

pub(super) use super::model::GIB;
use super::model::{ModelNode, ModelNodes};
use crate::agents::{Agents, Answer, Call, Progress};

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

struct Inner {
    nodes: ModelNodes,
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
        let nodes = ModelNodes::new(names);
        let inner = Inner { nodes, faults: Vec::new(), calls: Vec::new() };
        Arc::new(Self { inner: Mutex::new(inner), changed: watch::Sender::new(()) })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.inner.lock().unwrap());
        self.changed.send_replace(());
        result
    }

    fn node<T>(&self, name: &str, change: impl FnOnce(&mut ModelNode) -> T) -> T {
        self.change(|inner| change(inner.nodes.node(name)))
    }

    /// The next call of this name on this node ("" is any) meets this fault.
    pub(super) fn inject(&self, node: &str, call: &str, fault: Fault) {
        self.change(|inner| inner.faults.push((node.to_owned(), call.to_owned(), fault)));
    }

    pub(super) fn set_alive(&self, name: &str, alive: bool) {
        self.node(name, |node| node.alive = alive);
    }

    pub(super) fn reboot(&self, name: &str) {
        self.node(name, ModelNode::reboot);
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
        self.node(name, |node| node.plant_export(&assembly));
    }

    /// What is held, as "node assembly".
    pub(super) fn held(&self) -> BTreeSet<String> {
        self.inner.lock().unwrap().nodes.held()
    }

    /// The names of all nodes.
    pub(super) fn names(&self) -> Vec<String> {
        self.inner.lock().unwrap().nodes.0.keys().cloned().collect()
    }

    /// What a node lends, as "target of memory".
    pub(super) fn lends(&self, name: &str) -> BTreeSet<String> {
        self.inner.lock().unwrap().nodes.lends(name)
    }

    /// The nodes whose heads could write to all of a pool.
    pub(super) fn writers(&self) -> Vec<String> {
        let writers = self.inner.lock().unwrap().nodes.writers();
        writers.into_iter().map(|(node, assembly)| format!("{node} {assembly}")).collect()
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
        self.inner.lock().unwrap().nodes.inventory(name)
    }

    /// Does what a call asks, as an agent would.
    pub(super) fn carry_out(&self, name: &str, call: &Call) -> Result<Answer, Failure> {
        if let Call::GetInventory = call {
            return self.inventory(name).map(|inventory| Answer::Inventory(Box::new(inventory)));
        }
        self.change(|inner| inner.nodes.carry_out(name, call))
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
