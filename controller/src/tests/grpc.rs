//! The whole way over real gRPC with mutual TLS, on the loopback interface: a client, the
//! controller, and agents whose nodes are fake.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use rampool_proto::munge::{Link, Signer};
use rampool_proto::tls::{Credentials, Gate, Role, TlsFiles, Trust};
use rampool_proto::v1::agent_server::{Agent, AgentServer};
use rampool_proto::v1::controller_client::ControllerClient;
use rampool_proto::v1::jobs_client::JobsClient;
use rampool_proto::v1::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::fake_nodes::{FakeNodes, Fault, watch_node};
use super::rig::{NODES, spec};
use crate::agents::{Answer, Call};
use crate::config::{AgentAddresses, Config};
use crate::doors::Doors;
use crate::serve;
use crate::socket::{self, SocketConfig};

/// A cluster CA of one test.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self(Issuer::new(params, key), certificate.pem())
    }

    fn issue(&self, folder: &Path, role: Role, name: &str) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        let role = SanType::URI(role.uri().as_str().try_into().unwrap());
        params.subject_alt_names.push(role);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let write = |ending: &str, text: String| {
            let path = folder.join(format!("{name}.{ending}"));
            let mut options = std::fs::OpenOptions::new();
            let mut file =
                options.create(true).write(true).truncate(true).mode(0o600).open(&path).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            path
        };
        TlsFiles {
            ca: write("ca", self.1.clone()),
            cert: write("crt", certificate.pem()),
            key: write("key", key.serialize_pem()),
        }
    }
}

/// One fake node behind the real service.
struct FakeAgent {
    node: String,
    nodes: Arc<FakeNodes>,
}

impl FakeAgent {
    async fn ask(&self, call: Call) -> Result<Answer, Status> {
        Ok(Arc::clone(&self.nodes).answer(self.node.clone(), call, None).await?)
    }
}

macro_rules! done {
    ($self:ident, $call:ident, $request:ident) => {{
        $self.ask(Call::$call($request.into_inner())).await?;
        Ok(Response::new(Default::default()))
    }};
}

#[tonic::async_trait]
impl Agent for FakeAgent {
    type WatchInventoryStream = BoxStream<'static, Result<Inventory, Status>>;
    type CreateExportStream = BoxStream<'static, Result<CreateExportProgress, Status>>;
    type ReplaceMemberStream = BoxStream<'static, Result<ReplaceMemberProgress, Status>>;

    async fn get_inventory(
        &self,
        _: Request<GetInventoryRequest>,
    ) -> Result<Response<Inventory>, Status> {
        match self.ask(Call::GetInventory).await? {
            Answer::Inventory(inventory) => Ok(Response::new(*inventory)),
            other => panic!("{other:?}"),
        }
    }

    async fn watch_inventory(
        &self,
        _: Request<WatchInventoryRequest>,
    ) -> Result<Response<Self::WatchInventoryStream>, Status> {
        let inventories = watch_node(Arc::clone(&self.nodes), self.node.clone());
        Ok(Response::new(inventories.map(|item| item.map_err(Status::from)).boxed()))
    }

    async fn create_export(
        &self,
        request: Request<CreateExportRequest>,
    ) -> Result<Response<Self::CreateExportStream>, Status> {
        assert!(request.metadata().contains_key("grpc-timeout"), "a deadline travels with it");
        let request = request.into_inner();
        let half = CreateExportProgress { reserved_bytes: request.bytes / 2, export: None };
        let Answer::Export(export) = self.ask(Call::CreateExport(request)).await? else {
            panic!("no export")
        };
        let last = CreateExportProgress { reserved_bytes: 0, export: Some(export) };
        Ok(Response::new(stream::iter([Ok(half), Ok(last)]).boxed()))
    }

