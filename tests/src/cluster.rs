//! A lab whose nodes run rampool's programs, under the configuration files an admin would
//! write. `n1` also runs the controller. `rampool` is typed beside the nodes, on the machine that
//! the lab runs on: there a process costs no tenth of what it costs on a node.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rampool_lab::{Init, Lab, Node, NodeId, Output};
use serde_json::Value;

use crate::credentials::Credentials;
use crate::footprint::Footprint;
use crate::programs;

/// The node that runs the controller.
pub const CONTROLLER: &str = "n1";

/// Whose certificate `rampool` shows.
const ADMIN: &str = "admin";

/// Where a node has its certificates.
pub(crate) const TLS: &str = "/etc/rampool/tls";

/// What a lab's donor keeps for itself: its kernels have 1 GiB or less, so the product's
/// default floor of 2 GiB would leave nothing to lend.
const FLOOR: &str = "96MiB";

/// Longer than any command takes whose calls have deadlines: who waits for one that hangs is told.
const LONGEST: Duration = Duration::from_secs(600);

/// A lab with rampool running on it.
pub struct Cluster {
    /// The nodes, for power cuts and the like.
    pub lab: Lab,
    nodes: Vec<String>,
    admin: Admin,
}

/// Who types `rampool` beside the nodes, with a configuration of their own.
struct Admin {
    rampool: PathBuf,
    config: String,
    /// The folder that the configuration names files in.
    _credentials: Credentials,
}

impl Admin {
    fn new(credentials: Credentials) -> Result<Self> {
        let controller = NodeId::new(1)?.management_addr();
        let tls = credentials.folder().display().to_string();
        let text = format!(
            "controller: {controller}:7701\nname: {CONTROLLER}\n{}",
            tls_yaml(&tls, "operator-admin")
        );
        let config = credentials.folder().join("client.yaml");
        std::fs::write(&config, text).context("write the admin's configuration")?;
        let rampool = programs::path("rampool")?;
        Ok(Self { rampool, config: config.display().to_string(), _credentials: credentials })
    }
}

/// What the cluster shall be like.
pub struct Builder {
    name: String,
    nodes: u8,
    memory_mib: u64,
    init: Init,
    profiles: String,
    more: String,
    of_agents: Vec<(NodeId, String)>,
    /// Role and name of each.
    parties: Vec<(&'static str, &'static str)>,
}

impl Cluster {
    /// A cluster of `nodes` kernels; `name` is its lab's.
    #[must_use]
    pub fn builder(name: &str, nodes: u8) -> Builder {
        Builder {
            name: name.into(),
            nodes,
            memory_mib: 640,
            init: Init::Plain,
            profiles: String::new(),
            more: String::new(),
            of_agents: Vec::new(),
            parties: vec![("controller", "controller"), ("operator", ADMIN)],
        }
    }

    /// Uses it; where that fails, the nodes' consoles and the programs' logs are printed.
    pub fn run(self, using: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let outcome = using(&self);
        if outcome.is_err() {
            self.lab.on_failure_dump();
        }
        outcome
    }

    /// The names of its nodes.
    #[must_use]
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// One of its nodes.
    ///
    /// # Panics
    /// Where there is none of that name: the caller made the cluster.
    #[must_use]
    pub fn node(&self, name: &str) -> &Node {
        self.lab.node(name).expect("a cluster's user names the nodes it asked for")
    }

    /// Runs `rampool` with these arguments, as an admin. The controller is reached by a link of its
    /// node that is never cut.
    pub fn rampool(&self, arguments: &[&str]) -> Result<Output> {
        let words = [&["--config", self.admin.config.as_str()], arguments].concat();
        self.lab.run_beside(&self.admin.rampool, &words, LONGEST)
    }

    /// Runs `rampool` and takes its JSON; anything but exit code 0 is an error.
    pub fn rampool_json(&self, arguments: &[&str]) -> Result<Value> {
        let words: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
        let output = self.rampool(&words)?.ok()?;
        serde_json::from_str(&output)
            .with_context(|| format!("rampool {} printed no JSON: {output}", words.join(" ")))
    }

    /// What one node holds now.
    pub fn footprint(&self, node: &str) -> Result<Footprint> {
        self.probe(node, "")
    }

    /// What every node holds now, in the order of [`nodes`](Self::nodes).
    pub fn footprints(&self) -> Result<Vec<Footprint>> {
        self.probe_all("")
    }

