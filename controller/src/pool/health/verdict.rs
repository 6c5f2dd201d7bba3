//! What should be done about a pool in use. Pure, but for [`Watched`], which remembers since when
//! a piece is not well.

use std::collections::{BTreeMap, BTreeSet};

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Member, MemberState, Piece, VolumeHealth, VolumeLayout};

use super::condition::{Condition, Knows, Sight, conditions, is_of, lost, volume};
use crate::planner::redundancy::{is_redundant, survives};
use crate::pool::record::{Phase, PoolRecord};

/// A donor that is merely silent may be back at any moment, and the bitmap makes its return
/// cheap, while a rebuild copies all of a piece: so long it is waited for. A switch reboots in
/// that time, a node does not.
pub const GRACE_MS: u64 = 60_000;

/// Why a redundant pool failed whose members may all be back.
const BROKEN: &str = "writes to more donors failed at once than its redundancy bears";

/// The same of a stripe.
const WAITED_IN_VAIN: &str =
    "its head lost a donor for longer than its patience: reads and writes failed meanwhile";

/// What should be done about a pool in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Well,
    /// Something is not well, and nothing is to be done about it by itself, or not yet.
    Wait,
    /// Its data is lost or out of reach for good, for this reason.
    Failed(String),
    /// Members that were cut off are back with their memory.
    Readd,
    /// The piece in this place is lost.
    Replace {
        /// The place in the stripe.
        slot: usize,
        /// The spare that takes it, or took it by itself; `None`: any eligible node may.
        spare: Option<String>,
    },
}

/// Remembers since when pieces are not well, and whose return was refused.
#[derive(Debug, Default)]
pub struct Watched {
    /// By assembly and donor, in milliseconds since the Unix epoch.
    since: BTreeMap<(Assembly, String), u64>,
    unwanted: BTreeSet<Assembly>,
}

impl Watched {
    /// What should be done about a pool, as things are at `now_ms`. What nodes said may have
    /// been looked up before the record was written: before acting on it, ask them anew and
    /// look again.
    pub fn verdict(&mut self, record: &PoolRecord, knows: &Knows<'_>, now_ms: u64) -> Verdict {
        if !matches!(record.phase, Phase::Ready | Phase::Replacing(_)) {
            self.forget(&record.assembly);
            return Verdict::Well;
        }
        let look = Look::new(record, knows);
        self.note(&look, now_ms);
        if let Some(why) = look.failed() {
            return Verdict::Failed(why);
        }
        let well = look.all_well();
        if well {
            self.forget(&record.assembly);
        }
        match look.repair(self, now_ms) {
            Some(verdict) if record.phase == Phase::Ready => verdict,
            _ if well => Verdict::Well,
            _ => Verdict::Wait,
        }
    }

    /// The head would not take the members back: they are to be replaced like lost ones.
    pub fn readd_refused(&mut self, assembly: &Assembly) {
        self.unwanted.insert(assembly.clone());
    }

    fn note(&mut self, look: &Look<'_>, now_ms: u64) {
        for (number, piece) in look.record.members().enumerate() {
            let key = (look.record.assembly.clone(), piece.donor.clone());
            if look.is_out(number) {
                self.since.entry(key).or_insert(now_ms);
            } else {
                self.since.remove(&key);
            }
        }
    }

    fn forget(&mut self, assembly: &Assembly) {
        self.since.retain(|(of, _), _| of != assembly);
        self.unwanted.remove(assembly);
    }

    fn out_for_ms(&self, record: &PoolRecord, donor: &str, now_ms: u64) -> u64 {
        let key = (record.assembly.clone(), donor.to_owned());
        self.since.get(&key).map_or(0, |since| now_ms.saturating_sub(*since))
    }
}

/// The first spare of a pool in use that it only believes to have, and why: its donor answers,
/// without the memory. One that fills a place is a member, and mended as such.
#[must_use]
pub fn lost_spare(record: &PoolRecord, knows: &Knows<'_>) -> Option<(String, String)> {
    if record.phase != Phase::Ready {
        return None;
    }
    let look = Look::new(record, knows);
    // Only the head can let go of it.
    look.volume.as_ref()?;
    let spares = record.placement.spares.iter().zip(&look.conditions[look.width()..]);
    let mut lost = spares.filter_map(|(spare, condition)| match condition {
        Condition::Lost(why) if !look.fills_a_place(spare) => {
            Some((spare.donor.clone(), why.clone()))
        }
        _ => None,
    });
    lost.next()
}

