//! What a lab shall be made of.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, ensure};

use crate::{
    files,
    guest::config::GuestConfig,
    image::{
        build::{ensure_image, machine_recipe},
        kernel::{Kernel, MODULES},
    },
    keeper::control::{LabSpec, PROTOCOL},
    lab::{Init, Lab, stage},
    launch, memory,
    names::{MAX_NODES, NodeId},
    state::{self, State},
};

/// What a lab shall be made of. See [`Lab::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    name: String,
    nodes: u8,
    memory_mib: u64,
    init: Init,
    image: Option<PathBuf>,
    binaries: Vec<PathBuf>,
    persist: Vec<Persist>,
    on_boot: Vec<(Option<NodeId>, String)>,
    detached: bool,
}

#[derive(Clone, Debug)]
struct Persist {
    node: Option<NodeId>,
    path: String,
    mode: u32,
    bytes: Vec<u8>,
}

impl Builder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            nodes: 3,
            memory_mib: 1024,
            init: Init::Plain,
            image: None,
            binaries: Vec::new(),
            persist: Vec::new(),
            on_boot: Vec::new(),
            detached: false,
        }
    }

    /// How many nodes, `n1` to `n<count>`. Three when not said.
    #[must_use]
    pub fn nodes(mut self, count: u8) -> Self {
        self.nodes = count;
        self
    }

    /// Memory of each node, in MiB. 1024 when not said.
    #[must_use]
    pub fn memory_mib(mut self, mib: u64) -> Self {
        self.memory_mib = mib;
        self
    }

    /// What runs as each node's first process. [`Init::Plain`] when not said.
    #[must_use]
    pub fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// A root image of one's own. The lab's standard one when not said (built if need be).
    #[must_use]
    pub fn image(mut self, image: impl Into<PathBuf>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// Programs that every node finds in `/opt/rampool/bin`, which is first in its `PATH`.
    #[must_use]
    pub fn binaries(mut self, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.binaries.extend(paths.into_iter().map(Into::into));
        self
    }

    /// A file that every node has from each of its boots on, before anything is started there.
    #[must_use]
    pub fn persist_file(
        mut self,
        path: impl Into<String>,
        mode: u32,
        bytes: impl Into<Vec<u8>>,
    ) -> Self {
        self.persist.push(Persist { node: None, path: path.into(), mode, bytes: bytes.into() });
        self
    }

    /// The same for one node alone.
    #[must_use]
    pub fn persist_file_on(
        mut self,
        node: NodeId,
        path: impl Into<String>,
        mode: u32,
        bytes: impl Into<Vec<u8>>,
    ) -> Self {
        self.persist.push(Persist {
            node: Some(node),
            path: path.into(),
            mode,
            bytes: bytes.into(),
        });
        self
    }

    /// A shell command that runs on every node after each boot, before the boot counts as done.
    #[must_use]
    pub fn on_boot(mut self, script: impl Into<String>) -> Self {
        self.on_boot.push((None, script.into()));
        self
    }

    /// The same for one node alone.
    #[must_use]
    pub fn on_boot_of(mut self, node: NodeId, script: impl Into<String>) -> Self {
        self.on_boot.push((Some(node), script.into()));
        self
    }

    /// Takes the name as it is and lets the lab outlive this process, until [`Lab::take_down`].
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Makes the lab with all nodes switched off. It lives no longer than the value returned.
    ///
    /// # Errors
    /// When the machine lacks something (the error says what to do), or the name is taken.
    pub fn create(self) -> Result<Lab> {
        ensure!(
            (1..=MAX_NODES).contains(&self.nodes),
            "a lab has 1 to {MAX_NODES} nodes, not {}",
            self.nodes
        );
        for removed in state::remove_dead()? {
            eprintln!("rampool-lab: removed what the dead lab {removed} left");
        }
        memory::check(self.nodes, self.memory_mib)?;
        let spec = self.spec()?;
        let state = State::of(&spec.name)?;
        let lock = state.claim()?;
        let keeper = self.write_state(&spec, &state).and_then(|()| launch::start(&state, lock));
        let keeper = keeper.inspect_err(|_| {
            // It says more than what could be said about a folder that stays behind.
            let _ = state.remove_if_dead();
        })?;
        Lab::open(state, spec, Some(keeper))
    }

    /// Makes the lab and boots all of its nodes, side by side.
    ///
    /// # Errors
    /// Those of [`Self::create`] and of [`crate::Node::boot`].
    pub fn boot(self) -> Result<Lab> {
        let detached = self.detached;
        let mut lab = self.create()?;
        lab.boot_all()?;
        if detached {
            lab.release()?;
        }
        Ok(lab)
    }

    fn spec(&self) -> Result<LabSpec> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let kernel = Kernel::find()?;
        let image = match &self.image {
            Some(image) => std::path::absolute(image)
                .with_context(|| format!("no path: {}", image.display()))?,
            None => ensure_image(&machine_recipe(&kernel.release)?, |step| {
                eprintln!("rampool-lab: {step}");
            })?,
        };
        ensure!(image.is_file(), "there is no root image at {}", image.display());
        // Tests of one name may run side by side, in one process or several.
        let name = if self.detached {
            self.name.clone()
        } else {
            format!(
                "{}-{}-{}",
                self.name,
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed)
            )
        };
        Ok(LabSpec {
            protocol: PROTOCOL,
            name,
            nodes: self.nodes,
            memory_mib: self.memory_mib,
            init: self.init,
            image,
            kernel: kernel.program,
            modules: PathBuf::from(MODULES),
        })
    }

    fn write_state(&self, spec: &LabSpec, state: &State) -> Result<()> {
        let text =
            serde_json::to_vec_pretty(spec).context("cannot encode the lab's description")?;
        files::replace(&state.spec(), &text, 0o644)?;
        let binaries = state.binaries();
        fs::create_dir_all(&binaries)
            .with_context(|| format!("cannot make {}", binaries.display()))?;
        files::link_or_copy(&launch::program()?, &binaries.join("rampool-lab"))?;
        for binary in &self.binaries {
            stage(binary, &binaries)?;
        }
        NodeId::first(self.nodes).try_for_each(|node| self.write_node(state, node))
    }

    fn write_node(&self, state: &State, node: NodeId) -> Result<()> {
        let folder = state.node(node);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let for_node = |wanted: &Option<NodeId>| wanted.is_none_or(|wanted| wanted == node);
        let mut config = GuestConfig {
            node,
            nodes: self.nodes,
            init: self.init,
            machine_id: random_id()?,
            persist: Vec::new(),
            on_boot: self
                .on_boot
                .iter()
                .filter(|(wanted, _)| for_node(wanted))
                .map(|(_, s)| s.clone())
                .collect(),
        };
        for file in self.persist.iter().filter(|file| for_node(&file.node)) {
            config.persist(&folder, &file.path, file.mode, &file.bytes)?;
        }
        config.write(&folder)
    }
}

/// Thirty-two random hexadecimal digits.
fn random_id() -> Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")
        .context("cannot read a random number")?;
    Ok(uuid.trim().replace('-', ""))
}
