//! Jobs on a node: `n1` is the head of their pool, `n2` mounts it by NFS. Slurm's part is played
//! by hand: its own is in the suite that runs Slurm.

use std::time::{Duration, Instant};

use rampool_lab::{Init, Node, Output};
use rampool_proto::v1::{self, Backend, FailureKind, FilesystemKind, VolumeLayout};

use crate::cases::cases;
use crate::cluster::{Agent, Answer, Cluster, MIB, demo, export_request_of, pool};
use crate::trio::{POINT, Trio, each_with_fresh_exports};

#[test]
fn a_jobs_tasks_use_its_pool_and_what_memory_is_left() {
    let cluster = Cluster::boot_serving("agent-jobs", 3, 640, Init::Plain, &["n1"]);
    each_with_fresh_exports(
        &cluster,
        cases![
            tasks_of_the_job_alone_are_answered,
            a_job_has_less_memory_by_what_its_node_lends,
            a_job_goes_with_its_mount,
            strangers_keep_nobody_from_asking,
        ],
    );
}

pub(crate) const JOB: u32 = 17;
const LENT: u64 = 192;
/// What that takes of the node's memory: one part in a hundred besides.
const TAKEN: u64 = LENT + 2;

fn up(trio: &Trio<'_>) {
    trio.head.attach_to(&trio.exports).unwrap();
    trio.head.assemble(VolumeLayout::Md, &trio.exports).unwrap();
    trio.head.mkfs(FilesystemKind::Xfs, 2).unwrap();
    let request = v1::MountRequest {
        pool: demo(),
        filesystem: FilesystemKind::Xfs.into(),
        mount_point: POINT.to_owned(),
        readme: "This is memory.\n".to_owned(),
        uid: 1000,
        gid: 1000,
        private: true,
        ..Default::default()
    };
    trio.head.mount(request).unwrap();
}

fn admit(agent: &Agent, head: bool) -> Answer<v1::AdmitJobResponse> {
    agent.admit_job(v1::AdmitJobRequest {
        job: JOB,
        uid: 1000,
        pool: demo(),
        mount_point: POINT.to_owned(),
        lent_bytes: LENT * MIB,
        head,
        lines: vec!["384 MiB from 2 nodes".to_owned(), "It is memory.".to_owned()],
        everywhere: true,
    })
}

fn dismiss(agent: &Agent) -> Answer<v1::DismissJobResponse> {
    agent.dismiss_job(v1::DismissJobRequest { job: JOB })
}

/// Asks as a hook does: one line there, some lines back.
const ASK: &str = "use IO::Socket::UNIX; \
    my $s = IO::Socket::UNIX->new('/run/rampool/jobs.sock') or die $!; \
    print $s \"$ARGV[0]\\n\"; $s->shutdown(1); print <$s>;";

fn by(node: &Node, uid: u32, argv: &[&str]) -> Output {
    let uid = uid.to_string();
    let who = ["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"];
    node.exec(who.into_iter().chain(argv.iter().copied())).unwrap()
}

#[track_caller]
pub(crate) fn ask(node: &Node, uid: u32, question: &str) -> String {
    by(node, uid, &["perl", "-e", ASK, question]).ok().unwrap()
}

