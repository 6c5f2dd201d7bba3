//! A lab on which Slurm runs beside rampool: `n1` has slurmctld and rampool's controller, all
//! others run jobs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rampool_lab::{NodeId, Output};

use super::site::{Memory, WaitBy};
use super::{Fields, site};
use crate::cluster::{self, CONTROLLER, Cluster};
use crate::footprint::Footprint;
use crate::until::until;

/// How long the daemons may take from their start until all nodes can be given to jobs.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// Memory of each node, in MiB: the lab's floor leaves it enough to lend to a pool that it uses.
const MEMORY_MIB: u64 = 640;

/// How much less memory a node may have after a job for other reasons: what Slurm's daemons
/// logged (a file in memory) and keep of the job, and the kernel of what it once loaded. A job's
/// share of a pool is many times as much.
const MEMORY_NOISE_MIB: u64 = 24;

/// Whose certificate slurmctld's hooks have.
const PARTY: &str = "slurm";

/// An ordinary user, whom the lab's image knows.
pub const USER: &str = "alice";

/// A cluster with Slurm on it.
pub struct SlurmCluster {
    /// The nodes, and rampool on them.
    pub cluster: Cluster,
    compute: Vec<String>,
}

/// What it shall be like.
pub struct Builder {
    rampool: cluster::Builder,
    compute: u8,
    donors: u8,
    kept_mib: u64,
    wait_by: WaitBy,
}

impl SlurmCluster {
    /// `compute` nodes that run jobs, `n2` and on, and `n1`; `name` is the lab's.
    #[must_use]
    pub fn builder(name: &str, compute: u8) -> Builder {
        Self::with_donors(name, compute, 0)
    }

    /// The same, and after those so many nodes that Slurm knows nothing of.
    #[must_use]
    pub fn with_donors(name: &str, compute: u8, donors: u8) -> Builder {
        let nodes = compute + donors + 1;
        let rampool =
            Cluster::builder(name, nodes).party("slurm", PARTY).controller(&site::jobs_yaml());
        let mut rampool = rampool.memory_mib(MEMORY_MIB);
        for node in NodeId::first(compute + 1).skip(1) {
            rampool = rampool.agent(node, site::AGENT_YAML);
        }
        Builder { rampool, compute, donors, kept_mib: 0, wait_by: WaitBy::Example }
    }

    /// Uses it; where that fails, the nodes' consoles and the programs' logs are printed.
    ///
    /// # Errors
    /// What `using` says.
    pub fn run(self, using: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let outcome = using(&self);
        if outcome.is_err() {
            self.cluster.lab.on_failure_dump();
        }
        outcome
    }

    /// The names of the nodes that run jobs.
    #[must_use]
    pub fn compute(&self) -> &[String] {
        &self.compute
    }

