//! A job's own nodes lend to the pool that they use: each of `n1`, `n2` and `n3` is a donor, `n1`
//! the head, the others mount the pool by NFS. On each the job takes all the memory that it may,
//! and writes as fast as it can: the kernel must write out through the network to make room, while
//! what comes in by the network needs room too.

use std::time::Duration;

use rampool_lab::Init;
use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{self, Backend, Export, FilesystemKind, SharingRole, VolumeLayout};

use crate::cluster::{Agent, Cluster, HEAD, MIB, demo, export_request};
use crate::jobs::{CGROUP, JOB, SLURM, SLURM_ENDS, ask};
use crate::trio::POINT;

/// What each node has, in MiB. The agents' floor is 128.
const NODE: u64 = 768;

/// What each lends.
const PIECE: u64 = 160;

/// What of its limit the job leaves to what it writes: it stays at its limit and alive.
const CACHE: u64 = 72;

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// Seconds that a donor may be silent.
const PATIENCE: u32 = 20;

/// No writer may be held up for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Much of the memory may wait to be written out: more than any node can bear that does both.
const SITE: &str = "echo 80 > /proc/sys/vm/dirty_ratio; \
    echo 60 > /proc/sys/vm/dirty_background_ratio";

const SETTINGS: &str = "cd /proc/sys/vm; grep . min_free_kbytes dirty_bytes dirty_ratio \
    dirty_background_bytes dirty_background_ratio";

#[test]
fn a_job_lends_and_uses_its_nodes_memory_at_its_limit() {
    let cluster = Cluster::boot_serving("agent-own", 3, NODE, Init::Plain, &["n1"]);
    on_all(&cluster, SITE);
    squeeze_all(&cluster, 10);
    what_a_site_had_is_put_back(&cluster);
}

#[test]
#[ignore = "takes minutes: make test-own"]
fn for_a_minute_whatever_the_site_lets_wait() {
    let cluster = Cluster::boot_serving("agent-own", 3, NODE, Init::Plain, &["n1"]);
    squeeze_all(&cluster, 60);
    on_all(&cluster, SITE);
    squeeze_all(&cluster, 60);
}

fn on_all(cluster: &Cluster, script: &str) -> Vec<String> {
    cluster.lab.nodes().iter().map(|node| node.sh(script).unwrap()).collect()
}

