//! What a head said last of a pool whose donors lost memory: whether the others have all of it.
//! Pure.

use std::collections::BTreeSet;

use rampool_proto::v1::{Member, MemberState, Piece};

use super::condition::{Knows, is_of, volume_in};
use crate::nodes::Contact;
use crate::pool::record::PoolRecord;

/// Whether `kept` pieces surely have all that was ever acknowledged, though `lost` ones could have
/// been written to without them. The head's last word says so where it counted on all of `kept`
/// when it had no use of `lost` any more, or could not have: from then on they are the last
/// copies, which md gives up for nothing. Pieces have the numbers of [`PoolRecord::members`].
#[must_use]
pub fn have_all(
    record: &PoolRecord,
    kept: &BTreeSet<usize>,
    lost: &BTreeSet<usize>,
    knows: &Knows<'_>,
) -> bool {
    // What it said counts also when it is silent now: it said it before.
    let Some(head) = knows(&record.placement.head) else { return false };
    let volume = head.inventory.as_deref().and_then(|inventory| volume_in(record, inventory));
    let Some(volume) = volume.filter(|volume| !volume.broken) else { return false };
    let state = |piece: &Piece| {
        let own = volume.members.iter().find(|member| is_of(record, member, piece));
        own.map_or(MemberState::Missing, Member::state)
    };
    let gone_before = |piece: &Piece| {
        let Some(donor) = knows(&piece.donor) else { return false };
        let Contact::Reachable { since_ms } = donor.contact else { return false };
        let (before, now) = (record.boot_ids.get(&piece.donor), donor.current());
        let rebooted = before.zip(now).is_some_and(|(before, now)| *before != now.boot_id);
        // A node is out of reach while it boots: its memory went before it was reached again.
        rebooted && head.speaks_of_after(since_ms)
    };
    let places = |numbers: &BTreeSet<usize>| {
        let width = record.placement.pieces.len();
        numbers.iter().filter(|number| **number < width).copied().collect::<Vec<_>>()
    };
    let unused = |piece| {
        matches!(state(piece), MemberState::Faulty | MemberState::Missing) || gone_before(piece)
    };
    places(kept).into_iter().all(|number| state(record.member(number)) == MemberState::InSync)
        && places(lost).into_iter().all(|number| unused(record.member(number)))
}