    async fn replace_member(
        &self,
        request: Request<ReplaceMemberRequest>,
    ) -> Result<Response<Self::ReplaceMemberStream>, Status> {
        self.ask(Call::ReplaceMember(request.into_inner())).await?;
        let half = ReplaceMemberProgress { done_bytes: 1, total_bytes: 2, bytes_per_second: 1 };
        Ok(Response::new(stream::iter([Ok(half)]).boxed()))
    }

    async fn fence_export(
        &self,
        r: Request<FenceExportRequest>,
    ) -> Result<Response<FenceExportResponse>, Status> {
        done!(self, FenceExport, r)
    }

    async fn readd_members(
        &self,
        r: Request<ReaddMembersRequest>,
    ) -> Result<Response<ReaddMembersResponse>, Status> {
        done!(self, ReaddMembers, r)
    }

    async fn fail_volume(
        &self,
        r: Request<FailVolumeRequest>,
    ) -> Result<Response<FailVolumeResponse>, Status> {
        done!(self, FailVolume, r)
    }

    async fn destroy_export(
        &self,
        r: Request<DestroyExportRequest>,
    ) -> Result<Response<DestroyExportResponse>, Status> {
        done!(self, DestroyExport, r)
    }

    async fn check_head(
        &self,
        r: Request<CheckHeadRequest>,
    ) -> Result<Response<CheckHeadResponse>, Status> {
        done!(self, CheckHead, r)
    }

    async fn attach(&self, r: Request<AttachRequest>) -> Result<Response<AttachResponse>, Status> {
        done!(self, Attach, r)
    }

    async fn detach(&self, r: Request<DetachRequest>) -> Result<Response<DetachResponse>, Status> {
        done!(self, Detach, r)
    }

    async fn assemble_volume(
        &self,
        r: Request<AssembleVolumeRequest>,
    ) -> Result<Response<AssembleVolumeResponse>, Status> {
        done!(self, AssembleVolume, r)
    }

    async fn stop_volume(
        &self,
        r: Request<StopVolumeRequest>,
    ) -> Result<Response<StopVolumeResponse>, Status> {
        done!(self, StopVolume, r)
    }

    async fn make_filesystem(
        &self,
        r: Request<MakeFilesystemRequest>,
    ) -> Result<Response<MakeFilesystemResponse>, Status> {
        done!(self, MakeFilesystem, r)
    }

    async fn mount(&self, r: Request<MountRequest>) -> Result<Response<MountResponse>, Status> {
        done!(self, Mount, r)
    }

    async fn unmount(
        &self,
        r: Request<UnmountRequest>,
    ) -> Result<Response<UnmountResponse>, Status> {
        done!(self, Unmount, r)
    }

    async fn get_usage(
        &self,
        r: Request<GetUsageRequest>,
    ) -> Result<Response<GetUsageResponse>, Status> {
        match self.ask(Call::GetUsage(r.into_inner())).await? {
            Answer::Usage(usage) => Ok(Response::new(GetUsageResponse { usage: Some(usage) })),
            other => panic!("{other:?}"),
        }
    }

    // The controller shares no pools yet.
    async fn check_sharing(
        &self,
        _: Request<CheckSharingRequest>,
    ) -> Result<Response<CheckSharingResponse>, Status> {
        Err(Status::unimplemented("check_sharing"))
    }

    async fn share_filesystem(
        &self,
        _: Request<ShareFilesystemRequest>,
    ) -> Result<Response<ShareFilesystemResponse>, Status> {
        Err(Status::unimplemented("share_filesystem"))
    }

    async fn unshare_filesystem(
        &self,
        _: Request<UnshareFilesystemRequest>,
    ) -> Result<Response<UnshareFilesystemResponse>, Status> {
        Err(Status::unimplemented("unshare_filesystem"))
    }

    async fn mount_share(
        &self,
        _: Request<MountShareRequest>,
    ) -> Result<Response<MountShareResponse>, Status> {
        Err(Status::unimplemented("mount_share"))
    }

