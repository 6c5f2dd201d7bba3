//! Pools in use that are not well: acts on what [`health`](crate::pool::health) says should be
//! done about them, one thing a pool at a time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::EventKind;

use crate::clock::now_ms;
use crate::nodes::Nodes;
use crate::pool::health::{self, Verdict, Watched};
use crate::pool::record::PoolRecord;
use crate::pool::{Events, Pools};

/// Looks after all pools in use.
pub(crate) struct Repair {
    pools: Arc<Pools>,
    nodes: Arc<Nodes>,
    watched: Watched,
    /// Pools whose head would not take members back, told by the tasks that asked.
    refused: Arc<Mutex<BTreeSet<Assembly>>>,
}

impl Repair {
    pub(crate) fn new(pools: Arc<Pools>, nodes: Arc<Nodes>) -> Self {
        Self { pools, nodes, watched: Watched::default(), refused: Arc::default() }
    }

    /// One look at every pool. `may_try` says whether something named may be tried now.
    pub(crate) async fn look(&mut self, mut may_try: impl FnMut(String) -> bool) {
        let refused = std::mem::take(&mut *lock(&self.refused));
        refused.iter().for_each(|assembly| self.watched.readd_refused(assembly));
        for record in self.pools.records() {
            let lacking = health::lacking_client(&record, &|name| self.nodes.get(name));
            if let Some(client) = lacking
                && may_try(format!("client {client} of {}", record.assembly))
            {
                let text = format!("{client} does not have the pool mounted any more");
                self.pools.note(&record.assembly, client, text);
                self.pools.share(record.assembly.name.as_str());
                continue;
            }
            let nothing = matches!(self.verdict(&record), Verdict::Well | Verdict::Wait);
            if nothing && self.lost_spare(&record).is_none() {
                continue;
            }
            // What nodes said may be older than the record.
            let mut nodes: Vec<String> =
                record.members().map(|piece| piece.donor.clone()).collect();
            nodes.push(record.placement.head.clone());
            self.nodes.refresh(&nodes).await;
            let Some(record) = self.pools.record(record.assembly.name.as_str()) else { continue };
            let verdict = self.verdict(&record);
            // First, as its donor may then take a lost one's place. Where the head does not let
            // go of it, the rest does not wait for that.
            match self.lost_spare(&record) {
                Some((spare, why)) if may_try(format!("spare {spare} of {}", record.assembly)) => {
                    let (pools, record) = (Arc::clone(&self.pools), Arc::clone(&record));
                    tokio::spawn(async move { give_up_spare(&pools, &record, &spare, &why).await });
                }
                _ => self.act(&record, verdict, &mut may_try),
            }
        }
    }

    fn lost_spare(&self, record: &PoolRecord) -> Option<(String, String)> {
        health::lost_spare(record, &|name| self.nodes.get(name))
    }

    fn verdict(&mut self, record: &PoolRecord) -> Verdict {
        let nodes = Arc::clone(&self.nodes);
        self.watched.verdict(record, &|name| nodes.get(name), now_ms())
    }

    fn act(&self, record: &PoolRecord, verdict: Verdict, may_try: &mut impl FnMut(String) -> bool) {
        let (assembly, name) = (&record.assembly, record.assembly.name.to_string());
        match verdict {
            Verdict::Well | Verdict::Wait => {}
            Verdict::Failed(why) => {
                if may_try(format!("fail {assembly}")) {
                    tracing::error!(pool = %assembly, why, "the pool is lost");
                    let pools = Arc::clone(&self.pools);
                    tokio::spawn(async move { fail(&pools, &name, &why).await });
                }
            }
            Verdict::Readd => {
                if may_try(format!("readd {assembly}"))
                    && let Some(events) = self.pools.readd(&name)
                {
                    let (refused, assembly) = (Arc::clone(&self.refused), assembly.clone());
                    tokio::spawn(async move {
                        if gave_up(events).await {
                            lock(&refused).insert(assembly);
                        }
                    });
                }
            }
            Verdict::Replace { slot, spare } => {
                let old = record.placement.pieces[slot].donor.clone();
                // What failed while it was silent may be tried at once when it was booted anew.
                let boot =
                    self.nodes.get(&old).and_then(|known| Some(known.current()?.boot_id.clone()));
                if may_try(format!("replace {assembly} {slot} {boot:?}")) {
                    let new = spare.unwrap_or_default();
                    let pools = Arc::clone(&self.pools);
                    tokio::spawn(async move {
                        if let Err(failure) = pools.replace(&name, &old, &new).await {
                            tracing::warn!(pool = name, %failure, "no donor is replaced");
                        }
                    });
                }
            }
        }
    }
}

fn lock(of: &Mutex<BTreeSet<Assembly>>) -> std::sync::MutexGuard<'_, BTreeSet<Assembly>> {
    // Each change is one insertion: a panic elsewhere leaves it whole.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn fail(pools: &Arc<Pools>, name: &str, why: &str) {
    loop {
        match pools.fail_now(name, why).await {
            Ok(Some(_)) => return,
            Ok(None) => {}
            Err(failure) => {
                tracing::warn!(pool = name, %failure, "the lost pool is not failed");
                return;
            }
        }
    }
}

async fn give_up_spare(pools: &Arc<Pools>, record: &PoolRecord, spare: &str, why: &str) {
    let text = format!("the spare of {spare} is lost ({why}): the pool does without it");
    tracing::warn!(pool = %record.assembly, node = spare, "{text}");
    pools.note(&record.assembly, spare, text);
    if let Err(failure) = pools.give_up_spare(record.assembly.name.as_str(), spare).await {
        tracing::warn!(pool = %record.assembly, %failure, "a lost spare is not given up");
    }
}

async fn gave_up(mut events: Events) -> bool {
    let mut gave_up = false;
    while let Some(event) = events.next().await {
        gave_up |= event.kind() == EventKind::GaveUp;
    }
    gave_up
}
