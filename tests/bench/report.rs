//! Rounds of figures as a table and as JSON.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::contender::Contender;
use crate::round::Rates;
use crate::stats::{Verdict, bootstrap, median};

/// A row is short where its whole interval lies under this: rampool slower than the other.
const GOAL: f64 = 1.0;

/// All rows.
#[derive(Serialize)]
pub(crate) struct Report {
    /// The machine's load averages when the report was made.
    load: String,
    rounds: usize,
    rows: Vec<Row>,
}

/// rampool beside one other, in one kind of work.
#[derive(Serialize)]
struct Row {
    work: String,
    against: &'static str,
    /// Medians, a second.
    rampool: f64,
    other: f64,
    /// The median of the rounds' ratios, rampool to the other, and its 95 % interval.
    ratio: f64,
    low: f64,
    high: f64,
    verdict: &'static str,
}

impl Report {
    /// From rates by round, then by contender, the first of whom is rampool with its defaults.
    pub(crate) fn new(contenders: &[Contender], titles: &[String], rounds: &[Vec<Rates>]) -> Self {
        let mut rows = Vec::new();
        for (which, other) in contenders.iter().enumerate().skip(1) {
            for (at, title) in titles.iter().enumerate() {
                let of = |contender: usize| -> Vec<f64> {
                    rounds.iter().map(|round| round[contender][at]).collect()
                };
                rows.push(Row::new(title, other.name(), &of(0), &of(which)));
            }
        }
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self { load: load.trim().to_owned(), rounds: rounds.len(), rows }
    }

    /// Whether rampool surely lost a row to the pool by hand. Against its own other settings it
    /// may: those rows are there to choose defaults by.
    pub(crate) fn any_short(&self) -> bool {
        let judged = self.rows.iter().filter(|row| row.against == Contender::ByHand.name());
        judged.into_iter().any(|row| row.verdict == Verdict::Short.word())
    }

    /// The report, for programs.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }
}

impl Row {
    fn new(work: &str, against: &'static str, rampool: &[f64], other: &[f64]) -> Self {
        let ratios: Vec<f64> =
            rampool.iter().zip(other).map(|(ours, theirs)| ours / theirs).collect();
        let interval = bootstrap(&ratios);
        Self {
            work: work.to_owned(),
            against,
            rampool: median(rampool),
            other: median(other),
            ratio: median(&ratios),
            low: interval.low,
            high: interval.high,
            verdict: interval.against(GOAL).word(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "medians of {} rounds; ratios are rampool's to the other's, paired by round, with \
             their 95 % interval (load {})\n",
            self.rounds, self.load
        )?;
        writeln!(
            f,
            "| {:<28} | {:<8} | {:>10} | {:>10} | {:>5} | {:<13} | verdict |",
            "a second", "against", "rampool", "other", "ratio", "interval"
        )?;
        writeln!(f, "| --- | --- | ---: | ---: | ---: | --- | --- |")?;
        for row in &self.rows {
            writeln!(
                f,
                "| {:<28} | {:<8} | {:>10.2} | {:>10.2} | {:>5.2} | {:>5.2} to {:>4.2} | {:<7} |",
                row.work,
                row.against,
                row.rampool,
                row.other,
                row.ratio,
                row.low,
                row.high,
                row.verdict
            )?;
        }
        Ok(())
    }
}
