//! Whether another head may take a pool over, given which donors are known to serve the old one
//! no more, and what becomes of the record then. Pure.

use std::collections::BTreeSet;

use rampool_proto::v1::{Failure, FailureKind, Piece};

use super::record::{Debt, FailingOver, Owed, Phase, PoolRecord};
use crate::planner::redundancy;

const TRIED_AGAIN: &str = "it is tried again when they answer; `rampool down` gives the pool up";

/// What is known of a pool's donors when its head is to change. Pieces have the numbers of
/// [`PoolRecord::members`].
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// They serve the old head no more, or will not once they are asked. One that lost its memory
    /// is asked like any: it could else be made to lend anew by a call that comes late.
    pub shut: BTreeSet<usize>,
    /// Those of them that have their memory, as far as is known.
    pub kept: BTreeSet<usize>,
    /// Whether those surely have all that was acknowledged, whatever the others had.
    pub whole: bool,
}

impl Standing {
    /// Of donors that confirmed, of which nothing else is known.
    #[must_use]
    pub fn confirmed(shut: BTreeSet<usize>) -> Self {
        Self { kept: shut.clone(), shut, whole: true }
    }
}

/// Refuses where the donors that did not confirm could serve the old head with all of the pool
/// (unless `force`), or where those that have their memory are not enough for the new one, or may
/// not have all that was acknowledged (unless `force`).
pub fn decide(record: &PoolRecord, known: &Standing, force: bool) -> Result<(), Failure> {
    let without = |these: &BTreeSet<usize>| -> BTreeSet<usize> {
        record.live().filter(|number| !these.contains(number)).collect()
    };
    let (silent, absent) = (without(&known.shut), without(&known.kept));
    if !works_without(record, &absent) {
        return Err(refused(record, &absent)
            .saying(format!(
                "{}, and without them the pool cannot be put together",
                why_absent(record, &silent, &absent)
            ))
            .advising(TRIED_AGAIN));
    }
    if !force && old_head_may_go_on(record, &known.shut) {
        return Err(refused(record, &silent)
            .saying(format!(
                "{} did not confirm that the old head's access is ended, and could by themselves \
                 serve the pool to it: both heads would write",
                donors(record, &silent)
            ))
            .advising(
                "make them answer, or make sure that the old head is off and use --force: what \
                 it still writes to them is lost",
            ));
    }
    // They could have gone on by themselves before they lost what they had.
    if !force && !known.whole && old_head_may_go_on(record, &known.kept) {
        let said = format!(
            "{}, and the old head did not say after that that the others have all",
            why_absent(record, &silent, &absent)
        );
        return Err(may_lack(record, &absent, &said));
    }
    let why = why_absent(record, &silent, &absent);
    if force { Ok(()) } else { refuse_of_failed(record, &absent, &why) }
}

/// Members go one after the other before a pool fails, and what the last ones wrote the first ones
/// missed: unless a person insists, all come up together, and their volume knows who is right. `words`
/// say why the absent ones are.
fn refuse_of_failed(
    record: &PoolRecord,
    absent: &BTreeSet<usize>,
    words: &str,
) -> Result<(), Failure> {
    let why = match &record.phase {
        Phase::Failed(failed) => &failed.why,
        Phase::FailingOver(FailingOver { failed: Some(why), .. }) => why,
        _ => return Ok(()),
    };
    if absent.is_empty() {
        return Ok(());
    }
    Err(may_lack(record, absent, &format!("the pool failed ({why}), and {words}")))
}

/// Refuses where the pool cannot come up without those that did not export what they have to the
/// new head, or may lack something then (unless `force`).
pub fn decide_exported(
    record: &PoolRecord,
    absent: &BTreeSet<usize>,
    force: bool,
) -> Result<(), Failure> {
    let words = format!("{} did not export what they had", donors(record, absent));
    if !works_without(record, absent) {
        let said = format!("{words}, and without them the pool cannot be put together");
        return Err(refused(record, absent).saying(said).advising(TRIED_AGAIN));
    }
    if force { Ok(()) } else { refuse_of_failed(record, absent, &words) }
}

fn may_lack(record: &PoolRecord, absent: &BTreeSet<usize>, said: &str) -> Failure {
    refused(record, absent)
        .saying(format!("{said}: without them what comes up may lack acknowledged data"))
        .advising(
            "make them answer with their memory; --force brings up what the others have, \
             `rampool down` gives the pool up",
        )
}

/// Who cannot take part, and why.
fn why_absent(record: &PoolRecord, silent: &BTreeSet<usize>, absent: &BTreeSet<usize>) -> String {
    let lost: BTreeSet<usize> = absent.difference(silent).copied().collect();
    let told = |who: &BTreeSet<usize>, what: &str| {
        (!who.is_empty()).then(|| format!("{} {what}", donors(record, who)))
    };
    let silent = told(silent, "did not confirm that the old head's access is ended");
    let words = silent.into_iter().chain(told(&lost, "lost what they had"));
    words.collect::<Vec<_>>().join("; ")
}

