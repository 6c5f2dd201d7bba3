//! Pools that the store does not know, taken over from what nodes hold; and what nodes hold of
//! them, removed. Both only where a person says so.

use std::sync::Arc;

use rampool_proto::v1::{Failure, Holding, Pool};

use super::{Pools, store_failure};
use crate::clock::now_ms;
use crate::lease::Lease;
use crate::nodes::Known;
use crate::recover::{self, Survey};
use crate::{pool, reap};

impl Pools {
    /// The pools among `wanted` (all, if none is named) that can be taken over, and what cannot
    /// be and why; recorded if `apply`.
    pub async fn recover(
        &self,
        wanted: &[String],
        apply: bool,
    ) -> Result<(Vec<Pool>, Vec<String>), Failure> {
        // No pool of the same name may be placed between the look and the record.
        let _alone = self.admission.lock().await;
        let names: Vec<String> = self.env.nodes.all().into_iter().map(|node| node.name).collect();
        self.env.nodes.wait_known(&names, super::up::FIRST_WORDS).await;
        self.env.nodes.refresh(&names).await;
        let Survey { pools, mut refused } = self.survey();
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|own| own == name);
        let mut seen = Vec::new();
        for record in pools {
            if !is_wanted(record.assembly.name.as_str()) {
                continue;
            }
            if let Some(live) = self.live(record.assembly.name.as_str()) {
                refused.push(format!("{}: the name is that of {live}", record.assembly));
                continue;
            }
            if apply {
                self.env.store.put(&record).await.map_err(store_failure)?;
                let slot = self.slot_for(record.assembly.name.as_str()).map_err(store_failure)?;
                slot.adopt(record.clone());
                self.note(&record.assembly, "", "taken over from what nodes hold".to_owned());
            }
            let lease = Lease::as_asked(&record);
            let knows = |name: &str| self.env.nodes.get(name);
            seen.push(pool::status::pool(&record, &lease, &knows, None, now_ms()));
        }
        Ok((seen, refused))
    }

    fn survey(&self) -> Survey {
        let nodes = self.env.nodes.all();
        let inventories = Vec::from_iter(nodes.iter().filter_map(Known::current));
        let foreign = |assembly: &_| self.is_foreign(assembly);
        recover::survey(&inventories, foreign, &self.env.racks, now_ms())
    }

    /// The assembly of this name that is not gone, if there is one.
    fn live(&self, name: &str) -> Option<String> {
        self.record(name).filter(|r| !r.is_released()).map(|r| r.assembly.to_string())
    }

    /// What `node` holds that nobody knows, of the assemblies `wanted` (all, if none is named);
    /// removed if `apply`.
    pub async fn reap(
        &self,
        node: &str,
        wanted: &[String],
        apply: bool,
    ) -> Result<Vec<Holding>, Failure> {
        let known = |assembly: &_| !self.is_foreign(assembly);
        let agents = Arc::clone(&self.env.agents);
        let reaped = reap::reap(&agents, node, wanted, apply, known).await;
        if apply {
            self.env.nodes.refresh(&[node.to_owned()]).await;
        }
        reaped
    }

    /// The rack of a node; empty where it is not labelled.
    #[must_use]
    pub fn rack(&self, node: &str) -> &str {
        self.env.racks.get(node).map_or("", String::as_str)
    }
}
