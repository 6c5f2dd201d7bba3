//! What became of each piece of a pool in use, from its record and what nodes say. Pure.

use rampool_proto::v1::{
    Holding, HoldingKind, Inventory, Member, MemberState, Piece, PoolId, VolumeHealth,
};

use crate::nodes::Known;
use crate::planner::redundancy::is_redundant;
use crate::pool::record::{Phase, PoolRecord};

/// What became of one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// In use; with a word on how it is reached.
    Ok(String),
    /// In use, though its agent does not answer, for this reason.
    AgentSilent(String),
    /// Waiting to take a place.
    Spare,
    /// Being filled.
    Rebuilding,
    /// The head's session with it is not up; it may come back.
    CutOff(String),
    /// It is no working part of the volume.
    Faulty(String),
    /// Its memory is gone, for this reason.
    Lost(String),
    /// The pool works without it, and does not wait for it.
    Lacking,
    /// The configuration no longer names its node.
    UnknownNode,
}

impl Condition {
    /// Its name, and what there is to say of it.
    #[must_use]
    pub fn words(&self) -> (&'static str, String) {
        match self {
            Self::Ok(detail) => ("ok", detail.clone()),
            Self::AgentSilent(why) => ("unreachable", why.clone()),
            Self::Spare => ("spare", String::new()),
            Self::Rebuilding => ("rebuilding", String::new()),
            Self::CutOff(detail) => ("cut off", detail.clone()),
            Self::Faulty(detail) => ("faulty", detail.clone()),
            Self::Lost(why) => ("lost its memory", why.clone()),
            Self::Lacking => ("missing", "the pool works without it".into()),
            Self::UnknownNode => {
                ("unknown node", "it is no longer in the controller's configuration".into())
            }
        }
    }

    /// Whether the volume does without it, now or for good.
    #[must_use]
    pub fn is_out(&self) -> bool {
        matches!(self, Self::Rebuilding | Self::Faulty(_) | Self::Lost(_) | Self::Lacking)
    }
}

/// What is known of a node.
pub type Knows<'a> = dyn Fn(&str) -> Option<Known> + 'a;

/// The health of the volume as the head sees it, where it answers and holds one.
#[must_use]
pub fn volume(record: &PoolRecord, head: Option<&Known>) -> Option<VolumeHealth> {
    volume_in(record, head?.current()?)
}

/// The health of the volume as an inventory of the head has it.
pub(super) fn volume_in(record: &PoolRecord, inventory: &Inventory) -> Option<VolumeHealth> {
    let id = PoolId::from(&record.assembly);
    let of_it = |kind| move |h: &&Holding| h.kind() == kind;
    let volume = inventory.holdings.iter().filter(of_it(HoldingKind::Volume));
    volume.filter(|h| h.pool.as_ref() == Some(&id)).find_map(|h| h.health.clone())
}

/// What became of every piece, by its number in [`PoolRecord::members`].
#[must_use]
pub fn conditions(record: &PoolRecord, knows: &Knows<'_>) -> Vec<Condition> {
    let head = knows(&record.placement.head);
    let volume = volume(record, head.as_ref());
    let sight = Sight { record, head: head.as_ref(), volume: volume.as_ref() };
    let all = record.placement.pieces.len() + record.placement.spares.len();
    let of = |(number, piece): (usize, &Piece)| {
        if record.lacking.contains(&number) {
            return Condition::Lacking;
        }
        match sight.condition(piece, knows(&piece.donor).as_ref()) {
            // What joins is not part of the volume yet.
            Condition::Faulty(_) if number >= all => Condition::Rebuilding,
            // It has a place, which md has not begun to fill.
            Condition::Spare if number < record.placement.pieces.len() => Condition::Rebuilding,
            condition => condition,
        }
    };
    record.members().enumerate().map(of).collect()
}

/// The donor for which whoever uses a pool waits, and without a sign of it: its head has no session
/// with it, and its agent is silent too. A pool that bears the loss goes on without.
#[must_use]
pub fn waited_for<'a>(record: &'a PoolRecord, knows: &Knows<'_>) -> Option<&'a str> {
    if record.phase != Phase::Ready || is_redundant(record.placement.redundancy()) {
        return None;
    }
    let answers = |donor: &str| knows(donor).is_some_and(|known| known.reachable());
    let pieces = record.members().zip(conditions(record, knows));
    let mut cut = pieces.filter(|(_, condition)| matches!(condition, Condition::CutOff(_)));
    cut.find(|(piece, _)| !answers(&piece.donor)).map(|(piece, _)| piece.donor.as_str())
}

