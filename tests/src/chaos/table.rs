//! For each cell: what is promised, or why it makes no sense. Pure.

use std::time::Duration;

use super::cell::{Cell, Fault, Moment, Phase, Pool, Victim};

/// How long a fault that ends by itself lasts.
pub const HELD: Duration = Duration::from_secs(20);

/// How long a plain pool's I/O waits for a donor that will come back: longer than [`HELD`].
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// How long it waits for one that will not: the cell has to sit it out.
const SHORT_PATIENCE: Duration = Duration::from_secs(10);

/// How long users of a redundant pool with the default patience wait for a donor at most.
const BORNE: Duration = Duration::from_secs(10);

/// How soon a pool has failed once it is known that its data is lost.
pub const KNOWN: Duration = Duration::from_secs(5);

/// What recovery may add to a stall: a login, the retry of a command, and a machine of two cores
/// under five kernels.
const RECOVERY: Duration = Duration::from_secs(15);

/// What the product promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The pool stays as it is: no I/O error, no longer stall than this, all that was
    /// acknowledged is there.
    Unharmed(Duration),
    /// The redundancy bears it: users as with `Unharmed`, and afterwards the pool is whole again
    /// by itself.
    Borne(Duration),
    /// `up` ends with the pool ready or with all of it undone, and says which, if it can; the
    /// same again succeeds.
    MadeOrUndone,
    /// The data is lost: the pool has failed within [`KNOWN`] of the knowledge, users get errors
    /// within this time and do not hang; `down` frees what can be reached, the rest goes as it
    /// answers, without a reboot of anything else.
    DataLost(Duration),
    /// All that was acknowledged is there on another head after `rampool failover`; the first one
    /// comes back and is cleaned.
    FailedOver,
    /// The head was cut off for longer than the patience: users get errors within this time, the
    /// pool has failed, and all that was acknowledged is there after `rampool failover`.
    CutOff(Duration),
    /// The mount is gone with its node. `down` says so; `down --force` frees the donors; the rest
    /// goes as the head answers.
    HeadGone,
    /// The piece is moved, or where it was; the same again, or `wait`, says which and succeeds.
    /// Users as with `Unharmed`.
    Moved(Duration),
    /// As `Moved` where the lost node had nothing of the data yet or any more, else as `DataLost`.
    MovedOrLost(Duration),
    /// `down` ends or can be repeated; nothing is left.
    TakenDown,
}

/// Whether a cell is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is, and this is to hold.
    Runs(Promise),
    /// It is not, for this reason.
    NotApplicable(&'static str),
}

/// What cannot be done, or is another cell's.
fn senseless(cell: &Cell) -> Option<&'static str> {
    use {Fault as F, Moment as M, Victim as V};
    match (cell.victim, cell.fault, cell.moment) {
        (V::Controller | V::DonorAgent | V::HeadAgent | V::Iscsid, F::Cut, _) => {
            Some("a program has no network of its own: see the links and nodes")
        }
        (V::Donor, F::Cut, _) => Some("the same as donor-link cut"),
        (V::DonorLink | V::ControllerLink, F::Paused, _) => Some("a link does not sleep: see cut"),
        (V::DonorLink | V::ControllerLink, F::Rebooted, _) => {
            Some("a link has no memory to lose: see cut")
        }
        (V::ControllerLink, F::Killed, _) => {
            Some("nothing can be asked until it is healed: see cut")
        }
        (V::Iscsid, _, M::UpCheck | M::UpExport | M::DownFree) => {
            Some("iscsid has nothing to do then")
        }
        _ => of_another_pool(cell),
    }
}

/// What is tried with the other kind of pool.
fn of_another_pool(cell: &Cell) -> Option<&'static str> {
    match (cell.pool, cell.moment) {
        (Pool::Plain, Moment::Replace) => Some("without redundancy: see evacuate, by LVM"),
        (Pool::Mirror, Moment::Evacuate) => Some("with redundancy: see replace"),
        (Pool::Mirror, _) if matches!(cell.moment.phase(), Phase::Up(_) | Phase::Down(_)) => {
            Some("made and taken down as plain pools are: see plain")
        }
        _ => None,
    }
}

