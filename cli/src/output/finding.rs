//! What `doctor` found.

use rampool_proto::v1::{DoctorResponse, Finding, Severity};
use serde::Serialize;

use super::pool::known;

/// Findings, the worst first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Findings {
    /// The findings.
    pub findings: Vec<FindingReport>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct FindingReport {
    pub severity: Level,
    pub node: Option<String>,
    pub text: String,
    pub fix: Option<String>,
}

/// How bad it is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Pools cannot use the node, or jobs the cluster, as it is.
    Error,
    /// It works, but not as it should.
    Warning,
    /// As it should be.
    Ok,
}

impl Findings {
    /// How many are of `level`.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.severity == level).count()
    }
}

impl From<DoctorResponse> for Findings {
    fn from(answer: DoctorResponse) -> Self {
        let mut findings: Vec<FindingReport> =
            answer.findings.into_iter().map(Into::into).collect();
        // Stable: within a level the controller's order of nodes stays.
        findings.sort_by_key(|finding| finding.severity);
        Self { findings }
    }
}

impl From<Finding> for FindingReport {
    fn from(finding: Finding) -> Self {
        let severity = match finding.severity() {
            Severity::Ok => Level::Ok,
            Severity::Warning => Level::Warning,
            // A level this program does not know is no reason to call a node sound.
            Severity::Error | Severity::Unspecified => Level::Error,
        };
        Self { severity, node: known(finding.node), text: finding.text, fix: known(finding.fix) }
    }
}
