//! A job's own nodes lend to the pool that they use: each of `n1`, `n2` and `n3` is a donor, `n1`
//! the head, the others mount the pool by NFS. Their memory is all taken, and they write as fast
//! as they can: the kernel must write through the network to make room for what comes in by it.

use std::time::Duration;

use rampool_lab::{Init, Node};
use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{self, Backend, Export, FilesystemKind, VolumeLayout};

use crate::cluster::{Agent, Cluster, HEAD, MIB, demo, export_request};

/// What each node has, in MiB.
const NODE: u64 = 768;

/// What each lends.
const PIECE: u64 = 160;

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// Seconds that a donor may be silent.
const PATIENCE: u32 = 20;

const POINT: &str = "/rampool/demo";

struct Own {
    nodes: [Agent; 3],
}

fn env(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
#[ignore = "takes minutes"]
fn measure() {
    let cluster = Cluster::boot_serving("agent-own", 3, NODE, Init::Plain, &["n1"]);
    let before = std::env::var("OWN_BEFORE").unwrap_or_default();
    for node in cluster.lab.nodes() {
        node.sh(&format!("true; {before}")).unwrap();
    }
    let own = Own::up(&cluster);
    let seconds = env("OWN_SECONDS", 60);
    let tune = std::env::var("OWN_TUNE").unwrap_or_default();
    for agent in &own.nodes {
        agent.node.sh(&format!("true; {tune}")).unwrap();
    }
    let slurms = env("OWN_LIMIT", 640);
    let ends: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = own
            .nodes
            .iter()
            .map(|agent| scope.spawn(move || squeeze(&agent.node, slurms - PIECE, seconds)))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for (agent, end) in own.nodes.iter().zip(ends) {
        eprintln!("== {} ==\n{end}", agent.node.name());
        let said = "dmesg | grep -iE 'iscsi|connection|session|recover|timed|timeout|blocked for|out of memory|oom|page alloc|DataOut|nfs|detected' | tail -25";
        eprintln!("{}", agent.node.sh(said).unwrap_or_default());
    }
    own.down();
}

const LOAD: &str = include_str!("own.sh");

fn squeeze(node: &Node, limit: u64, seconds: u64) -> String {
    let limit = limit.to_string();
    let seconds_text = seconds.to_string();
    let argv = ["sh", "-c", LOAD, "load", &limit, &seconds_text, POINT];
    let output = node.command(argv).timeout(Duration::from_secs(seconds * 4 + 120)).output();
    match output {
        Ok(output) => format!(
            "{:?}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => format!("{error:#}"),
    }
}

impl Own {
    fn up(cluster: &Cluster) -> Self {
        let nodes = NODES.map(|name| cluster.agent(name));
        let exports: Vec<Export> = std::thread::scope(|scope| {
            let lend = |agent| scope.spawn(move || lend(agent));
            let lent: Vec<_> = nodes.iter().map(lend).collect();
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
            client
                .mount_share(v1::MountShareRequest {
                    pool: demo(),
                    head: head.node.data_addr().to_string(),
                    path: shared.path.clone(),
                    ..Default::default()
                })
                .unwrap();
        }
        Self { nodes }
    }

    fn down(&self) {
        let [head, clients @ ..] = &self.nodes;
        for client in clients {
            client.unmount_share(v1::UnmountShareRequest { pool: demo(), force: true }).unwrap();
        }
        head.unmount_demo(true).unwrap();
        head.stop().unwrap();
        head.detach_demo().unwrap();
        for node in &self.nodes {
            node.destroy().unwrap();
        }
    }
}

fn lend(agent: &Agent) -> Export {
    let mut request =
        v1::CreateExportRequest { bytes: PIECE * MIB, ..export_request(Backend::RdMcp, 0) };
    if agent.node.name() == NODES[0] {
        request.way = Some(Way::Local(v1::LocalWay {}));
    }
    agent.create_export(request).unwrap()
}
