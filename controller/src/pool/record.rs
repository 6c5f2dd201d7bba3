//! What is kept of a pool: what was wanted and placed, and where its making or unmaking is.
//! Secrets are not among it: agents answer them again when an export is asked for again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{
    Client, Failure, FailureKind, HoldingKind, Piece, Placement, PoolSpec, PoolState,
};

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
    /// The unit serials of the donors' disks, as their agents said them.
    pub serials: BTreeMap<String, String>,
    /// The generation under which the volume and the file system were made; 0: this one.
    pub formed: u32,
    /// The greatest generation given so far to it or to memory carved for it; 0: its own.
    pub given: u32,
    /// Places in `placement.pieces` that no live member fills. Their donors' memory is among
    /// the debts, or given back.
    pub lacking: BTreeSet<usize>,
    /// What nodes outside the pool must still give back.
    pub debts: Vec<Debt>,
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
    /// Its donors hold its memory for a job that waits for its nodes; it has no head yet.
    Reserved,
    /// In use.
    Ready,
    /// In use, and one piece of it being moved or rebuilt; found at start: to be continued.
    Replacing(Replacing),
    /// Being brought up on another head; found at start: to be continued.
    FailingOver(FailingOver),
    /// Its data is lost or out of reach for good: uses end with an error.
    Failed(Failed),
    /// Being taken down or undone; found at start: to be continued.
    Releasing(Releasing),
    /// Nothing of it is left.
    Released(Cause),
}

/// The nodes of a job whose pool was reserved before they were known, and what follows of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Seat {
    /// The pool's spec, with its head, clients and the job's nodes.
    pub spec: PoolSpec,
    /// Where they call the head.
    pub head_address: String,
    /// Who mounts the head's file system, and from where.
    pub clients: Vec<Client>,
    /// The boot ids that head and donors have now: a donor that was started again since it was
    /// chosen takes its piece anew.
    pub boot_ids: BTreeMap<String, String>,
}

/// What a node outside the pool must still give back. Paid when the node answers that it holds
/// nothing of it; until then the node neither lends to the pool nor heads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    /// The node.
    pub node: String,
    /// What.
    pub what: Owed,
}

/// What is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// The mount, volume and sessions of an earlier head.
    Head {
        /// Of this generation.
        generation: u32,
    },
    /// A donor's memory.
    Piece {
        /// The last generation under which it was exported.
        generation: u32,
        /// The generation under which it was taken; 0: the same.
        carved: u32,
    },
}

/// One piece in another's place, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacing {
    /// The place in the stripe.
    pub slot: usize,
    /// The piece that comes.
    pub new: Piece,
    /// Whether that is one of the pool's spares.
    pub from_spare: bool,
    /// Whether the head was asked to copy or rebuild: from then on only it can say how far the
    /// new piece is part of the volume.
    pub copying: bool,
    /// Why it does not go on, where it is not known how far it came.
    pub trouble: Option<Failure>,
}

/// A change of heads, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct FailingOver {
    /// The new head.
    pub head: String,
    /// The new generation.
    pub generation: u32,
    /// Whether a person insists.
    pub force: bool,
    /// Whether the old head is known to be without a usable set of donors. From then on the
    /// record's own head and generation are the new ones.
    pub fenced: bool,
    /// Why the pool had failed before, if it had: then all its donors come up together, unless a
    /// person insists.
    pub failed: Option<String>,
    /// What was being replaced when the head was lost: it goes on under the new one.
    pub joining: Option<Replacing>,
    /// Why it does not go on.
    pub remains: Vec<Failure>,
}

/// A failed pool, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// Why, in a sentence.
    pub why: String,
    /// Whether the head confirmed that nobody waits for the pool any more.
    pub shut: bool,
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
            State::Reserved => Self::Reserved,
            State::Ready => Self::Ready,
            State::Replacing(replacing) => Self::Replacing(replacing.clone()),
            State::FailingOver(over) => Self::FailingOver(over.clone()),
            State::Failed(failed) => Self::Failed(failed.clone()),
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
    pub fn to_state(&self, record: &PoolRecord) -> State {
        match self {
            Self::Creating => State::Creating { trouble: None, reserved: false },
            Self::Reserved => State::Reserved,
            Self::Ready => State::Ready,
            Self::Replacing(replacing) => State::Replacing(replacing.clone()),
            Self::FailingOver(over) => State::FailingOver(over.clone()),
            Self::Failed(failed) => State::Failed(failed.clone()),
            Self::Releasing(stored) => State::Releasing(Release::new(
                stored.cause.clone(),
                stored.was_ready,
                stored.force,
                record,
            )),
            Self::Released(cause) => State::Released(cause.clone()),
        }
    }

    /// The state's name on the wire.
    #[must_use]
    pub fn pool_state(&self) -> PoolState {
        match self {
            Self::Creating => PoolState::Creating,
            Self::Reserved => PoolState::Reserved,
            Self::Ready => PoolState::Ready,
            Self::Replacing(_) => PoolState::Replacing,
            Self::FailingOver(_) => PoolState::FailingOver,
            Self::Failed(_) => PoolState::Failed,
            Self::Releasing(_) => PoolState::Releasing,
            Self::Released(_) => PoolState::Released,
        }
    }
}

impl PoolRecord {
    /// Whether nothing of it is left.
    #[must_use]
    pub fn is_released(&self) -> bool {
        matches!(self.phase, Phase::Released(_))
    }

