//! What `recover` found, or took over.

use rampool_proto::v1::RecoverResponse;
use serde::Serialize;

use super::pool::{PoolReport, Pools};

/// Pools that nodes hold, and what of it cannot be taken over.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct RecoverReport {
    pub applied: bool,
    pub pools: Vec<PoolReport>,
    pub refused: Vec<String>,
}

impl RecoverReport {
    /// The answer; `applied`: the pools were taken over.
    #[must_use]
    pub fn new(applied: bool, answer: RecoverResponse) -> Self {
        let Pools { pools } = answer.pools.into();
        Self { applied, pools, refused: answer.refused }
    }
}