/// Whether the donor that has this place may begin anew in it: what it had is lost, its head does
/// without it, and the pool bears that.
#[must_use]
pub fn may_begin_anew(record: &PoolRecord, slot: usize, knows: &Knows<'_>) -> bool {
    let look = Look::new(record, knows);
    let Some(volume) = &look.volume else { return false };
    let piece = &record.placement.pieces[slot];
    let serves =
        |member: &Member| member.state() != MemberState::Faulty && is_of(record, member, piece);
    let lost = match look.conditions[slot] {
        Condition::Lacking => true,
        Condition::Lost(_) => !volume.members.iter().any(serves),
        _ => false,
    };
    lost && is_redundant(record.placement.redundancy()) && look.failed().is_none()
}

/// All that a verdict is made of.
struct Look<'a> {
    record: &'a PoolRecord,
    conditions: Vec<Condition>,
    volume: Option<VolumeHealth>,
    /// Donors that answer, with their memory, and to which the head's session is up.
    back: BTreeSet<String>,
}

impl<'a> Look<'a> {
    fn new(record: &'a PoolRecord, knows: &Knows<'_>) -> Self {
        let head = knows(&record.placement.head);
        let volume = volume(record, head.as_ref());
        let sight = Sight { record, head: head.as_ref(), volume: volume.as_ref() };
        let is_back = |piece: &&Piece| {
            let known = knows(&piece.donor);
            let holds = known
                .is_some_and(|known| known.reachable() && lost(record, piece, &known).is_none());
            holds && (piece.local || sight.session(piece).as_deref() == Some("LOGGED_IN"))
        };
        let back = record.members().filter(is_back).map(|piece| piece.donor.clone()).collect();
        Self { record, conditions: conditions(record, knows), volume, back }
    }

    fn is_out(&self, number: usize) -> bool {
        self.conditions[number].is_out()
    }

    fn all_well(&self) -> bool {
        let well = |condition: &Condition| {
            matches!(condition, Condition::Ok(_) | Condition::AgentSilent(_) | Condition::Spare)
        };
        self.conditions.iter().all(well)
    }

    fn width(&self) -> usize {
        self.record.placement.pieces.len()
    }

    /// Why the pool's data is lost or out of reach for good, if it is.
    fn failed(&self) -> Option<String> {
        let redundancy = self.record.placement.redundancy();
        let broken = self.volume.as_ref().is_some_and(|volume| volume.broken);
        if broken && is_redundant(redundancy) {
            return Some(BROKEN.to_owned());
        }
        if survives(redundancy, self.width(), |place| self.place_is_lost(place)) {
            return broken.then(|| WAITED_IN_VAIN.to_owned());
        }
        let mut why: Vec<String> = Vec::new();
        for (number, piece) in self.record.placement.pieces.iter().enumerate() {
            if self.is_gone(number) {
                let (state, detail) = self.conditions[number].words();
                let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
                why.push(format!("{} {state}{detail}", piece.donor));
            }
        }
        if why.is_empty() {
            why.push("the head's volume lacks more members than it bears".to_owned());
        }
        Some(match is_redundant(redundancy) {
            true => format!("more donors are lost than its redundancy bears: {}", why.join("; ")),
            false => why.join("; "),
        })
    }

    /// Whether a piece counts as lost: without redundancy a disk that is merely being filled
    /// (moved to) has its old one still.
    fn is_gone(&self, number: usize) -> bool {
        match self.conditions[number] {
            Condition::Rebuilding => is_redundant(self.record.placement.redundancy()),
            ref condition => condition.is_out(),
        }
    }

    /// Whether a place of the stripe has no member that could serve it. Whoever fills it, the
    /// head's volume says best; a donor whose memory is gone may not have been missed yet.
    fn place_is_lost(&self, place: usize) -> bool {
        let Some(member) = self.in_place(place) else {
            return self.is_gone(place) && !self.is_moved(place);
        };
        let of = |number: &usize| is_of(self.record, member, self.record.member(*number));
        let piece = self.record.live().find(of);
        member.state() != MemberState::InSync || piece.is_some_and(|number| self.is_gone(number))
    }

