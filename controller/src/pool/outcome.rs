//! What became of an operation: whether the pool is as was asked, and if not, why. Pure.

use rampool_proto::v1::{Failure, FailureKind, Usage};

use super::machine::Machine;
use super::operation::Kind;
use super::record::PoolRecord;
use super::state::{Release, State};

/// What became of an operation.
pub(super) struct Outcome {
    /// The pool's record at the end.
    pub(super) record: PoolRecord,
    /// Why it did not do what was asked, if it did not.
    pub(super) failure: Option<Failure>,
    /// Of the mounted pool, where it was just mounted.
    pub(super) usage: Option<Usage>,
}

/// Why an operation of this kind did not do what was asked, if it did not.
pub(super) fn failure(kind: &Kind, machine: &Machine) -> Option<Failure> {
    let refusal = || {
        machine.refusal().cloned().unwrap_or_else(|| {
            Failure::new(FailureKind::NotNow, kind.name()).saying("the pool is as it was before")
        })
    };
    match (machine.state(), kind) {
        (State::Ready, Kind::Up(_)) | (State::Reserved, Kind::Reserve(_)) => None,
        (State::Ready | State::Failed(_), Kind::Repair) => machine.refusal().cloned(),
        (State::Ready, Kind::Replace { .. } | Kind::GiveUpSpare { .. }) => {
            machine.refusal().cloned()
        }
        // What was being replaced goes on by itself.
        (State::Ready | State::Replacing(_), Kind::Failover { .. }) => None,
        (State::Failed(failed), Kind::Fail) => {
            (!failed.shut).then(|| machine.refusal().cloned()).flatten()
        }
        (State::Failed(failed), Kind::Replace { .. } | Kind::Failover { .. }) => {
            Some(Failure::new(FailureKind::Failed, kind.name()).saying(&failed.why))
        }
        (State::Released(_), Kind::Down | Kind::Release) => None,
        (State::Released(cause), Kind::Up(_) | Kind::Reserve(_)) => Some(cause.failure()),
        (State::Releasing(release), _) => Some(releasing(release, kind, machine)),
        (State::Released(_), _) => Some(overtaken(kind)),
        _ => Some(refusal()),
    }
}

/// Of an operation that had to make way.
fn overtaken(kind: &Kind) -> Failure {
    Failure::new(FailureKind::NotNow, kind.name()).saying("`rampool down` came meanwhile")
}

fn releasing(release: &Release, kind: &Kind, machine: &Machine) -> Failure {
    let remains = release.remains();
    let first = match kind {
        Kind::Up(_) | Kind::Reserve(_) => release.cause.failure(),
        Kind::Down | Kind::Release => remains
            .first()
            .or(machine.refusal())
            .cloned()
            .unwrap_or_else(|| release.cause.failure()),
        _ => overtaken(kind),
    };
    with_remains(first, &remains)
}

/// Adds what is still held, and when it goes.
fn with_remains(failure: Failure, remains: &[Failure]) -> Failure {
    const SHOWN: usize = 5;
    if remains.is_empty() {
        return failure;
    }
    let nodes: Vec<&str> = remains.iter().take(SHOWN).map(|left| left.node.as_str()).collect();
    let more = remains.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let held = format!(
        "still held on {}{more}: it is tried again when the node answers; see `rampool status`",
        nodes.join(", ")
    );
    let advice = match failure.advice.as_str() {
        "" => held,
        advice => format!("{advice}; {held}"),
    };
    Failure { advice, ..failure }
}
