//! The gRPC face: from messages to calls of the inside, and back. Thin.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};
use rampool_proto::hostlist::HostList;
use rampool_proto::pool_name::Assembly;
use rampool_proto::tls::TlsFiles;
use rampool_proto::v1;
use rampool_proto::v1::controller_server::Controller;
use rampool_proto::v1::{
    DoctorRequest, DoctorResponse, DownRequest, Event, Failure, FailureKind, GetPoolRequest,
    ListEventsRequest, ListEventsResponse, ListNodesRequest, ListNodesResponse, ListPoolsRequest,
    ListPoolsResponse, NodeStatus, PlanRequest, PlanResponse, Pool, PoolSpec, UpRequest,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::audit;
use crate::caller::Caller;
use crate::clock::now_ms;
use crate::doctor;
use crate::jobs::Jobs;
use crate::nodes::{Known, Nodes};
use crate::pool::record::PoolRecord;
use crate::pool::{Events, Pools};
use crate::reap;

/// The service.
pub struct ControllerService {
    pub(crate) pools: Arc<Pools>,
    nodes: Arc<Nodes>,
    jobs: Option<Arc<Jobs>>,
    tls: TlsFiles,
    stopping: CancellationToken,
}

impl ControllerService {
    /// A face for these; without `jobs` where the configuration says nothing of Slurm. Once
    /// `stopping` is cancelled, callers who follow an operation are told so and let go.
    #[must_use]
    pub fn new(
        pools: Arc<Pools>,
        nodes: Arc<Nodes>,
        jobs: Option<Arc<Jobs>>,
        tls: TlsFiles,
        stopping: CancellationToken,
    ) -> Self {
        Self { pools, nodes, jobs, tls, stopping }
    }

    /// A pool of a job ends with it at the latest.
    fn with_jobs_end(&self, mut pool: Pool) -> Pool {
        let job = pool.spec.as_ref().and_then(|spec| spec.job.as_ref()?.id.as_ref());
        if let (0, Some(jobs), Some(id)) = (pool.expires_ms, &self.jobs, job) {
            pool.expires_ms = jobs.end_of(id.job);
        }
        pool
    }

    pub(crate) fn stream(
        &self,
        events: Events,
    ) -> Response<BoxStream<'static, Result<Event, Status>>> {
        let stopping = self.stopping.clone();
        let stopped = Failure::new(FailureKind::NotNow, "follow the operation")
            .saying("the controller is being stopped")
            .advising("once it runs again it settles what was under way: see `rampool status`");
        let last = futures::stream::once(async move { Err(Status::from(stopped)) });
        let cut = self.stopping.clone();
        let events = events.map(Ok).take_until(async move { cut.cancelled().await });
        // The goodbye only where the operation was not seen to its end.
        let last = last.filter(move |_| std::future::ready(stopping.is_cancelled()));
        Response::new(events.chain(last).boxed())
    }

    /// The pools that are to be `shown`.
    pub(crate) async fn pools_of(&self, shown: impl Fn(&PoolRecord) -> bool) -> Vec<Pool> {
        let pools = self.pools.list(shown).await.into_iter();
        pools.map(|pool| self.with_jobs_end(pool)).collect()
    }

    /// Refuses where what nodes under Slurm may lend is not known yet.
    pub(crate) fn knows_slurm(&self) -> Result<(), Failure> {
        if self.jobs.is_none() || self.pools.knows_allowances() {
            return Ok(());
        }
        Err(Failure::new(FailureKind::NotNow, "look what nodes may lend")
            .saying("the controller has not heard of Slurm yet")
            .advising("try again in a minute"))
    }

    /// The nodes of a host list; all for an empty one.
    fn chosen(&self, list: &str) -> Result<Vec<Known>, Failure> {
        if list.is_empty() {
            return Ok(self.nodes.all());
        }
        let failed = |kind| Failure::new(kind, "find the nodes");
        let names: HostList =
            list.parse().map_err(|error| failed(FailureKind::Invalid).saying(error))?;
        let find = |name: &str| {
            self.nodes.get(name).ok_or_else(|| {
                failed(FailureKind::NotFound).on(name).saying("it is not a known node").advising(
                    "`rampool nodes` lists them; the controller's configuration names them",
                )
            })
        };
        names.iter().map(find).collect()
    }
}

