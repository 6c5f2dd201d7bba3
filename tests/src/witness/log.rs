//! The lines that the witness tells, and what follows from them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// One line. What begins is told before it is done: when the node dies in between, nobody may
/// expect either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The file is about to be made.
    Keeping(u64),
    /// It and its folder were forced to the pool.
    Kept {
        /// Which.
        number: u64,
        /// The checksum of its contents.
        sum: u64,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// The file will be removed.
    Dropping(u64),
    /// It is gone, and its folder was forced to the pool.
    Dropped {
        /// Which.
        number: u64,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keeping(number) => write!(f, "keeping {number}"),
            Self::Kept { number, sum, took_ms } => write!(f, "kept {number} {sum} {took_ms}"),
            Self::Dropping(number) => write!(f, "dropping {number}"),
            Self::Dropped { number, took_ms } => write!(f, "dropped {number} {took_ms}"),
        }
    }
}

impl FromStr for Line {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split(' ');
        let verb = words.next().unwrap_or_default();
        let numbers = words.map(str::parse).collect::<Result<Vec<u64>, _>>();
        let numbers = numbers.with_context(|| format!("the witness said {text:?}"))?;
        Ok(match (verb, &numbers[..]) {
            ("keeping", [number]) => Self::Keeping(*number),
            ("kept", [number, sum, took]) => {
                Self::Kept { number: *number, sum: *sum, took_ms: *took }
            }
            ("dropping", [number]) => Self::Dropping(*number),
            ("dropped", [number, took]) => Self::Dropped { number: *number, took_ms: *took },
            _ => bail!("the witness said {text:?}, which is no line of its log"),
        })
    }
}

/// What the pool must show of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The file is there with this checksum.
    There(u64),
    /// It is not there.
    Gone,
    /// Nobody was told: both are right.
    Open,
}

/// All that was told.
#[derive(Clone, Debug, Default)]
pub struct Log {
    fates: BTreeMap<u64, Fate>,
    lines: Vec<Line>,
}

impl Log {
    /// Takes one line more.
    pub fn take(&mut self, line: Line) {
        let (number, fate) = match line {
            Line::Keeping(number) | Line::Dropping(number) => (number, Fate::Open),
            Line::Kept { number, sum, .. } => (number, Fate::There(sum)),
            Line::Dropped { number, .. } => (number, Fate::Gone),
        };
        self.fates.insert(number, fate);
        self.lines.push(line);
    }

    /// Reads a log. A last line without its end was cut off, and told nobody anything.
    pub fn parse(text: &str) -> Result<Self> {
        let mut log = Self::default();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            log.take(line.parse()?);
        }
        Ok(log)
    }

    /// What the pool must show, by number.
    #[must_use]
    pub fn fates(&self) -> &BTreeMap<u64, Fate> {
        &self.fates
    }

    /// How many acknowledgements there were.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        let told = |line: &&Line| matches!(line, Line::Kept { .. } | Line::Dropped { .. });
        self.lines.iter().filter(told).count()
    }

    /// The first number that was never used.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.fates.last_key_value().map_or(0, |(number, _)| number + 1)
    }

    /// The longest time that one acknowledgement took.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let took = |line: &Line| match line {
            Line::Kept { took_ms, .. } | Line::Dropped { took_ms, .. } => *took_ms,
            Line::Keeping(_) | Line::Dropping(_) => 0,
        };
        Duration::from_millis(self.lines.iter().map(took).max().unwrap_or(0))
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "keeping 1\nkept 1 77 5\nkeeping 2\nkept 2 78 900\ndropping 1\n\
                        dropped 1 6\ndropping 2\nkeeping 3\nkept 3 7";

    #[test]
    fn what_was_acknowledged_is_expected_and_what_was_begun_is_open() {
        let log = Log::parse(TOLD).unwrap();
        let fates: Vec<_> = log.fates().iter().map(|(n, fate)| (*n, *fate)).collect();
        // The last line was cut off: 3 was never acknowledged.
        assert_eq!(fates, [(1, Fate::Gone), (2, Fate::Open), (3, Fate::Open)]);
        assert_eq!((log.acknowledged(), log.next_number()), (3, 4));
        assert_eq!(log.longest(), Duration::from_millis(900));
    }

    #[test]
    fn a_log_is_read_as_it_was_written() {
        let log = Log::parse(TOLD).unwrap();
        assert_eq!(Log::parse(&log.to_string()).unwrap().fates(), log.fates());
        assert!(Log::parse("kept 1\n").is_err());
        assert!(Log::parse("slept 1 2 3\n").is_err());
        assert!(Log::parse("kept one 2 3\n").is_err());
    }
}