fn tasks_of_the_job_alone_are_answered(trio: &Trio<'_>) {
    let node = &trio.head.node;
    let told = admit(&trio.head, true).unwrap_err();
    assert!(told.kind() == FailureKind::NotFound && told.said.contains("not mounted"), "{told}");
    up(trio);
    assert!(ask(node, 1000, "task 17").starts_with("refused "));
    assert!(!admit(&trio.head, true).unwrap().already);
    assert!(admit(&trio.head, true).unwrap().already);
    assert_eq!(admit(&trio.head, false).unwrap_err().kind(), FailureKind::Conflict);
    let note = by(node, 1001, &["cat", "/run/rampool/jobs/17"]).ok().unwrap();
    assert!(note.contains(POINT) && note.contains(&(LENT * MIB).to_string()), "{note}");
    assert!(trio.head.holdings().contains(&"HOLDING_KIND_JOB 17".to_owned()));

    assert!(ask(node, 1001, "task 17").contains("another user's"));
    let first = ask(node, 1000, "task 17");
    assert!(
        first.starts_with("path /rampool/demo\nprint 384 MiB from 2 nodes\nprint It is memory.")
    );
    // No cgroup of Slurm's is here: that is no fault, and said.
    assert!(first.contains("\nremark ") && first.ends_with("\nend"), "{first}");
    trio.cluster.kill_agent("n1");
    assert!(by(node, 1000, &["perl", "-e", ASK, "task 17"]).ok().is_err(), "nobody listens");
    let head = trio.cluster.start_agent("n1");
    let second = ask(node, 1000, "task 17");
    assert!(second.starts_with("path /rampool/demo\nremark "), "told twice: {second}");

    assert!(ask(node, 1000, "held").contains("only root"));
    assert_eq!(ask(node, 0, "held"), "end", "demo is no job's");
    head.create_export(export_request_of(("job-17-2", 1), Backend::RdMcp, 4)).unwrap();
    assert_eq!(ask(node, 0, "held"), "pool job-17-2\nend");
    let request = v1::DestroyExportRequest { pool: pool("job-17-2", 1), ..Default::default() };
    head.destroy_export(request).unwrap();

    assert!(!dismiss(&head).unwrap().already);
    assert!(dismiss(&head).unwrap().already);
    assert!(ask(node, 1000, "task 17").starts_with("refused "));
    trio.down();
}

pub(crate) const CGROUP: &str = "/sys/fs/cgroup/system.slice/n1_slurmstepd.scope/job_17";

/// What slurmd and slurmstepd do for a job.
pub(crate) const SLURM: &str = "cd /sys/fs/cgroup; echo +memory > cgroup.subtree_control; \
    mkdir -p system.slice; echo +memory > system.slice/cgroup.subtree_control; \
    mkdir system.slice/n1_slurmstepd.scope; \
    echo +memory > system.slice/n1_slurmstepd.scope/cgroup.subtree_control; \
    mkdir system.slice/n1_slurmstepd.scope/job_17";

pub(crate) const SLURM_ENDS: &str = "cd /sys/fs/cgroup/system.slice; \
    rmdir n1_slurmstepd.scope/job_17 n1_slurmstepd.scope; cd ..; rmdir system.slice";

fn a_job_has_less_memory_by_what_its_node_lends(trio: &Trio<'_>) {
    let node = &trio.head.node;
    up(trio);
    admit(&trio.head, false).unwrap();
    node.sh(SLURM).unwrap();
    let limit = || node.sh(&format!("cat {CGROUP}/memory.max")).unwrap();
    let slurm_says = |limit: &str| node.sh(&format!("echo {limit} > {CGROUP}/memory.max")).unwrap();
    let path = "path /rampool/demo\nend";
    let lowered = ((384 - TAKEN) * MIB).to_string();
    // Each step writes the limit anew, and each of its tasks asks.
    for _step in 0..2 {
        slurm_says("384M");
        assert_eq!(ask(node, 1000, "task 17"), path);
        assert_eq!(limit(), lowered);
        assert_eq!(ask(node, 1000, "task 17"), path);
        assert_eq!(limit(), lowered);
    }
    trio.cluster.kill_agent("n1");
    trio.cluster.start_agent("n1");
    assert_eq!(ask(node, 1000, "task 17"), path);
    assert_eq!(limit(), lowered);

    // A program that takes what Slurm gave the job meets the job's limit, not the node's end.
    let greedy = format!(
        "echo $$ > {CGROUP}/cgroup.procs; exec perl -e '$x = \"x\" x (300 << 20); print \"lived\"'"
    );
    let ended = node.exec(["sh", "-c", &greedy]).unwrap();
    assert!(ended.ok().is_err(), "300 MiB were had of {lowered} bytes");
    let events = node.sh(&format!("grep '^oom_kill ' {CGROUP}/memory.events")).unwrap();
    assert_eq!(events, "oom_kill 1");

    // Nobody asks: by the user's own will, or since Slurm wrote it between two tasks.
    slurm_says("384M");
    let kept = format!("until [ $(cat {CGROUP}/memory.max) = {lowered} ]; do sleep 0.02; done");
    node.sh(&kept).unwrap();

    slurm_says("250M");
    let told = ask(node, 1000, "task 17");
    assert!(told.starts_with("refused n1: ") && told.contains("56 MiB left"), "{told}");
    slurm_says("max");
    assert!(ask(node, 1000, "task 17").contains("remark job 17 has no memory limit"));
    dismiss(&trio.head).unwrap();
    node.sh(SLURM_ENDS).unwrap();
    trio.down();
}

