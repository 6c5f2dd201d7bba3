//! Which nodes lend, and how much each. All pieces of a pool are equal, so the smallest donor
//! bounds them all.

use rampool_proto::size::Size as Bytes;
use rampool_proto::v1::{Failure, FailureKind};

use super::redundancy;
use super::volume::{MIB, Striping};
use super::{Candidate, Reach, racks, refused, require_usable, too_large};
use crate::spec::{Donors, Size, Wanted};

/// Where the controller picks as many donors as are useful, it stops at pieces of this size:
/// smaller ones cost a session each and bring little.
const LEAST_USEFUL_PIECE: u64 = 64 * MIB;

/// The donors in their order in the stripe, the spares, and the size of each one's piece.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) donors: Vec<Candidate>,
    pub(super) spares: Vec<Candidate>,
    pub(super) piece: u64,
}

/// What the donors are chosen for.
#[derive(Clone, Copy)]
struct Ask {
    capacity: Size,
    striping: Striping,
    spares: usize,
}

impl Ask {
    /// The piece each of `width` donors must lend.
    fn piece(self, width: usize) -> Result<u64, Failure> {
        let piece = match self.capacity {
            Size::PerDonor(bytes) => bytes.checked_next_multiple_of(MIB),
            Size::Usable(bytes) => self.striping.piece_for(bytes, width),
        };
        piece.ok_or_else(too_large)
    }

    fn check_width(self, width: usize) -> Result<(), Failure> {
        let invalid = |said| refused(FailureKind::Invalid, said);
        redundancy::check_width(self.striping.redundancy, width).map_err(|said| {
            invalid(said).advising("name as many donors as it can have, or another redundancy")
        })?;
        let widest = self.striping.widest();
        if width + self.spares <= widest {
            return Ok(());
        }
        let said = format!(
            "{} donors; a volume of this layout has at most {widest} members",
            width + self.spares
        );
        Err(invalid(said).advising("name fewer donors, or use layout md"))
    }

    /// The widths to try where the controller picks among `able`, the narrowest first.
    fn widths(self, able: usize) -> Vec<usize> {
        let redundancy = self.striping.redundancy;
        let most = able.min(self.striping.widest()).saturating_sub(self.spares);
        let possible = |width: &usize| redundancy::check_width(redundancy, *width).is_ok();
        (redundancy::least_width(redundancy)..=most).filter(possible).collect()
    }

    /// What would fit if each of `width` donors lent `least`, in the words of the request.
    fn fitting(self, least: u64, width: usize) -> Option<String> {
        let piece = least / MIB * MIB;
        let usable = self.striping.usable(piece, width).filter(|usable| *usable > 0)?;
        Some(match self.capacity {
            Size::Usable(_) => format!("{} usable", Bytes(usable)),
            Size::PerDonor(_) => format!("{} per donor", Bytes(piece)),
        })
    }
}

pub(super) fn choose(
    wanted: &Wanted,
    striping: Striping,
    nodes: &[Candidate],
) -> Result<Chosen, Failure> {
    let spares = wanted.spec.spares.unwrap_or(0) as usize;
    let ask = Ask { capacity: wanted.capacity, striping, spares };
    let chosen = match &wanted.donors {
        Donors::Listed(names) => listed(names, ask, nodes)?,
        Donors::Pick(count) => {
            let may_lend = |node: &&Candidate| {
                node.reach == Reach::Reachable
                    && node.lendable >= MIB
                    && (node.name != wanted.spec.head || wanted.spec.head_may_lend)
            };
            let mut able: Vec<Candidate> = nodes.iter().filter(may_lend).cloned().collect();
            // The sort is stable: of equals, the one named first in the configuration.
            able.sort_by_key(|node| std::cmp::Reverse(node.lendable));
            let mut chosen = pick(*count, ask, &able)?;
            // A stripe in the configuration's order is easier to read.
            let place = |name: &str| nodes.iter().position(|node| node.name == name);
            chosen.donors.sort_by_key(|donor| place(&donor.name));
            chosen
        }
    };
    let donors = racks::arrange(striping.redundancy, chosen.donors);
    Ok(Chosen { donors, ..chosen })
}

