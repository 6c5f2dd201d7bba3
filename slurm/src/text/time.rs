//! How long a job may still run: `1-02:03:04`, `2:03`, `UNLIMITED`.

use std::time::Duration;

/// What is left of a job's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLeft {
    /// So much.
    Some(Duration),
    /// No end is set.
    Unlimited,
    /// Slurm does not say (`INVALID`, `NOT_SET`), or in words of a release unknown here.
    Unknown,
}

impl TimeLeft {
    /// Slurm's words for it.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match text {
            "UNLIMITED" => Self::Unlimited,
            other => duration(other).map_or(Self::Unknown, Self::Some),
        }
    }
}

/// `[days-]hours:minutes:seconds`, the larger ones left out where they are nothing.
fn duration(text: &str) -> Option<Duration> {
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (number(days)?, clock),
        None => (0, text),
    };
    let mut parts = clock.rsplit(':').map(number);
    let (seconds, minutes) = (parts.next()??, parts.next()??);
    let hours = match parts.next() {
        Some(hours) => hours?,
        None => 0,
    };
    if parts.next().is_some() {
        return None;
    }
    let hours = days.checked_mul(24)?.checked_add(hours)?;
    let minutes = hours.checked_mul(60)?.checked_add(minutes)?;
    Some(Duration::from_secs(minutes.checked_mul(60)?.checked_add(seconds)?))
}

/// Digits alone, no more than Slurm's own numbers have: what `parse` takes besides is none of it.
fn number(text: &str) -> Option<u64> {
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse::<u32>().ok().map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slurms_ways_to_write_a_time() {
        for (text, seconds) in [
            ("0:00", 0),
            ("2:03", 123),
            ("59:59", 3599),
            ("1:00:00", 3600),
            ("02:03:04", 7384),
            ("1-02:03:04", 93_784),
            ("365-00:00:00", 31_536_000),
        ] {
            let known = TimeLeft::Some(Duration::from_secs(seconds));
            assert_eq!(TimeLeft::read(text), known, "{text}");
        }
        assert_eq!(TimeLeft::read("UNLIMITED"), TimeLeft::Unlimited);
        for text in
            ["INVALID", "NOT_SET", "", "7", "-1:00", "1:+2", "1:2:3:4", "99999999999999-0:0"]
        {
            assert_eq!(TimeLeft::read(text), TimeLeft::Unknown, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_time_reads_back(days in 0u64..4000, hours in 0u64..24, minutes in 0u64..60, s in 0u64..60) {
            let text = format!("{days}-{hours:02}:{minutes:02}:{s:02}");
            let seconds = ((days * 24 + hours) * 60 + minutes) * 60 + s;
            prop_assert_eq!(TimeLeft::read(&text), TimeLeft::Some(Duration::from_secs(seconds)));
        }

        #[test]
        fn no_text_is_too_odd(text in ".{0,30}|[0-9:-]{0,40}") {
            let _ = TimeLeft::read(&text);
        }
    }
}
