//! A controller that answers what a test wrote down, and remembers what it was asked.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::stream::{self, Stream, StreamExt};
use rampool_proto::v1::controller_server::Controller;
use rampool_proto::v1::*;
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

use crate::samples;

/// What the stream of an operation does next.
#[derive(Clone)]
pub(crate) enum Next {
    Send(Box<Event>),
    Fail(Failure),
    /// Says nothing more and does not end.
    Hang,
}

/// What it was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Up(PoolSpec),
    Down(DownRequest),
    Plan(PoolSpec),
    Nodes(String),
    Doctor(DoctorRequest),
    Jobs(u32),
    Wait(String),
    Replace(ReplaceRequest),
    Evacuate(String),
    Drain(DrainRequest),
    Failover(FailoverRequest),
    Fail(String),
    Renew(RenewRequest),
    Reap(ReapRequest),
    Recover(RecoverRequest),
}

#[derive(Clone, Default)]
pub(crate) struct FakeController {
    /// The stream of every operation; ends after the last.
    script: Vec<Next>,
    /// Refuses every call, where set.
    refusal: Option<Failure>,
    findings: Vec<Finding>,
    /// Never answers an operation.
    silent: bool,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Told with each question.
    heard: Arc<Notify>,
}

impl FakeController {
    pub(crate) fn playing(script: Vec<Next>) -> Self {
        Self { script, ..Self::default() }
    }

    pub(crate) fn refusing(failure: Failure) -> Self {
        Self { refusal: Some(failure), ..Self::default() }
    }

    pub(crate) fn silent() -> Self {
        Self { silent: true, ..Self::default() }
    }

    /// Waits until something has been asked.
    pub(crate) async fn hear(&self) {
        self.heard.notified().await;
    }

    pub(crate) fn finding(findings: Vec<Finding>) -> Self {
        Self { findings, ..Self::default() }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn note(&self, asked: Asked) -> Result<(), Status> {
        self.asked.lock().unwrap().push(asked);
        self.heard.notify_one();
        self.admit()
    }

    fn admit(&self) -> Result<(), Status> {
        self.refusal.clone().map_or(Ok(()), |failure| Err(failure.into()))
    }

    async fn play(&self) -> Events {
        if self.silent {
            std::future::pending::<()>().await;
        }
        let script = stream::iter(self.script.clone());
        Box::pin(script.then(|next| async move {
            match next {
                Next::Send(event) => Ok(*event),
                Next::Fail(failure) => Err(failure.into()),
                Next::Hang => std::future::pending().await,
            }
        }))
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Controller for FakeController {
    type UpStream = Events;
    type DownStream = Events;
    type WaitStream = Events;
    type ReplaceStream = Events;
    type EvacuateStream = Events;
    type FailoverStream = Events;
    type FailStream = Events;

    async fn up(&self, request: Request<UpRequest>) -> Answer<Events> {
        self.note(Asked::Up(request.into_inner().spec.unwrap()))?;
        Ok(Response::new(self.play().await))
    }

    async fn down(&self, request: Request<DownRequest>) -> Answer<Events> {
        self.note(Asked::Down(request.into_inner()))?;
        Ok(Response::new(self.play().await))
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Answer<PlanResponse> {
        self.note(Asked::Plan(request.into_inner().spec.unwrap()))?;
        Ok(Response::new(PlanResponse { placement: Some(samples::placement()) }))
    }

    async fn list_pools(&self, _: Request<ListPoolsRequest>) -> Answer<ListPoolsResponse> {
        self.admit()?;
        Ok(Response::new(ListPoolsResponse { pools: vec![samples::pool()] }))
    }

    async fn get_pool(&self, _: Request<GetPoolRequest>) -> Answer<Pool> {
        self.admit()?;
        Ok(Response::new(samples::pool()))
    }

    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Answer<ListNodesResponse> {
        self.note(Asked::Nodes(request.into_inner().nodes))?;
        Ok(Response::new(ListNodesResponse { nodes: samples::nodes() }))
    }

    async fn list_events(&self, _: Request<ListEventsRequest>) -> Answer<ListEventsResponse> {
        self.admit()?;
        Ok(Response::new(ListEventsResponse { events: samples::events() }))
    }

    async fn doctor(&self, request: Request<DoctorRequest>) -> Answer<DoctorResponse> {
        self.note(Asked::Doctor(request.into_inner()))?;
        Ok(Response::new(DoctorResponse { findings: self.findings.clone() }))
    }

    async fn list_jobs(&self, request: Request<ListJobsRequest>) -> Answer<ListJobsResponse> {
        self.note(Asked::Jobs(request.into_inner().job))?;
        Ok(Response::new(samples::jobs()))
    }

    async fn wait(&self, request: Request<WaitRequest>) -> Answer<Events> {
        self.note(Asked::Wait(request.into_inner().pool))?;
        Ok(Response::new(self.play().await))
    }

    async fn replace(&self, request: Request<ReplaceRequest>) -> Answer<Events> {
        self.note(Asked::Replace(request.into_inner()))?;
        Ok(Response::new(self.play().await))
    }

    async fn evacuate(&self, request: Request<EvacuateRequest>) -> Answer<Events> {
        self.note(Asked::Evacuate(request.into_inner().node))?;
        Ok(Response::new(self.play().await))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Answer<DrainResponse> {
        self.note(Asked::Drain(request.into_inner()))?;
        Ok(Response::new(DrainResponse {}))
    }

    async fn failover(&self, request: Request<FailoverRequest>) -> Answer<Events> {
        self.note(Asked::Failover(request.into_inner()))?;
        Ok(Response::new(self.play().await))
    }

    async fn fail(&self, request: Request<FailRequest>) -> Answer<Events> {
        self.note(Asked::Fail(request.into_inner().pool))?;
        Ok(Response::new(self.play().await))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Answer<Pool> {
        self.note(Asked::Renew(request.into_inner()))?;
        Ok(Response::new(samples::pool()))
    }

    async fn reap(&self, request: Request<ReapRequest>) -> Answer<ReapResponse> {
        self.note(Asked::Reap(request.into_inner()))?;
        Ok(Response::new(ReapResponse { holdings: samples::unknown_holdings() }))
    }

    async fn recover(&self, request: Request<RecoverRequest>) -> Answer<RecoverResponse> {
        self.note(Asked::Recover(request.into_inner()))?;
        Ok(Response::new(samples::recovery()))
    }
}
