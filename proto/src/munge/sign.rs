//! The caller's side: a channel that signs each call with a credential of its own.

use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::codegen::{BoxFuture, Context, Poll, Service, StdError};
use tonic::transport::Channel;

use super::program::{self, No};
use super::{METADATA, TTL_SECONDS, purpose};
use crate::v1::{Failure, FailureKind};

/// Makes credentials of who runs this process.
#[derive(Clone, Debug)]
pub struct Signer {
    program: Arc<Path>,
}

impl Signer {
    /// By the `munge` of this folder.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self { program: folder.join("munge").into() }
    }

    /// A credential for one call. Only root can decode it, as whom the controller runs.
    pub async fn credential(&self, method: &str, request: &[u8]) -> Result<String, Failure> {
        let ttl = format!("--ttl={TTL_SECONDS}");
        let arguments = [ttl.as_str(), "--restrict-uid=0"];
        let purpose = purpose::of(method, request);
        let made = program::run(&self.program, &arguments, purpose.as_bytes()).await;
        let said = match made {
            Ok(credential) => return Ok(credential.trim().to_owned()),
            Err(No::Broken(failure)) => return Err(failure),
            Err(No::Said(said, status)) => format!("{said} ({status})"),
        };
        Err(Failure::new(FailureKind::Failed, "get a credential from MUNGE")
            .by(self.program.display().to_string())
            .saying(said)
            .advising("is munged running on this host?"))
    }
}

/// A connection to the controller, which knows who we are by it, or by each call's credential.
#[derive(Clone, Debug)]
pub enum Link {
    /// By the connection.
    Known(Channel),
    /// By credentials.
    Signed(Channel, Signer),
}

impl Service<Request<Body>> for Link {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let (Self::Known(channel) | Self::Signed(channel, _)) = self;
        Service::<Request<Body>>::poll_ready(channel, context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The channel that is ready makes the call, a clone of it waits for the next.
        match self.clone_for_next() {
            Self::Known(mut channel) => Box::pin(async move { Ok(channel.call(request).await?) }),
            Self::Signed(mut channel, signer) => Box::pin(async move {
                let request = sign(&signer, request).await?;
                Ok(channel.call(request).await?)
            }),
        }
    }
}

impl Link {
    fn clone_for_next(&mut self) -> Self {
        let next = self.clone();
        std::mem::replace(self, next)
    }
}

async fn sign(signer: &Signer, request: Request<Body>) -> Result<Request<Body>, StdError> {
    let (mut parts, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let credential = signer.credential(parts.uri.path(), &bytes).await.map_err(Status::from)?;
    let mut value = HeaderValue::from_str(&credential)?;
    value.set_sensitive(true);
    parts.headers.insert(METADATA, value);
    Ok(Request::from_parts(parts, Body::new(Full::new(bytes))))
}
