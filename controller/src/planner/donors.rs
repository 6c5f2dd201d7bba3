//! Which nodes lend, and how much each. All pieces of a pool are equal, so the smallest donor
//! bounds them all.

use rampool_proto::size::Size as Bytes;
use rampool_proto::v1::{Failure, FailureKind};

use super::volume::{MIB, Striping};
use super::{Candidate, Reach, refused, require_reachable, too_large};
use crate::spec::{Donors, Size, Wanted};

/// Where the controller picks as many donors as are useful, it stops at pieces of this size:
/// smaller ones cost a session each and bring little.
const LEAST_USEFUL_PIECE: u64 = 64 * MIB;

/// The donors in their order in the stripe, and the size of each one's piece.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) donors: Vec<Candidate>,
    pub(super) piece: u64,
}

pub(super) fn choose(
    wanted: &Wanted,
    striping: Striping,
    nodes: &[Candidate],
) -> Result<Chosen, Failure> {
    match &wanted.donors {
        Donors::Listed(names) => listed(names, wanted.capacity, striping, nodes),
        Donors::Pick(count) => {
            let may_lend = |node: &&Candidate| {
                node.reach == Reach::Reachable
                    && node.lendable >= MIB
                    && (node.name != wanted.spec.head || wanted.spec.head_may_lend)
            };
            let mut able: Vec<Candidate> = nodes.iter().filter(may_lend).cloned().collect();
            // The sort is stable: of equals, the one named first in the configuration.
            able.sort_by_key(|node| std::cmp::Reverse(node.lendable));
            let mut chosen = pick(*count, wanted.capacity, striping, able)?;
            // A stripe in the configuration's order is easier to read.
            let place = |name: &str| nodes.iter().position(|node| node.name == name);
            chosen.donors.sort_by_key(|donor| place(&donor.name));
            Ok(chosen)
        }
    }
}

/// The piece each of `width` donors must lend.
fn piece_of(capacity: Size, striping: Striping, width: usize) -> Result<u64, Failure> {
    let piece = match capacity {
        Size::PerDonor(bytes) => bytes.checked_next_multiple_of(MIB),
        Size::Usable(bytes) => striping.piece_for(bytes, width),
    };
    piece.ok_or_else(too_large)
}

fn listed(
    names: &[String],
    capacity: Size,
    striping: Striping,
    nodes: &[Candidate],
) -> Result<Chosen, Failure> {
    check_width(names.len(), striping)?;
    let donors: Result<Vec<Candidate>, Failure> =
        names.iter().map(|name| require_reachable(name, "donor", nodes).cloned()).collect();
    let donors = donors?;
    let piece = piece_of(capacity, striping, donors.len())?;
    let poor: Vec<String> = donors
        .iter()
        .filter(|donor| donor.lendable < piece)
        .map(|donor| format!("{} can lend {}", donor.name, Bytes(donor.lendable)))
        .collect();
    if poor.is_empty() {
        return Ok(Chosen { donors, piece });
    }
    let least = donors.iter().map(|donor| donor.lendable).min().unwrap_or(0);
    let fits = fitting(capacity, striping, least, donors.len());
    let said =
        format!("each of {} donors must lend {}, but {}", donors.len(), Bytes(piece), some(&poor));
    Err(refused(FailureKind::NotNow, said).advising(match fits {
        Some(fits) => format!("with these donors at most {fits} fit"),
        None => "these donors can lend nothing now".to_owned(),
    }))
}

/// The first few of many, so that an error about a thousand nodes stays one line.
fn some(words: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = words.len().saturating_sub(SHOWN);
    let shown = words[..words.len().min(SHOWN)].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more lend too little") }
}

/// What would fit if each of `width` donors lent `least`, in the words of the request.
fn fitting(capacity: Size, striping: Striping, least: u64, width: usize) -> Option<String> {
    let piece = least / MIB * MIB;
    let usable = striping.usable(piece, width).filter(|usable| *usable > 0)?;
    Some(match capacity {
        Size::Usable(_) => format!("{} usable", Bytes(usable)),
        Size::PerDonor(_) => format!("{} per donor", Bytes(piece)),
    })
}

fn check_width(width: usize, striping: Striping) -> Result<(), Failure> {
    if width <= striping.widest() {
        return Ok(());
    }
    let said = format!(
        "{width} donors; a volume of this layout has at most {} members",
        striping.widest()
    );
    Err(refused(FailureKind::Invalid, said).advising("name fewer donors, or use layout md"))
}

/// Picks from `able`, which is sorted, the most generous first.
fn pick(
    count: Option<usize>,
    capacity: Size,
    striping: Striping,
    mut able: Vec<Candidate>,
) -> Result<Chosen, Failure> {
    let fits = |width: usize| -> Option<u64> {
        let piece = piece_of(capacity, striping, width).ok()?;
        (width <= able.len() && able[width - 1].lendable >= piece).then_some(piece)
    };
    let width = match count {
        Some(count) => {
            check_width(count, striping)?;
            Some(count).filter(|count| fits(*count).is_some())
        }
        None => {
            let most = able.len().min(striping.widest());
            let useful = |width: &usize| {
                *width == 1 || fits(*width).is_some_and(|piece| piece >= LEAST_USEFUL_PIECE)
            };
            // The widest whose pieces are useful; else (all are small, and one donor is too
            // poor) the narrowest that fits.
            (1..=most)
                .rev()
                .filter(useful)
                .find(|width| fits(*width).is_some())
                .or_else(|| (1..=most).find(|width| fits(*width).is_some()))
        }
    };
    let Some((width, piece)) = width.and_then(|width| Some((width, fits(width)?))) else {
        return Err(nothing_fits(count, capacity, striping, &able));
    };
    able.truncate(width);
    Ok(Chosen { donors: able, piece })
}

fn nothing_fits(
    count: Option<usize>,
    capacity: Size,
    striping: Striping,
    able: &[Candidate],
) -> Failure {
    let all = u128_sum(able);
    let said = match count {
        Some(count) if able.len() < count => format!(
            "{count} donors are asked for; {} reachable nodes can lend anything now",
            able.len()
        ),
        _ => format!(
            "what is asked for does not fit: {} reachable nodes can lend {} together",
            able.len(),
            Bytes(u64::try_from(all).unwrap_or(u64::MAX))
        ),
    };
    let widths = match count {
        Some(count) => count..=count,
        None => 1..=able.len().min(striping.widest()),
    };
    let best = widths
        .filter(|width| *width <= able.len())
        .max_by_key(|width| striping.usable(able[width - 1].lendable / MIB * MIB, *width));
    let fits = best.and_then(|width| {
        Some((width, fitting(capacity, striping, able[width - 1].lendable, width)?))
    });
    refused(FailureKind::NotNow, said).advising(match fits {
        Some((width, fits)) => format!("at most {fits} fit, on {width} donors"),
        None => "`rampool nodes` shows what each node can lend".to_owned(),
    })
}

fn u128_sum(able: &[Candidate]) -> u128 {
    able.iter().map(|node| u128::from(node.lendable)).sum()
}
