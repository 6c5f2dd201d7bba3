//! What is printed to stdout. The structs below are the documented contract of `-o json` and
//! `-o yaml` (cli/README.md): keys are added, never renamed or removed. Sizes are integers in
//! bytes and end in `_bytes`, durations in `_ms`, moments are RFC 3339 in UTC and end in `at`,
//! and what is unknown is null. Each struct also has a form for people ([`crate::render`]).

mod event;
mod failure;
mod finding;
mod health;
mod job;
mod moment;
mod node;
mod pki;
mod plan;
mod pool;
mod reap;
mod recover;
mod words;

pub use event::{EventLine, Events};
pub use failure::{Failed, FailureReport};
pub use finding::{FindingReport, Findings, Level};
pub use health::{HealthReport, MemberReport};
pub use job::{JobReport, Jobs};
pub use moment::Moment;
pub use node::{Evacuated, HoldingReport, MemoryReport, NodeReport, Nodes};
pub use pki::{CertificateReport, Certificates, MadeFiles};
pub use plan::{PieceReport, PlanReport};
pub use pool::{
    DonorReport, PoolReport, Pools, PoolsInFull, Raised, Renewed, Settled, UsageReport,
};
pub use reap::ReapReport;
pub use recover::RecoverReport;

use std::io::{ErrorKind, Write};

use rampool_proto::v1::{Failure, FailureKind};
use serde::Serialize;

use crate::args::Format;
use crate::render::look::Look;

/// Something printed: to programs by its fields, to people by its text.
pub trait Report: Serialize {
    /// The form for people; every line ends in a line break.
    fn text(&self, look: &Look) -> String;
}

/// `report` as `format` asks.
pub fn written(report: &impl Report, format: Format, look: &Look) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(FailureKind::Failed, "write the result").saying(error)
    };
    match format {
        Format::Table => Ok(report.text(look)),
        Format::Json => serde_json::to_string_pretty(report)
            .map(|text| text + "\n")
            .map_err(|error| failed(&error)),
        Format::Yaml => serde_yaml::to_string(report).map_err(|error| failed(&error)),
    }
}

/// Prints `report` to stdout.
pub fn print(report: &impl Report, format: Format) -> Result<(), Failure> {
    let text = written(report, format, &Look::of_stdout())?;
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| {
            Failure::new(FailureKind::Failed, "write the result to stdout").saying(error)
        }),
    }
}