/// What is shown of nodes beside what they say of themselves.
struct Around<'a> {
    pools: &'a Pools,
    live: Vec<Arc<PoolRecord>>,
    drained: BTreeMap<String, String>,
}

impl<'a> Around<'a> {
    fn of(pools: &'a Pools) -> Self {
        let mut live = pools.records();
        live.retain(|record| !record.is_released());
        Self { pools, live, drained: pools.drained() }
    }

    fn status(&self, node: Known) -> NodeStatus {
        let of_it = self.live.iter().filter(|record| record.involves(&node.name));
        let unknown = node
            .inventory
            .as_deref()
            .map(|inventory| reap::unknown(inventory, |assembly| !self.pools.is_foreign(assembly)));
        NodeStatus {
            reachable: node.reachable(),
            detail: node.why_not().to_owned(),
            pools: of_it.map(|record| record.assembly.name.to_string()).collect(),
            last_seen_ms: node.last_seen_ms,
            drained: self.drained.contains_key(&node.name),
            drain_reason: self.drained.get(&node.name).cloned().unwrap_or_default(),
            unknown: unknown.unwrap_or_default(),
            rack: self.pools.rack(&node.name).to_owned(),
            inventory: node.inventory.map(Arc::unwrap_or_clone),
            node: node.name,
        }
    }
}

pub(crate) fn spec_of(spec: Option<PoolSpec>) -> Result<PoolSpec, Failure> {
    spec.ok_or_else(|| {
        Failure::new(FailureKind::Invalid, "read the pool's spec").saying("there is none")
    })
}

#[tonic::async_trait]
impl Controller for ControllerService {
    type UpStream = BoxStream<'static, Result<Event, Status>>;
    type DownStream = BoxStream<'static, Result<Event, Status>>;
    type WaitStream = BoxStream<'static, Result<Event, Status>>;
    type ReplaceStream = BoxStream<'static, Result<Event, Status>>;
    type EvacuateStream = BoxStream<'static, Result<Event, Status>>;
    type FailoverStream = BoxStream<'static, Result<Event, Status>>;
    type FailStream = BoxStream<'static, Result<Event, Status>>;

    async fn up(&self, request: Request<UpRequest>) -> Result<Response<Self::UpStream>, Status> {
        audit::note(&request, "up")?;
        let caller = Caller::of(&request)?;
        let spec = caller.owns(spec_of(request.into_inner().spec)?);
        // An operator's pool counts for nobody's limits.
        let spec = PoolSpec { by_user: false, ..spec };
        // A task of its own: a caller who leaves in the middle of being admitted leaves no
        // pool recorded that nobody makes.
        let pools = Arc::clone(&self.pools);
        let events = tokio::spawn(async move { pools.up(&spec).await })
            .await
            .map_err(|error| Status::internal(error.to_string()))??;
        Ok(self.stream(events))
    }

    async fn down(
        &self,
        request: Request<DownRequest>,
    ) -> Result<Response<Self::DownStream>, Status> {
        audit::note(&request, "down")?;
        let DownRequest { pool, force } = request.into_inner();
        Ok(self.stream(self.pools.down(&pool, force)?))
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        let caller = Caller::of(&request)?;
        let spec = caller.owns(spec_of(request.into_inner().spec)?);
        let placement = self.pools.plan(&spec).await?;
        Ok(Response::new(PlanResponse { placement: Some(placement) }))
    }

    async fn list_pools(
        &self,
        _: Request<ListPoolsRequest>,
    ) -> Result<Response<ListPoolsResponse>, Status> {
        Ok(Response::new(ListPoolsResponse { pools: self.pools_of(|_| true).await }))
    }

    async fn get_pool(&self, request: Request<GetPoolRequest>) -> Result<Response<Pool>, Status> {
        let pool = self.pools.status(&request.into_inner().pool).await?;
        Ok(Response::new(self.with_jobs_end(pool)))
    }

