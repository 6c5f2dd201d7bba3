//! The gRPC face: from hooks' messages to calls of this room. Thin.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};
use rampool_proto::tls::{Peer, Role, peer};
use rampool_proto::v1;
use rampool_proto::v1::{Event, Failure, FailureKind};
use tonic::{Request, Response, Status};

use super::Jobs;
use crate::audit;

/// The service; without jobs where the configuration says nothing of Slurm.
pub struct JobsService(pub Option<Arc<Jobs>>);

impl JobsService {
    fn jobs(&self) -> Result<&Arc<Jobs>, Failure> {
        configured(self.0.as_ref())
    }
}

/// The jobs, where the configuration says something of Slurm.
pub fn configured(jobs: Option<&Arc<Jobs>>) -> Result<&Arc<Jobs>, Failure> {
    jobs.ok_or_else(|| {
        Failure::new(FailureKind::NotNow, "find the job")
            .saying("this controller's configuration has no section `jobs`")
            .advising("examples/controller.yaml shows one")
    })
}

/// Refuses a call about a whole job that does not come from slurmctld's host.
fn of_slurm<T>(request: &Request<T>) -> Result<(), Failure> {
    let peer = peer(request)?;
    match peer.identity.is_one_of(&[Role::Slurm]) {
        true => Ok(()),
        false => Err(refused(peer, "a job as a whole is for Slurm's controller to speak of")),
    }
}

/// Refuses a call about a node that comes neither from there nor from slurmctld's host.
fn of_node<T>(request: &Request<T>, node: &str) -> Result<(), Failure> {
    let peer = peer(request)?;
    match peer.identity.is_agent_of(node) || peer.identity.is_one_of(&[Role::Slurm]) {
        true => Ok(()),
        false => Err(refused(peer, "an agent speaks for its own node alone").on(node)),
    }
}

fn refused(peer: &Peer, rule: &str) -> Failure {
    tracing::warn!(%peer, "a hook was refused: {rule}");
    Failure::new(FailureKind::Denied, "hear of a job")
        .saying(format!("{rule}: the caller is {peer}"))
        .advising("`tls` in slurm.yaml names who a hook is: `rampool pki show` says what that may")
}

#[tonic::async_trait]
impl v1::jobs_server::Jobs for JobsService {
    type StartJobStream = BoxStream<'static, Result<Event, Status>>;

    type ReserveJobStream = BoxStream<'static, Result<Event, Status>>;

    async fn reserve_job(
        &self,
        request: Request<v1::ReserveJobRequest>,
    ) -> Result<Response<Self::ReserveJobStream>, Status> {
        of_slurm(&request)?;
        audit::note(&request, "reserve a job's memory")?;
        // Of a caller who leaves, nobody waits for memory any more.
        let events = self.jobs()?.reserve(request.into_inner()).await?;
        Ok(Response::new(events.map(Ok).boxed()))
    }

    async fn start_job(
        &self,
        request: Request<v1::StartJobRequest>,
    ) -> Result<Response<Self::StartJobStream>, Status> {
        of_slurm(&request)?;
        audit::note(&request, "start a job")?;
        let (jobs, request) = (Arc::clone(self.jobs()?), request.into_inner());
        // A task of its own: of a caller who leaves before there are events to follow, it is the
        // events that know.
        let events = tokio::spawn(async move { jobs.start(request).await })
            .await
            .map_err(|error| Status::internal(error.to_string()))??;
        Ok(Response::new(events.map(Ok).boxed()))
    }

    async fn admit_node(
        &self,
        request: Request<v1::AdmitNodeRequest>,
    ) -> Result<Response<v1::AdmitNodeResponse>, Status> {
        of_node(&request, &request.get_ref().node)?;
        let mount_point = self.jobs()?.admit(request.into_inner()).await?;
        Ok(Response::new(v1::AdmitNodeResponse { mount_point }))
    }

    async fn leave_node(
        &self,
        request: Request<v1::LeaveNodeRequest>,
    ) -> Result<Response<v1::LeaveNodeResponse>, Status> {
        of_node(&request, &request.get_ref().node)?;
        let already = self.jobs()?.leave(request.into_inner()).await?;
        Ok(Response::new(v1::LeaveNodeResponse { already }))
    }

    async fn end_job(
        &self,
        request: Request<v1::EndJobRequest>,
    ) -> Result<Response<v1::EndJobResponse>, Status> {
        of_slurm(&request)?;
        audit::note(&request, "end a job")?;
        self.jobs()?.end(&request.into_inner()).await?;
        Ok(Response::new(v1::EndJobResponse {}))
    }
}
