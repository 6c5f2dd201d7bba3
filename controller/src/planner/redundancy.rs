//! What each redundancy costs and bears: how many members carry data, how wide a volume may be,
//! and which members hold copies of the same block. Pure.

use rampool_proto::v1::{Placement, Redundancy};

/// The most members of one parity group: each write of less than a stripe reads and writes
/// parity, a rebuild reads all the others, and the more there are the likelier it is that one
/// more is lost meanwhile.
pub const WIDEST_GROUP: usize = 10;

/// The most parity groups of one volume: each is a device of its own on the head, whose name has
/// room for one digit or letter to tell them apart (the agent's `names::MOST_GROUPS`).
pub const MOST_GROUPS: usize = 36;

/// Its name as people write it.
#[must_use]
pub fn name(redundancy: Redundancy) -> &'static str {
    match redundancy {
        Redundancy::None | Redundancy::Unspecified => "none",
        Redundancy::Mirror => "mirror",
        Redundancy::Parity => "parity",
        Redundancy::DoubleParity => "double-parity",
    }
}

/// Whether the loss of a donor is borne at all.
#[must_use]
pub fn is_redundant(redundancy: Redundancy) -> bool {
    bears(redundancy) > 0
}

/// How many members may be lost, whichever they are: of a parity group, where there are groups.
#[must_use]
pub fn bears(redundancy: Redundancy) -> usize {
    match redundancy {
        Redundancy::None | Redundancy::Unspecified => 0,
        Redundancy::Mirror | Redundancy::Parity => 1,
        Redundancy::DoubleParity => 2,
    }
}

/// The fewest members. md would make a raid5 of two and no less than a raid6 of four; fewer
/// than these are a mirror by a dearer name.
#[must_use]
pub fn least_width(redundancy: Redundancy) -> usize {
    match redundancy {
        Redundancy::None | Redundancy::Unspecified => 1,
        Redundancy::Mirror => 2,
        Redundancy::Parity => 3,
        Redundancy::DoubleParity => 4,
    }
}

/// Whether members carry parity.
fn has_parity(redundancy: Redundancy) -> bool {
    matches!(redundancy, Redundancy::Parity | Redundancy::DoubleParity)
}

/// Says why a volume of this redundancy cannot have so many members, and what it can have.
pub(super) fn check_width(redundancy: Redundancy, width: usize) -> Result<(), String> {
    let (name, least) = (name(redundancy), least_width(redundancy));
    if width < least {
        return Err(format!("{width} donors; redundancy {name} needs at least {least}"));
    }
    if groups(redundancy, width).is_some() {
        return Ok(());
    }
    let fits = |width: &usize| groups(redundancy, *width).is_some();
    let below = (least..width).rev().find(fits).unwrap_or(least);
    let above = (width..2 * width).find(fits).map_or_else(String::new, |w| format!(" or {w}"));
    Err(format!(
        "{width} donors make no equal groups of at most {WIDEST_GROUP} for redundancy {name}; \
         {below}{above} do"
    ))
}

/// The number of equal parity groups that so many members make: as few as can be. 1 where there
/// is no parity, or few members; `None` where they make none.
#[must_use]
pub fn groups(redundancy: Redundancy, width: usize) -> Option<usize> {
    if !has_parity(redundancy) || width <= WIDEST_GROUP {
        return Some(1);
    }
    let able =
        |count: &usize| width.is_multiple_of(*count) && width / count >= least_width(redundancy);
    (width.div_ceil(WIDEST_GROUP)..=MOST_GROUPS.min(width)).find(able)
}

/// The members of one group, as the wire has it: 0 where all are one.
#[must_use]
pub fn group_width(redundancy: Redundancy, width: usize) -> u32 {
    match groups(redundancy, width) {
        Some(count) if count > 1 => u32::try_from(width / count).unwrap_or(0),
        _ => 0,
    }
}

/// Twice the number of members whose worth of data the volume holds: an odd mirror has a half.
#[must_use]
pub fn data_halves(redundancy: Redundancy, width: usize) -> usize {
    match redundancy {
        Redundancy::None | Redundancy::Unspecified => 2 * width,
        Redundancy::Mirror => width,
        Redundancy::Parity | Redundancy::DoubleParity => {
            let groups = groups(redundancy, width).unwrap_or(1);
            2 * width.saturating_sub(groups * bears(redundancy))
        }
    }
}

/// How many disks carry data in one stripe, for the file system's alignment. A mirror of an odd
/// number repeats its pattern only after two rows, which hold as many chunks as there are
/// members: md's own optimal size says the same.
#[must_use]
pub fn data_disks(placement: &Placement) -> u32 {
    let width = placement.pieces.len();
    let halves = data_halves(placement.redundancy(), width);
    let disks = if halves.is_multiple_of(2) { halves / 2 } else { width };
    u32::try_from(disks).unwrap_or(u32::MAX)
}

