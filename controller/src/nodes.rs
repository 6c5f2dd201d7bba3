//! What is known of every node: one long-lived watch each, opened again when it breaks.
//!
//! A node is reachable while its heartbeats arrive. Nothing is ever deleted because one does
//! not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use rampool_proto::v1::{Failure, FailureKind, Inventory};
use tokio::sync::{mpsc, watch};

use crate::agents::{Agents, Answer, Call};
use crate::clock::now_ms;

/// How often an agent says that it is there.
const HEARTBEAT_SECONDS: u32 = 2;

/// Three heartbeats missed: a second's load on the node does not make it unreachable.
const SILENCE: Duration = Duration::from_secs(3 * HEARTBEAT_SECONDS as u64);

/// The first inventory needs a dial and a handshake, each with its own deadline.
const FIRST: Duration = Duration::from_secs(12);

/// Between attempts to reach a lost node: at first a blink, for an agent that was restarted.
const LEAST_PAUSE: Duration = Duration::from_millis(200);

/// At last often enough that a node that came back is used again soon.
const GREATEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether a node answers, and since when (milliseconds since the Unix epoch).
#[derive(Clone, Debug, PartialEq)]
pub enum Contact {
    /// It was not yet tried to the end.
    Unknown,
    /// It does.
    Reachable {
        /// Since when.
        since_ms: u64,
    },
    /// It does not.
    Unreachable {
        /// Why.
        why: String,
        /// Since when.
        since_ms: u64,
    },
}

/// What is known of one node.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Whether it answers.
    pub contact: Contact,
    /// What it last said of itself, also if it is silent now.
    pub inventory: Option<Arc<Inventory>>,
    /// When it last said anything; 0: never.
    pub last_seen_ms: u64,
}

impl Known {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), contact: Contact::Unknown, inventory: None, last_seen_ms: 0 }
    }

    /// Whether it answers.
    #[must_use]
    pub fn reachable(&self) -> bool {
        matches!(self.contact, Contact::Reachable { .. })
    }

    /// The inventory of a node that answers.
    #[must_use]
    pub fn current(&self) -> Option<&Inventory> {
        self.inventory.as_deref().filter(|_| self.reachable())
    }

    /// What memory it has available and its floor, in bytes, where it has less than that.
    #[must_use]
    pub fn pressure(&self) -> Option<(u64, u64)> {
        let memory = self.current()?.memory.as_ref()?;
        let (available, floor) = (memory.available_bytes, memory.floor_bytes);
        (available < floor).then_some((available, floor))
    }

    /// Whether what it last said was surely looked up after `moment_ms`: what arrives within a
    /// heartbeat may have been looked up before.
    #[must_use]
    pub fn speaks_of_after(&self, moment_ms: u64) -> bool {
        self.last_seen_ms >= moment_ms + 1000 * u64::from(HEARTBEAT_SECONDS)
    }

    /// Why it does not answer; empty if it does.
    #[must_use]
    pub fn why_not(&self) -> &str {
        match &self.contact {
            Contact::Unknown => "no answer yet",
            Contact::Reachable { .. } => "",
            Contact::Unreachable { why, .. } => why,
        }
    }
}

/// All nodes, in the configuration's order.
pub struct Nodes {
    agents: Arc<dyn Agents>,
    order: Vec<String>,
    known: Mutex<BTreeMap<String, Known>>,
    changed: watch::Sender<()>,
    /// Names of nodes of which something new is known that reconciling should look at.
    news: mpsc::UnboundedSender<String>,
}

impl Nodes {
    /// Knows the names and nothing else. The receiver is told which node came back or holds
    /// other things than before.
    #[must_use]
    pub fn new(
        agents: Arc<dyn Agents>,
        order: Vec<String>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<String>) {
        let (news, told) = mpsc::unbounded_channel();
        let known = order.iter().map(|name| (name.clone(), Known::new(name))).collect();
        let changed = watch::Sender::new(());
        (Arc::new(Self { agents, order, known: Mutex::new(known), changed, news }), told)
    }

