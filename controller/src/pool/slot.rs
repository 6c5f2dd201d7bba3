//! All that is known of one pool name: its last assembly, its history, and what is going on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::journal::Journal;
use super::operation::Operation;
use super::record::PoolRecord;

/// One pool name.
pub(super) struct Slot {
    pub(super) journal: Arc<Journal>,
    now: Mutex<Now>,
}

/// What is so now.
#[derive(Clone, Default)]
pub(super) struct Now {
    /// The last assembly.
    pub(super) record: Option<Arc<PoolRecord>>,
    /// The one operation in flight.
    pub(super) operation: Option<Arc<Operation>>,
    /// The greatest generation given.
    pub(super) generation: u32,
}

impl Slot {
    pub(super) fn new(journal: Arc<Journal>, record: Option<PoolRecord>, generation: u32) -> Self {
        let record = record.map(Arc::new);
        Self { journal, now: Mutex::new(Now { record, operation: None, generation }) }
    }

    /// For looking and deciding; never held across a call.
    pub(super) fn lock(&self) -> MutexGuard<'_, Now> {
        // Each change is one assignment: a panic elsewhere leaves it whole.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Now {
        self.lock().clone()
    }

    /// Takes over a pool that was not of this controller.
    pub(super) fn adopt(&self, record: PoolRecord) {
        let mut now = self.lock();
        now.generation = now.generation.max(record.given());
        now.record = Some(Arc::new(record));
    }

    /// What an operation came to, and its end: one change to who looks.
    pub(super) fn settle(&self, record: PoolRecord) {
        let mut now = self.lock();
        now.record = Some(Arc::new(record));
        now.operation = None;
    }

    /// What an operation has come to so far.
    pub(super) fn publish(&self, record: PoolRecord) {
        self.lock().record = Some(Arc::new(record));
    }
}