/// Members by their place in the stripe of which no more than [`bears`] may be lost together:
/// pairs of copies, or parity groups.
#[must_use]
pub fn companions(redundancy: Redundancy, width: usize) -> Vec<Vec<usize>> {
    match redundancy {
        Redundancy::None | Redundancy::Unspecified => Vec::new(),
        Redundancy::Mirror if width.is_multiple_of(2) => {
            (0..width / 2).map(|pair| vec![2 * pair, 2 * pair + 1]).collect()
        }
        // Copies go on from the end of one row to the beginning of the next.
        Redundancy::Mirror => (0..width).map(|at| vec![at, (at + 1) % width]).collect(),
        Redundancy::Parity | Redundancy::DoubleParity => {
            let one = width / groups(redundancy, width).unwrap_or(1);
            let members = Vec::from_iter(0..width);
            members.chunks(one.max(1)).map(<[usize]>::to_vec).collect()
        }
    }
}

/// Whether a volume of `width` members works without those in the places `lost`.
#[must_use]
pub fn survives(redundancy: Redundancy, width: usize, lost: impl Fn(usize) -> bool) -> bool {
    let bears = bears(redundancy);
    if bears == 0 {
        return !(0..width).any(lost);
    }
    let groups = companions(redundancy, width);
    groups.iter().all(|group| group.iter().filter(|at| lost(**at)).count() <= bears)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rampool_proto::v1::Piece;

    const ALL: [Redundancy; 4] =
        [Redundancy::None, Redundancy::Mirror, Redundancy::Parity, Redundancy::DoubleParity];

    /// Where md's near layout puts the two copies of a chunk (raid10.c, `__raid10_find_phys`):
    /// copies follow each other through the members, row after row.
    fn near_copies(chunk: usize, width: usize) -> (usize, usize) {
        ((2 * chunk) % width, (2 * chunk + 1) % width)
    }

    #[test]
    fn widths_have_their_limits_and_the_words_say_them() {
        for (redundancy, width, word) in [
            (Redundancy::None, 0, "at least 1"),
            (Redundancy::Mirror, 1, "mirror needs at least 2"),
            (Redundancy::Parity, 2, "parity needs at least 3"),
            (Redundancy::DoubleParity, 3, "double-parity needs at least 4"),
            (Redundancy::Parity, 11, "redundancy parity; 10 or 12 do"),
            (Redundancy::DoubleParity, 13, "12 or 14 do"),
        ] {
            let said = check_width(redundancy, width).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
        assert!(check_width(Redundancy::Mirror, 135).is_ok());
    }

    #[test]
    fn wide_parity_volumes_are_few_equal_groups() {
        assert_eq!(groups(Redundancy::Parity, 10), Some(1));
        assert_eq!(groups(Redundancy::Parity, 12), Some(2));
        assert_eq!(groups(Redundancy::Parity, 21), Some(3));
        assert_eq!(groups(Redundancy::Parity, 23), None);
        assert_eq!(groups(Redundancy::Mirror, 23), Some(1));
        assert_eq!(
            (group_width(Redundancy::Parity, 40), group_width(Redundancy::Parity, 9)),
            (10, 0)
        );
        assert_eq!(data_halves(Redundancy::DoubleParity, 20), 2 * 16);
        // One of each group may be lost, two of one may not.
        assert!(survives(Redundancy::Parity, 20, |at| at == 9 || at == 10));
        assert!(!survives(Redundancy::Parity, 20, |at| at == 8 || at == 9));
    }

    #[test]
    fn a_file_system_is_aligned_to_the_data_disks() {
        let disks = |redundancy: Redundancy, width| {
            data_disks(&Placement {
                redundancy: redundancy.into(),
                pieces: vec![Piece::default(); width],
                ..Placement::default()
            })
        };
        assert_eq!(disks(Redundancy::None, 7), 7);
        assert_eq!((disks(Redundancy::Mirror, 6), disks(Redundancy::Mirror, 5)), (3, 5));
        assert_eq!((disks(Redundancy::Parity, 5), disks(Redundancy::DoubleParity, 5)), (4, 3));
    }

    proptest! {
        #[test]
        fn the_pairs_are_where_md_puts_copies(width in 2..40usize, chunk in 0..1000usize) {
            let (one, two) = near_copies(chunk, width);
            let pairs = companions(Redundancy::Mirror, width);
            prop_assert!(pairs.contains(&vec![one, two]), "{:?}", (one, two));
            let lost = |at: usize| at == one || at == two;
            prop_assert!(!survives(Redundancy::Mirror, width, lost));
        }

        #[test]
        fn any_loss_that_is_borne_is_survived_and_one_more_need_not_be(
            kind in 0..4usize, width in 4..=10usize, seed in any::<usize>()
        ) {
            let redundancy = ALL[kind];
            let lost: Vec<usize> = (0..bears(redundancy)).map(|n| (seed % width + n) % width).collect();
            prop_assert!(survives(redundancy, width, |at| lost.contains(&at)));
            prop_assert!(!survives(redundancy, width, |at| at <= bears(redundancy)));
        }

        #[test]
        fn a_survivor_survives_the_return_of_a_member(
            kind in 0..4usize, width in 1..=10usize, lost in prop::collection::vec(any::<bool>(), 10),
            back in 0..10usize
        ) {
            let redundancy = ALL[kind];
            if survives(redundancy, width, |at| lost[at]) {
                prop_assert!(survives(redundancy, width, |at| lost[at] && at != back));
            }
        }
    }
}
