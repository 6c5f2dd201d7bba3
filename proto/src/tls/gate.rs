//! Who may call a service.

use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::{Peer, Role};
use crate::v1::{Failure, FailureKind};

/// Lets callers of some roles in. Everybody else is refused, with a line in the log for each
/// call.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    service: &'static str,
    roles: &'static [Role],
}

impl Gate {
    /// Before the service of that name, for these roles.
    #[must_use]
    pub const fn new(service: &'static str, roles: &'static [Role]) -> Self {
        Self { service, roles }
    }
}

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let peer = peer(&request)?;
        if peer.identity.is_one_of(self.roles) {
            return Ok(request);
        }
        tracing::warn!(%peer, service = self.service, "a caller was refused");
        let wanted: Vec<&str> = self.roles.iter().map(|role| role.name()).collect();
        Err(refusal(format!("call the {}", self.service))
            .saying(format!("it is for {}: the caller is {peer}", wanted.join(" and ")))
            .advising("`rampool pki show` says what a certificate is for")
            .into())
    }
}

/// Who makes a call.
pub fn peer<T>(request: &Request<T>) -> Result<&Peer, Failure> {
    let peer = request.extensions().get::<Peer>();
    peer.ok_or_else(|| refusal("recognise the caller".to_owned()).saying("it is not known"))
}

fn refusal(step: String) -> Failure {
    Failure::new(FailureKind::Denied, step)
}
