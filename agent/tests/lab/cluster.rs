//! Nodes of the lab with agents on them, and a client for each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rampool_lab::{Init, Lab, Node};
use rampool_proto::tls::{Credentials, Dialling, Role};
use rampool_proto::v1::agent_client::AgentClient;
use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{self, Backend, Export, Failure, FilesystemKind, PoolId, VolumeLayout};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use crate::pki::{self, Pki};

pub(crate) const MIB: u64 = 1 << 20;

/// The initiator name of every head in these tests.
pub(crate) const HEAD: &str = "iqn.2026-11.org.rampool:demo.1.head";

pub(crate) type Answer<T> = Result<T, Box<Failure>>;

/// What packaging installs where systemd is the init.
const UNIT: &str = include_str!("../../systemd/rampool-agent.service");
const SHUTDOWN_UNIT: &str = include_str!("../../systemd/rampool-shutdown.service");
const MULTIPATH: &str = include_str!("../../multipath/rampool.conf");

const SHUTDOWN_PATH: &str = "/etc/systemd/system/rampool-shutdown.service";

/// The log goes where the lab's dump looks for it.
const LOG: &str = "[Service]\nEnvironment=RUST_LOG=debug,h2=info,hyper=info,rustls=info\n\
    StandardError=append:/var/log/rampool/agent.log\n";

/// What Debian's nfs-server.service and those it wants start, for version 4 alone.
const NFS_SERVER: &str = "modprobe nfsd; mount -t nfsd nfsd /proc/fs/nfsd; \
    mkdir -p /run/rpc_pipefs /var/lib/nfs/nfsdcld; mount -t rpc_pipefs rpc /run/rpc_pipefs; \
    nfsdcld; rpc.mountd -N 2 -N 3; rpc.nfsd -N 3 --no-udp 4";

/// A lab with an agent on each node.
pub(crate) struct Cluster {
    // Dropped before the lab: connections end first.
    runtime: Arc<Runtime>,
    pub(crate) pki: Pki,
    init: Init,
    /// Of each node, when its agent had just started.
    at_boot: Vec<String>,
    pub(crate) lab: Arc<Lab>,
}

/// A client of one node's agent.
pub(crate) struct Agent {
    runtime: Arc<Runtime>,
    client: AgentClient<Channel>,
    name: String,
    pub(crate) node: Node,
}

/// `demo` in its first generation.
pub(crate) fn demo() -> Option<PoolId> {
    pool("demo", 1)
}

pub(crate) fn pool(name: &str, generation: u32) -> Option<PoolId> {
    Some(PoolId { name: name.to_owned(), generation })
}

impl Cluster {
    /// Boots `nodes` nodes with a plain init, and starts agents and iscsid on all of them.
    pub(crate) fn boot(name: &str, nodes: u8, mib: u64) -> Self {
        Self::boot_with(name, nodes, mib, Init::Plain)
    }

    pub(crate) fn boot_with(name: &str, nodes: u8, mib: u64, init: Init) -> Self {
        Self::boot_serving(name, nodes, mib, init, &[])
    }

