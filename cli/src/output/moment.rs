//! A moment, printed as RFC 3339 in UTC.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// The last moment with a four-digit year, 9999-12-31T23:59:59.999Z: RFC 3339 ends there.
const LAST_MS: u64 = 253_402_300_799_999;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The moment a message carries; 0 there means none.
    #[must_use]
    pub fn known(ms: u64) -> Option<Self> {
        (ms != 0).then_some(Self(ms.min(LAST_MS)))
    }

    /// How long ago it was at `now`; nothing if it is yet to come.
    #[must_use]
    pub fn age(self, now: SystemTime) -> Duration {
        now.duration_since(self.time()).unwrap_or_default()
    }

    /// How far off it is at `now`; nothing if it has passed.
    #[must_use]
    pub fn left(self, now: SystemTime) -> Duration {
        self.time().duration_since(now).unwrap_or_default()
    }

    /// Milliseconds from `earlier` to this.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }

    /// To the second, for people.
    #[must_use]
    pub fn short(self) -> String {
        humantime::format_rfc3339_seconds(self.time()).to_string()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_rfc3339_millis(self.time()))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_rfc_3339_and_nought_is_none() {
        assert_eq!(Moment::known(0), None);
        assert_eq!(Moment(1_795_000_000_123).to_string(), "2026-11-18T11:06:40.123Z");
        assert_eq!(Moment(1_795_000_000_123).short(), "2026-11-18T11:06:40Z");
    }

    proptest! {
        #[test]
        fn no_number_makes_it_panic(ms in any::<u64>()) {
            if let Some(moment) = Moment::known(ms) {
                prop_assert!(moment.to_string().ends_with('Z'));
                let _ = (moment.age(UNIX_EPOCH), moment.left(UNIX_EPOCH), moment.short());
            }
        }
    }
}
