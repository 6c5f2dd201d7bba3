//! What a user may ask, call by call: to have a pool where the rules allow it, and to see and to
//! release what is his. Every call that the controller knows stands here, so that none is a user's
//! without having been thought of.

use std::sync::Arc;

use futures::stream::BoxStream;
use rampool_proto::v1::controller_server::Controller;
use rampool_proto::v1::*;
use tonic::{Request, Response, Status};

use super::grant::{self, Grant};
use super::quota::Use;
use super::rules::UsersConfig;
use crate::audit;
use crate::caller::{Caller, User};
use crate::pool::record::PoolRecord;
use crate::service::{ControllerService, spec_of};

/// The service for users.
pub struct UserService {
    config: UsersConfig,
    /// What there is, and how it is shown.
    inside: Arc<ControllerService>,
}

/// Who calls: whoever let the call in knows.
fn user<T>(request: &Request<T>) -> Result<User, Failure> {
    match Caller::of(request)? {
        Caller::User(user) => Ok(user),
        other => Err(Failure::new(FailureKind::Denied, "recognise the caller")
            .saying(format!("{other} is no user"))),
    }
}

/// A call that is for operators alone.
fn refused<T>(request: &Request<T>, what: &str) -> Status {
    let user = match user(request) {
        Ok(user) => user,
        Err(failure) => return failure.into(),
    };
    tracing::warn!(user = %user.person, from = user.from, what, "a user was refused");
    Failure::new(FailureKind::Denied, what)
        .saying(format!("that is for the cluster's operators: the caller is user {}", user.person))
        .advising("a user may have a pool (up), see what is his (list, status, events, wait) and release it (down)")
        .into()
}

impl UserService {
    /// For users, by these rules.
    #[must_use]
    pub fn new(config: UsersConfig, inside: Arc<ControllerService>) -> Self {
        Self { config, inside }
    }

    /// The record of a pool that is the caller's. Of others he learns no more than that a name is
    /// taken.
    fn own<T>(
        &self,
        request: &Request<T>,
        name: &str,
        what: &str,
    ) -> Result<Arc<PoolRecord>, Failure> {
        let user = user(request)?;
        let record = self.inside.pools.record(name);
        match record {
            Some(record) if grant::is_own(&record, &user.person) => Ok(record),
            Some(_) => {
                tracing::warn!(user = %user.person, from = user.from, pool = name, what, "a user was refused");
                Err(Failure::new(FailureKind::Denied, what)
                    .saying(format!("the pool {name} is not yours"))
                    .advising("`rampool list` shows yours"))
            }
            None => Err(crate::pool::unknown(name)),
        }
    }

    async fn begin(&self, user: &User, asked: PoolSpec) -> Result<crate::pool::Events, Failure> {
        let pools = Arc::clone(&self.inside.pools);
        let asked_account = asked.account.clone();
        let spec = Grant::of(&self.config, &user.person, &asked_account)?.tailor(asked)?;
        if let Some(taken) =
            grant::is_taken(&spec.name, pools.record(&spec.name).as_deref(), &user.person)
        {
            return Err(taken);
        }
        self.inside.knows_slurm()?;
        let (config, person) = (self.config.clone(), Arc::clone(&user.person));
        // A task of its own: a caller who leaves in the middle of being admitted leaves no pool
        // recorded that nobody makes.
        let begun = tokio::spawn(async move {
            let grant = Grant::of(&config, &person, &asked_account)?;
            let allows = |new: &PoolRecord, is: &[Arc<PoolRecord>]| {
                let is: Vec<Use> = is.iter().filter_map(|record| Use::of(record)).collect();
                grant.allows(new, &is)
            };
            pools.up_if(&spec, allows).await
        });
        begun
            .await
            .map_err(|error| Failure::new(FailureKind::Failed, "ask for a pool").saying(error))?
    }
}

#[tonic::async_trait]
impl Controller for UserService {
    type UpStream = BoxStream<'static, Result<Event, Status>>;
    type DownStream = BoxStream<'static, Result<Event, Status>>;
    type WaitStream = BoxStream<'static, Result<Event, Status>>;
    type ReplaceStream = BoxStream<'static, Result<Event, Status>>;
    type EvacuateStream = BoxStream<'static, Result<Event, Status>>;
    type FailoverStream = BoxStream<'static, Result<Event, Status>>;
    type FailStream = BoxStream<'static, Result<Event, Status>>;

