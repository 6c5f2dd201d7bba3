//! A lab that runs.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    builder::Builder,
    exec::client::connect_in,
    files,
    keeper::control::{self, Ask, LabSpec, NodeStatus},
    launch::{self, TiedKeeper},
    names::NodeId,
    node::Node,
    state::State,
};

/// What runs as a node's first process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// A small init of the lab's own: no udev, no services; at the prompt within seconds.
    #[default]
    Plain,
    /// systemd with udev and all that Debian starts by default for disks.
    Systemd,
}

/// A running lab. Dropped by its owner, it is gone: processes, network, mounts, state folder. Dropped while the thread
/// panics, it first prints what its nodes have to say.
pub struct Lab {
    pub(crate) shared: Arc<Shared>,
    nodes: Vec<Node>,
    owner_of: Option<TiedKeeper>,
}

/// What a lab and its nodes' handles share.
pub(crate) struct Shared {
    pub(crate) state: State,
    pub(crate) spec: LabSpec,
    pub(crate) netns: Arc<File>,
}

impl Lab {
    /// Begins a lab that lives no longer than the value that [`Builder::boot`] returns, and in no case longer than this
    /// process. Its name is this one with something added, so that tests of one name do not collide.
    #[must_use]
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    /// A lab that runs already, such as one that `rampool-lab up` left. It outlives this value.
    ///
    /// # Errors
    /// When no lab of this name runs.
    pub fn attach(name: &str) -> Result<Self> {
        let state = State::of(name)?;
        let alive = state.is_alive()?;
        ensure!(
            alive,
            "no lab `{name}` is running: rampool-lab up --name {name}, or look at rampool-lab status"
        );
        let text = fs::read(state.spec())
            .with_context(|| format!("cannot read {}", state.spec().display()))?;
        let spec = serde_json::from_slice(&text).context("lab.json is not understood")?;
        Self::open(state, spec, None)
    }

    pub(crate) fn open(state: State, spec: LabSpec, owner_of: Option<TiedKeeper>) -> Result<Self> {
        let pid = control::keeper_pid(state.folder())?;
        let path = format!("/proc/{pid}/ns/net");
        let netns = File::open(&path).with_context(|| {
            format!("cannot open the lab's network namespace {path}: only root can (use sudo)")
        })?;
        let shared = Arc::new(Shared { state, spec, netns: Arc::new(netns) });
        let nodes = NodeId::first(shared.spec.nodes).map(|id| Node::new(id, &shared)).collect();
        Ok(Self { shared, nodes, owner_of })
    }

    /// Lets the lab outlive this value and this process.
    pub(crate) fn release(&mut self) -> Result<()> {
        self.owner_of.take().map_or(Ok(()), TiedKeeper::release)
    }

    /// The lab's full name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.spec.name
    }

    /// The node with this name.
    ///
    /// # Errors
    /// When the lab has no such node.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let id: NodeId = name.parse()?;
        self.nodes.get(id.index()).with_context(|| {
            format!(
                "there is no node {id}: the lab {} has n1 to n{}",
                self.name(),
                self.shared.spec.nodes
            )
        })
    }

    /// All nodes, in order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How all nodes are.
    ///
    /// # Errors
    /// When the lab's keeper does not answer.
    pub fn status(&self) -> Result<Vec<NodeStatus>> {
        control::ask(self.shared.state.folder(), Ask::Status)
    }

    /// Boots all nodes, side by side, and waits until each is at its prompt.
    ///
    /// # Errors
    /// Those of [`Node::boot`], the first node's that has one.
    pub fn boot_all(&self) -> Result<()> {
        thread::scope(|scope| {
            let boots: Vec<_> = self.nodes.iter().map(|node| scope.spawn(|| node.boot())).collect();
            let results = boots
                .into_iter()
                .map(|boot| boot.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
            results.collect::<Vec<_>>().into_iter().collect()
        })
    }

    /// Makes a program visible to every node in `/opt/rampool/bin`, at once; one of the same name is replaced.
    ///
    /// # Errors
    /// When it cannot be linked or copied there.
    pub fn stage_binary(&self, path: impl AsRef<Path>) -> Result<()> {
        stage(path.as_ref(), &self.shared.state.binaries())
    }

    /// Connects from the machine to an address in the lab's network (the lab itself is 10.77.0.1 there).
    ///
    /// # Errors
    /// When nobody listens there, or the time-out has passed.
    pub fn connect(&self, addr: SocketAddr, timeout: Duration) -> Result<TcpStream> {
        connect_in(&self.shared.netns, addr, timeout)
    }

    /// The folder with the lab's state: `<node>.console.log`, `keeper.log` and more.
    #[must_use]
    pub fn state_folder(&self) -> &Path {
        self.shared.state.folder()
    }

    /// Prints to standard error what the nodes have to say: the ends of their consoles and of their logs under
    /// `/var/log/rampool`.
    pub fn on_failure_dump(&self) {
        eprintln!("==== lab {}: what its nodes have to say", self.name());
        for node in &self.nodes {
            node.dump();
        }
        eprintln!("==== end of lab {}", self.name());
    }

    /// Ends the lab and removes its state, whoever owns it.
    ///
    /// # Errors
    /// When something of it stays.
    pub fn take_down(mut self) -> Result<()> {
        match self.owner_of.take() {
            Some(mut keeper) => keeper.end()?,
            None => launch::end(&self.shared.state)?,
        }
        self.shared.state.remove_if_dead().map(drop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let Some(mut keeper) = self.owner_of.take() else { return };
        if thread::panicking() {
            self.on_failure_dump();
        }
        if let Err(e) = keeper.end().and_then(|()| self.shared.state.remove_if_dead()) {
            eprintln!("rampool-lab: lab {}: {e:#}", self.name());
        }
    }
}

/// Makes a program visible in the folder that nodes see.
pub(crate) fn stage(binary: &Path, folder: &Path) -> Result<()> {
    ensure!(binary.is_file(), "there is no program at {} (build it first)", binary.display());
    let name =
        binary.file_name().with_context(|| format!("{} has no file name", binary.display()))?;
    files::link_or_copy(binary, &folder.join(name))
}
