//! Nodes that take no new pieces until they are resumed. What they lend already stays:
//! `evacuate` moves it.

use std::collections::BTreeMap;

use rampool_proto::v1::{Failure, FailureKind};

use super::{Pools, store_failure};

/// Longer reasons are stories; the tables that show them are narrow.
const LONGEST_REASON: usize = 200;

impl Pools {
    /// The nodes that take no new pieces, and why.
    #[must_use]
    pub fn drained(&self) -> BTreeMap<String, String> {
        Self::lock(&self.drained).clone()
    }

    /// Keeps new pieces off these nodes, for `reason`, or with `None` lets them on again.
    /// Repeating it changes at most the reason.
    pub async fn drain(&self, nodes: &[String], reason: Option<&str>) -> Result<(), Failure> {
        if let Some(reason) = reason
            && (reason.len() > LONGEST_REASON || reason.chars().any(char::is_control))
        {
            return Err(Failure::new(FailureKind::Invalid, "drain the nodes")
                .saying(format!("a reason is one line of at most {LONGEST_REASON} bytes")));
        }
        // No pool may be placed between the store and what the planner is told.
        let _alone = self.admission.lock().await;
        self.env.store.drain(nodes, reason).await.map_err(store_failure)?;
        let mut drained = Self::lock(&self.drained);
        for node in nodes {
            match reason {
                Some(reason) => drop(drained.insert(node.clone(), reason.to_owned())),
                None => drop(drained.remove(node)),
            }
        }
        Ok(())
    }
}
