//! fio with verify: each round writes every block of two small files once, one past the cache
//! and one through it, and reads all of them back.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A round is the last one when this file is there.
pub const END: &str = "/run/load.end";

/// What two rounds have in common. Each round has a seed of its own, which is part of every
/// block: a block of the round before is found by fio. It is no measurement: a few hundred
/// requests a second notice all that a fault does, and leave the cores to who mends it.
const OPTIONS: &str = "--output-format=json --verify=crc32c --verify_fatal=1 --bs=4k --size=2M \
    --rw=randwrite --rate_iops=250 --fallocate=none";

/// The two jobs: 4 KiB at depth 8 past the cache; through it, forced out every 16 blocks.
const JOBS: &str = "--name=direct --filename=$M/direct --ioengine=libaio --iodepth=8 --direct=1 \
    --name=buffered --filename=$M/buffered --ioengine=psync --fsync=16 --end_fsync=1";

/// A shell script of rounds until [`END`] is there or one fails.
#[must_use]
pub fn script(mount: &str, seed: u64) -> String {
    format!(
        "M={mount}; round=0; while :; do round=$((round + 1))\n\
         echo \"round $round\"\n\
         fio {OPTIONS} --do_verify=1 --randseed=$(({} + round)) {JOBS} || exit 1\n\
         echo \"end of round $round\"; [ ! -e {END} ] || exit 0; done",
        small(seed)
    )
}

/// A shell script that reads back what the round with this seed wrote.
#[must_use]
pub fn compare_script(mount: &str, seed: u64) -> String {
    format!(
        "M={mount}; echo 'round 0'\n\
         fio {OPTIONS} --verify_only=1 --randseed={seed} {JOBS} && echo 'end of round 0'"
    )
}

/// The shell and fio both count with it.
fn small(seed: u64) -> u64 {
    seed % 1_000_000
}

/// What fio met in all rounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rounds seen through.
    pub rounds: u64,
    /// The seed of the last of them.
    pub last_seed: Option<u64>,
    /// The longest that one request took.
    pub longest: Duration,
    /// Requests made.
    pub requests: u64,
    /// The first error number that a job met.
    pub error: Option<i64>,
}

#[derive(Deserialize)]
struct Round {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    error: i64,
    read: Side,
    write: Side,
    #[serde(default)]
    sync: Option<Sync>,
}

#[derive(Deserialize)]
struct Side {
    total_ios: u64,
    clat_ns: Latency,
}

#[derive(Deserialize)]
struct Sync {
    lat_ns: Latency,
}

#[derive(Deserialize)]
struct Latency {
    #[serde(default)]
    max: u64,
}

impl Report {
    /// Reads what the script printed. A round that was cut off with its node counts for nothing;
    /// what is no report in a whole one is an error.
    pub fn parse(text: &str, seed: u64) -> Result<Self> {
        let mut report = Self::default();
        let mut json = String::new();
        for line in text.lines() {
            if line.starts_with("round ") {
                json.clear();
            } else if let Some(number) = line.strip_prefix("end of round ") {
                let number: u64 = number.parse().context("a round has a number")?;
                report.rounds += 1;
                report.last_seed = Some(small(seed) + number);
            } else {
                json.push_str(line);
                json.push('\n');
                // The report's last line: its object ends in the first column.
                if line == "}" {
                    report.add(&json)?;
                }
            }
        }
        Ok(report)
    }

    fn add(&mut self, text: &str) -> Result<()> {
        // fio may print notes before the report.
        let json = text.find("\n{").map_or(text, |at| &text[at..]);
        let round: Round = serde_json::from_str(json)
            .with_context(|| format!("fio's report is not as expected: {text}"))?;
        for job in round.jobs {
            let sync = job.sync.map_or(0, |sync| sync.lat_ns.max);
            let longest = job.read.clat_ns.max.max(job.write.clat_ns.max).max(sync);
            self.longest = self.longest.max(Duration::from_nanos(longest));
            self.requests += job.read.total_ios + job.write.total_ios;
            if job.error != 0 {
                self.error.get_or_insert(job.error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(error: i64, longest_ns: u64) -> String {
        format!(
            "fio: a note\n{{\n\"jobs\": [{{\"error\": {error},\n\
             \"read\": {{\"total_ios\": 2, \"clat_ns\": {{\"max\": 5}}}},\n\
             \"write\": {{\"total_ios\": 3, \"clat_ns\": {{\"max\": {longest_ns}}}}},\n\
             \"sync\": {{\"total_ios\": 0, \"lat_ns\": {{\"max\": 9}}}}}}]\n}}\n"
        )
    }

    #[test]
    fn rounds_give_their_longest_stall_and_the_last_seed() {
        let text = format!(
            "round 1\n{}end of round 1\nround 2\n{}end of round 2\nround 3\n{{\n\"jobs\"",
            round(0, 700),
            round(0, 20)
        );
        let report = Report::parse(&text, 3_000_010).unwrap();
        assert_eq!((report.rounds, report.last_seed), (2, Some(12)));
        assert_eq!((report.longest, report.requests), (Duration::from_nanos(700), 10));
        assert_eq!(report.error, None);
    }

    #[test]
    fn an_error_counts_though_its_round_never_ended() {
        let report = Report::parse(&format!("round 1\n{}", round(5, 1)), 0).unwrap();
        assert_eq!((report.rounds, report.error, report.last_seed), (0, Some(5), None));
    }

    #[test]
    fn nonsense_in_a_whole_report_is_an_error() {
        assert!(Report::parse("round 1\n{\n\"jobs\": 7\n}\n", 0).is_err());
    }
}