    /// Watches every node until the process ends.
    pub fn watch_all(self: &Arc<Self>) {
        for name in &self.order {
            tokio::spawn(watch_one(Arc::clone(self), name.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        // A panic elsewhere cannot leave a node half written: each write is one assignment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One node.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Known> {
        self.lock().get(name).cloned()
    }

    /// All nodes, in the configuration's order.
    #[must_use]
    pub fn all(&self) -> Vec<Known> {
        let known = self.lock();
        self.order.iter().filter_map(|name| known.get(name).cloned()).collect()
    }

    /// Waits until each of `names` has answered or failed to, at most `patience`: a controller
    /// that was just started has heard of nobody yet.
    pub async fn wait_known(&self, names: &[String], patience: Duration) {
        let mut changed = self.changed.subscribe();
        let open = || {
            let known = self.lock();
            names.iter().any(|n| known.get(n).is_some_and(|k| k.contact == Contact::Unknown))
        };
        let all = async {
            while open() {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        // Who is still unknown afterwards is treated as unreachable.
        _ = tokio::time::timeout(patience, all).await;
    }

    /// Waits until a node answers. That it seemed to a moment ago is not enough.
    pub async fn wait_reachable(&self, name: &str) {
        let mut changed = self.changed.subscribe();
        self.refresh(&[name.to_owned()]).await;
        while !self.get(name).is_some_and(|known| known.reachable()) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until it is so; looks again whenever anything is heard of any node.
    pub async fn until(&self, mut so: impl FnMut() -> bool) {
        let mut changed = self.changed.subscribe();
        while !so() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks the reachable ones of `names` for their inventories now: what was heard last may be
    /// older than the memory just given back.
    pub async fn refresh(&self, names: &[String]) {
        let reachable: Vec<&String> =
            names.iter().filter(|n| self.get(n).is_some_and(|k| k.reachable())).collect();
        let asked = reachable.into_iter().map(|name| async move {
            match self.agents.call(name, Call::GetInventory, None).await {
                Ok(Answer::Inventory(inventory)) => self.heard(name, Ok(*inventory)),
                Ok(_) => {}
                Err(failure) => self.heard(name, Err(failure)),
            }
        });
        join_all(asked).await;
    }

    /// Takes note of an inventory, or of why there is none.
    pub(crate) fn heard(&self, name: &str, what: Result<Inventory, Failure>) {
        let what = what.and_then(|inventory| check_name(name, inventory));
        let mut known = self.lock();
        let Some(node) = known.get_mut(name) else { return };
        let worth_telling = match what {
            Ok(inventory) => take(node, inventory),
            Err(failure) => {
                lose(node, failure);
                false
            }
        };
        drop(known);
        self.changed.send_replace(());
        if worth_telling {
            // No receiver: the controller is ending.
            _ = self.news.send(name.to_owned());
        }
    }
}

/// An address that leads to another node's agent would put memory where nobody looks for it.
fn check_name(name: &str, inventory: Inventory) -> Result<Inventory, Failure> {
    if inventory.node == name {
        return Ok(inventory);
    }
    Err(Failure::new(FailureKind::Failed, "reach the node's agent")
        .on(name)
        .saying(format!("the agent at its address calls itself {:?}", inventory.node))
        .advising("check agents.addresses in the controller's configuration, and the agent's name"))
}

/// Notes an inventory; says whether reconciling should look at it.
fn take(node: &mut Known, inventory: Inventory) -> bool {
    let now = now_ms();
    let news = !node.reachable()
        || node.inventory.as_ref().is_none_or(|last| {
            last.holdings != inventory.holdings || last.boot_id != inventory.boot_id
        });
    if !node.reachable() {
        tracing::info!(node = node.name, "reachable");
        node.contact = Contact::Reachable { since_ms: now };
    }
    node.inventory = Some(Arc::new(inventory));
    node.last_seen_ms = now;
    news
}

fn lose(node: &mut Known, failure: Failure) {
    let why = said_of(failure);
    let since_ms = match &node.contact {
        Contact::Unreachable { since_ms, .. } => *since_ms,
        _ => {
            tracing::warn!(node = node.name, why, "unreachable");
            now_ms()
        }
    };
    node.contact = Contact::Unreachable { why, since_ms };
}

/// What was said and what to do: the node's name and the watch stand beside it anyway.
fn said_of(failure: Failure) -> String {
    let bare = Failure { node: String::new(), ..failure };
    match (bare.said.as_str(), bare.advice.as_str()) {
        ("", _) => bare.to_string(),
        (said, "") => said.to_owned(),
        (said, advice) => format!("{said}; {advice}"),
    }
}

async fn watch_one(nodes: Arc<Nodes>, name: String) {
    let mut pause = LEAST_PAUSE;
    loop {
        let mut inventories = nodes.agents.watch(&name, HEARTBEAT_SECONDS);
        let mut patience = FIRST;
        let failure = loop {
            match tokio::time::timeout(patience, inventories.next()).await {
                Ok(Some(Ok(inventory))) => {
                    nodes.heard(&name, Ok(inventory));
                    pause = LEAST_PAUSE;
                    patience = SILENCE;
                }
                Ok(Some(Err(failure))) => break failure,
                Ok(None) => break silence(&name, "the agent ended the watch"),
                Err(_) => {
                    break silence(&name, &format!("no heartbeat for {} s", patience.as_secs()));
                }
            }
        };
        drop(inventories);
        nodes.heard(&name, Err(failure));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(GREATEST_PAUSE);
    }
}

fn silence(name: &str, said: &str) -> Failure {
    Failure::new(FailureKind::NotNow, "watch the node's inventory").on(name).saying(said)
}