    /// The same; the site's own NFS server runs on those of `servers` from each boot on.
    pub(crate) fn boot_serving(
        name: &str,
        nodes: u8,
        mib: u64,
        init: Init,
        servers: &[&str],
    ) -> Self {
        let pki = Pki::make();
        let party = pki.issue(Some(Role::Agent));
        let agent = env!("CARGO_BIN_EXE_rampool-agent");
        let mut builder = Lab::builder(name)
            .nodes(nodes)
            .memory_mib(mib)
            .init(init)
            .binaries([agent])
            .persist_file("/etc/rampool/pki/ca.pem", 0o644, pki.ca.as_bytes())
            .persist_file("/etc/rampool/pki/agent.pem", 0o644, party.cert.as_bytes())
            .persist_file("/etc/rampool/pki/agent.key", 0o600, party.key.as_bytes())
            .on_boot("modprobe -a sd_mod iscsi_tcp; mkdir -p /run/lock/iscsi");
        if init == Init::Systemd {
            builder = builder
                .persist_file("/etc/systemd/system/rampool-agent.service", 0o644, UNIT)
                .persist_file(SHUTDOWN_PATH, 0o644, SHUTDOWN_UNIT)
                .persist_file("/etc/systemd/system/rampool-agent.service.d/log.conf", 0o644, LOG)
                .persist_file("/etc/multipath/conf.d/rampool.conf", 0o644, MULTIPATH)
                .on_boot("ln -s /opt/rampool/bin/rampool-agent /usr/sbin/rampool-agent");
        }
        for number in 1..=nodes {
            let config = format!(
                "data_address: 10.77.0.{}\n\
                 mount_roots: [/mnt, /scratch, /srv/nfs]\n\
                 memory: {{floor: 128MiB}}\n\
                 tls:\n  ca: /etc/rampool/pki/ca.pem\n  cert: /etc/rampool/pki/agent.pem\n  \
                 key: /etc/rampool/pki/agent.key\n",
                10 + number
            );
            let node = format!("n{number}").parse().unwrap();
            builder = builder.persist_file_on(node, "/etc/rampool/agent.yaml", 0o644, config);
        }
        for server in servers {
            builder = builder.on_boot_of(server.parse().unwrap(), NFS_SERVER);
        }
        let lab = Arc::new(builder.boot().unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let mut cluster = Self { runtime: Arc::new(runtime), pki, init, at_boot: Vec::new(), lab };
        cluster.at_boot = cluster.on_all(|node| {
            cluster.start(&node.name());
            traces(node)
        });
        cluster
    }

    /// Does something on all nodes side by side.
    fn on_all<T: Send>(&self, act: impl Fn(&Node) -> T + Sync) -> Vec<T> {
        std::thread::scope(|scope| {
            let acts: Vec<_> =
                self.lab.nodes().iter().map(|node| scope.spawn(|| act(node))).collect();
            acts.into_iter().map(|act| act.join().unwrap()).collect()
        })
    }

    /// No node may hold anything for a pool, or differ from what it was at the beginning.
    #[track_caller]
    pub(crate) fn assert_as_at_boot(&self) {
        let now = self.on_all(|node| (traces(node), self.agent(&node.name()).holdings()));
        for ((now, holdings), before) in now.iter().zip(&self.at_boot) {
            assert!(holdings.is_empty(), "{holdings:?}");
            assert_same(before, now);
        }
    }

    /// The same of one node, whatever the others hold.
    #[track_caller]
    pub(crate) fn assert_node_as_at_boot(&self, node: &Node) {
        let index = self.lab.nodes().iter().position(|n| n.name() == node.name()).unwrap();
        assert_as_before(node, &self.at_boot[index]);
    }

    /// Starts iscsid (where no systemd does) and the agent on a node.
    pub(crate) fn start(&self, name: &str) -> Agent {
        let node = self.lab.node(name).unwrap();
        if self.init == Init::Systemd {
            node.sh("systemctl start iscsid.socket rampool-agent").unwrap();
            return self.await_agent(name);
        }
        let iscsid = "grep -q ISCSIADM_ABSTRACT /proc/net/unix && echo yes || true";
        if node.sh(iscsid).unwrap() != "yes" {
            node.daemon("iscsid", ["/usr/sbin/iscsid", "-f"]).unwrap();
            node.sh("until grep -q ISCSIADM_ABSTRACT /proc/net/unix; do sleep 0.05; done").unwrap();
        }
        self.start_agent(name)
    }

    pub(crate) fn start_agent(&self, name: &str) -> Agent {
        let node = self.lab.node(name).unwrap();
        let log = "RUST_LOG=debug,h2=info,hyper=info,rustls=info";
        node.daemon("agent", ["env", log, "rampool-agent"]).unwrap();
        self.await_agent(name)
    }

    /// A client of the agent on a node that may be about to answer again.
    pub(crate) fn await_agent(&self, name: &str) -> Agent {
        let agent = self.agent(name);
        let patience = Instant::now() + Duration::from_secs(60);
        while let Err(failure) = agent.inventory() {
            assert!(Instant::now() < patience, "{failure}");
            std::thread::sleep(Duration::from_millis(50));
        }
        agent
    }

    /// `kill -9`, as a crash would.
    pub(crate) fn kill_agent(&self, name: &str) {
        let node = self.lab.node(name).unwrap();
        node.sh("kill -9 $(pidof rampool-agent); while pidof rampool-agent; do sleep 0.02; done")
            .unwrap();
    }

    /// A client of the agent on a node, by a link that is never cut: a connection that stood still
    /// for a while may end just when its link is healed.
    pub(crate) fn agent(&self, name: &str) -> Agent {
        self.agent_as(name, &self.pki.client(Some(Role::Controller)))
    }

    /// The same for whoever has these credentials.
    pub(crate) fn agent_as(&self, name: &str, credentials: &Credentials) -> Agent {
        let node = self.lab.node(name).unwrap().clone();
        let address = std::net::SocketAddr::from((node.management_addr(), 7702));
        let dial = credentials.dial(&address.to_string(), pki::NAME, Role::Agent).unwrap();
        let lab = Arc::clone(&self.lab);
        let connect = move || -> Dialling {
            let stream = lab.connect(address, Duration::from_secs(5));
            Box::pin(async move {
                let stream = stream.map_err(std::io::Error::other)?;
                stream.set_nonblocking(true)?;
                tokio::net::TcpStream::from_std(stream)
            })
        };
        let guard = self.runtime.enter();
        let client = AgentClient::new(dial.lazy_over(connect));
        drop(guard);
        Agent { runtime: Arc::clone(&self.runtime), client, name: name.to_owned(), node }
    }
}

/// One call: the request's type says which.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $answer:ident;)*) => {
        impl Agent {
            $(
                $(#[$doc])*
                pub(crate) fn $name(&self, request: v1::$request) -> Answer<v1::$answer> {
                    self.ask(stringify!($name), request, async |mut client, request| {
                        client.$name(request).await.map(tonic::Response::into_inner)
                    })
                }
            )*
        }
    };
}