/// The donors named, the last of them as spares.
fn listed(names: &[String], ask: Ask, nodes: &[Candidate]) -> Result<Chosen, Failure> {
    ask.check_width(names.len().saturating_sub(ask.spares))?;
    let donors: Result<Vec<Candidate>, Failure> =
        names.iter().map(|name| require_usable(name, "donor", nodes).cloned()).collect();
    let mut donors = donors?;
    let width = donors.len() - ask.spares;
    let piece = ask.piece(width)?;
    let poor: Vec<String> = donors
        .iter()
        .filter(|donor| donor.lendable < piece)
        .map(|donor| format!("{} can lend {}", donor.name, Bytes(donor.lendable)))
        .collect();
    if poor.is_empty() {
        let spares = donors.split_off(width);
        return Ok(Chosen { donors, spares, piece });
    }
    let least = donors.iter().map(|donor| donor.lendable).min().unwrap_or(0);
    let said =
        format!("each of {} donors must lend {}, but {}", donors.len(), Bytes(piece), some(&poor));
    Err(refused(FailureKind::NotNow, said).advising(match ask.fitting(least, width) {
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

/// Picks from `able`, which is sorted, the most generous first.
fn pick(count: Option<usize>, ask: Ask, able: &[Candidate]) -> Result<Chosen, Failure> {
    let fits = |width: usize| -> Option<u64> {
        let piece = ask.piece(width).ok()?;
        (able.get(width + ask.spares - 1)?.lendable >= piece).then_some(piece)
    };
    let width = match count {
        Some(count) => {
            ask.check_width(count)?;
            Some(count).filter(|count| fits(*count).is_some())
        }
        None => widest_useful(ask, able, fits),
    };
    let Some((width, piece)) = width.and_then(|width| Some((width, fits(width)?))) else {
        return Err(nothing_fits(count, ask, able));
    };
    Ok(taken(ask, width, piece, able))
}

/// The widest whose pieces are useful and that bears the loss of any one rack; else the widest
/// whose pieces are useful; else (all are small, and one donor is too poor) the narrowest that
/// fits.
fn widest_useful(
    ask: Ask,
    able: &[Candidate],
    fits: impl Fn(usize) -> Option<u64>,
) -> Option<usize> {
    let redundancy = ask.striping.redundancy;
    let widths = ask.widths(able.len());
    let least = redundancy::least_width(redundancy);
    let useful: Vec<(usize, u64)> = widths
        .iter()
        .rev()
        .filter_map(|width| Some((*width, fits(*width)?)))
        .filter(|(width, piece)| *width == least || *piece >= LEAST_USEFUL_PIECE)
        .collect();
    let labelled = able.iter().any(|donor| !donor.rack.is_empty());
    let in_racks = useful.iter().find(|(width, piece)| {
        redundancy::is_redundant(redundancy)
            && labelled
            && racks::enough(redundancy, *width, generous(able, *piece))
    });
    let found = in_racks.or(useful.first()).map(|(width, _)| *width);
    found.or_else(|| widths.into_iter().find(|width| fits(*width).is_some()))
}

/// Those of `able` that can lend so much: they come first.
fn generous(able: &[Candidate], piece: u64) -> &[Candidate] {
    &able[..able.partition_point(|donor| donor.lendable >= piece)]
}

/// Members by racks, as far as there are enough; as spares the most generous of the others.
fn taken(ask: Ask, width: usize, piece: u64, able: &[Candidate]) -> Chosen {
    let able = generous(able, piece);
    let donors = racks::choose(ask.striping.redundancy, width, able)
        .unwrap_or_else(|| able[..width].to_vec());
    let others = able.iter().filter(|other| donors.iter().all(|donor| donor.name != other.name));
    let spares = others.take(ask.spares).cloned().collect();
    Chosen { donors, spares, piece }
}

fn nothing_fits(count: Option<usize>, ask: Ask, able: &[Candidate]) -> Failure {
    let all: u128 = able.iter().map(|node| u128::from(node.lendable)).sum();
    let least = redundancy::least_width(ask.striping.redundancy);
    let needed = count.unwrap_or(least) + ask.spares;
    let said = if able.len() < needed && needed > 1 {
        format!("{needed} donors are needed; {} reachable nodes can lend anything now", able.len())
    } else {
        format!(
            "what is asked for does not fit: {} reachable nodes can lend {} together",
            able.len(),
            Bytes(u64::try_from(all).unwrap_or(u64::MAX))
        )
    };
    let widths = match count {
        Some(count) => vec![count],
        None => ask.widths(able.len()),
    };
    let lent = |width: usize| able.get(width + ask.spares - 1).map(|donor| donor.lendable);
    let best = widths
        .into_iter()
        .filter_map(|width| Some((width, lent(width)?)))
        .max_by_key(|(width, lent)| ask.striping.usable(lent / MIB * MIB, *width));
    let fits = best.and_then(|(width, lent)| Some((width, ask.fitting(lent, width)?)));
    refused(FailureKind::NotNow, said).advising(match fits {
        Some((width, fits)) => format!("at most {fits} fit, on {width} donors"),
        None => "`rampool nodes` shows what each node can lend".to_owned(),
    })
}
