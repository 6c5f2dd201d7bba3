//! How long I/O to a silent donor is held. Pure.

use rampool_proto::v1::FailureKind;

use crate::outcome::{Outcome, failure};

/// One probe's interval, and the wait for its answer, are never longer than this: open-iscsi's
/// default.
const LONGEST_PROBE: u32 = 5;

/// Less cannot be split into probing, waiting for the answer, and holding.
const LEAST: u32 = 3;

/// A day. Longer than that nobody waits for memory to come back.
const MOST: u32 = 86_400;

/// The seconds of patience, as open-iscsi wants them told: a donor falls silent, is probed,
/// does not answer, and only then the time of holding begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// Between two probes of an idle connection.
    pub(super) probe_interval: u32,
    /// Until an unanswered probe ends the connection.
    pub(super) probe_timeout: u32,
    /// From then until held I/O fails.
    pub(super) replacement: u32,
}

impl Patience {
    /// Splits `seconds`: the three parts add up to them.
    pub(super) fn split(seconds: u32) -> Outcome<Self> {
        if !(LEAST..=MOST).contains(&seconds) {
            let said = format!("a patience of {seconds} s: from {LEAST} to {MOST} are possible");
            return Err(failure(FailureKind::Invalid, said).into());
        }
        let probe = (seconds / 4).clamp(1, LONGEST_PROBE);
        Ok(Self { probe_interval: probe, probe_timeout: probe, replacement: seconds - 2 * probe })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_parts_add_up_and_none_is_nothing(seconds in LEAST..=MOST) {
            let patience = Patience::split(seconds).unwrap();
            let Patience { probe_interval, probe_timeout, replacement } = patience;
            prop_assert_eq!(probe_interval + probe_timeout + replacement, seconds);
            prop_assert!(probe_interval >= 1 && probe_timeout >= 1 && replacement >= 1);
        }
    }

    #[test]
    fn usual_patience_probes_as_open_iscsi_does() {
        let patience = Patience::split(25).unwrap();
        assert_eq!((patience.probe_interval, patience.probe_timeout), (5, 5));
        assert_eq!(patience.replacement, 15);
        assert!(Patience::split(0).is_err() && Patience::split(u32::MAX).is_err());
    }
}
