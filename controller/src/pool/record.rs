//! What is kept of a pool: what was wanted and placed, and where its making or unmaking is.
//! Secrets are not among it: agents answer them again when an export is asked for again.

use std::collections::BTreeMap;
use std::fmt;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind, Placement, PoolSpec, PoolState};

use super::machine::Machine;
use super::state::{Cause, Release, State};

/// One assembly of a pool, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolRecord {
    /// Its name and generation.
    pub assembly: Assembly,
    /// What was asked for, with every field filled in.
    pub spec: PoolSpec,
    /// What goes where.
    pub placement: Placement,
    /// The boot ids that head and donors had when the pool was placed: another one later
    /// means that the node's memory is gone.
    pub boot_ids: BTreeMap<String, String>,
    /// Where it is.
    pub phase: Phase,
    /// When it was asked for, in milliseconds since the Unix epoch; so below.
    pub created_ms: u64,
    /// When it was mounted; 0: not yet.
    pub ready_ms: u64,
    /// When the last of it was gone; 0: not yet.
    pub released_ms: u64,
}

/// Where a pool is, as stored: what a restarted controller must know, no more.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Being made; found at start: to be undone.
    Creating,
    /// In use.
    Ready,
    /// Being taken down or undone; found at start: to be continued.
    Releasing(Releasing),
    /// Nothing of it is left.
    Released(Cause),
}

/// A release, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Releasing {
    /// Why.
    pub cause: Cause,
    /// Whether the pool had been ready.
    pub was_ready: bool,
    /// Whether a person insisted.
    pub force: bool,
    /// What did not let go at the last attempt.
    pub remains: Vec<Failure>,
}

impl Phase {
    /// What of a machine's state is stored.
    #[must_use]
    pub fn of(state: &State) -> Self {
        match state {
            State::Creating { .. } => Self::Creating,
            State::Ready => Self::Ready,
            State::Releasing(release) => Self::Releasing(Releasing {
                cause: release.cause.clone(),
                was_ready: release.was_ready,
                force: release.force,
                remains: release.remains(),
            }),
            State::Released(cause) => Self::Released(cause.clone()),
        }
    }

    /// The machine's state that this was stored of. Which nodes were already clean is asked
    /// again: they answer at once.
    #[must_use]
    pub fn to_state(&self, donors: usize) -> State {
        match self {
            Self::Creating => State::Creating { trouble: None },
            Self::Ready => State::Ready,
            Self::Releasing(stored) => State::Releasing(Release::new(
                stored.cause.clone(),
                stored.was_ready,
                stored.force,
                donors,
            )),
            Self::Released(cause) => State::Released(cause.clone()),
        }
    }

    /// The state's name on the wire.
    #[must_use]
    pub fn pool_state(&self) -> PoolState {
        match self {
            Self::Creating => PoolState::Creating,
            Self::Ready => PoolState::Ready,
            Self::Releasing(_) => PoolState::Releasing,
            Self::Released(_) => PoolState::Released,
        }
    }
}

impl PoolRecord {
    /// The machine that goes on where the record stands.
    #[must_use]
    pub fn machine(&self) -> Machine {
        let donors = self.placement.pieces.len();
        Machine::new(donors, !self.placement.mount_point.is_empty(), self.phase.to_state(donors))
    }

    /// Whether nothing of it is left.
    #[must_use]
    pub fn is_released(&self) -> bool {
        matches!(self.phase, Phase::Released(_))
    }

    /// Whether the node is its head or one of its donors.
    #[must_use]
    pub fn involves(&self, node: &str) -> bool {
        self.placement.head == node || self.placement.pieces.iter().any(|p| p.donor == node)
    }
}

impl Cause {
    /// The cause as a failure of what was asked for.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Failed(failure) => failure.clone(),
            other => Failure::new(FailureKind::NotNow, "make the pool").saying(other),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => write!(f, "its making failed: {failure}"),
            Self::Cancelled => f.write_str("`rampool down` came while it was being made"),
            Self::Restarted => {
                f.write_str("the controller was restarted while the pool was being made")
            }
            Self::Down => f.write_str("`rampool down`"),
        }
    }
}
