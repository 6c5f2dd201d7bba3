//! What is done without being asked: what a restart or a silent node left half done, and what
//! nodes still owe.

use std::sync::Arc;

use super::operation::{Kind, Operation};
use super::record::{Phase, PoolRecord};
use super::state::Input;
use super::{Events, Pools};

impl Pools {
    /// Settles what was under way when the controller last ended.
    pub fn resume(self: &Arc<Self>) {
        for record in self.unsettled() {
            // What is merely owed waits until its nodes are heard of.
            if record.phase != Phase::Ready {
                tracing::info!(pool = %record.assembly, "settling what was under way");
                self.begin_on(record.assembly.name.as_str(), Input::Restarted);
            }
        }
        self.go_on_evacuating();
    }

    /// Pools of which something is half done or owed, and with which nothing is going on.
    #[must_use]
    pub fn unsettled(&self) -> Vec<Arc<PoolRecord>> {
        let slots = Self::lock(&self.slots);
        let idle = slots.values().map(|slot| slot.now()).filter(|now| now.operation.is_none());
        idle.filter_map(|now| now.record).filter(|record| is_open(record)).collect()
    }

    /// Goes on with what is half done or owed, unless something is already going on.
    pub fn go_on(self: &Arc<Self>, name: &str) {
        self.begin_on(name, Input::Retry);
    }

    /// Takes back the members of a pool in use that were only cut off; unless something is
    /// already going on.
    pub fn readd(self: &Arc<Self>, name: &str) -> Option<Events> {
        self.begin_on(name, Input::Readd).map(|operation| operation.subscribe())
    }

    /// Sees to it that every client of a pool in use has it mounted; unless something is already
    /// going on.
    pub fn share(self: &Arc<Self>, name: &str) {
        self.begin_on(name, Input::Share);
    }

    fn begin_on(self: &Arc<Self>, name: &str, first: Input) -> Option<Arc<Operation>> {
        let slot = self.slot(name)?;
        let mut now = slot.lock();
        let record = now.record.clone().filter(|_| now.operation.is_none())?;
        let (kind, first) = match &record.phase {
            // Nobody waits any more for a pool found half made.
            Phase::Creating => (Kind::Release, Input::Restarted),
            Phase::Releasing(_) => (Kind::Release, first),
            Phase::Replacing(replacing) => {
                let old = record.placement.pieces[replacing.slot].donor.clone();
                (Kind::Replace { old, new: replacing.new.donor.clone() }, first)
            }
            Phase::FailingOver(over) => (Kind::Failover { head: over.head.clone() }, first),
            Phase::Ready | Phase::Failed(_) => (Kind::Repair, first),
            Phase::Reserved | Phase::Released(_) => return None,
        };
        let record = PoolRecord::clone(&record);
        let operation = self.begin(&slot, kind, record, first, None);
        now.operation = Some(Arc::clone(&operation));
        Some(operation)
    }
}

fn is_open(record: &PoolRecord) -> bool {
    match &record.phase {
        Phase::Creating | Phase::Releasing(_) | Phase::Replacing(_) | Phase::FailingOver(_) => true,
        Phase::Failed(failed) => !failed.shut || !record.debts.is_empty(),
        Phase::Ready => !record.debts.is_empty(),
        Phase::Reserved | Phase::Released(_) => false,
    }
}
