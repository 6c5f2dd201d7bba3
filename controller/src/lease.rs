//! How long a pool may live: when its lease ends, and what is to be said of it when. Arithmetic
//! only: the end of a lease deletes nothing, unless it was asked for.

use std::time::Duration;

use rampool_proto::v1::AtExpiry;

use crate::pool::record::PoolRecord;

/// A pool's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The generation under which the pool was formed: a later pool of the name has its own.
    pub formed: u32,
    /// From when it counts, in milliseconds since the Unix epoch; 0: the pool is not ready yet.
    pub from_ms: u64,
    /// How long; 0: until `down`.
    pub seconds: u64,
    /// How much of its end was told.
    pub told: Stage,
}

/// How near a lease's end is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not worth a word.
    #[default]
    Running,
    /// Its last tenth.
    Ending,
    /// Over.
    Ended,
}

impl Lease {
    /// The lease as the pool was asked for, from when it was ready.
    #[must_use]
    pub fn as_asked(record: &PoolRecord) -> Self {
        Self {
            formed: record.formed(),
            from_ms: record.ready_ms,
            seconds: record.spec.lease_seconds,
            told: Stage::Running,
        }
    }

    /// A new one of `seconds`, from now; 0: as long as it was.
    #[must_use]
    pub fn renewed(self, seconds: u64, now_ms: u64) -> Self {
        let seconds = if seconds == 0 { self.seconds } else { seconds };
        Self { from_ms: now_ms, seconds, told: Stage::Running, ..self }
    }

    /// When it ends, in milliseconds since the Unix epoch; 0: not before `down`, or not known
    /// before the pool is ready.
    #[must_use]
    pub fn end_ms(&self) -> u64 {
        if self.from_ms == 0 || self.seconds == 0 {
            return 0;
        }
        self.from_ms.saturating_add(self.seconds.saturating_mul(1000))
    }

    /// How near its end is.
    #[must_use]
    pub fn stage(&self, now_ms: u64) -> Stage {
        match self.end_ms() {
            0 => Stage::Running,
            end if now_ms >= end => Stage::Ended,
            end if (end - now_ms) / 100 < self.seconds => Stage::Ending,
            _ => Stage::Running,
        }
    }

    /// A sentence about it, once it is worth one.
    #[must_use]
    pub fn remark(&self, at_expiry: AtExpiry, now_ms: u64) -> Option<String> {
        let end = self.end_ms();
        let release = at_expiry == AtExpiry::Release;
        match self.stage(now_ms) {
            Stage::Running => None,
            Stage::Ending => {
                let then = if release { "the pool is then taken down" } else { "the pool is kept" };
                let left = spoken(end - now_ms);
                Some(format!("the lease ends in {left}; {then}; `rampool renew` makes it longer"))
            }
            Stage::Ended => {
                let then = if release {
                    "the pool is being taken down"
                } else {
                    "the pool is kept until `rampool down`"
                };
                Some(format!("the lease ended {} ago; {then}", spoken(now_ms - end)))
            }
        }
    }
}

fn spoken(ms: u64) -> String {
    humantime::format_duration(Duration::from_secs(ms / 1000)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lease(from_ms: u64, seconds: u64) -> Lease {
        Lease { formed: 1, from_ms, seconds, told: Stage::Running }
    }

    #[test]
    fn a_lease_begins_when_the_pool_is_ready() {
        assert_eq!(lease(0, 60).end_ms(), 0);
        assert_eq!(lease(5000, 0).end_ms(), 0);
        assert_eq!(lease(5000, 60).end_ms(), 65_000);
    }

    #[test]
    fn the_last_tenth_and_the_end_are_worth_a_word() {
        let said = |now| lease(1000, 100).remark(AtExpiry::Keep, now);
        assert_eq!(said(80_000), None);
        assert!(said(96_000).unwrap().starts_with("the lease ends in 5s; the pool is kept"));
        assert_eq!(
            said(131_000).unwrap(),
            "the lease ended 30s ago; the pool is kept until `rampool down`"
        );
        let released = lease(1000, 100).remark(AtExpiry::Release, 96_000).unwrap();
        assert!(released.contains("taken down"), "{released}");
    }

    #[test]
    fn renewing_counts_from_now_and_is_told_of_anew() {
        let told = Lease { told: Stage::Ended, ..lease(1000, 100) };
        let renewed = told.renewed(0, 500_000);
        assert_eq!((renewed.end_ms(), renewed.told), (600_000, Stage::Running));
        assert_eq!(told.renewed(7, 500_000).end_ms(), 507_000);
    }

    proptest! {
        #[test]
        fn no_time_overflows_and_stages_come_in_their_order(
            from in any::<u64>(), seconds in any::<u64>(), now in any::<u64>(), later in any::<u64>()
        ) {
            let lease = lease(from, seconds);
            let end = lease.end_ms();
            prop_assert!(end == 0 || end >= from);
            let said = lease.remark(AtExpiry::Keep, now);
            prop_assert_eq!(said.is_some(), lease.stage(now) != Stage::Running);
            prop_assert!(end == 0 || now < end || lease.stage(now) == Stage::Ended);
            prop_assert!(lease.stage(now) <= lease.stage(now.saturating_add(later)));
        }
    }
}
