//! A failure. With `-o json` and `-o yaml` it is also printed to stdout, in place of the result.

use rampool_proto::v1::{Failure, FailureKind};
use serde::Serialize;

use super::pool::known;
use super::words::word;

/// What is printed instead of a result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failed {
    /// Why.
    pub error: FailureReport,
}

/// Why something did not work.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct FailureReport {
    pub kind: String,
    pub node: Option<String>,
    pub step: String,
    pub program: Option<String>,
    pub said: Option<String>,
    pub advice: Option<String>,
}

impl From<Failure> for FailureReport {
    fn from(failure: Failure) -> Self {
        Self {
            kind: word::<FailureKind>(failure.kind),
            node: known(failure.node),
            step: failure.step,
            program: known(failure.program),
            said: known(failure.said),
            advice: known(failure.advice),
        }
    }
}