calls! {
    get_inventory(GetInventoryRequest) -> Inventory;
    destroy_export(DestroyExportRequest) -> DestroyExportResponse;
    fence_export(FenceExportRequest) -> FenceExportResponse;
    check_head(CheckHeadRequest) -> CheckHeadResponse;
    attach(AttachRequest) -> AttachResponse;
    detach(DetachRequest) -> DetachResponse;
    assemble_volume(AssembleVolumeRequest) -> AssembleVolumeResponse;
    stop_volume(StopVolumeRequest) -> StopVolumeResponse;
    readd_members(ReaddMembersRequest) -> ReaddMembersResponse;
    fail_volume(FailVolumeRequest) -> FailVolumeResponse;
    make_filesystem(MakeFilesystemRequest) -> MakeFilesystemResponse;
    mount(MountRequest) -> MountResponse;
    unmount(UnmountRequest) -> UnmountResponse;
    get_usage(GetUsageRequest) -> GetUsageResponse;
    check_sharing(CheckSharingRequest) -> CheckSharingResponse;
    share_filesystem(ShareFilesystemRequest) -> ShareFilesystemResponse;
    unshare_filesystem(UnshareFilesystemRequest) -> UnshareFilesystemResponse;
    mount_share(MountShareRequest) -> MountShareResponse;
    unmount_share(UnmountShareRequest) -> UnmountShareResponse;
    admit_job(AdmitJobRequest) -> AdmitJobResponse;
    dismiss_job(DismissJobRequest) -> DismissJobResponse;
}

impl Agent {
    /// A node that stands still for ten seconds, as this machine may make it, loses its connection
    /// in the middle of a call, which says nothing of the call's end. It may be made once more, as
    /// the controller does.
    fn ask<R: Clone, T>(
        &self,
        step: &str,
        request: R,
        call: impl AsyncFn(AgentClient<Channel>, R) -> Result<T, tonic::Status>,
    ) -> Answer<T> {
        let answer = self.runtime.block_on(async {
            match call(self.client.clone(), request.clone()).await {
                // What the agent itself says has details.
                Err(status) if status.details().is_empty() => {
                    eprintln!("{}: {step} once more after: {status}", self.name);
                    call(self.client.clone(), request).await
                }
                answer => answer,
            }
        });
        answer.map_err(|status| Box::new(Failure::from_status(&status, &self.name, step)))
    }

    pub(crate) fn inventory(&self) -> Answer<v1::Inventory> {
        self.get_inventory(v1::GetInventoryRequest {})
    }

