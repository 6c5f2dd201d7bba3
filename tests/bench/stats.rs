//! Figures from noisy machines: medians, paired ratios, and how sure one may be of them.

/// How many times the bootstrap draws. More changes the second digit of the interval no more.
const DRAWS: usize = 10_000;

/// What a row of paired ratios says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The interval is narrow and does not lie wholly under the goal.
    Pass,
    /// The whole interval lies under the goal.
    Short,
    /// The interval is too wide to say.
    Unclear,
}

impl Verdict {
    /// As printed.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Short => "short",
            Self::Unclear => "unclear",
        }
    }
}

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    /// Its lower end.
    pub(crate) low: f64,
    /// Its upper end.
    pub(crate) high: f64,
}

/// Wider than this, an interval says too little.
const WIDEST: f64 = 0.2;

impl Interval {
    /// What it says of a goal.
    #[must_use]
    pub(crate) fn against(self, goal: f64) -> Verdict {
        if self.high < goal {
            Verdict::Short
        } else if self.high - self.low > WIDEST {
            Verdict::Unclear
        } else {
            Verdict::Pass
        }
    }
}

/// The middle value; of an even number, the mean of the two in the middle.
///
/// # Panics
/// Where there is no value.
#[must_use]
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// The percentile bootstrap's 95 % interval of the median.
#[must_use]
pub(crate) fn bootstrap(values: &[f64]) -> Interval {
    let mut random = Xorshift(0x2016_0202);
    let mut medians: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let draw: Vec<f64> =
                values.iter().map(|_| values[random.below(values.len())]).collect();
            median(&draw)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    Interval { low: medians[DRAWS / 40], high: medians[DRAWS - 1 - DRAWS / 40] }
}

/// Marsaglia's xorshift64: the draws need no quality, but must be the same for the same input.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("less than a usize is a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn an_interval_holds_its_median_and_narrows_with_agreement() {
        let spread = [0.7, 0.9, 1.0, 1.1, 1.2, 1.3, 1.6];
        let wide = bootstrap(&spread);
        assert!(wide.low <= median(&spread) && median(&spread) <= wide.high);
        assert_eq!(wide.against(1.0), Verdict::Unclear);
        let same = bootstrap(&[1.1; 7]);
        assert_eq!((same.low, same.high), (1.1, 1.1));
        assert_eq!(same.against(1.0), Verdict::Pass);
        assert_eq!(bootstrap(&[0.9, 0.8, 0.85, 0.9, 0.95, 0.7, 0.9]).against(1.0), Verdict::Short);
    }
}