/// The table.
#[must_use]
pub fn verdict(cell: &Cell) -> Verdict {
    match senseless(cell) {
        Some(reason) => Verdict::NotApplicable(reason),
        None => Verdict::Runs(promise(cell)),
    }
}

fn promise(cell: &Cell) -> Promise {
    match cell.moment.phase() {
        Phase::Up(_) => Promise::MadeOrUndone,
        Phase::Down(_) => Promise::TakenDown,
        Phase::Moving if loses_head(cell) => Promise::FailedOver,
        Phase::Moving if cell.pool == Pool::Plain && loses_donor(cell) => {
            Promise::MovedOrLost(SHORT_PATIENCE + RECOVERY)
        }
        Phase::Moving => Promise::Moved(longest_stall(cell)),
        // The other cells of a lost head are about another head. This one's data is given up.
        Phase::Idle if cell.pool == Pool::Plain && loses_head(cell) => Promise::HeadGone,
        Phase::Idle | Phase::Load => match (cell.pool, cell.victim) {
            _ if loses_head(cell) => Promise::FailedOver,
            (Pool::Plain, _) if loses_donor(cell) => Promise::DataLost(SHORT_PATIENCE + RECOVERY),
            (Pool::Mirror, Victim::Donor | Victim::DonorLink) => {
                Promise::Borne(longest_stall(cell))
            }
            // All donors at once are more than redundancy bears, and its patience is short.
            (Pool::Mirror, Victim::Head) if cell.fault == Fault::Cut => {
                Promise::CutOff(BORNE + RECOVERY)
            }
            _ => Promise::Unharmed(longest_stall(cell)),
        },
    }
}

/// How long users wait at most, where the data is not lost.
fn longest_stall(cell: &Cell) -> Duration {
    let silent = match (cell.pool, cell.victim) {
        (Pool::Mirror, Victim::Donor | Victim::DonorLink) => BORNE,
        (_, Victim::Donor | Victim::DonorLink | Victim::Head) => HELD,
        // No program of ours, nor iscsid, is needed for I/O to go on.
        _ => Duration::ZERO,
    };
    silent + RECOVERY
}

/// Whether a donor's memory is lost, or out of reach for longer than the patience.
#[must_use]
pub fn loses_donor(cell: &Cell) -> bool {
    matches!(
        (cell.victim, cell.fault),
        (Victim::Donor, Fault::Killed | Fault::Rebooted) | (Victim::DonorLink, Fault::Killed)
    )
}

/// Whether the head loses what it has mounted.
#[must_use]
pub fn loses_head(cell: &Cell) -> bool {
    matches!((cell.victim, cell.fault), (Victim::Head, Fault::Killed | Fault::Rebooted))
}

/// Whether the victim stays away until the pool was taken down without it.
#[must_use]
pub fn stays_away(cell: &Cell) -> bool {
    cell.fault == Fault::Killed
        && matches!(cell.victim, Victim::Donor | Victim::Head | Victim::DonorLink)
}

/// Whether a node's memory is empty afterwards.
#[must_use]
pub fn boots_a_node(cell: &Cell) -> bool {
    matches!(cell.victim, Victim::Donor | Victim::Head)
        && matches!(cell.fault, Fault::Killed | Fault::Rebooted)
}

