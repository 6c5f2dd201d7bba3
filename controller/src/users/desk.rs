//! Whose each call is, by MUNGE: no call is looked at before that is known.

use std::convert::Infallible;
use std::sync::Arc;

use rampool_proto::munge::{Checker, Claim};
use rampool_proto::tls::Stranger;
use rampool_proto::v1::controller_server::ControllerServer;
use rampool_proto::v1::{Failure, FailureKind};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server::NamedService;

use super::UserService;
use crate::caller::User;
use crate::person::Person;

/// Passes on calls of users who prove who they are. Everybody else is refused, with a line in the
/// log for each call.
#[derive(Clone)]
pub struct MungeDesk {
    /// What users may ask.
    pub users: ControllerServer<UserService>,
    /// Who they are.
    pub checker: Checker,
}

impl NamedService for MungeDesk {
    const NAME: &'static str = <ControllerServer<UserService> as NamedService>::NAME;
}

impl Service<Request<Body>> for MungeDesk {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut desk = self.clone();
        Box::pin(async move {
            let from = request.extensions().get::<Stranger>().map(|peer| peer.address.to_string());
            let from = from.unwrap_or_default();
            match desk.recognise(request, &from).await {
                Ok(request) => desk.users.call(request).await,
                Err(failure) => {
                    tracing::warn!(%from, %failure, "a caller without a certificate was refused");
                    Ok(Status::from(failure).into_http())
                }
            }
        })
    }
}

impl MungeDesk {
    async fn recognise(
        &self,
        request: Request<Body>,
        from: &str,
    ) -> Result<Request<Body>, Failure> {
        let (Claim { uid, host }, mut request) = self.checker.check(request).await?;
        if uid == 0 {
            return Err(denied(format!("root of {host} is no user here"))
                .advising("operators use a certificate, or the socket on the controller's host"));
        }
        let person = Arc::new(Person::look_up(uid).await.map_err(denied)?);
        let from = format!("{from}, by munged of {host}");
        request.extensions_mut().insert(User { person, from });
        Ok(request)
    }
}

fn denied(said: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Denied, "recognise the caller").saying(said)
}