    async fn up(&self, request: Request<UpRequest>) -> Result<Response<Self::UpStream>, Status> {
        let user = user(&request)?;
        audit::note(&request, "up")?;
        let begun = self.begin(&user, spec_of(request.into_inner().spec)?).await;
        let events = begun.inspect_err(|failure| {
            tracing::warn!(user = %user.person, from = user.from, %failure, "a user was refused");
        })?;
        Ok(self.inside.stream(events))
    }

    async fn down(
        &self,
        request: Request<DownRequest>,
    ) -> Result<Response<Self::DownStream>, Status> {
        let name = request.get_ref().pool.clone();
        let record = self.own(&request, &name, "take the pool down")?;
        audit::note(&request, "down")?;
        let force = request.get_ref().force;
        Ok(self.inside.stream(self.inside.pools.down_of(&name, force, Some(record.spec.uid))?))
    }

    async fn wait(
        &self,
        request: Request<WaitRequest>,
    ) -> Result<Response<Self::WaitStream>, Status> {
        let name = request.get_ref().pool.clone();
        self.own(&request, &name, "follow the pool")?;
        self.inside.wait(request).await
    }

    async fn list_pools(
        &self,
        request: Request<ListPoolsRequest>,
    ) -> Result<Response<ListPoolsResponse>, Status> {
        let user = user(&request)?;
        let own = |record: &PoolRecord| grant::is_own(record, &user.person);
        Ok(Response::new(ListPoolsResponse { pools: self.inside.pools_of(own).await }))
    }

    async fn get_pool(&self, request: Request<GetPoolRequest>) -> Result<Response<Pool>, Status> {
        let name = request.get_ref().pool.clone();
        self.own(&request, &name, "look at the pool")?;
        self.inside.get_pool(request).await
    }

    /// Of the pool that has the name now, or had it last: a former one may have been another's.
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let name = request.get_ref().pool.clone();
        let formed = self.own(&request, &name, "read the pool's history")?.formed();
        let mut answer = self.inside.list_events(request).await?.into_inner();
        answer
            .events
            .retain(|event| event.pool.as_ref().is_some_and(|pool| pool.generation >= formed));
        Ok(Response::new(answer))
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        Err(refused(&request, "plan a pool"))
    }

    async fn list_nodes(
        &self,
        request: Request<ListNodesRequest>,
    ) -> Result<Response<ListNodesResponse>, Status> {
        Err(refused(&request, "list the nodes"))
    }

    async fn doctor(
        &self,
        request: Request<DoctorRequest>,
    ) -> Result<Response<DoctorResponse>, Status> {
        Err(refused(&request, "examine the cluster"))
    }

    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        Err(refused(&request, "list Slurm's jobs"))
    }

    async fn replace(
        &self,
        request: Request<ReplaceRequest>,
    ) -> Result<Response<Self::ReplaceStream>, Status> {
        Err(refused(&request, "replace a donor"))
    }

    async fn evacuate(
        &self,
        request: Request<EvacuateRequest>,
    ) -> Result<Response<Self::EvacuateStream>, Status> {
        Err(refused(&request, "evacuate a node"))
    }

    async fn drain(
        &self,
        request: Request<DrainRequest>,
    ) -> Result<Response<DrainResponse>, Status> {
        Err(refused(&request, "drain nodes"))
    }

    async fn failover(
        &self,
        request: Request<FailoverRequest>,
    ) -> Result<Response<Self::FailoverStream>, Status> {
        Err(refused(&request, "fail a pool over"))
    }

    async fn fail(
        &self,
        request: Request<FailRequest>,
    ) -> Result<Response<Self::FailStream>, Status> {
        Err(refused(&request, "fail a pool"))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<Pool>, Status> {
        Err(refused(&request, "renew a lease"))
    }

    async fn reap(&self, request: Request<ReapRequest>) -> Result<Response<ReapResponse>, Status> {
        Err(refused(&request, "reap a node"))
    }

    async fn recover(
        &self,
        request: Request<RecoverRequest>,
    ) -> Result<Response<RecoverResponse>, Status> {
        Err(refused(&request, "recover pools"))
    }
}