    /// The stream to its end.
    pub(crate) fn create_export(&self, request: v1::CreateExportRequest) -> Answer<Export> {
        self.ask("create_export", request, async |mut client, request| {
            let mut stream = client.create_export(request).await?.into_inner();
            let mut reserved = 0;
            while let Some(step) = stream.message().await? {
                assert!(step.reserved_bytes >= reserved, "progress never goes back");
                reserved = step.reserved_bytes;
                if let Some(export) = step.export {
                    return Ok(export);
                }
            }
            panic!("the stream ended without an export");
        })
    }

    /// The stream to its end: all the progress that was told.
    pub(crate) fn replace_member(
        &self,
        request: v1::ReplaceMemberRequest,
    ) -> Answer<Vec<v1::ReplaceMemberProgress>> {
        self.ask("replace_member", request, async |mut client, request| {
            let mut stream = client.replace_member(request).await?.into_inner();
            let mut seen = Vec::new();
            while let Some(step) = stream.message().await? {
                seen.push(step);
            }
            Ok(seen)
        })
    }

    /// Asks for a replacement and leaves when the call has begun.
    pub(crate) fn begin_to_replace(&self, request: v1::ReplaceMemberRequest) {
        let mut client = self.client.clone();
        drop(self.runtime.block_on(client.replace_member(request)).unwrap());
    }

    /// How the volume of `demo` is.
    pub(crate) fn health(&self) -> v1::VolumeHealth {
        let holdings = self.inventory().unwrap().holdings;
        holdings.into_iter().find_map(|holding| holding.health).unwrap()
    }

    /// A stream of inventories.
    pub(crate) fn watch(&self, heartbeat_seconds: u32) -> tonic::Streaming<v1::Inventory> {
        let request = v1::WatchInventoryRequest { heartbeat_seconds };
        let mut client = self.client.clone();
        self.runtime.block_on(client.watch_inventory(request)).unwrap().into_inner()
    }

    /// The next of a stream; none where it ended.
    pub(crate) fn next(
        &self,
        stream: &mut tonic::Streaming<v1::Inventory>,
    ) -> Option<v1::Inventory> {
        self.runtime.block_on(stream.message()).ok().flatten()
    }

    /// Asks for an export and leaves when the call has begun.
    pub(crate) fn ask_and_leave(&self, request: v1::CreateExportRequest) {
        let mut client = self.client.clone();
        drop(self.runtime.block_on(client.create_export(request)).unwrap());
    }

    /// An export of `demo` to [`HEAD`].
    pub(crate) fn export(&self, backend: Backend, mib: u64) -> Answer<Export> {
        self.create_export(export_request(backend, mib))
    }

    pub(crate) fn destroy(&self) -> Answer<v1::DestroyExportResponse> {
        self.destroy_export(v1::DestroyExportRequest { pool: demo(), ..Default::default() })
    }

    /// What the agent says the kernel holds, as texts `kind name`.
    pub(crate) fn holdings(&self) -> Vec<String> {
        let holdings = self.inventory().unwrap().holdings;
        holdings.iter().map(|h| format!("{} {}", h.kind().as_str_name(), h.name)).collect()
    }

    pub(crate) fn attach_to(&self, exports: &[Export]) -> Answer<v1::AttachResponse> {
        self.attach(v1::AttachRequest {
            pool: demo(),
            initiator: HEAD.to_owned(),
            exports: exports.to_vec(),
            patience_seconds: 8,
            ..Default::default()
        })
    }

    pub(crate) fn assemble(
        &self,
        layout: VolumeLayout,
        exports: &[Export],
    ) -> Answer<v1::AssembleVolumeResponse> {
        self.assemble_volume(v1::AssembleVolumeRequest {
            pool: demo(),
            layout: layout.into(),
            chunk_kib: 64,
            serials: exports.iter().map(|export| export.serial.clone()).collect(),
            ..Default::default()
        })
    }

    pub(crate) fn mkfs(
        &self,
        kind: FilesystemKind,
        width: usize,
    ) -> Answer<v1::MakeFilesystemResponse> {
        self.make_filesystem(v1::MakeFilesystemRequest {
            pool: demo(),
            filesystem: kind.into(),
            chunk_kib: 64,
            width: u32::try_from(width).unwrap(),
        })
    }