fn a_job_goes_with_its_mount(trio: &Trio<'_>) {
    up(trio);
    let n2 = trio.cluster.agent("n2");
    let clients = vec![n2.node.data_addr().to_string()];
    let shared =
        trio.head.share_filesystem(v1::ShareFilesystemRequest { pool: demo(), clients }).unwrap();
    n2.mount_share(v1::MountShareRequest {
        pool: demo(),
        head: trio.head.node.data_addr().to_string(),
        path: shared.path,
        ..Default::default()
    })
    .unwrap();
    for (agent, head) in [(&trio.head, true), (&n2, false)] {
        admit(agent, head).unwrap();
        assert!(ask(&agent.node, 1000, "task 17").starts_with("path /rampool/demo\n"));
        let root = agent.node.sh("stat -c '%a %u' /rampool/demo").unwrap();
        assert_eq!(root, "700 1000");
    }
    // Somebody else's mount over it is not the job's pool.
    n2.node.sh("mount -t tmpfs over /rampool/demo").unwrap();
    assert!(ask(&n2.node, 1000, "task 17").contains("not mounted"));
    n2.node.sh("umount /rampool/demo").unwrap();
    n2.unmount_share(v1::UnmountShareRequest { pool: demo(), force: false }).unwrap();
    trio.down();
    for agent in [&trio.head, &n2] {
        assert!(ask(&agent.node, 1000, "task 17").starts_with("refused "));
        assert!(dismiss(agent).unwrap().already);
    }
}

/// More connections than one user may have, of which none asks anything; new ones for those that
/// are sent away.
const FLOOD: &str = "use IO::Socket::UNIX; my @s; \
    while (1) { \
        my @new = map { IO::Socket::UNIX->new('/run/rampool/jobs.sock') || () } 1..100; \
        @s = (@s, @new)[-500..-1]; \
        open(my $f, '>', '/tmp/flood') if ++$rounds == 5; \
        select(undef, undef, undef, 0.2); \
    }";

/// Then a hook gives up, and the job fails.
const HOOKS_PATIENCE: Duration = Duration::from_secs(10);

fn strangers_keep_nobody_from_asking(trio: &Trio<'_>) {
    let node = &trio.head.node;
    up(trio);
    admit(&trio.head, true).unwrap();
    let argv = ["setpriv", "--reuid", "1001", "--regid", "1001", "--clear-groups"];
    let argv = argv.into_iter().chain(["sh", "-c", "ulimit -n 1024; exec perl -e \"$0\"", FLOOD]);
    let mut flood = node.command(argv).no_timeout().spawn().unwrap();
    node.sh("until test -e /tmp/flood; do sleep 0.05; done").unwrap();
    for _ in 0..10 {
        let began = Instant::now();
        assert!(ask(node, 1000, "task 17").starts_with("path /rampool/demo\n"));
        assert!(began.elapsed() < HOOKS_PATIENCE, "{:?}", began.elapsed());
    }
    assert!(trio.head.inventory().is_ok(), "the controller is heard too");
    flood.kill().unwrap();
    flood.wait().unwrap();
    node.sh("rm /tmp/flood").unwrap();
    dismiss(&trio.head).unwrap();
    trio.down();
}
