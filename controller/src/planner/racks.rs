//! Racks: which donors to take and in which order, so that no more of what belongs together
//! than may be lost lies in one rack, as far as there are enough. A node without a rack counts
//! as one of its own. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rampool_proto::v1::Redundancy;

use super::Candidate;
use super::redundancy::{bears, companions, groups};

/// A donor's rack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rack<'a> {
    Named(&'a str),
    /// The unlabelled one with this number.
    Own(usize),
}

fn racks_of(donors: &[Candidate]) -> Vec<Rack<'_>> {
    let mut racks = Vec::with_capacity(donors.len());
    for (number, donor) in donors.iter().enumerate() {
        racks.push(match donor.rack.as_str() {
            "" => Rack::Own(number),
            label => Rack::Named(label),
        });
    }
    racks
}

/// The racks whose loss would lose the pool, with the donors in this order.
pub(super) fn fatal(redundancy: Redundancy, donors: &[Candidate]) -> BTreeSet<&str> {
    let racks = racks_of(donors);
    let mut fatal = BTreeSet::new();
    for group in companions(redundancy, donors.len()) {
        let mut held: BTreeMap<Rack<'_>, usize> = BTreeMap::new();
        for at in group {
            *held.entry(racks[at]).or_default() += 1;
        }
        let too_many = held.iter().filter(|(_, count)| **count > bears(redundancy));
        fatal.extend(too_many.filter_map(|(rack, _)| match rack {
            Rack::Named(label) => Some(*label),
            Rack::Own(_) => None,
        }));
    }
    fatal
}

/// The most of `width` donors that may share a rack if the donors can be put in any order.
fn most_in_one(redundancy: Redundancy, width: usize) -> usize {
    match redundancy {
        Redundancy::None | Redundancy::Unspecified => width,
        // Each copy's other half lies elsewhere.
        Redundancy::Mirror => width / 2,
        Redundancy::Parity | Redundancy::DoubleParity => {
            bears(redundancy) * groups(redundancy, width).unwrap_or(1)
        }
    }
}

/// Whether [`choose`] would find `width` of `able`.
pub(super) fn enough(redundancy: Redundancy, width: usize, able: &[Candidate]) -> bool {
    apart(redundancy, width, able).len() == width
}

/// `width` of `able`, those named first before others, with no more of one rack than may be
/// lost. `None` where there are not enough racks.
pub(super) fn choose(
    redundancy: Redundancy,
    width: usize,
    able: &[Candidate],
) -> Option<Vec<Candidate>> {
    let chosen = apart(redundancy, width, able);
    (chosen.len() == width).then(|| chosen.into_iter().map(|at| able[at].clone()).collect())
}

/// The first `width` of `able`, or fewer, that leave no rack with more than may share one.
fn apart(redundancy: Redundancy, width: usize, able: &[Candidate]) -> Vec<usize> {
    let most = most_in_one(redundancy, width);
    let mut taken: BTreeMap<Rack<'_>, usize> = BTreeMap::new();
    let mut chosen = Vec::with_capacity(width);
    for (at, rack) in racks_of(able).into_iter().enumerate() {
        let count = taken.entry(rack).or_default();
        if chosen.len() < width && *count < most {
            *count += 1;
            chosen.push(at);
        }
    }
    chosen
}

