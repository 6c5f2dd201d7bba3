//! What is to be done next so that one disk takes another's place in an array. Pure: an array
//! as it is seen now, and nothing remembered, so that a repeated call goes on wherever an
//! earlier one was.

use rampool_proto::v1::FailureKind;

use super::array::{Array, Member, State};

/// The disks of a replacement by the kernel's names of the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    /// None where the disk is gone.
    pub(super) old: Option<String>,
    /// The one that comes.
    pub(super) new: String,
    /// Members whose disks answer no more, whatever md knows of it.
    pub(super) lost: Vec<String>,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// md is told that this member is dead.
    Fail(String),
    /// The new disk becomes a spare, which md fills if a place is vacant.
    Add,
    /// The new disk, a spare, is filled to take the old one's place.
    Mark,
    /// md is copying, or about to.
    Wait,
    /// A dead member leaves the list.
    Remove(String),
    /// The new disk is in, the old one is out.
    Done,
    /// It cannot be.
    Refuse(FailureKind, &'static str),
}

const TWO_PLACES: &str = "both disks are members, each in its own place";
const OTHER_PLACE: &str = "the new disk is being filled for another member's place";
const OTHER_COMES: &str = "another disk is being filled for the old one's place";
const LACKS_OTHERS: &str = "the volume lacks another member: its place comes first, and the old \
    disk is still good";
const NOT_THERE: &str = "the old disk is no member, and no place is vacant";
/// Why a replacement ends that was under way.
pub(super) const NEW_FAILED: &str = "the new disk failed while it was being filled";

/// Of a volume's arrays, the one that the replacement concerns: whose member the new disk is
/// already, or the old one is; where the old disk is gone, one that misses a member.
pub(super) fn choose(mut arrays: Vec<Array>, pair: &Pair) -> Array {
    let has = |array: &Array, name: &str| array.member(name).is_some();
    let misses = |array: &Array| {
        array.vacant() > 0 || array.members.iter().any(|member| pair.lost.contains(&member.disk))
    };
    let found = arrays
        .iter()
        .position(|array| has(array, &pair.new))
        .or_else(|| {
            let old = pair.old.as_ref()?;
            arrays.iter().position(|array| has(array, old))
        })
        .or_else(|| arrays.iter().position(misses));
    arrays.swap_remove(found.unwrap_or(0))
}

/// Decides it.
pub(super) fn next(array: &Array, pair: &Pair) -> Next {
    let old = pair.old.as_ref().and_then(|name| array.member(name));
    let new = array.member(&pair.new);
    if new.is_some_and(|new| new.state == State::Faulty || pair.lost.contains(&new.disk)) {
        return Next::Refuse(FailureKind::Failed, NEW_FAILED);
    }
    if let Some(dead) = dead(array, pair, old) {
        return Next::Fail(dead.disk.clone());
    }
    match (new, old) {
        (None, _) => join(array, old),
        // md has filled it, and is about to let the old one go.
        (Some(new), _) if new.state == State::InSync && new.replacement => Next::Wait,
        (Some(new), _) if new.state == State::InSync => settle(array, pair, old),
        (Some(new), Some(old)) if serves(old) => take_over(array, new, old),
        (Some(new), _) if new.state == State::Rebuilding => Next::Wait,
        // A spare, and the old disk is out: md fills it, or has filled another.
        (Some(_), _) if array.vacant() > 0 || is_copying(array) => Next::Wait,
        (Some(_), _) => settle(array, pair, old),
    }
}

fn serves(member: &Member) -> bool {
    matches!(member.state, State::InSync | State::Rebuilding)
}

fn is_copying(array: &Array) -> bool {
    array.members.iter().any(|member| member.state == State::Rebuilding)
}

/// The old disk, or where it is gone any whose disk is, if md still counts on it: md asks
/// nothing of an idle member, and so does not know.
fn dead<'a>(array: &'a Array, pair: &Pair, old: Option<&'a Member>) -> Option<&'a Member> {
    let is_dead =
        |member: &&Member| member.state != State::Faulty && pair.lost.contains(&member.disk);
    match &pair.old {
        Some(_) => old.filter(|old| is_dead(old)),
        None => array.members.iter().find(is_dead),
    }
}