    async fn unmount_share(
        &self,
        _: Request<UnmountShareRequest>,
    ) -> Result<Response<UnmountShareResponse>, Status> {
        Err(Status::unimplemented("unmount_share"))
    }

    async fn admit_job(
        &self,
        _: Request<AdmitJobRequest>,
    ) -> Result<Response<AdmitJobResponse>, Status> {
        Err(Status::unimplemented("admit_job"))
    }

    async fn dismiss_job(
        &self,
        _: Request<DismissJobRequest>,
    ) -> Result<Response<DismissJobResponse>, Status> {
        Err(Status::unimplemented("dismiss_job"))
    }
}

/// A controller and its agents, all listening.
pub(super) struct Cluster {
    address: SocketAddr,
    /// Where users are listened to, where they are.
    pub(super) users: Option<SocketAddr>,
    pub(super) fake: Arc<FakeNodes>,
    authority: Authority,
    pub(super) folder: tempfile::TempDir,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// One port free on as many loopback addresses as there are nodes.
async fn listeners() -> (u16, Vec<TcpListener>) {
    'again: loop {
        let first = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut all = vec![first];
        for at in 1..NODES.len() {
            match TcpListener::bind(format!("127.0.0.{}:{port}", at + 2)).await {
                Ok(listener) => all.push(listener),
                Err(_) => continue 'again,
            }
        }
        return (port, all);
    }
}

fn serve_agent(files: &TlsFiles, agent: FakeAgent, listener: TcpListener) {
    let credentials = files.load().unwrap();
    let gate = Gate::new("agent", &[Role::Controller]);
    let mut server = credentials.server();
    let server = server.add_service(AgentServer::with_interceptor(agent, gate));
    tokio::spawn(server.serve_with_incoming(credentials.incoming(listener)));
}

/// With one that listens already.
async fn doors(config: &Config, certificates: TcpListener) -> Doors {
    let listen = TcpListener::bind("127.0.0.1:0");
    let users = if config.users.is_some() { Some(listen.await.unwrap()) } else { None };
    Doors { certificates, socket: socket::listen(&config.socket).unwrap(), users }
}

pub(super) async fn cluster() -> Cluster {
    cluster_with(|_, _| ()).await
}

/// One whose configuration is changed before it starts.
pub(super) async fn cluster_with(change: impl FnOnce(&mut Config, &Path)) -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let fake = FakeNodes::new(&NODES);
    let (port, agents) = listeners().await;
    let mut addresses = BTreeMap::new();
    for (node, listener) in NODES.iter().zip(agents) {
        addresses.insert((*node).to_owned(), listener.local_addr().unwrap().ip().to_string());
        let agent = FakeAgent { node: (*node).to_owned(), nodes: Arc::clone(&fake) };
        serve_agent(&authority.issue(folder.path(), Role::Agent, node), agent, listener);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = Config {
        jobs: None,
        socket: SocketConfig { path: folder.path().join("socket"), group: None },
        users: None,
        listen: address,
        nodes: "n[1-4]".parse().unwrap(),
        agents: AgentAddresses { port, addresses },
        profiles: BTreeMap::new(),
        state: folder.path().join("state"),
        mount_root: "/rampool".into(),
        racks: BTreeMap::new(),
        contact: String::new(),
        iqn_authority: "iqn.2026-11.org.rampool".into(),
        allow_swap: false,
        tls: authority.issue(folder.path(), Role::Controller, "controller"),
    };
    let stop = CancellationToken::new();
    change(&mut config, folder.path());
    let doors = doors(&config, listener).await;
    let users = doors.users.as_ref().map(|users| users.local_addr().unwrap());
    let ended = tokio::spawn(serve::run(config, doors, stop.clone()));
    Cluster { address, users, fake, authority, folder, stop, ended }
}

impl Cluster {
    fn credentials(&self) -> Credentials {
        self.authority.issue(self.folder.path(), Role::Operator, "admin").load().unwrap()
    }