    /// The same, with caches dropped first, so that memory counts what is held and not what was
    /// read. All that runs afterwards is read anew: for those who compare memory.
    pub fn weighed_footprints(&self) -> Result<Vec<Footprint>> {
        self.probe_all("sync; echo 3 > /proc/sys/vm/drop_caches; ")
    }

    fn probe(&self, node: &str, first: &str) -> Result<Footprint> {
        let said = self.node(node).sh(&format!("{first}{}", Footprint::probe()))?;
        Footprint::parse(&said).with_context(|| format!("take {node}'s footprint"))
    }

    fn probe_all(&self, first: &str) -> Result<Vec<Footprint>> {
        std::thread::scope(|scope| {
            let probe = |node| scope.spawn(move || self.probe(node, first));
            let probes: Vec<_> = self.nodes.iter().map(|node| probe(node.as_str())).collect();
            probes
                .into_iter()
                .map(|probe| probe.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    /// Fails with a list if any node holds another set of objects than before.
    pub fn ensure_as_before(&self, before: &[Footprint]) -> Result<()> {
        self.ensure_same(before, &self.footprints()?)
    }

    /// Fails with a list if any node's footprints differ, memory apart.
    pub fn ensure_same(&self, before: &[Footprint], after: &[Footprint]) -> Result<()> {
        let mut differences = Vec::new();
        for ((node, before), after) in self.nodes.iter().zip(before).zip(after) {
            let difference = before.difference(after);
            if !difference.is_empty() {
                differences.push(format!("{node}:\n{difference}"));
            }
        }
        ensure!(differences.is_empty(), "nodes are not as before:\n{}", differences.join("\n"));
        Ok(())
    }

    /// Starts the controller (again).
    pub fn start_controller(&self) -> Result<()> {
        self.node(CONTROLLER).daemon("controller", ["rampool-controller"]).map(drop)
    }

    /// Starts the agent of one node (again).
    pub fn start_agent(&self, node: &str) -> Result<()> {
        self.node(node).daemon("agent", ["rampool-agent"]).map(drop)
    }

    /// Ends a program on a node as `kill -9` does, and waits until it is gone.
    pub fn kill_program(&self, node: &str, program: &str) -> Result<()> {
        let script = format!(
            "pid=$(pidof {program}) && kill -9 $pid && while kill -0 $pid 2>/dev/null; do :; done"
        );
        self.node(node).sh(&script).map(drop)
    }
}

impl Builder {
    /// Memory of each node, in MiB; 640 where not said.
    #[must_use]
    pub fn memory_mib(mut self, mib: u64) -> Self {
        self.memory_mib = mib;
        self
    }

    /// systemd, udev and all that Debian starts by default, instead of a plain init.
    #[must_use]
    pub fn systemd(mut self) -> Self {
        self.init = Init::Systemd;
        self
    }

    /// Named profiles, as they stand under `profiles:` in controller.yaml.
    #[must_use]
    pub fn profiles(mut self, yaml: &str) -> Self {
        self.profiles = yaml.to_owned();
        self
    }

    /// Further lines of controller.yaml.
    #[must_use]
    pub fn controller(mut self, yaml: &str) -> Self {
        self.more.push_str(yaml);
        self
    }

    /// Further lines of one node's agent.yaml.
    #[must_use]
    pub fn agent(mut self, node: NodeId, yaml: &str) -> Self {
        self.of_agents.push((node, yaml.to_owned()));
        self
    }

    /// One more who talks to the controller from its own node, with a certificate of that role and
    /// name.
    #[must_use]
    pub fn party(mut self, role: &'static str, name: &'static str) -> Self {
        self.parties.push((role, name));
        self
    }

    /// Boots it, and waits until the controller hears every agent.
    pub fn boot(self) -> Result<Cluster> {
        self.boot_with(|lab| lab)
    }

    /// The same, with the last word on the lab left to the caller.
    pub fn boot_with(
        self,
        last_word: impl FnOnce(rampool_lab::Builder) -> rampool_lab::Builder,
    ) -> Result<Cluster> {
        let binaries = programs::PROGRAMS
            .iter()
            .map(|name| programs::path(name))
            .collect::<Result<Vec<_>>>()?;
        let mut lab = Lab::builder(&self.name)
            .nodes(self.nodes)
            .memory_mib(self.memory_mib)
            .init(self.init)
            .binaries(binaries);
        let pki = Credentials::new()?;
        lab = self.configure(lab, &pki)?;
        lab = match self.init {
            Init::Plain => start_by_hand(lab),
            Init::Systemd => start_by_systemd(lab),
        };
        let lab = last_word(lab).boot()?;
        let nodes: Vec<String> = lab.nodes().iter().map(Node::name).collect();
        let admin = Admin::new(pki)?;
        let cluster = Cluster { lab, nodes, admin };
        let names: Vec<&str> = cluster.nodes.iter().map(String::as_str).collect();
        cluster.wait_reachable(&names)?;
        Ok(cluster)
    }

    /// Certificates and configuration files, each where its program looks for it.
    fn configure(
        &self,
        mut lab: rampool_lab::Builder,
        pki: &Credentials,
    ) -> Result<rampool_lab::Builder> {
        for node in NodeId::first(self.nodes) {
            let address = node.data_addr().to_string();
            let files = pki.issue("agent", &node.to_string(), std::slice::from_ref(&address))?;
            lab = lab
                .persist_file_on(node, "/etc/rampool/tls/ca.pem", 0o644, files.ca)
                .persist_file_on(node, "/etc/rampool/tls/node.pem", 0o644, files.cert)
                .persist_file_on(node, "/etc/rampool/tls/node.key", 0o600, files.key)
                .persist_file_on(node, "/etc/rampool/agent.yaml", 0o644, self.agent_yaml(node));
        }
        let first = NodeId::new(1)?;
        for (role, party) in &self.parties {
            let files = pki.issue(role, party, &[CONTROLLER.to_owned()])?;
            lab = lab
                .persist_file_on(first, format!("/etc/rampool/tls/{party}.pem"), 0o644, files.cert)
                .persist_file_on(first, format!("/etc/rampool/tls/{party}.key"), 0o600, files.key);
        }
        Ok(lab
            .persist_file_on(first, "/etc/rampool/client.yaml", 0o644, client_yaml())
            .persist_file_on(first, "/etc/rampool/controller.yaml", 0o644, self.controller_yaml()))
    }

    fn controller_yaml(&self) -> String {
        let profiles = if self.profiles.is_empty() {
            String::new()
        } else {
            format!("profiles:\n{}\n", self.profiles)
        };
        format!(
            "nodes: n[1-{}]\n\
             contact: the people who run this lab\n\
             {profiles}{}{}",
            self.nodes,
            self.more,
            tls_yaml(TLS, "controller"),
        )
    }

    fn agent_yaml(&self, node: NodeId) -> String {
        let more = self.of_agents.iter().filter(|(of, _)| *of == node);
        let more: String = more.map(|(_, yaml)| yaml.as_str()).collect();
        format!(
            "node: {node}\n\
             data_address: {}\n\
             mount_roots: [/mnt]\n\
             memory:\n  floor: {FLOOR}\n{more}{}",
            node.data_addr(),
            tls_yaml(TLS, "node")
        )
    }
}

fn client_yaml() -> String {
    format!("controller: {CONTROLLER}:7701\n{}", tls_yaml(TLS, ADMIN))
}

/// Who a program is, in its configuration file.
pub(crate) fn tls_yaml(folder: &str, party: &str) -> String {
    format!(
        "tls:\n  ca: {folder}/ca.pem\n  cert: {folder}/{party}.pem\n  key: {folder}/{party}.key\n"
    )
}

/// What systemd would start, by a shell line.
fn start_by_hand(lab: rampool_lab::Builder) -> rampool_lab::Builder {
    let log = rampool_lab::exec::LOGS;
    lab.on_boot("iscsid").on_boot(format!("rampool-agent >{log}/agent.log 2>&1 &")).on_boot_of(
        NodeId::new(1).expect("every lab has a first node"),
        format!("rampool-controller >{log}/controller.log 2>&1 &"),
    )
}

/// The units that packaging installs, with the programs where they expect them.
fn start_by_systemd(lab: rampool_lab::Builder) -> rampool_lab::Builder {
    let first = NodeId::new(1).expect("every lab has a first node");
    let agent = include_bytes!("../../agent/systemd/rampool-agent.service");
    let controller = include_bytes!("../../controller/systemd/rampool-controller.service");
    let start = |program: &str| {
        format!(
            "ln -s /opt/rampool/bin/{program} /usr/sbin/{program} && \
             systemctl daemon-reload && systemctl enable --now {program}"
        )
    };
    lab.persist_file("/etc/systemd/system/rampool-agent.service", 0o644, agent)
        .persist_file_on(first, "/etc/systemd/system/rampool-controller.service", 0o644, controller)
        .on_boot(start("rampool-agent"))
        .on_boot_of(first, start("rampool-controller"))
}