fn refused(record: &PoolRecord, unconfirmed: &BTreeSet<usize>) -> Failure {
    let first = unconfirmed.first().map_or("", |number| &record.member(*number).donor);
    Failure::new(FailureKind::NotNow, "fail over to another head").on(first)
}

fn donors(record: &PoolRecord, numbers: &BTreeSet<usize>) -> String {
    let names: Vec<&str> =
        numbers.iter().map(|number| record.member(*number).donor.as_str()).collect();
    names.join(", ")
}

/// A place of which it is not known which of two members fills it: the head may have ended a
/// copy that the record does not know the end of. The place, and the number of the one that
/// comes.
fn in_doubt(record: &PoolRecord) -> Option<(usize, usize)> {
    let replacing = record.replacing().filter(|replacing| replacing.copying)?;
    let pieces = record.placement.pieces.len();
    let coming = record.members().skip(pieces);
    let at = coming.into_iter().position(|piece| piece.donor == replacing.new.donor)?;
    Some((replacing.slot, pieces + at))
}

/// Whether the pool can be put together without these members, and those it lacks anyway.
#[must_use]
pub fn works_without(record: &PoolRecord, absent: &BTreeSet<usize>) -> bool {
    let placement = &record.placement;
    let doubt = in_doubt(record);
    let gone = |place| {
        let other = doubt.is_some_and(|(at, new)| at == place && absent.contains(&new));
        other || absent.contains(&place) || record.lacking.contains(&place)
    };
    redundancy::survives(placement.redundancy(), placement.pieces.len(), gone)
}

/// Whether those that did not confirm are a usable set by themselves.
fn old_head_may_go_on(record: &PoolRecord, confirmed: &BTreeSet<usize>) -> bool {
    let placement = &record.placement;
    let doubt = in_doubt(record);
    let gone = |place| {
        let other = doubt.is_some_and(|(at, new)| at == place && !confirmed.contains(&new));
        !other && (confirmed.contains(&place) || record.lacking.contains(&place))
    };
    redundancy::survives(placement.redundancy(), placement.pieces.len(), gone)
}

/// Leaves members out: they owe what they hold under the record's generation.
pub(super) fn leave_out(record: &mut PoolRecord, absent: &BTreeSet<usize>) {
    let absent: Vec<Piece> = absent.iter().map(|number| record.member(*number).clone()).collect();
    absent.iter().for_each(|piece| record.owe_piece(piece));
    let gone = |piece: &Piece| absent.iter().any(|absent| absent.donor == piece.donor);
    let pieces = record.placement.pieces.iter().enumerate();
    record.lacking.extend(pieces.filter(|(_, piece)| gone(piece)).map(|(place, _)| place));
    record.placement.spares.retain(|spare| !gone(spare));
    if let Phase::FailingOver(over) = &mut record.phase {
        over.joining = over.joining.take().filter(|joining| !gone(&joining.new));
    }
}