/// Why a pool in use has lost a piece, if its node says so: the memory is gone, or its export.
/// What the node said before the pool was ready counts for nothing.
#[must_use]
pub fn lost(record: &PoolRecord, piece: &Piece, known: &Known) -> Option<&'static str> {
    lost_memory(record, piece, known).or_else(|| {
        let inventory = known.current().filter(|_| known.speaks_of_after(record.ready_ms))?;
        let export = PoolId::from(&record.assembly);
        (!holds(inventory, &export, HoldingKind::Export)).then_some("the node no longer exports it")
    })
}

/// Why the memory of a piece is gone, if its node says so: it was booted anew, or holds it no
/// more. While heads change, memory is there that nobody is shown.
#[must_use]
pub fn lost_memory(record: &PoolRecord, piece: &Piece, known: &Known) -> Option<&'static str> {
    let inventory = known.current()?;
    if record.boot_ids.get(&piece.donor).is_some_and(|before| *before != inventory.boot_id) {
        return Some("the node was booted anew");
    }
    let memory = PoolId::from(&record.carved(piece));
    let gone =
        known.speaks_of_after(record.ready_ms) && !holds(inventory, &memory, HoldingKind::Ramdisk);
    gone.then_some("the node no longer holds the piece")
}

/// Whether a node holds something of this kind of a pool.
#[must_use]
pub fn holds(inventory: &Inventory, id: &PoolId, kind: HoldingKind) -> bool {
    inventory.holdings.iter().any(|h| h.pool.as_ref() == Some(id) && h.kind() == kind)
}

/// A client that answers and does not have the pool in use mounted: it was booted anew.
#[must_use]
pub fn lacking_client<'a>(record: &'a PoolRecord, knows: &Knows<'_>) -> Option<&'a str> {
    let id = PoolId::from(&record.assembly);
    let lacks = |node: &str| {
        // What a node said before the pool was ready says nothing of it.
        let known = knows(node).filter(|known| known.last_seen_ms > record.ready_ms);
        let current = known.as_ref().and_then(Known::current);
        current.is_some_and(|now| !holds(now, &id, HoldingKind::ShareMount))
    };
    let mut clients = record.placement.clients.iter().map(|client| client.node.as_str());
    clients.find(|node| record.phase == Phase::Ready && lacks(node))
}

/// What the head sees of a pool.
pub(super) struct Sight<'a> {
    pub(super) record: &'a PoolRecord,
    pub(super) head: Option<&'a Known>,
    pub(super) volume: Option<&'a VolumeHealth>,
}

impl Sight<'_> {
    fn condition(&self, piece: &Piece, known: Option<&Known>) -> Condition {
        let Some(known) = known else { return Condition::UnknownNode };
        if let Some(why) = lost(self.record, piece, known) {
            return Condition::Lost(why.to_owned());
        }
        let session = self.session(piece);
        let cut = session.as_deref().filter(|state| *state != "LOGGED_IN");
        let told = cut.map(|state| format!("the head's session is {state}"));
        match (self.state(piece), told) {
            (Some(MemberState::Faulty | MemberState::Missing), told) => {
                Condition::Faulty(told.unwrap_or_else(|| "the volume works without it".into()))
            }
            // open-iscsi's word for a session that is past its patience.
            (_, Some(told)) if cut == Some("FREE") => Condition::Faulty(told),
            (_, Some(told)) => Condition::CutOff(told),
            (Some(MemberState::Rebuilding), None) => Condition::Rebuilding,
            (Some(MemberState::Spare), None) => Condition::Spare,
            (_, None) => match known.why_not() {
                "" if piece.local => Condition::Ok("local".into()),
                "" => Condition::Ok(session.unwrap_or_default()),
                why => Condition::AgentSilent(why.to_owned()),
            },
        }
    }

    /// What the volume says of the piece; `None` where there is nobody to say it.
    fn state(&self, piece: &Piece) -> Option<MemberState> {
        let volume = self.volume?;
        let own = volume.members.iter().find(|member| is_of(self.record, member, piece));
        Some(own.map_or(MemberState::Missing, Member::state))
    }

    /// The state of the head's session with the donor; `None`: there is none, or it is not
    /// known.
    pub(super) fn session(&self, piece: &Piece) -> Option<String> {
        let id = PoolId::from(&self.record.assembly);
        let holdings = &self.head?.current()?.holdings;
        let session = holdings.iter().find(|h| {
            h.kind() == HoldingKind::Session
                && h.pool.as_ref() == Some(&id)
                && h.donor == piece.donor
        })?;
        Some(session.detail.clone())
    }
}

/// Whether a member of the volume is this piece: by its serial, which outlives the session.
pub(super) fn is_of(record: &PoolRecord, member: &Member, piece: &Piece) -> bool {
    match record.serials.get(&piece.donor) {
        Some(serial) => member.serial == *serial,
        None => member.donor == piece.donor,
    }
}