    /// Runs a command of Slurm's as root on the controller's node.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn slurm(&self, argv: &[&str]) -> Result<String> {
        self.cluster.node(CONTROLLER).exec(argv.iter().copied())?.ok()
    }

    /// Runs a command as [`USER`] in /tmp on the controller's node, with `input`.
    ///
    /// # Errors
    /// When it cannot be run; how it ends is told by the output.
    pub fn as_user(&self, argv: &[&str], input: &str) -> Result<Output> {
        let words = ["runuser", "-u", USER, "--"].iter().chain(argv).copied();
        self.cluster.node(CONTROLLER).command(words).cwd("/tmp").stdin(input).output()
    }

    /// A node as Slurm sees it.
    ///
    /// # Errors
    /// When slurmctld does not answer.
    pub fn show_node(&self, node: &str) -> Result<Fields> {
        Ok(Fields::parse(&self.slurm(&["scontrol", "-o", "show", "node", node])?))
    }

    /// A node's fields, once they are so.
    ///
    /// # Errors
    /// When it is not so `within` that time, with the fields then.
    pub fn until_node(
        &self,
        node: &str,
        what: &str,
        within: Duration,
        so: impl Fn(&Fields) -> bool,
    ) -> Result<Fields> {
        until(&format!("{node} {what}"), within, || {
            let fields = self.show_node(node)?;
            Ok(if so(&fields) { Ok(fields) } else { Err(fields) })
        })
    }

    /// Returns once every node waits for jobs, and no job is ending.
    ///
    /// # Errors
    /// When it is not so `within` that time, with what sinfo says then.
    pub fn until_idle(&self, within: Duration) -> Result<()> {
        until("every node idle", within, || {
            let node = self.cluster.node(CONTROLLER);
            let listing = node.exec(["sinfo", "-h", "-N", "-p", "main", "-o", "%N %T %E"])?;
            let words = String::from_utf8_lossy(&listing.stdout).trim().to_owned();
            let idle = words.lines().filter(|line| line.split(' ').nth(1) == Some("idle")).count();
            Ok(if idle == self.compute.len() { Ok(()) } else { Err(words) })
        })
    }

    /// Returns once nothing of any job is left: every node is idle, the controller has no pool, and
    /// every node holds what it held before, memory included.
    ///
    /// # Errors
    /// When it is not so `within` that time, with what is left.
    pub fn ensure_given_back(&self, before: &[Footprint], within: Duration) -> Result<()> {
        self.until_idle(within)?;
        until("no pool left", within, || {
            let list = self.cluster.rampool_json(&["list"])?;
            let none = list["pools"].as_array().is_some_and(Vec::is_empty);
            Ok(if none { Ok(()) } else { Err(list) })
        })?;
        let after = self.cluster.footprints()?;
        self.cluster.ensure_same(before, &after)?;
        for (node, (before, after)) in self.cluster.nodes().iter().zip(before.iter().zip(&after)) {
            let missing = before.available.saturating_sub(after.available) >> 20;
            ensure!(missing < MEMORY_NOISE_MIB, "{node} misses {missing} MiB");
        }
        Ok(())
    }

    /// Ends slurmctld as `kill -9` does, and waits until it is gone. It writes its state seconds
    /// late, and one that is killed before has forgotten a job, or its end: here it has not.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_slurmctld(&self) -> Result<()> {
        let n1 = self.cluster.node(CONTROLLER);
        // A job that never starts: where it stands, all that was before it does.
        let mark = format!("mark-{}", n1.sh("date +%s%N")?);
        self.as_user(&["sbatch", "--hold", "--job-name", &mark, "--wrap", "true"], "")?.ok()?;
        until("in slurmctld's state", READY_DEADLINE, || {
            let grep = n1.exec(["grep", "-aq", &mark, "/var/lib/slurm/slurmctld/job_state"])?;
            Ok(if grep.status.success() { Ok(()) } else { Err(grep.status) })
        })?;
        self.cluster.kill_program(CONTROLLER, "slurmctld")
    }

    /// Starts slurmctld again, and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start_slurmctld(&self) -> Result<()> {
        self.slurm(&["slurmctld"])?;
        until("answered by slurmctld", READY_DEADLINE, || {
            let said = self.cluster.node(CONTROLLER).exec(["scontrol", "ping"])?;
            let words = String::from_utf8_lossy(&said.stdout).trim().to_owned();
            Ok(if words.contains("is UP") { Ok(()) } else { Err(words) })
        })
    }
}

impl Builder {
    /// Named profiles, as they stand under `profiles:` in controller.yaml.
    #[must_use]
    pub fn profiles(mut self, yaml: &str) -> Self {
        self.rampool = self.rampool.profiles(yaml);
        self
    }

    /// Further sections of controller.yaml.
    #[must_use]
    pub fn controller(mut self, yaml: &str) -> Self {
        self.rampool = self.rampool.controller(yaml);
        self
    }

    /// The controller keeps the facts that job_submit.lua reads.
    #[must_use]
    pub fn keeping_facts(mut self) -> Self {
        self.rampool = self.rampool.controller(&format!("  facts: {}\n", site::FACTS));
        self
    }

    /// Slurm gives so much of each node's memory to nobody.
    #[must_use]
    pub fn keeping_mib(mut self, mib: u64) -> Self {
        self.kept_mib = mib;
        self
    }

    /// Slurm has so many licences of rampool's.
    #[must_use]
    pub fn licences(mut self, licences: u64) -> Self {
        self.wait_by = WaitBy::Licences(licences);
        self
    }