    pub(crate) fn mount_at(&self, kind: FilesystemKind, point: &str) -> Answer<v1::MountResponse> {
        self.mount(v1::MountRequest {
            pool: demo(),
            filesystem: kind.into(),
            mount_point: point.to_owned(),
            readme: "This is memory.\n".to_owned(),
            ..Default::default()
        })
    }

    pub(crate) fn unmount_demo(&self, force: bool) -> Answer<v1::UnmountResponse> {
        self.unmount(v1::UnmountRequest { pool: demo(), force })
    }

    pub(crate) fn stop(&self) -> Answer<v1::StopVolumeResponse> {
        self.stop_volume(v1::StopVolumeRequest { pool: demo() })
    }

    pub(crate) fn detach_demo(&self) -> Answer<v1::DetachResponse> {
        self.detach(v1::DetachRequest { pool: demo(), donors: Vec::new() })
    }

    /// Lets one donor of `demo` go.
    pub(crate) fn detach_donor(&self, name: &str) -> Answer<v1::DetachResponse> {
        self.detach(v1::DetachRequest { pool: demo(), donors: vec![name.to_owned()] })
    }

    /// Bytes the node could give to programs.
    pub(crate) fn available(&self) -> u64 {
        self.inventory().unwrap().memory.unwrap().available_bytes
    }
}

pub(crate) fn export_request(backend: Backend, mib: u64) -> v1::CreateExportRequest {
    export_request_of(("demo", 1), backend, mib)
}

/// Of another pool, whose head has a name of its own.
pub(crate) fn export_request_of(
    (name, generation): (&str, u32),
    backend: Backend,
    mib: u64,
) -> v1::CreateExportRequest {
    let head = HEAD.replace("demo.1", &format!("{name}.{generation}"));
    v1::CreateExportRequest {
        pool: pool(name, generation),
        backend: backend.into(),
        bytes: mib * MIB,
        way: Some(Way::HeadInitiator(head)),
        ..Default::default()
    }
}

/// Nothing of a node may differ from `before`.
#[track_caller]
pub(crate) fn assert_as_before(node: &Node, before: &str) {
    assert_same(before, &traces(node));
}

#[track_caller]
fn assert_same(before: &str, now: &str) {
    let missing: Vec<_> = before.lines().filter(|l| !now.lines().any(|n| n == *l)).collect();
    let left: Vec<_> = now.lines().filter(|l| !before.lines().any(|b| b == *l)).collect();
    assert!(missing.is_empty() && left.is_empty(), "missing: {missing:#?}\nleft: {left:#?}");
}

/// What of a node must be as it was: sessions, records, exports, devices, mounts, shares. Few
/// processes make it, because each costs a node of the lab tens of milliseconds.
pub(crate) fn traces(node: &Node) -> String {
    let listed = node
        .sh("find /sys/kernel/config/target /etc/iscsi /etc/lvm /etc/mdadm \
                 '(' -name 'alua*' -o -name statistics ')' -prune \
                 -o -path '/etc/*' -type f -print -o -path '/sys/*' ! -type f -print 2>/dev/null
             printf '%s\n' /sys/class/iscsi_session/* /sys/class/scsi_disk/* /sys/block/* \
                 /sys/module/br[d] /dev/mapper/* /dev/md/* /dev/rp* /dev/rp*/* \
                 /rampool/* /run/rampool/ramdisk/* /run/rampool/share/* /run/rampool/jobs/* /etc/exports.d/*
             cat /var/lib/nfs/etab
             cut -d' ' -f5 /proc/self/mountinfo")
        .unwrap();
    let mut lines: Vec<_> = listed.lines().filter(|line| !is_nobodys(line)).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// What comes and goes with modules, or is a pattern that nothing matched.
fn is_nobodys(line: &str) -> bool {
    let local = "/sys/kernel/config/target/loopback";
    let blocks = ["/sys/block/ram", "/sys/block/loop", "/sys/block/ubd"];
    line == local
        || line == "/dev/mapper/control"
        || line.strip_prefix(local).is_some_and(|rest| rest.starts_with("/discovery_auth"))
        || blocks.iter().any(|block| line.starts_with(block))
        || line.ends_with('*')
        || line.ends_with(']')
}