/// Makes the new head and generation the record's own. The old head owes what it holds.
pub(super) fn move_on(record: &mut PoolRecord) {
    let Phase::FailingOver(over) = &mut record.phase else { return };
    over.fenced = true;
    over.remains.clear();
    let FailingOver { head, generation, .. } = over.clone();
    let old = record.assembly.generation;
    record.formed = record.formed();
    let placement = &mut record.placement;
    let joining = match &mut record.phase {
        Phase::FailingOver(FailingOver { joining: Some(joining), .. }) => Some(&mut joining.new),
        _ => None,
    };
    for piece in placement.pieces.iter_mut().chain(&mut placement.spares).chain(joining) {
        if piece.carved == 0 {
            piece.carved = old;
        }
        piece.local = piece.donor == head;
    }
    let node = std::mem::replace(&mut placement.head, head);
    record.debts.push(Debt { node, what: Owed::Head { generation: old } });
    record.assembly.generation = generation;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::record::Failed;
    use rampool_proto::v1::{Placement, Redundancy};

    fn mirror_of_four() -> PoolRecord {
        let piece = |donor: &str| Piece { donor: donor.into(), bytes: 7, ..Piece::default() };
        PoolRecord {
            placement: Placement {
                head: "n1".into(),
                redundancy: Redundancy::Mirror.into(),
                pieces: ["n2", "n3", "n4", "n5"].map(piece).to_vec(),
                spares: vec![piece("n6")],
                ..Placement::default()
            },
            ..crate::pool::record::samples::ready("demo.3")
        }
    }

    fn decided(confirmed: &[usize], force: bool) -> Result<(), String> {
        let known = Standing::confirmed(confirmed.iter().copied().collect());
        decide(&mirror_of_four(), &known, force).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_network_split_through_the_mirror_keeps_both_heads_from_writing() {
        // Each side has one copy of everything.
        let said = decided(&[0, 2, 4], false).unwrap_err();
        assert!(said.contains("n3, n5") && said.contains("both heads would write"), "{said}");
        assert_eq!(decided(&[0, 2, 4], true), Ok(()));
        let said = decided(&[0, 1], true).unwrap_err();
        assert!(said.contains("n4, n5, n6") && said.contains("cannot be put together"), "{said}");
        assert_eq!(decided(&[0, 1, 2], false), Ok(()));
    }

    #[test]
    fn a_failed_pool_comes_up_again_of_all_its_donors_or_by_force() {
        let failed = Phase::Failed(Failed { why: "n2 was silent".into(), shut: true });
        let mut record = PoolRecord { phase: failed, ..mirror_of_four() };
        let all = Standing::confirmed((0..5).collect());
        assert_eq!(decide(&record, &all, false), Ok(()));
        let three = Standing::confirmed([0, 1, 2, 4].into());
        let refusal = decide(&record, &three, false).unwrap_err();
        assert!(refusal.said.contains("(n2 was silent), and n5"), "{refusal}");
        assert!(refusal.advice.contains("--force"), "{refusal}");
        assert_eq!(decide(&record, &three, true), Ok(()));
        assert_eq!(decide(&mirror_of_four(), &three, false), Ok(()));
        // Also once it is under way, and where a donor answers without what it had.
        record.phase = Phase::FailingOver(failing_over(Some("n2 was silent")));
        assert!(decide(&record, &three, false).is_err());
        let lost = Standing { kept: three.kept, ..all };
        let refusal = decide(&record, &lost, false).unwrap_err();
        assert!(refusal.said.contains("and n5 lost what they had"), "{refusal}");
    }

    fn failing_over(failed: Option<&str>) -> FailingOver {
        FailingOver {
            head: "n4".into(),
            generation: 5,
            force: false,
            fenced: false,
            failed: failed.map(str::to_owned),
            joining: None,
            remains: Vec::new(),
        }
    }

    #[test]
    fn who_lost_its_memory_serves_no_head_and_the_others_must_be_known_to_have_all() {
        let mut pair = mirror_of_four();
        pair.placement.pieces.truncate(2);
        pair.placement.spares.clear();
        for (record, kept) in [(&pair, vec![1]), (&mirror_of_four(), vec![1, 2])] {
            let all: BTreeSet<usize> = record.live().collect();
            let kept: BTreeSet<usize> = kept.into_iter().collect();
            let known = Standing { shut: all, kept: kept.clone(), whole: true };
            assert_eq!(decide(record, &known, false), Ok(()));
            let doubted = Standing { whole: false, ..known };
            let refusal = decide(record, &doubted, false).unwrap_err();
            assert!(refusal.said.contains("n2") && refusal.said.contains("may lack"), "{refusal}");
            assert_eq!(decide(record, &doubted, true), Ok(()));
            let silent = Standing { shut: kept, ..doubted };
            let refusal = decide(record, &silent, false).unwrap_err();
            assert!(refusal.said.contains("both heads would write"), "{refusal}");
        }
        let none = Standing { shut: [0, 1].into(), ..Standing::default() };
        let refusal = decide(&pair, &none, true).unwrap_err();
        assert!(refusal.said.starts_with("n2, n3 lost what they had"), "{refusal}");
        // Where one of a pair is left of two pairs, its volume knows who is right.
        let three = Standing { shut: (0..5).collect(), kept: [0, 2, 3].into(), whole: false };
        assert_eq!(decide(&mirror_of_four(), &three, false), Ok(()));
    }

    #[test]
    fn who_did_not_confirm_owes_its_memory_and_the_old_head_all_it_holds() {
        let mut record = mirror_of_four();
        record.phase = Phase::FailingOver(failing_over(None));
        leave_out(&mut record, &[1, 4].into());
        move_on(&mut record);
        assert_eq!(record.assembly.to_string(), "demo.5");
        assert_eq!((record.formed(), record.placement.head.as_str()), (3, "n4"));
        assert_eq!(record.lacking, [1].into());
        assert!(record.placement.spares.is_empty());
        assert!(record.placement.pieces.iter().all(|piece| piece.carved == 3));
        let local: Vec<bool> = record.placement.pieces.iter().map(|piece| piece.local).collect();
        assert_eq!(local, [false, false, true, false]);
        let owed = Owed::Piece { generation: 3, carved: 0 };
        assert_eq!(
            record.debts,
            [
                Debt { node: "n3".into(), what: owed },
                Debt { node: "n6".into(), what: owed },
                Debt { node: "n1".into(), what: Owed::Head { generation: 3 } },
            ]
        );
        assert_eq!(record.live().collect::<Vec<_>>(), [0, 2, 3]);
    }
}
