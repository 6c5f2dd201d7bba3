//! What the state machine speaks of: steps, commands, inputs, and the states of a pool.

use rampool_proto::v1::{Failure, Placement};

use super::record::{Failed, FailingOver, PoolRecord, Replacing, Seat};

/// What is asked of one node. Pieces have the numbers of [`PoolRecord::members`], clients and
/// debts their places in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Step {
    CheckHead,
    CheckClient(usize),
    CreateExport(usize),
    Attach,
    AssembleVolume,
    MakeFilesystem,
    Mount,
    Share,
    MountShare(usize),
    UnmountShare(usize),
    Unmount,
    StopVolume,
    Detach,
    DestroyExport(usize),
    FenceExport(usize),
    ReplaceMember,
    ReaddMembers,
    GiveUpSpare(usize),
    FailVolume,
    PayDebt(usize),
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write the new state to the store before anything that follows. Where it is `vital` and
    /// the store refuses, the state did not change: [`Input::StoreFailed`] says so.
    Record {
        /// Whether what follows depends on it.
        vital: bool,
    },
    /// Call a node.
    Call {
        /// What.
        step: Step,
        /// The call's own `force`.
        force: bool,
    },
    /// Wait no longer for the calls in flight: what they do matters no more.
    Abandon,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The pool was recorded as Creating: begin.
    Begin,
    /// A call ended.
    Reply(Step, Result<(), Failure>),
    /// Someone wants the pool gone.
    Down {
        /// Terminate whoever uses it, and do not wait for an unreachable head.
        force: bool,
    },
    /// The job for which the pool was reserved has these nodes.
    Give(Box<Seat>),
    /// This piece shall take a place.
    Replace(Replacing),
    /// This node shall be the head.
    FailOver {
        /// Which.
        head: String,
        /// Under which generation.
        generation: u32,
        /// Also where it may cost data.
        force: bool,
    },
    /// The pool is lost, or somebody gives it up, for this reason.
    Fail(String),
    /// Members that were cut off are back.
    Readd,
    /// A client lacks its mount.
    Share,
    /// The pool shall do without the spare of this donor.
    GiveUpSpare(String),
    /// The controller found this state in its store at start.
    Restarted,
    /// Try again what remains.
    Retry,
    /// A vital record could not be written.
    StoreFailed(Failure),
}

/// Why a pool is being released, or was.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// A step of its making failed.
    Failed(Failure),
    /// `down` came while it was being made.
    Cancelled,
    /// The controller was restarted while it was being made.
    Restarted,
    /// Somebody asked for it.
    Down,
}

/// What is known of one node's part of a pool being released.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Not asked yet, or asked without an answer.
    Held,
    /// It answered that it holds nothing.
    Clean,
    /// It did not let go, for this reason.
    Stuck(Failure),
}

/// A release under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// Why.
    pub cause: Cause,
    /// Whether somebody may have put data into the pool.
    pub was_ready: bool,
    /// Whether a person insists.
    pub force: bool,
    /// The head's part.
    pub head: Part,
    /// The donors' parts.
    pub donors: Vec<Part>,
    /// The clients' parts.
    pub clients: Vec<Part>,
    /// What nodes outside the pool still owe, as they said at the last attempt.
    pub owed: Vec<Failure>,
    /// The state and record that a refused unmount leads back to: only the first attempt of
    /// this very release. A lost earlier one may yet be carried out by the head.
    pub(super) back: Option<Box<(State, PoolRecord)>>,
    /// Whether to try again from the head once the calls in flight have ended.
    pub(super) again: bool,
}

impl Release {
    /// A release of which nothing is done yet. What is lacking is owed, not held.
    #[must_use]
    pub fn new(cause: Cause, was_ready: bool, force: bool, record: &PoolRecord) -> Self {
        let Placement { pieces, spares, .. } = &record.placement;
        let held = |number| {
            if record.lacking.contains(&number) { Part::Clean } else { Part::Held }
        };
        Self {
            cause,
            was_ready,
            force,
            head: if record.awaits_nodes() { Part::Clean } else { Part::Held },
            donors: (0..pieces.len() + spares.len()).map(held).collect(),
            clients: vec![Part::Held; record.placement.clients.len()],
            owed: Vec::new(),
            back: None,
            again: false,
        }
    }

    /// What did not let go, and why.
    #[must_use]
    pub fn remains(&self) -> Vec<Failure> {
        let stuck = |part: &Part| match part {
            Part::Stuck(failure) => Some(failure.clone()),
            Part::Held | Part::Clean => None,
        };
        let parts = std::iter::once(&self.head).chain(&self.donors).chain(&self.clients);
        parts.filter_map(stuck).chain(self.owed.iter().cloned()).collect()
    }
}

/// Where a pool is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Being made. With `trouble`, it ends as soon as the calls in flight have ended.
    Creating {
        /// The first thing that went wrong.
        trouble: Option<Cause>,
        /// Whether its donors held its memory before.
        reserved: bool,
    },
    /// Its memory is held for a job that waits for its nodes.
    Reserved,
    /// In use.
    Ready,
    /// In use, and one piece of it being moved or rebuilt.
    Replacing(Replacing),
    /// Being brought up on another head.
    FailingOver(FailingOver),
    /// Its data is lost or out of reach for good.
    Failed(Failed),
    /// Being taken down or undone.
    Releasing(Release),
    /// Gone.
    Released(Cause),
}
