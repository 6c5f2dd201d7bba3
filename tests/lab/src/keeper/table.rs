//! The nodes of a lab and what can be done to them.

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, killpg},
        wait::waitpid,
    },
    unistd::Pid,
};

use super::{
    control::{Ask, LabSpec, NodeStatus, Power},
    links, uml,
};
use crate::{names::NodeId, state::State};

/// All nodes of a lab.
pub(super) struct Table {
    spec: LabSpec,
    state: State,
    run: PathBuf,
    slots: Vec<Slot>,
}

/// One node: what it is, and the news that it has ended.
struct Slot {
    node: NodeId,
    inner: Mutex<Inner>,
    ended: Condvar,
}

struct Inner {
    status: NodeStatus,
    /// The process group of a kernel that runs.
    group: Option<Pid>,
}

impl Table {
    pub(super) fn new(spec: LabSpec, state: State) -> Self {
        let slot = |node| Slot {
            node,
            inner: Mutex::new(Inner {
                status: NodeStatus { node, power: Power::Off, cut: false, boots: 0 },
                group: None,
            }),
            ended: Condvar::new(),
        };
        let slots = NodeId::first(spec.nodes).map(slot).collect();
        Self { run: state.run(), spec, state, slots }
    }

    /// Carries out a request about a node.
    pub(super) fn carry_out(self: &Arc<Self>, ask: Ask) -> Result<Vec<NodeStatus>> {
        match ask {
            Ask::Boot(node) => self.boot(node)?,
            Ask::Kill(node) => self.slot(node)?.kill()?,
            Ask::Pause(node) => self.slot(node)?.pause()?,
            Ask::Resume(node) => self.slot(node)?.resume()?,
            Ask::Cut(node) => self.slot(node)?.set_cut(true)?,
            Ask::Heal(node) => self.slot(node)?.set_cut(false)?,
            Ask::Status | Ask::Shutdown => {}
        }
        Ok(self.slots.iter().map(|slot| slot.lock().status).collect())
    }

    /// Has every kernel that runs look what is due.
    pub(super) fn nudge_clocks(&self) {
        self.slots.iter().for_each(Slot::nudge_clock);
    }

    fn slot(&self, node: NodeId) -> Result<&Slot> {
        let count = self.slots.len();
        self.slots
            .get(node.index())
            .with_context(|| format!("there is no node {node}: this lab has n1 to n{count}"))
    }

    fn boot(self: &Arc<Self>, node: NodeId) -> Result<()> {
        let slot = self.slot(node)?;
        let mut inner = slot.lock();
        ensure!(
            inner.group.is_none(),
            "node {node} is {}, it cannot be booted",
            inner.status.power
        );
        let group = uml::start(&self.spec, node, &self.run, &self.state.console(node))
            .with_context(|| format!("cannot boot node {node}"))?;
        inner.group = Some(group);
        inner.status.power = Power::On;
        inner.status.boots += 1;
        let table = Arc::clone(self);
        let waiting = thread::Builder::new().name(format!("wait-{node}")).spawn(move || {
            wait_for_group(group);
            if let Ok(slot) = table.slot(node) {
                slot.note_end(group);
            }
        });
        waiting.map(drop).context("cannot start a thread")
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self) -> Result<()> {
        let mut inner = self.lock();
        let Some(group) = inner.group else {
            // Dead already, by itself or by us: killing it again changes nothing.
            inner.status.power = Power::Off;
            return Ok(());
        };
        inner.status.power = Power::Off;
        killpg(group, Signal::SIGKILL)
            .with_context(|| format!("cannot kill node {}", self.node))?;
        let (inner, timeout) = self
            .ended
            .wait_timeout_while(inner, Duration::from_secs(20), |inner| inner.group == Some(group))
            .unwrap_or_else(PoisonError::into_inner);
        drop(inner);
        ensure!(
            !timeout.timed_out(),
            "node {} was killed, but its processes do not go away",
            self.node
        );
        Ok(())
    }

    fn pause(&self) -> Result<()> {
        let mut inner = self.lock();
        let group = match (inner.group, inner.status.power) {
            (Some(_), Power::Paused) => return Ok(()),
            (Some(group), _) => group,
            (None, power) => bail!("node {} is {power}, it cannot be paused", self.node),
        };
        uml::stop(group).with_context(|| format!("cannot pause node {}", self.node))?;
        inner.status.power = Power::Paused;
        Ok(())
    }

    fn resume(&self) -> Result<()> {
        let mut inner = self.lock();
        let group = match (inner.group, inner.status.power) {
            (Some(group), Power::Paused) => group,
            (Some(_), _) => return Ok(()),
            (None, power) => bail!("node {} is {power}, it cannot be resumed", self.node),
        };
        uml::go_on(group).with_context(|| format!("cannot resume node {}", self.node))?;
        inner.status.power = Power::On;
        Ok(())
    }

    fn nudge_clock(&self) {
        let inner = self.lock();
        if let (Some(group), Power::On) = (inner.group, inner.status.power)
            && let Err(e) = uml::nudge_clock(group)
        {
            eprintln!("rampool-lab: node {}: {e:#}", self.node);
        }
    }

    fn set_cut(&self, cut: bool) -> Result<()> {
        let mut inner = self.lock();
        if cut {
            links::cut(self.node)?;
        } else {
            links::heal(self.node)?;
        }
        inner.status.cut = cut;
        Ok(())
    }

    fn note_end(&self, group: Pid) {
        let mut inner = self.lock();
        if inner.group == Some(group) {
            inner.group = None;
            if inner.status.power != Power::Off {
                inner.status.power = Power::Ended;
                eprintln!("rampool-lab: node {} ended by itself", self.node);
            }
        }
        self.ended.notify_all();
    }
}

/// Waits until no process of a kernel's group is left. The group's leader is the kernel: once it is gone, its helpers
/// and the guest's processes are orphans, children of the keeper, and are killed.
fn wait_for_group(group: Pid) {
    let any_of_group = Pid::from_raw(-group.as_raw());
    loop {
        match waitpid(any_of_group, None) {
            Ok(status) => {
                if status.pid() == Some(group) {
                    // None left to kill is the good case.
                    let _ = killpg(group, Signal::SIGKILL);
                }
            }
            Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}
