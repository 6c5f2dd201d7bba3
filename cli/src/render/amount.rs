//! Percentages, bars and durations.

use std::time::Duration;

/// `part` of `whole` in percent, rounded up: 1 byte used is not "0 %".
pub(super) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".into(),
        whole => format!("{} %", (u128::from(part) * 100).div_ceil(u128::from(whole))),
    }
}

/// How many characters a bar has.
const BAR: u64 = 20;

/// `[=======>            ] 37 %`, rounded down: only what is whole is full.
pub(super) fn bar(done: u64, total: u64) -> String {
    let of = |parts: u64| match total {
        0 => 0,
        total => u128::from(done.min(total)) * u128::from(parts) / u128::from(total),
    };
    let full = usize::try_from(of(BAR)).unwrap_or_default();
    let width = usize::try_from(BAR).unwrap_or_default();
    let tip = if full < width { ">" } else { "" };
    format!("[{:<width$}] {} %", "=".repeat(full) + tip, of(100))
}

/// The two greatest units: `3d 4h`, `12m 7s`.
pub(crate) fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m {s}s"),
        (0, h, m, _) => format!("{h}h {m}m"),
        (d, h, _, _) => format!("{d}d {h}h"),
    }
}

/// A step's duration: `0.42s`, empty where it is not known.
pub(super) fn took(ms: u64) -> String {
    match ms {
        0 => String::new(),
        ms => format!("{}.{:02}s", ms / 1000, ms % 1000 / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!(percent(1, 1000), "1 %");
        assert_eq!(percent(u64::MAX, u64::MAX), "100 %");
        assert_eq!((percent(0, 7), percent(0, 0)), ("0 %".into(), "-".into()));
        assert_eq!(bar(0, 7), "[>                   ] 0 %");
        assert_eq!(bar(3, 8), "[=======>            ] 37 %");
        assert_eq!(bar(u64::MAX, u64::MAX), "[====================] 100 %");
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (727, "12m 7s"), (3_600, "1h 0m"), (273_600, "3d 4h")]
        {
            assert_eq!(rough(Duration::from_secs(seconds)), text);
        }
        assert_eq!(
            (took(0), took(425), took(61_000)),
            ("".into(), "0.42s".into(), "61.00s".into())
        );
    }
}
