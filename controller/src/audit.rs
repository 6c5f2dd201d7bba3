//! The audit trail: a line for each request that may change something, before it is looked at.
//! Who asked, from where, for what. How it ended is in the pool's events, and in the next lines
//! of the same log.

use std::fmt::Debug;

use rampool_proto::v1::Failure;
use tonic::Request;

use crate::caller::Caller;

/// What the lines can be told by: `journalctl -u rampool-controller -g audit`.
pub const TARGET: &str = "audit";

/// Notes a request for `what`. No message to the controller carries a secret.
pub fn note<T: Debug>(request: &Request<T>, what: &str) -> Result<(), Failure> {
    let caller = Caller::of(request)?;
    let asked = request.get_ref();
    tracing::info!(target: TARGET, who = %caller, from = caller.from(), what, ?asked);
    Ok(())
}
