//! For each cell: what is promised, or why it makes no sense. Pure.

use std::time::Duration;

use super::cell::{Cell, Fault, Moment, Phase, Pool, Victim};

/// How long a fault that ends by itself lasts.
pub const HELD: Duration = Duration::from_secs(20);

/// How long the pool's I/O waits for a donor that will come back: longer than [`HELD`].
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// How long it waits for one that will not: the cell has to sit it out.
const SHORT_PATIENCE: Duration = Duration::from_secs(10);

/// What recovery may add to a stall: a login, the retry of a command, and a machine of two cores
/// under five kernels.
const RECOVERY: Duration = Duration::from_secs(15);

/// What the product promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The pool stays as it is: no I/O error, no longer stall than this, all that was
    /// acknowledged is there.
    Unharmed(Duration),
    /// `up` ends with the pool ready or with all of it undone, and says which, if it can; the
    /// same again succeeds.
    MadeOrUndone,
    /// The data is lost: users get errors within this time and do not hang; `down` frees what can
    /// be reached, the rest goes as it answers, without a reboot of anything else.
    DataLost(Duration),
    /// The mount is gone with its node. `down` says so; `down --force` frees the donors; the rest
    /// goes as the head answers.
    HeadGone,
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

/// What the product does not have yet: these rows are switched on by removing the word here.
fn not_there_yet(cell: &Cell) -> Option<&'static str> {
    match cell {
        Cell { pool: Pool::Mirror, .. } => Some("not there yet: redundancy"),
        Cell { moment: Moment::Replace, .. } => Some("not there yet: replace"),
        Cell { moment: Moment::Evacuate, .. } => Some("not there yet: evacuate"),
        _ => None,
    }
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
        _ => None,
    }
}

/// The table.
#[must_use]
pub fn verdict(cell: &Cell) -> Verdict {
    match senseless(cell).or_else(|| not_there_yet(cell)) {
        Some(reason) => Verdict::NotApplicable(reason),
        None => Verdict::Runs(promise(cell)),
    }
}

fn promise(cell: &Cell) -> Promise {
    match cell.moment.phase() {
        Phase::Up(_) => Promise::MadeOrUndone,
        Phase::Down(_) => Promise::TakenDown,
        Phase::Idle | Phase::Load | Phase::Moving => match (cell.victim, cell.fault) {
            _ if loses_head(cell) => Promise::HeadGone,
            _ if loses_donor(cell) => Promise::DataLost(SHORT_PATIENCE + RECOVERY),
            (Victim::Donor | Victim::Head | Victim::DonorLink, _) => {
                Promise::Unharmed(HELD + RECOVERY)
            }
            // No program of ours, nor iscsid, is needed for I/O to go on.
            _ => Promise::Unharmed(RECOVERY),
        },
    }
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

/// The patience of the cell's pool.
#[must_use]
pub fn patience(cell: &Cell) -> Duration {
    if loses_donor(cell) { SHORT_PATIENCE } else { LONG_PATIENCE }
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
            let tried = runs.iter().any(|cell| cell.moment == *moment);
            let later = Cell::all()
                .filter(|cell| cell.moment == *moment && cell.pool == Pool::Plain)
                .filter(|cell| senseless(cell).is_none())
                .all(|cell| not_there_yet(&cell).is_some());
            assert!(tried != later, "{moment:?}");
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
        assert_eq!(at("plain.head.load.killed"), Verdict::Runs(Promise::HeadGone));
        assert_eq!(at("plain.controller.load.killed"), Verdict::Runs(Promise::Unharmed(RECOVERY)));
        assert_eq!(at("plain.controller.up-export.killed"), Verdict::Runs(Promise::MadeOrUndone));
        assert_eq!(at("plain.donor.down-free.killed"), Verdict::Runs(Promise::TakenDown));
        assert!(matches!(at("plain.iscsid.load.cut"), Verdict::NotApplicable(_)));
    }

    #[test]
    fn a_pool_outwaits_every_fault_that_ends_by_itself() {
        for cell in Cell::all().filter(|cell| matches!(cell.fault, Fault::Paused | Fault::Cut)) {
            assert!(patience(&cell) > HELD + RECOVERY, "{cell}");
        }
    }
}
