//! fio, as the demo and the benchmark run it.

use anyhow::Context;
use serde::Deserialize;

/// One fio workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// fio's `rw`: `randread` or `randwrite`.
    pub pattern: &'static str,
    /// Requests in flight.
    pub depth: u32,
    /// Requests submitted and reaped at a time.
    pub batch: u32,
}

/// The rows that design.md's figures are compared with: 4 KiB random access, one request at a
/// time and 128 in batches of 16.
pub const WORKLOADS: [Workload; 4] = [
    Workload { pattern: "randread", depth: 1, batch: 1 },
    Workload { pattern: "randwrite", depth: 1, batch: 1 },
    Workload { pattern: "randread", depth: 128, batch: 16 },
    Workload { pattern: "randwrite", depth: 128, batch: 16 },
];

impl Workload {
    /// e.g. `4k random read, depth 128`.
    #[must_use]
    pub fn title(&self) -> String {
        let verb = if self.pattern == "randread" { "read" } else { "write" };
        format!("4k random {verb}, depth {}", self.depth)
    }

    /// fio's arguments to run this for `seconds` on `file` of `size` bytes.
    #[must_use]
    pub fn arguments(&self, file: &str, size: u64, seconds: f64) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["fio", "--name=rampool", "--ioengine=libaio", "--direct=1", "--bs=4k", "--time_based"]
                .map(String::from)
                .into();
        arguments.extend([
            "--output-format=json".to_owned(),
            format!("--filename={file}"),
            format!("--size={size}"),
            format!("--rw={}", self.pattern),
            format!("--runtime={}ms", (seconds * 1000.0).round()),
            format!("--iodepth={}", self.depth),
            format!("--iodepth_batch_submit={}", self.batch),
            format!("--iodepth_batch_complete_min={}", self.batch.min(self.depth)),
            format!("--iodepth_batch_complete_max={}", self.batch),
            // The same blocks in every round: rounds differ by what is measured alone.
            "--randseed=2016".to_owned(),
            "--fallocate=none".to_owned(),
        ]);
        arguments
    }
}

#[derive(Deserialize)]
struct Report {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    error: i64,
    read: Side,
    write: Side,
}

#[derive(Deserialize)]
struct Side {
    iops: f64,
    total_ios: u64,
}

/// Requests a second, from fio's JSON report.
pub fn iops(report: &str) -> anyhow::Result<f64> {
    // fio may print a note before the report.
    let json = report.find('{').map_or(report, |at| &report[at..]);
    let report: Report = serde_json::from_str(json).context("fio's report is not as expected")?;
    let job = report.jobs.first().context("fio reports no job")?;
    anyhow::ensure!(job.error == 0, "fio met error {}", job.error);
    anyhow::ensure!(job.read.total_ios + job.write.total_ios > 0, "fio made no request");
    Ok(job.read.iops + job.write.iops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_gives_its_rate_and_an_error_in_it_is_not_passed_over() {
        let report = |error, ios| {
            format!(
                r#"note
                {{"jobs":[{{"error":{error},"read":{{"iops":12.5,"total_ios":{ios}}},
                "write":{{"iops":0.0,"total_ios":0}}}}]}}"#
            )
        };
        assert!((iops(&report(0, 25)).unwrap() - 12.5).abs() < f64::EPSILON);
        assert!(iops(&report(5, 25)).is_err());
        assert!(iops(&report(0, 0)).is_err());
        assert!(iops("fio: not found").is_err());
    }
}