/// The new disk is no member yet.
fn join(array: &Array, old: Option<&Member>) -> Next {
    let refuse = |why| Next::Refuse(FailureKind::Conflict, why);
    match old {
        Some(old) if old.leaving => refuse(OTHER_COMES),
        // As a spare it would be given the vacant place at once.
        Some(old) if serves(old) && (array.vacant() > 0 || is_copying(array)) => {
            Next::Refuse(FailureKind::NotNow, LACKS_OTHERS)
        }
        Some(_) => Next::Add,
        None if array.vacant() > 0 => Next::Add,
        None => Next::Refuse(FailureKind::NotFound, NOT_THERE),
    }
}

/// The old disk still does its work.
fn take_over(array: &Array, new: &Member, old: &Member) -> Next {
    let refuse = |why| Next::Refuse(FailureKind::Conflict, why);
    let other = || {
        let mut others = array.members.iter().filter(|member| member.disk != new.disk);
        others.any(|member| member.replacement && member.place == old.place)
    };
    match new.state {
        State::Spare if !old.leaving => Next::Mark,
        State::Spare if other() => refuse(OTHER_COMES),
        State::Rebuilding if new.place != old.place => refuse(OTHER_PLACE),
        _ => Next::Wait,
    }
}

/// The new disk is in. What is dead of the old one leaves the list.
fn settle(array: &Array, pair: &Pair, old: Option<&Member>) -> Next {
    let gone = || {
        let mut dead = array.members.iter().filter(|member| member.state == State::Faulty);
        dead.find(|member| pair.old.is_none() && pair.lost.contains(&member.disk))
    };
    match old {
        Some(old) if serves(old) => Next::Refuse(FailureKind::Conflict, TWO_PLACES),
        Some(old) => Next::Remove(old.disk.clone()),
        None => gone().map_or(Next::Done, |gone| Next::Remove(gone.disk.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(disk: &str, words: &str) -> Member {
        let (state, place) = match words.split_once(' ') {
            Some((state, place)) => (state, place.parse().ok()),
            None => (words, None),
        };
        Member {
            disk: disk.to_owned(),
            place,
            state: match state.trim_matches(['+', '-']) {
                "ok" => State::InSync,
                "fill" => State::Rebuilding,
                "spare" => State::Spare,
                _ => State::Faulty,
            },
            replacement: state.ends_with('+'),
            leaving: state.ends_with('-'),
        }
    }

    fn array(members: &[(&str, &str)]) -> Array {
        Array {
            name: "md_rp.demo.1".to_owned(),
            level: "raid10".to_owned(),
            state: "clean".to_owned(),
            chunk_bytes: 65536,
            places: 2,
            member_bytes: 1 << 20,
            members: members.iter().map(|(disk, words)| member(disk, words)).collect(),
            sync: None,
        }
    }

    fn pair(old: Option<&str>, lost: &[&str]) -> Pair {
        Pair {
            old: old.map(str::to_owned),
            new: "new".to_owned(),
            lost: lost.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_healthy_member_serves_until_the_new_one_is_filled() {
        let steps = [
            (vec![("a", "ok 0"), ("old", "ok 1")], Next::Add),
            (vec![("a", "ok 0"), ("old", "ok 1"), ("new", "spare")], Next::Mark),
            (vec![("a", "ok 0"), ("old", "ok- 1"), ("new", "spare")], Next::Wait),
            (vec![("a", "ok 0"), ("old", "ok- 1"), ("new", "fill+ 1")], Next::Wait),
            (vec![("a", "ok 0"), ("old", "ok- 1"), ("new", "ok+ 1")], Next::Wait),
            (vec![("a", "ok 0"), ("old", "dead"), ("new", "ok 1")], Next::Remove("old".into())),
            (vec![("a", "ok 0"), ("new", "ok 1")], Next::Done),
        ];
        for (members, wanted) in steps {
            assert_eq!(next(&array(&members), &pair(Some("old"), &[])), wanted, "{members:?}");
        }
    }

    #[test]
    fn a_dead_members_place_is_filled() {
        let steps = [
            (vec![("a", "ok 0"), ("old", "ok 1")], Next::Fail("old".into())),
            (vec![("a", "ok 0"), ("old", "dead 1")], Next::Add),
            (vec![("a", "ok 0"), ("old", "dead"), ("new", "spare")], Next::Wait),
            (vec![("a", "ok 0"), ("old", "dead"), ("new", "fill 1")], Next::Wait),
            (vec![("a", "ok 0"), ("old", "dead"), ("new", "ok 1")], Next::Remove("old".into())),
            (vec![("a", "ok 0"), ("new", "ok 1")], Next::Done),
        ];
        for (members, wanted) in steps {
            let array = array(&members);
            let known = next(&array, &pair(Some("old"), &["old"]));
            assert_eq!(known, wanted, "{members:?}");
            // Its session was ended: nobody knows the disk's serial any more.
            let gone = next(&array, &pair(None, &["old"]));
            assert_eq!(gone, wanted, "{members:?}, gone");
        }
        assert_eq!(next(&array(&[("a", "ok 0")]), &pair(None, &[])), Next::Add);
    }

    #[test]
    fn a_spare_that_md_took_by_itself_counts() {
        let taken = [("a", "ok 0"), ("old", "dead"), ("s", "ok 1"), ("new", "spare")];
        assert_eq!(next(&array(&taken), &pair(Some("old"), &[])), Next::Remove("old".into()));
        let settled = [("a", "ok 0"), ("s", "ok 1"), ("new", "spare")];
        assert_eq!(next(&array(&settled), &pair(Some("old"), &[])), Next::Done);
        let filling = [("a", "ok 0"), ("old", "dead"), ("s", "fill 1"), ("new", "spare")];
        assert_eq!(next(&array(&filling), &pair(Some("old"), &[])), Next::Wait);
    }

    #[test]
    fn what_would_do_harm_is_refused() {
        for (members, why) in [
            (vec![("a", "ok 0"), ("old", "ok 1"), ("new", "dead")], NEW_FAILED),
            (vec![("old", "ok 1")], LACKS_OTHERS),
            (vec![("a", "fill 0"), ("old", "ok 1")], LACKS_OTHERS),
            (vec![("new", "ok 0"), ("old", "ok 1")], TWO_PLACES),
            (vec![("new", "ok 0"), ("old", "fill 1")], TWO_PLACES),
            (vec![("a", "ok 0"), ("b", "ok 1")], NOT_THERE),
            (vec![("new", "fill 0"), ("old", "ok 1")], OTHER_PLACE),
            (vec![("a", "ok 0"), ("old", "ok- 1"), ("b", "fill+ 1")], OTHER_COMES),
        ] {
            match next(&array(&members), &pair(Some("old"), &[])) {
                Next::Refuse(_, said) => assert_eq!(said, why, "{members:?}"),
                other => panic!("{members:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_group_that_is_concerned_is_chosen() {
        let group = |name: &str, members: &[(&str, &str)]| Array {
            name: name.to_owned(),
            ..array(members)
        };
        let whole = group("whole", &[("a", "ok 0"), ("b", "ok 1")]);
        let olds = group("olds", &[("old", "ok 0"), ("c", "ok 1")]);
        let news = group("news", &[("new", "fill 0"), ("d", "ok 1")]);
        let lacks = group("lacks", &[("e", "ok 0")]);
        for (arrays, old, wanted) in [
            (vec![&whole, &olds, &lacks], Some("old"), "olds"),
            (vec![&whole, &lacks, &news], Some("old"), "news"),
            (vec![&whole, &lacks], None, "lacks"),
            (vec![&whole], None, "whole"),
        ] {
            let arrays = arrays.into_iter().cloned().collect();
            assert_eq!(choose(arrays, &pair(old, &[])).name, wanted);
        }
    }

    fn any_member(name: &'static str) -> impl Strategy<Value = (&'static str, String)> {
        let states = ["ok 0", "ok 1", "ok- 1", "fill 0", "fill 1", "fill+ 1", "spare", "dead"];
        proptest::sample::select(states.to_vec()).prop_map(move |words| (name, words.to_owned()))
    }

    proptest! {
        /// No step ever takes a member away that md still counts on, unless its disk is dead.
        #[test]
        fn nothing_that_serves_is_ever_taken_away(
            members in (any_member("a"), any_member("old"), any_member("new")),
            lost in proptest::collection::vec(proptest::sample::select(vec!["a", "old"]), 0..2),
            known: bool,
        ) {
            let (a, old, new) = members;
            let members: Vec<_> = [&a, &old, &new].map(|(disk, words)| (*disk, words.as_str())).into();
            let array = array(&members);
            let pair = pair(known.then_some("old"), &lost);
            match next(&array, &pair) {
                Next::Fail(disk) => prop_assert!(lost.contains(&disk.as_str())),
                Next::Remove(disk) => {
                    let state = array.member(&disk).unwrap().state;
                    prop_assert!(matches!(state, State::Faulty | State::Spare), "{:?}", state);
                }
                _ => {}
            }
        }
    }
}