/// The job's tasks start, take and write on all nodes at once; then nothing is lost, and nobody
/// was held up too long.
fn squeeze_all(cluster: &Cluster, seconds: u64) {
    let before = on_all(cluster, SETTINGS);
    let own = Own::up(cluster);
    let sessions = || own.nodes[0].node.sh(SESSIONS).unwrap();
    let (was, sessions_before) = (on_all(cluster, "dmesg --clear"), sessions());
    assert_eq!(was.len(), NODES.len());
    let pauses: Vec<_> = std::thread::scope(|scope| {
        let squeeze = |agent| scope.spawn(move || squeeze(agent, seconds));
        let runs: Vec<_> = own.nodes.iter().map(squeeze).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    eprintln!("longest pauses within {seconds} s: {pauses:?}");
    assert_eq!(on_all(cluster, ODD), ["", "", ""]);
    assert_eq!(sessions(), sessions_before, "a session was lost");
    assert!(pauses.iter().all(|pause| *pause < LONGEST_PAUSE), "{pauses:?}");
    own.down();
    assert_eq!(on_all(cluster, SETTINGS), before);
    cluster.assert_as_at_boot();
}

const SESSIONS: &str = "cd /sys/class/iscsi_session; grep . */state */targetname";

/// What no kernel may say meanwhile.
const ODD: &str = "dmesg | grep -iE 'conn error|recovery timed out|DataOut timeout|ping timeout|\
    blocked for more|out of memory|oom-kill' || true";

/// A job that was given all of the node's memory is at its limit there, and writes; how long its
/// longest write took that waits until it is stored.
fn squeeze(agent: &Agent, seconds: u64) -> Duration {
    let node = &agent.node;
    agent
        .admit_job(v1::AdmitJobRequest {
            job: JOB,
            uid: 1000,
            pool: demo(),
            mount_point: POINT.to_owned(),
            lent_bytes: PIECE * MIB,
            ..Default::default()
        })
        .unwrap();
    node.sh(SLURM).unwrap();
    let total = agent.inventory().unwrap().memory.unwrap().total_bytes;
    node.sh(&format!("echo {total} > {CGROUP}/memory.max")).unwrap();
    let told = ask(node, 1000, &format!("task {JOB}"));
    assert!(told.contains("less than Slurm gave it"), "{told}");
    let limit = node.sh(&format!("cat {CGROUP}/memory.max")).unwrap();
    let takes = limit.parse::<u64>().unwrap() / MIB - CACHE;

    let (takes, seconds_text) = (takes.to_string(), seconds.to_string());
    let argv = ["sh", "-c", LOAD, "load", CGROUP, &takes, &seconds_text, POINT];
    let patience = Duration::from_secs(seconds * 4 + 60);
    node.command(argv).timeout(patience).output().unwrap().ok().unwrap();
    node.sh(SLURM_ENDS).unwrap();
    longest(&node.sh("cat /tmp/small.json").unwrap())
}

/// Of fio's report: a write into the page cache, and the wait until it was stored.
fn longest(report: &str) -> Duration {
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    let job = &report["jobs"][0];
    let most = |kind: &str| job[kind]["lat_ns"]["max"].as_u64().unwrap();
    assert!(job["sync"]["total_ios"].as_u64().unwrap() > 0, "{job}");
    Duration::from_nanos(most("write") + most("sync"))
}

fn what_a_site_had_is_put_back(cluster: &Cluster) {
    let before = on_all(cluster, SETTINGS);
    let own = Own::up(cluster);
    let now = on_all(cluster, SETTINGS);
    assert!(now.iter().zip(&before).all(|(now, before)| now != before), "{now:?}");
    assert!(now.iter().all(|now| now.contains("dirty_ratio:0")), "{now:?}");
    // Whoever follows an agent that was killed knows what was there before it.
    cluster.kill_agent("n2");
    cluster.start_agent("n2");
    let site = "echo 20000000 > /proc/sys/vm/dirty_bytes";
    own.nodes[2].node.sh(site).unwrap();
    assert_eq!(on_all(cluster, SETTINGS)[..2], now[..2]);
    own.down();
    let after = on_all(cluster, SETTINGS);
    assert_eq!(after[..2], before[..2]);
    assert!(after[2].contains("dirty_bytes:20000000"), "what the site wrote is the site's");
    own.nodes[2].node.sh(SITE).unwrap();
    assert_eq!(on_all(cluster, SETTINGS), before);
    cluster.assert_as_at_boot();
}

const LOAD: &str = include_str!("own.sh");

/// The pool that the job's nodes lend to and use.
struct Own {
    nodes: [Agent; 3],
}

impl Own {
    fn up(cluster: &Cluster) -> Self {
        let nodes = NODES.map(|name| cluster.agent(name));
        let exports: Vec<Export> = std::thread::scope(|scope| {
            let lent: Vec<_> = nodes.iter().map(|node| scope.spawn(move || lend(node))).collect();
            lent.into_iter().map(|export| export.join().unwrap()).collect()
        });
        let [head, clients @ ..] = &nodes;
        head.attach(v1::AttachRequest {
            pool: demo(),
            initiator: HEAD.to_owned(),
            exports: exports.clone(),
            patience_seconds: PATIENCE,
            sparing: true,
        })
        .unwrap();
        head.assemble(VolumeLayout::Md, &exports).unwrap();
        head.mkfs(FilesystemKind::Xfs, exports.len()).unwrap();
        head.mount(v1::MountRequest {
            pool: demo(),
            filesystem: FilesystemKind::Xfs.into(),
            mount_point: POINT.to_owned(),
            readme: "This is memory.\n".to_owned(),
            uid: 1000,
            gid: 1000,
            private: true,
            ..Default::default()
        })
        .unwrap();
        let addresses = clients.iter().map(|client| client.node.data_addr().to_string()).collect();
        let shared = head
            .share_filesystem(v1::ShareFilesystemRequest { pool: demo(), clients: addresses })
            .unwrap();
        for client in clients {
            let request = v1::MountShareRequest {
                pool: demo(),
                head: head.node.data_addr().to_string(),
                path: shared.path.clone(),
                ..Default::default()
            };
            client.mount_share(request).unwrap();
        }
        Self { nodes }
    }

    fn down(&self) {
        let [head, clients @ ..] = &self.nodes;
        for client in clients {
            client.unmount_share(v1::UnmountShareRequest { pool: demo(), force: false }).unwrap();
        }
        head.unmount_demo(false).unwrap();
        head.stop().unwrap();
        head.detach_demo().unwrap();
        for node in &self.nodes {
            node.destroy().unwrap();
        }
    }
}

/// The head's own piece never goes through the network. Each is asked first whether it can do both.
fn lend(agent: &Agent) -> Export {
    let mut request = export_request(Backend::RdMcp, PIECE);
    let mut role = SharingRole::Client;
    if agent.node.name() == NODES[0] {
        request.way = Some(Way::Local(v1::LocalWay {}));
        role = SharingRole::Head;
    }
    let mount_point = POINT.to_owned();
    let question =
        v1::CheckSharingRequest { pool: demo(), role: role.into(), mount_point, lends: true };
    agent.check_sharing(question).unwrap();
    agent.create_export(request).unwrap()
}