    /// Jobs wait by the burst buffer.
    #[must_use]
    pub fn burst_buffer(mut self) -> Self {
        self.wait_by = WaitBy::BurstBuffer;
        self.rampool = self.rampool.controller(site::BY_BURST_BUFFER);
        self
    }

    /// Boots it, and waits until every node is idle.
    ///
    /// # Errors
    /// When something does not start.
    pub fn boot(self) -> Result<SlurmCluster> {
        let key = munge_key()?;
        let Self { rampool, compute, donors, kept_mib, wait_by } = self;
        let memory = Memory { all: MEMORY_MIB, kept: kept_mib };
        let cluster =
            rampool.boot_with(|lab| install(lab, compute, donors, (memory, wait_by), &key))?;
        let compute = cluster.nodes().iter().skip(1).take(compute.into()).cloned().collect();
        let cluster = SlurmCluster { cluster, compute };
        cluster
            .until_idle(READY_DEADLINE)
            .inspect_err(|_| cluster.cluster.lab.on_failure_dump())?;
        Ok(cluster)
    }
}

fn install(
    mut lab: rampool_lab::Builder,
    compute: u8,
    donors: u8,
    (memory, wait_by): (Memory, WaitBy),
    key: &[u8],
) -> rampool_lab::Builder {
    let compute_nodes = format!("n[2-{}]", compute + 1);
    for (path, mode, text) in site::files(CONTROLLER, &compute_nodes, memory, wait_by) {
        lab = lab.persist_file(path, mode, text);
    }
    for node in NodeId::first(compute + donors + 1) {
        let party = if node.to_string() == CONTROLLER { PARTY } else { "node" };
        let yaml = site::hooks_yaml(CONTROLLER, party);
        lab = lab.persist_file_on(node, "/etc/rampool/slurm.yaml", 0o644, yaml);
    }
    lab.persist_file("/etc/munge/munge.key", 0o400, key)
        .on_boot(PREPARE)
        .on_boot(start_daemons(compute + 1))
}

/// What packaging and systemd do elsewhere: rampool's program in its place, folders of the
/// daemons, and cgroups that Slurm's daemon may use.
const PREPARE: &str = "\
ln -s /opt/rampool/bin/rampool /usr/bin/rampool
chown -R munge:munge /etc/munge
if [ -e /etc/rampool/tls/slurm.key ]; then chown slurm /etc/rampool/tls/slurm.key; fi
install -d -o munge -g munge -m 755 /run/munge
install -d -o munge -g munge -m 700 /var/log/munge /var/lib/munge
install -d -o slurm -g slurm /var/lib/slurm/slurmctld /run/slurm
install -d -m 755 /var/lib/slurm/slurmd
: >/var/log/rampool/slurmctld.log && chown slurm:slurm /var/log/rampool/slurmctld.log
runuser -u munge -- munged
";

/// On all nodes but those that only lend the site's own NFS server, by which a pool's head shares
/// it; on the first node slurmctld, and on the others up to `last` slurmd.
fn start_daemons(last: u8) -> String {
    format!(
        "number=$(hostname); number=${{number#n}}
[ $number -le {last} ] || exit 0
modprobe nfsd; mount -t nfsd nfsd /proc/fs/nfsd
mkdir -p /run/rpc_pipefs /var/lib/nfs/nfsdcld; mount -t rpc_pipefs rpc /run/rpc_pipefs
nfsdcld; rpc.mountd -N 2 -N 3; rpc.nfsd -N 3 --no-udp 4
if [ $(hostname) = {CONTROLLER} ]; then exec slurmctld; fi
cd /sys/fs/cgroup && mkdir system.slice
for group in . system.slice; do echo '+memory +cpu +pids' >$group/cgroup.subtree_control; done
slurmd"
    )
}

/// A secret of this cluster's own.
fn munge_key() -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut key = vec![0; 128];
    let random = std::fs::File::open("/dev/urandom").context("open /dev/urandom")?;
    let read = random.take(128).read(&mut key).context("read random bytes")?;
    ensure!(read == key.len(), "only {read} random bytes");
    Ok(key)
}
