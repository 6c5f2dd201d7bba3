//! Who is served as what by the socket.

use std::convert::Infallible;
use std::sync::Arc;

use rampool_proto::v1::controller_server::ControllerServer;
use rampool_proto::v1::{Failure, FailureKind};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server::NamedService;

use super::Local;
use crate::caller::{LocalOperator, User};
use crate::service::ControllerService;
use crate::users::UserService;

/// Passes calls on to the service for operators or to that for users.
#[derive(Clone)]
pub struct Desk {
    /// For operators.
    pub operators: ControllerServer<ControllerService>,
    /// For users, where there are rules for them.
    pub users: Option<ControllerServer<UserService>>,
    /// The operators' group, which a refusal names.
    pub group: Option<Arc<str>>,
}

impl NamedService for Desk {
    const NAME: &'static str = <ControllerServer<ControllerService> as NamedService>::NAME;
}

impl Service<Request<Body>> for Desk {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let refusal = match (request.extensions().get::<Local>().cloned(), &mut self.users) {
            (Some(Local::Operator { person, pid }), _) => {
                request.extensions_mut().insert(LocalOperator { person, pid });
                return self.operators.call(request);
            }
            (Some(Local::User { person, pid }), Some(users)) => {
                let process = pid.map_or(String::new(), |pid| format!(", process {pid}"));
                request.extensions_mut().insert(User { person, from: format!("socket{process}") });
                return users.call(request);
            }
            (Some(Local::User { person, .. }), None) => self.refuse(&person.to_string()),
            (Some(Local::Unknown { uid, why }), _) => self.refuse(&format!("uid {uid} ({why})")),
            (None, _) => self.refuse("somebody unknown"),
        };
        Box::pin(std::future::ready(Ok(Status::from(refusal).into_http())))
    }
}

impl Desk {
    fn refuse(&self, who: &str) -> Failure {
        tracing::warn!(who, "a caller by the socket was refused");
        let group = self.group.as_deref();
        let group = group.map(|group| format!(" and the group {group}")).unwrap_or_default();
        Failure::new(FailureKind::Denied, "call the controller")
            .saying(format!("its socket is for root{group}: the caller is {who}"))
            .advising("use a certificate, or ask the cluster's operators")
    }
}