    /// Whether another piece has taken this place already, though the record does not say so yet.
    /// That is what the head says: the new donor's agent may be silent meanwhile.
    fn is_moved(&self, place: usize) -> bool {
        let Some(replacing) = self.record.replacing().filter(|r| r.slot == place) else {
            return false;
        };
        let mut members = self.record.members().enumerate();
        members.any(|(number, piece)| {
            piece.donor == replacing.new.donor
                && matches!(self.conditions[number], Condition::Ok(_) | Condition::AgentSilent(_))
        })
    }

    /// Who is in a place of a redundant volume: its members come in that order.
    fn in_place(&self, place: usize) -> Option<&Member> {
        let volume = self.volume.as_ref()?;
        let ordered = volume.layout() != VolumeLayout::Lvm
            && is_redundant(self.record.placement.redundancy());
        volume.members.get(place).filter(|_| ordered)
    }

    /// What is to be done to have all places filled again, if anything is.
    fn repair(&self, watched: &Watched, now_ms: u64) -> Option<Verdict> {
        let redundant = is_redundant(self.record.placement.redundancy());
        // Only the head can repair.
        if !redundant || self.volume.is_none() {
            return None;
        }
        let out: Vec<usize> = (0..self.width()).filter(|place| self.is_out(*place)).collect();
        let filled = |slot: &usize| self.conditions[*slot] == Condition::Rebuilding;
        let to_fill: Vec<usize> = out.into_iter().filter(|slot| !filled(slot)).collect();
        self.taken_over(&to_fill)
            .or_else(|| self.returned(&to_fill, watched))
            .or_else(|| self.to_replace(&to_fill, watched, now_ms))
    }

    /// A spare that md has put into a lost one's place by itself.
    fn taken_over(&self, out: &[usize]) -> Option<Verdict> {
        let volume = self.volume.as_ref()?;
        let first = *out.first()?;
        let spare = self.record.placement.spares.iter().find(|spare| self.fills_a_place(spare))?;
        let place = volume.members.iter().position(|m| is_of(self.record, m, spare))?;
        let slot = if out.contains(&place) { place } else { first };
        Some(Verdict::Replace { slot, spare: Some(spare.donor.clone()) })
    }

    /// Whether the volume has this spare in somebody's place.
    fn fills_a_place(&self, spare: &Piece) -> bool {
        let members = self.volume.iter().flat_map(|volume| &volume.members);
        let mut own = members.filter(|member| is_of(self.record, member, spare));
        own.any(|own| matches!(own.state(), MemberState::Rebuilding | MemberState::InSync))
    }

    /// Members that were cut off and are back, with what they had.
    fn returned(&self, out: &[usize], watched: &Watched) -> Option<Verdict> {
        let is_back = |slot: &usize| {
            matches!(self.conditions[*slot], Condition::Faulty(_))
                && self.back.contains(&self.record.placement.pieces[*slot].donor)
        };
        let wanted = !watched.unwanted.contains(&self.record.assembly);
        (wanted && out.iter().any(is_back)).then_some(Verdict::Readd)
    }

    /// The first lost piece that is not to be waited for any longer, if somebody may take its
    /// place.
    fn to_replace(&self, out: &[usize], watched: &Watched, now_ms: u64) -> Option<Verdict> {
        let record = self.record;
        let waited = |slot: &usize| match self.conditions[*slot] {
            Condition::Lost(_) | Condition::Lacking => true,
            _ => {
                let donor = &record.placement.pieces[*slot].donor;
                let refused =
                    self.back.contains(donor) && watched.unwanted.contains(&record.assembly);
                refused || watched.out_for_ms(record, donor, now_ms) >= GRACE_MS
            }
        };
        let slot = *out.iter().find(|slot| waited(slot))?;
        let first_spare = self.width();
        let spares = record.placement.spares.iter().enumerate();
        let spare = spares
            .filter(|(at, _)| self.conditions[first_spare + at] == Condition::Spare)
            .map(|(_, spare)| spare.donor.clone())
            .next();
        (spare.is_some() || record.spec.auto_replace()).then_some(Verdict::Replace { slot, spare })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