/// The donors in an order in which no more of one rack than may be lost belong together: as
/// they are if that is so already, and as near to it as can be if there are too few racks.
pub(super) fn arrange(redundancy: Redundancy, donors: Vec<Candidate>) -> Vec<Candidate> {
    if fatal(redundancy, &donors).is_empty() {
        return donors;
    }
    let mut by_rack: BTreeMap<Rack<'_>, Vec<usize>> = BTreeMap::new();
    for (at, rack) in racks_of(&donors).into_iter().enumerate() {
        by_rack.entry(rack).or_default().push(at);
    }
    let mut racks: Vec<Vec<usize>> = by_rack.into_values().collect();
    // The fullest rack first; of equals, the one of the first donor.
    racks.sort_by_key(|rack| (std::cmp::Reverse(rack.len()), rack[0]));
    let in_racks: Vec<usize> = racks.concat();
    let width = donors.len();
    // Donors of one rack are dealt out to the groups in turn. Mirrors: every other place, then
    // those between, so that they are neighbours only if the rack has more than half of all.
    let places: Vec<usize> = match groups(redundancy, width) {
        Some(count) if redundancy != Redundancy::Mirror => {
            (0..width).map(|at| at % count * (width / count) + at / count).collect()
        }
        _ => (0..width).step_by(2).chain((1..width).step_by(2)).collect(),
    };
    let mut order = vec![0; width];
    for (place, donor) in places.into_iter().zip(in_racks) {
        order[place] = donor;
    }
    order.into_iter().map(|at| donors[at].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::Reach;
    use proptest::prelude::*;

    fn donors(racks: &[&str]) -> Vec<Candidate> {
        let donor = |(at, rack): (usize, &&str)| Candidate {
            name: format!("n{at}"),
            reach: Reach::Reachable,
            lendable: 1,
            rack: (*rack).to_owned(),
            address: String::new(),
        };
        racks.iter().enumerate().map(donor).collect()
    }

    fn names(donors: &[Candidate]) -> Vec<&str> {
        donors.iter().map(|donor| donor.name.as_str()).collect()
    }

    #[test]
    fn copies_are_put_in_different_racks() {
        let arranged = arrange(Redundancy::Mirror, donors(&["a", "a", "b", "b"]));
        assert_eq!(names(&arranged), ["n0", "n2", "n1", "n3"]);
        let right = donors(&["a", "b", "b", "a"]);
        assert_eq!(arrange(Redundancy::Mirror, right.clone()), right, "it is right already");
        let odd = arrange(Redundancy::Mirror, donors(&["a", "a", "b", "b", "c"]));
        assert!(fatal(Redundancy::Mirror, &odd).is_empty(), "{:?}", names(&odd));
    }

    #[test]
    fn too_few_racks_are_told_by_name_and_the_unlabelled_count_as_their_own() {
        let few = arrange(Redundancy::Mirror, donors(&["a", "a", "a", "b"]));
        assert_eq!(Vec::from_iter(fatal(Redundancy::Mirror, &few)), ["a"]);
        assert!(fatal(Redundancy::Parity, &donors(&["", "", "", "a"])).is_empty());
        let parity = donors(&["a", "a", "b", "c"]);
        assert_eq!(Vec::from_iter(fatal(Redundancy::Parity, &parity)), ["a"]);
        assert!(fatal(Redundancy::DoubleParity, &parity).is_empty());
    }

    #[test]
    fn enough_racks_are_used_before_more_generous_donors() {
        let able = donors(&["a", "a", "a", "b", "c"]);
        assert_eq!(names(&choose(Redundancy::Parity, 3, &able).unwrap()), ["n0", "n3", "n4"]);
        assert_eq!(choose(Redundancy::Parity, 4, &able), None);
        let mirror = choose(Redundancy::Mirror, 4, &able).unwrap();
        assert_eq!(names(&mirror), ["n0", "n1", "n3", "n4"]);
    }

    fn any_donors() -> impl Strategy<Value = Vec<Candidate>> {
        prop::collection::vec(prop::sample::select(vec!["", "a", "b", "c", "d"]), 2..24)
            .prop_map(|racks| donors(&racks))
    }

    proptest! {
        #[test]
        fn arranging_keeps_all_donors_and_no_rack_is_fatal_that_need_not_be(donors in any_donors()) {
            let arranged = arrange(Redundancy::Mirror, donors.clone());
            let (mut before, mut after) = (names(&donors), names(&arranged));
            before.sort_unstable();
            after.sort_unstable();
            prop_assert_eq!(before, after);
            let count = |rack: &str| donors.iter().filter(|donor| donor.rack == rack).count();
            for rack in ["a", "b", "c", "d"] {
                let avoidable = count(rack) <= donors.len() / 2;
                let is_fatal = fatal(Redundancy::Mirror, &arranged).contains(rack);
                prop_assert_eq!(is_fatal, !avoidable, "{}: {:?}", rack, arranged);
            }
        }

        #[test]
        fn what_was_chosen_by_racks_bears_the_loss_of_any_one(
            donors in any_donors(), width in 2..=15usize, kind in 0..3usize
        ) {
            let redundancy =
                [Redundancy::Mirror, Redundancy::Parity, Redundancy::DoubleParity][kind];
            let able = groups(redundancy, width).is_some();
            if let Some(chosen) = choose(redundancy, width, &donors).filter(|_| able) {
                prop_assert_eq!(chosen.len(), width);
                let arranged = arrange(redundancy, chosen);
                prop_assert!(fatal(redundancy, &arranged).is_empty(), "{:?}", arranged);
            }
        }
    }
}