    async fn list_nodes(
        &self,
        request: Request<ListNodesRequest>,
    ) -> Result<Response<ListNodesResponse>, Status> {
        let nodes = self.chosen(&request.into_inner().nodes)?;
        let around = Around::of(&self.pools);
        let nodes = nodes.into_iter().map(|node| around.status(node)).collect();
        Ok(Response::new(ListNodesResponse { nodes }))
    }

    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let events = self.pools.events(&request.into_inner().pool).await?;
        Ok(Response::new(ListEventsResponse { events }))
    }

    async fn doctor(
        &self,
        request: Request<DoctorRequest>,
    ) -> Result<Response<DoctorResponse>, Status> {
        let DoctorRequest { nodes, hooks } = request.into_inner();
        let nodes = self.chosen(&nodes)?;
        let known = |assembly: &Assembly| !self.pools.is_foreign(assembly);
        let mut findings: Vec<_> =
            nodes.iter().flat_map(|node| doctor::examine(node, known)).collect();
        if let Some(jobs) = &self.jobs {
            findings.extend(jobs.examine(&nodes, hooks).await);
        }
        let ends_ms = self.tls.identity().map_or(0, |identity| identity.ends_ms());
        findings.extend(doctor::certificate(ends_ms, now_ms(), "the controller"));
        Ok(Response::new(DoctorResponse { findings }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let jobs = crate::jobs::service::configured(self.jobs.as_ref())?;
        let only = Some(request.into_inner().job).filter(|job| *job != 0);
        Ok(Response::new(jobs.list(only).await?))
    }

    async fn wait(
        &self,
        request: Request<v1::WaitRequest>,
    ) -> Result<Response<Self::WaitStream>, Status> {
        Ok(self.stream(self.pools.wait(&request.into_inner().pool).await?))
    }

    async fn replace(
        &self,
        request: Request<v1::ReplaceRequest>,
    ) -> Result<Response<Self::ReplaceStream>, Status> {
        audit::note(&request, "replace")?;
        let v1::ReplaceRequest { pool, old, new } = request.into_inner();
        Ok(self.stream(self.pools.replace(&pool, &old, &new).await?))
    }

    async fn evacuate(
        &self,
        request: Request<v1::EvacuateRequest>,
    ) -> Result<Response<Self::EvacuateStream>, Status> {
        audit::note(&request, "evacuate")?;
        Ok(self.stream(self.pools.evacuate(&request.into_inner().node)?))
    }

    async fn drain(
        &self,
        request: Request<v1::DrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        audit::note(&request, "drain")?;
        let v1::DrainRequest { nodes, drain, reason } = request.into_inner();
        if nodes.is_empty() {
            let none = Failure::new(FailureKind::Invalid, "drain the nodes");
            return Err(none.saying("no nodes are named").into());
        }
        let names: Vec<String> = self.chosen(&nodes)?.into_iter().map(|node| node.name).collect();
        self.pools.drain(&names, drain.then_some(&*reason)).await?;
        Ok(Response::new(v1::DrainResponse {}))
    }

    async fn failover(
        &self,
        request: Request<v1::FailoverRequest>,
    ) -> Result<Response<Self::FailoverStream>, Status> {
        audit::note(&request, "failover")?;
        let v1::FailoverRequest { pool, head, force } = request.into_inner();
        Ok(self.stream(self.pools.failover(&pool, &head, force).await?))
    }

    async fn fail(
        &self,
        request: Request<v1::FailRequest>,
    ) -> Result<Response<Self::FailStream>, Status> {
        audit::note(&request, "fail")?;
        Ok(self.stream(self.pools.fail(&request.into_inner().pool).await?))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::Pool>, Status> {
        audit::note(&request, "renew")?;
        let v1::RenewRequest { pool, lease_seconds } = request.into_inner();
        Ok(Response::new(self.pools.renew(&pool, lease_seconds).await?))
    }

    async fn reap(
        &self,
        request: Request<v1::ReapRequest>,
    ) -> Result<Response<v1::ReapResponse>, Status> {
        audit::note(&request, "reap")?;
        let v1::ReapRequest { node, apply, assemblies } = request.into_inner();
        let [node] = &self.chosen(&node)?[..] else {
            let many = Failure::new(FailureKind::Invalid, "find the node");
            return Err(many.saying("one node at a time is reaped").into());
        };
        let holdings = self.pools.reap(&node.name, &assemblies, apply).await?;
        Ok(Response::new(v1::ReapResponse { holdings }))
    }

    async fn recover(
        &self,
        request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        audit::note(&request, "recover")?;
        let v1::RecoverRequest { apply, pools } = request.into_inner();
        let (pools, refused) = self.pools.recover(&pools, apply).await?;
        Ok(Response::new(v1::RecoverResponse { pools, refused }))
    }
}