    fn way(&self, credentials: &Credentials) -> Channel {
        let address = self.address.to_string();
        credentials.dial(&address, "controller", Role::Controller).unwrap().lazy()
    }

    /// By MUNGE, with the programs of this folder.
    pub(super) fn by_munge(&self, programs: &Path) -> ControllerClient<Link> {
        let address = self.users.expect("it listens to users").to_string();
        let channel = self.trust().dial(&address, "controller", Role::Controller).unwrap().lazy();
        ControllerClient::new(Link::Signed(channel, Signer::of(programs)))
    }

    /// To the door for users, of somebody without a credential.
    pub(super) fn by_nothing(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.by_nothing_channel())
    }

    pub(super) fn by_nothing_channel(&self) -> Channel {
        let address = self.users.expect("it listens to users").to_string();
        let dial = self.trust().dial(&address, "controller", Role::Controller).unwrap();
        dial.lazy()
    }

    fn trust(&self) -> Trust {
        let files = self.authority.issue(self.folder.path(), Role::Operator, "trust");
        Trust::load(&files.ca).unwrap()
    }

    pub(super) fn client(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.way(&self.credentials()))
    }
}

pub(super) async fn events(stream: tonic::Streaming<Event>) -> Vec<Result<Event, Status>> {
    tokio::time::timeout(std::time::Duration::from_secs(60), stream.collect()).await.unwrap()
}

