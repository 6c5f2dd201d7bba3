//! What a site installs for Slurm: the files of `slurm/`, as they are, and a `slurm.conf` and
//! `cgroup.conf` for a lab.

use std::fmt::Write as _;

use crate::cluster::{TLS, tls_yaml};

/// A file of every node: its path there, mode and text.
pub type File = (&'static str, u32, String);

/// Memory of each node that Slurm gives out, in MiB, of a node's `memory_mib`: the kernel, the
/// daemons and the node's own files (a tmpfs) have the rest.
#[must_use]
pub fn memory_for_jobs(memory_mib: u64) -> u64 {
    memory_mib.saturating_sub(128)
}

/// Of each node that runs jobs, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// What it has.
    pub all: u64,
    /// What of that no job is given (MemSpecLimit).
    pub kept: u64,
}

/// By what jobs wait for the memory of donors outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitBy {
    /// The number of licences that stands in the site's example.
    Example,
    /// So many licences.
    Licences(u64),
    /// The burst buffer.
    BurstBuffer,
}

/// The site's, with what fits its donors.
fn rampool_conf(wait_by: WaitBy) -> String {
    let line = |line: &str| match wait_by {
        WaitBy::Licences(licences) if line.starts_with("Licenses=") => {
            format!("Licenses=rampool:{licences}\n")
        }
        WaitBy::BurstBuffer if line.starts_with("#BurstBufferType=") => format!("{}\n", &line[1..]),
        _ => format!("{line}\n"),
    };
    include_str!("../../../slurm/examples/rampool.conf").lines().map(line).collect()
}

/// What is the same on every node, Slurm's controller included. `compute` are the nodes that
/// run jobs (a host list).
#[must_use]
pub fn files(controller: &str, compute: &str, memory: Memory, wait_by: WaitBy) -> Vec<File> {
    let hook = |path, text: &str| (path, 0o755, text.to_owned());
    let text = |path, text: &str| (path, 0o644, text.to_owned());
    vec![
        text("/etc/slurm/slurm.conf", &slurm_conf(controller, compute, memory)),
        text("/etc/slurm/rampool.conf", &rampool_conf(wait_by)),
        text("/etc/slurm/cgroup.conf", &cgroup_conf()),
        text(
            "/etc/slurm/burst_buffer.conf",
            include_str!("../../../slurm/examples/burst_buffer.conf"),
        ),
        text("/etc/slurm/burst_buffer.lua", include_str!("../../../slurm/lua/burst_buffer.lua")),
        text("/etc/slurm/job_submit.lua", include_str!("../../../slurm/lua/job_submit.lua")),
        text(
            "/usr/share/rampool/slurm/rampool.lua",
            include_str!("../../../slurm/lua/rampool.lua"),
        ),
        hook(
            "/usr/lib/rampool/slurm/prolog-slurmctld",
            include_str!("../../../slurm/hooks/prolog-slurmctld"),
        ),
        hook("/usr/lib/rampool/slurm/prolog", include_str!("../../../slurm/hooks/prolog")),
        hook(
            "/usr/lib/rampool/slurm/task-prolog",
            include_str!("../../../slurm/hooks/task-prolog"),
        ),
        hook("/usr/lib/rampool/slurm/epilog", include_str!("../../../slurm/hooks/epilog")),
        hook(
            "/usr/lib/rampool/slurm/epilog-slurmctld",
            include_str!("../../../slurm/hooks/epilog-slurmctld"),
        ),
    ]
}

/// The configuration of the hooks. slurmctld runs them as its own user, who has a key of his own;
/// a node's root has the agent's.
#[must_use]
pub fn hooks_yaml(controller: &str, party: &str) -> String {
    format!(
        "controller: {controller}:7701
cluster: {CLUSTER}
features: [{}]
deadline: {DEADLINE}s
node_deadline: {NODE_DEADLINE}s
{}",
        PROFILES.join(", "),
        tls_yaml(TLS, party)
    )
}

/// What agent.yaml says on a node that runs jobs.
pub const AGENT_YAML: &str = "slurm_commands: /usr/bin\n";

/// What controller.yaml says of jobs.
#[must_use]
pub fn jobs_yaml() -> String {
    format!("jobs:\n  cluster: {CLUSTER}\n  grace: {GRACE}s\n")
}

/// A further line of that section: where job_submit.lua looks for what the controller knows.
pub const FACTS: &str = "/run/rampool-slurm/facts";

/// Another: jobs wait by the burst buffer.
pub const BY_BURST_BUFFER: &str = "  wait_by: burst_buffer\n";

/// How long the controller waits for Epilogs of jobs that are over, in seconds: longer than
/// KillWait below.
const GRACE: u64 = 10;

/// `ClusterName`.
pub const CLUSTER: &str = "lab";

/// How long a job's pool may take to be made, in seconds: several times what it takes when a
/// noisy machine is at its worst.
const DEADLINE: u64 = 60;

/// How long a node waits for its memory, in seconds: a test waits for it to be over.
const NODE_DEADLINE: u64 = 30;

/// Four CPUs are claimed of a node's one, so that several jobs fit on it. Times are short where
/// a test would wait for them: how soon a lost node is noticed, how long a job may ignore its end.
fn slurm_conf(controller: &str, compute: &str, memory: Memory) -> String {
    let (memory, kept) = (memory_for_jobs(memory.all), memory.kept);
    let mut text = format!(
        "ClusterName={CLUSTER}
SlurmctldHost={controller}
SlurmUser=slurm
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmctldLogFile=/var/log/rampool/slurmctld.log
SlurmdLogFile=/var/log/rampool/slurmd.log
SlurmctldDebug=debug
SlurmdDebug=debug
LogTimeFormat=iso8601_ms
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=3,sched_interval=5,sched_min_interval=0
SlurmdParameters=config_overrides
SlurmdTimeout=30
MessageTimeout=10
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
UnkillableStepTimeout=20
DefMemPerNode=100
Include rampool.conf
"
    );
    let features = [&PROFILES[..], &["ssd", "notmoreIOPS"]].concat().join(",");
    let _ = write!(
        text,
        "NodeName={compute} CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 \
         RealMemory={memory} MemSpecLimit={kept} Feature={features} State=UNKNOWN
PartitionName=main Nodes={compute} Default=YES MaxTime=1:00:00 State=UP OverSubscribe=NO
PartitionName={SUSPENDING} Nodes={compute} MaxTime=1:00:00 State=UP OverSubscribe=NO
PartitionName={URGENT} Nodes={compute} MaxTime=1:00:00 State=UP OverSubscribe=NO PriorityTier=10
"
    );
    text
}

/// The profiles that a job may name; nodes have each as a feature, and some that are none.
pub const PROFILES: [&str; 4] = ["moreIOPS", "moreIOPS_safe", "lake", "lake_served"];

/// A partition that is said to suspend jobs.
pub const SUSPENDING: &str = "debug";

/// A partition whose jobs take the nodes of others', which are queued again.
pub const URGENT: &str = "urgent";

/// The site's, and that no systemd starts Slurm's daemons in a lab's node.
fn cgroup_conf() -> String {
    concat!(include_str!("../../../slurm/examples/cgroup.conf"), "IgnoreSystemd=yes\n").to_owned()
}
