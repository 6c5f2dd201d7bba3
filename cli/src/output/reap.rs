//! What `reap` found, or removed.

use rampool_proto::v1::ReapResponse;
use serde::Serialize;

use super::node::HoldingReport;

/// What a node holds, or held, of pools that nobody knows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct ReapReport {
    pub node: String,
    pub applied: bool,
    pub holdings: Vec<HoldingReport>,
}

impl ReapReport {
    /// The answer for `node`; `applied`: it was removed.
    #[must_use]
    pub fn new(node: String, applied: bool, answer: ReapResponse) -> Self {
        Self { node, applied, holdings: answer.holdings.into_iter().map(Into::into).collect() }
    }
}