async fn up(client: &mut ControllerClient<Channel>) -> Vec<Event> {
    let stream = client.up(UpRequest { spec: Some(spec()) }).await.unwrap().into_inner();
    events(stream).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn up_status_and_down_over_the_wire_right_after_the_start() {
    let cluster = cluster().await;
    let mut client = cluster.client();
    let made = up(&mut client).await;
    assert_eq!(made.last().unwrap().kind(), EventKind::Finished, "{made:?}");
    let nodes = client.list_nodes(ListNodesRequest::default()).await.unwrap().into_inner().nodes;
    assert!(nodes.iter().all(|node| node.reachable && node.pools == ["demo"]));
    let pools = client.list_pools(ListPoolsRequest {}).await.unwrap().into_inner().pools;
    assert_eq!(pools[0].state(), PoolState::Ready);
    assert!(pools[0].usage.is_some());
    let findings = client
        .doctor(DoctorRequest { nodes: "n1".into(), hooks: None })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(findings.findings.len(), 1);
    assert_eq!(findings.findings[0].severity(), Severity::Ok);
    let down = DownRequest { pool: "demo".into(), force: false };
    let gone = events(client.down(down).await.unwrap().into_inner()).await;
    assert_eq!(gone.last().unwrap().as_ref().unwrap().kind(), EventKind::Finished);
    assert!(cluster.fake.held().is_empty());
    let history = client.list_events(ListEventsRequest { pool: "demo".into() }).await.unwrap();
    assert!(history.into_inner().events.len() > 10);
}

#[tokio::test]
async fn care_of_nodes_and_leases_over_the_wire() {
    let cluster = cluster().await;
    let mut client = cluster.client();
    up(&mut client).await;
    cluster.fake.plant_export("n3", "stranger.4");
    let drain = |nodes: &str, drain| DrainRequest {
        nodes: nodes.into(),
        drain,
        reason: "new disks".into(),
    };
    assert!(client.drain(drain("", true)).await.is_err(), "no nodes are not all nodes");
    client.drain(drain("n[2-3]", true)).await.unwrap();
    client.drain(drain("n2", false)).await.unwrap();
    let reap = |node: &str, apply| ReapRequest { node: node.into(), apply, assemblies: vec![] };
    assert!(client.reap(reap("", true)).await.is_err(), "no node is not all nodes");
    let list = ListNodesRequest { nodes: "n[2-3]".into() };
    let nodes = loop {
        let nodes = client.list_nodes(list.clone()).await.unwrap().into_inner().nodes;
        if !nodes[1].unknown.is_empty() {
            break nodes;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert!(!nodes[0].drained && nodes[0].unknown.is_empty());
    assert_eq!((nodes[1].drained, nodes[1].drain_reason.as_str()), (true, "new disks"));
    let removed = client.reap(reap("n3", true)).await.unwrap().into_inner().holdings;
    assert_eq!(removed.len(), nodes[1].unknown.len());
    assert!(!cluster.fake.held().contains("n3 stranger.4"));
    let renew = RenewRequest { pool: "demo".into(), lease_seconds: 3600 };
    let pool = client.renew(renew).await.unwrap().into_inner();
    assert!(pool.expires_ms > pool.ready_ms);
    let recover = RecoverRequest { apply: true, pools: vec![] };
    let found = client.recover(recover).await.unwrap().into_inner();
    assert_eq!(found, RecoverResponse::default(), "all is known");
}

#[tokio::test]
async fn failures_arrive_whole_with_their_exit_codes_kind() {
    let cluster = cluster().await;
    let mut client = cluster.client();
    let kind_of = |status: Status| Failure::from_status(&status, "", "").kind();
    let down = DownRequest { pool: "nothing".into(), force: false };
    assert_eq!(kind_of(client.down(down).await.unwrap_err()), FailureKind::NotFound);
    let none = client.up(UpRequest { spec: None }).await.unwrap_err();
    assert_eq!((none.code(), kind_of(none)), (Code::InvalidArgument, FailureKind::Invalid));
    let stranger = PoolSpec { donors: "n9".into(), ..spec() };
    let plan = client.plan(PlanRequest { spec: Some(stranger) }).await.unwrap_err();
    assert_eq!(kind_of(plan), FailureKind::NotFound);
    cluster.fake.inject("n3", "CreateExport", Fault::Refuse(FailureKind::NotNow));
    let made = up(&mut client).await;
    let failure = made.last().unwrap().failure.clone().unwrap();
    assert_eq!((failure.node.as_str(), failure.said.as_str()), ("n3", "injected"));
    assert!(cluster.fake.held().is_empty());
}

#[tokio::test]
async fn a_second_caller_attaches_and_a_stop_lets_callers_go() {
    let cluster = cluster().await;
    let (mut one, mut two) = (cluster.client(), cluster.client());
    cluster.fake.inject("n1", "Mount", Fault::Wait(Arc::new(tokio::sync::Notify::new())));
    let first = one.up(UpRequest { spec: Some(spec()) }).await.unwrap().into_inner();
    cluster.fake.until(|fake| fake.calls().iter().any(|(_, call)| call == "Mount")).await;
    let second = two.up(UpRequest { spec: Some(spec()) }).await.unwrap().into_inner();
    cluster.stop.cancel();
    for stream in [first, second] {
        let seen = events(stream).await;
        let status = seen.last().unwrap().as_ref().unwrap_err();
        assert!(status.message().contains("being stopped"), "{status}");
    }
    cluster.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn plaintext_is_refused() {
    let cluster = cluster().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", cluster.address)).unwrap();
    let mut client = ControllerClient::new(endpoint.connect_lazy());
    client.list_pools(ListPoolsRequest {}).await.unwrap_err();
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() {
    let cluster = cluster().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let mut stranger = Authority::new().issue(elsewhere.path(), Role::Operator, "admin");
    // It trusts the controller; the controller must not trust it.
    stranger.ca = cluster.authority.issue(cluster.folder.path(), Role::Operator, "admin").ca;
    let channel = cluster.way(&stranger.load().unwrap());
    ControllerClient::new(channel).list_pools(ListPoolsRequest {}).await.unwrap_err();
    cluster.client().list_pools(ListPoolsRequest {}).await.unwrap();
}

#[tokio::test]
async fn each_service_is_for_its_roles_and_a_hook_speaks_for_its_own_node() {
    let cluster = cluster().await;
    let folder = tempfile::tempdir().unwrap();
    let way = |role: Role, name: &str| {
        cluster.way(&cluster.authority.issue(folder.path(), role, name).load().unwrap())
    };
    let denied = |status: Status, who: &str| {
        assert_eq!(status.code(), Code::PermissionDenied, "{who}: {status}");
    };
    for (role, name) in [(Role::Agent, "n1"), (Role::Slurm, "ctl"), (Role::Controller, "other")] {
        let mut client = ControllerClient::new(way(role, name));
        denied(client.list_pools(ListPoolsRequest {}).await.unwrap_err(), name);
    }
    for (role, name) in [(Role::Operator, "admin"), (Role::Controller, "other")] {
        let mut client = JobsClient::new(way(role, name));
        denied(client.end_job(EndJobRequest::default()).await.unwrap_err(), name);
    }
    let mut n1 = JobsClient::new(way(Role::Agent, "n1"));
    denied(n1.end_job(EndJobRequest::default()).await.unwrap_err(), "a node ends no job");
    denied(n1.start_job(StartJobRequest::default()).await.unwrap_err(), "nor begins one");
    denied(n1.reserve_job(ReserveJobRequest::default()).await.unwrap_err(), "nor reserves");
    let leave = |node: &str| LeaveNodeRequest { node: node.into(), ..Default::default() };
    let admit = |node: &str| AdmitNodeRequest { node: node.into(), ..Default::default() };
    denied(n1.leave_node(leave("n2")).await.unwrap_err(), "n2");
    denied(n1.admit_node(admit("n2")).await.unwrap_err(), "n2");
    // This controller knows no jobs: it says so to those who may ask.
    let asked = n1.leave_node(leave("n1")).await.unwrap_err();
    assert_eq!(asked.code(), Code::FailedPrecondition, "{asked}");
    let mut slurm = JobsClient::new(way(Role::Slurm, "ctl"));
    let asked = slurm.end_job(EndJobRequest::default()).await.unwrap_err();
    assert_eq!(asked.code(), Code::FailedPrecondition, "{asked}");
}

#[tokio::test]
async fn an_agent_with_another_nodes_certificate_is_unreachable_not_trusted() {
    let mut cluster = cluster().await;
    let folder = tempfile::tempdir().unwrap();
    // The controller is told to find n1 where n2 listens.
    cluster.stop.cancel();
    cluster.ended.await.unwrap().unwrap();
    let port = listeners().await.0;
    let listener = TcpListener::bind(format!("127.0.0.9:{port}")).await.unwrap();
    let agent = FakeAgent { node: "n1".into(), nodes: Arc::clone(&cluster.fake) };
    let files = cluster.authority.issue(folder.path(), Role::Agent, "n2");
    serve_agent(&files, agent, listener);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cluster.address = listener.local_addr().unwrap();
    let config = Config {
        jobs: None,
        socket: SocketConfig { path: folder.path().join("socket"), group: None },
        users: None,
        listen: cluster.address,
        nodes: "n1".parse().unwrap(),
        agents: AgentAddresses { port, addresses: [("n1".into(), "127.0.0.9".into())].into() },
        profiles: BTreeMap::new(),
        state: folder.path().join("state"),
        mount_root: "/rampool".into(),
        racks: BTreeMap::new(),
        contact: String::new(),
        iqn_authority: "iqn.2026-11.org.rampool".into(),
        allow_swap: false,
        tls: cluster.authority.issue(folder.path(), Role::Controller, "controller"),
    };
    cluster.stop = CancellationToken::new();
    let doors = doors(&config, listener).await;
    cluster.ended = tokio::spawn(serve::run(config, doors, cluster.stop.clone()));
    let mut client = cluster.client();
    let detail = loop {
        let nodes =
            client.list_nodes(ListNodesRequest::default()).await.unwrap().into_inner().nodes;
        assert!(!nodes[0].reachable);
        if nodes[0].detail != "no answer yet" {
            break nodes[0].detail.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert!(detail.contains("certificate"), "{detail}");
}