    /// Whether it is a job's, whose own nodes lend.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.spec.job.as_ref().is_some_and(|job| !job.outside)
    }

    /// Whether it is a job's, and donors outside of the job lend.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        self.spec.job.as_ref().is_some_and(|job| job.outside)
    }

    /// The node that assembles and mounts it; none of a pool that is reserved for a job without
    /// nodes.
    #[must_use]
    pub fn head(&self) -> Option<&str> {
        Some(self.placement.head.as_str()).filter(|head| !head.is_empty())
    }

    /// Whether it is only reserved, or about to be: its job waits for its nodes.
    #[must_use]
    pub fn awaits_nodes(&self) -> bool {
        self.head().is_none()
    }

    /// Whether it has a file system; else users get the bare block device.
    #[must_use]
    pub fn has_filesystem(&self) -> bool {
        !self.placement.mount_point.is_empty()
    }

    /// Whether other nodes than the head mount its file system.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !self.placement.clients.is_empty()
    }

    /// Whether a node mounts the head's file system.
    #[must_use]
    pub fn has_client(&self, node: &str) -> bool {
        self.placement.clients.iter().any(|client| client.node == node)
    }

    /// The generation under which volume and file system were made.
    #[must_use]
    pub fn formed(&self) -> u32 {
        if self.formed == 0 { self.assembly.generation } else { self.formed }
    }

    /// The greatest generation given to it so far.
    #[must_use]
    pub fn given(&self) -> u32 {
        self.given.max(self.assembly.generation)
    }

    /// The assemblies that this pool is or was, the first one first. The others belong to
    /// memory that was carved under a number of its own, or to changes of heads that did not
    /// come about.
    pub fn assemblies(&self) -> impl Iterator<Item = Assembly> + '_ {
        let name = &self.assembly.name;
        (self.formed()..=self.given()).map(|generation| Assembly { name: name.clone(), generation })
    }

    /// The assembly for which a piece's memory is or was carved.
    #[must_use]
    pub fn carved(&self, piece: &Piece) -> Assembly {
        let generation = if piece.carved == 0 { self.assembly.generation } else { piece.carved };
        Assembly { name: self.assembly.name.clone(), generation }
    }

    /// What is being replaced, also in the middle of a change of heads.
    #[must_use]
    pub fn replacing(&self) -> Option<&Replacing> {
        match &self.phase {
            Phase::Replacing(replacing) => Some(replacing),
            Phase::FailingOver(over) => over.joining.as_ref(),
            _ => None,
        }
    }

    /// The piece that is about to join the pool.
    #[must_use]
    pub fn joining(&self) -> Option<&Piece> {
        self.replacing().filter(|replacing| !replacing.from_spare).map(|replacing| &replacing.new)
    }

    /// Takes its seat on nodes of its job.
    pub(super) fn sit(&mut self, seat: Seat) {
        let Seat { spec, head_address, clients, boot_ids } = seat;
        self.boot_ids.extend(boot_ids);
        self.placement.head.clone_from(&spec.head);
        self.placement.head_address = head_address;
        self.placement.clients = clients;
        self.spec = spec;
    }

    /// All its pieces, by number: those of the stripe, the spares, and the one that joins.
    pub fn members(&self) -> impl Iterator<Item = &Piece> {
        let Placement { pieces, spares, .. } = &self.placement;
        pieces.iter().chain(spares).chain(self.joining())
    }

    /// The piece of this number.
    #[must_use]
    pub fn member(&self, number: usize) -> &Piece {
        self.members().nth(number).expect("a step's number is that of a piece")
    }

    /// The numbers of the pieces that are not lacking.
    pub fn live(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.members().count()).filter(|number| !self.lacking.contains(number))
    }

    /// Whether what a node holds of this assembly is of no use to the pool though it is in use: a
    /// call that nobody waited for any more may have made it.
    #[must_use]
    pub fn has_no_use_for(&self, node: &str, assembly: &Assembly, kind: HoldingKind) -> bool {
        if matches!(kind, HoldingKind::ShareMount | HoldingKind::Job) && self.has_client(node) {
            return false;
        }
        let present = assembly.generation == self.assembly.generation;
        let used = |number| {
            let piece = self.member(number);
            piece.donor == node && (present || assembly.generation == piece.carved)
        };
        matches!(self.phase, Phase::Ready | Phase::Failed(_))
            && self.assemblies().any(|own| own == *assembly)
            && self.placement.head != node
            && !self.owes(node)
            && !self.live().any(used)
    }

    /// Whether a node must still give something of this pool back.
    #[must_use]
    pub fn owes(&self, node: &str) -> bool {
        self.debts.iter().any(|debt| debt.node == node)
    }

    /// Whether a node uses it: as its head, or as a client.
    #[must_use]
    pub fn is_used_on(&self, node: &str) -> bool {
        self.placement.head == node || self.has_client(node)
    }

    /// Whether the node is its head, one of its donors or clients, or owes it something.
    #[must_use]
    pub fn involves(&self, node: &str) -> bool {
        self.is_used_on(node) || self.members().any(|piece| piece.donor == node) || self.owes(node)
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

/// Records for the tests of other rooms.
#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// One that is reserved.
    pub(crate) fn reserved(assembly: &str) -> PoolRecord {
        let placement = Placement::default();
        PoolRecord { placement, phase: Phase::Reserved, ready_ms: 0, ..ready(assembly) }
    }

    /// A pool in use, of nothing yet.
    pub(crate) fn ready(assembly: &str) -> PoolRecord {
        PoolRecord {
            assembly: assembly.parse().unwrap(),
            spec: PoolSpec::default(),
            placement: Placement { head: "n1".to_owned(), ..Placement::default() },
            boot_ids: BTreeMap::new(),
            serials: BTreeMap::new(),
            formed: 0,
            given: 0,
            lacking: BTreeSet::new(),
            debts: Vec::new(),
            phase: Phase::Ready,
            created_ms: 1,
            ready_ms: 1000,
            released_ms: 0,
        }
    }
}