/// The patience of the cell's pool, where it is not the product's default. With redundancy that
/// is less than [`HELD`], and so it stays, but for a head cut off while a piece is moved.
#[must_use]
pub fn patience(cell: &Cell) -> Option<Duration> {
    match cell.pool {
        Pool::Mirror => {
            let cut = cell.victim == Victim::Head && cell.fault == Fault::Cut;
            Some(LONG_PATIENCE).filter(|_| cut && cell.moment.phase() == Phase::Moving)
        }
        Pool::Plain if loses_donor(cell) => Some(SHORT_PATIENCE),
        Pool::Plain => Some(LONG_PATIENCE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(id: &str) -> Verdict {
        verdict(&id.parse().unwrap())
    }

    #[test]
    fn every_cell_is_decided_and_every_victim_moment_and_fault_is_tried() {
        let runs: Vec<Cell> =
            Cell::all().filter(|cell| matches!(verdict(cell), Verdict::Runs(_))).collect();
        for victim in Victim::ALL {
            assert!(runs.iter().any(|cell| cell.victim == *victim), "{victim:?} is never hit");
        }
        for fault in Fault::ALL {
            assert!(runs.iter().any(|cell| cell.fault == *fault), "nobody is {fault:?}");
        }
        for moment in Moment::ALL {
            assert!(runs.iter().any(|cell| cell.moment == *moment), "never at {moment:?}");
        }
        for pool in Pool::ALL {
            assert!(runs.iter().any(|cell| cell.pool == *pool), "no pool is {pool:?}");
        }
    }

    #[test]
    fn nothing_makes_no_sense_without_a_reason() {
        for cell in Cell::all() {
            if let Verdict::NotApplicable(reason) = verdict(&cell) {
                assert!(reason.len() > 10, "{cell}");
            }
        }
    }

    #[test]
    fn what_is_promised_is_what_the_design_says() {
        let lost = Verdict::Runs(Promise::DataLost(SHORT_PATIENCE + RECOVERY));
        let goes_on = Verdict::Runs(Promise::Unharmed(HELD + RECOVERY));
        assert_eq!(at("plain.donor.load.killed"), lost);
        assert_eq!(at("plain.donor.idle.rebooted"), lost);
        assert_eq!(at("plain.donor-link.load.killed"), lost);
        assert_eq!(at("plain.donor-link.load.cut"), goes_on);
        assert_eq!(at("plain.donor.load.paused"), goes_on);
        assert_eq!(at("plain.head.load.cut"), goes_on);
        assert_eq!(at("plain.head.idle.killed"), Verdict::Runs(Promise::HeadGone));
        assert_eq!(at("plain.head.load.killed"), Verdict::Runs(Promise::FailedOver));
        assert_eq!(at("mirror.head.idle.rebooted"), Verdict::Runs(Promise::FailedOver));
        assert_eq!(at("plain.controller.load.killed"), Verdict::Runs(Promise::Unharmed(RECOVERY)));
        assert_eq!(at("plain.controller.up-export.killed"), Verdict::Runs(Promise::MadeOrUndone));
        assert_eq!(at("plain.donor.down-free.killed"), Verdict::Runs(Promise::TakenDown));
        assert!(matches!(at("plain.iscsid.load.cut"), Verdict::NotApplicable(_)));
        let cut_off = Verdict::Runs(Promise::CutOff(BORNE + RECOVERY));
        assert_eq!(at("mirror.head.load.cut"), cut_off);
        for fault in ["killed", "paused", "rebooted"] {
            let borne = Verdict::Runs(Promise::Borne(BORNE + RECOVERY));
            assert_eq!(at(&format!("mirror.donor.load.{fault}")), borne);
            let moved = Verdict::Runs(Promise::Moved(BORNE + RECOVERY));
            assert_eq!(at(&format!("mirror.donor.replace.{fault}")), moved);
        }
        let moved_or_lost = Verdict::Runs(Promise::MovedOrLost(SHORT_PATIENCE + RECOVERY));
        assert_eq!(at("plain.donor.evacuate.killed"), moved_or_lost);
        assert_eq!(at("plain.iscsid.evacuate.killed"), Verdict::Runs(Promise::Moved(RECOVERY)));
    }

    #[test]
    fn a_plain_pool_outwaits_every_fault_that_ends_by_itself() {
        let ends = |cell: &Cell| matches!(cell.fault, Fault::Paused | Fault::Cut);
        for cell in Cell::all().filter(|cell| cell.pool == Pool::Plain && ends(cell)) {
            assert!(patience(&cell) > Some(HELD + RECOVERY), "{cell}");
        }
    }
}
