//! One pool name's history: every event gets the next number, and goes to the store.

use std::sync::atomic::{AtomicU64, Ordering};

use rampool_proto::v1::{Event, EventKind};

use crate::clock::now_ms;
use crate::store::{Store, StoreError};

/// The history of one name.
pub struct Journal {
    store: Store,
    next: AtomicU64,
}

impl Journal {
    /// Goes on after what is stored of `name`.
    pub fn open(store: Store, name: &str) -> Result<Self, StoreError> {
        let next = AtomicU64::new(store.next_sequence(name)?);
        Ok(Self { store, next })
    }

    /// Numbers and dates an event, and stores it unless it is mere progress.
    pub fn enter(&self, mut event: Event) -> Event {
        event.time_ms = now_ms();
        event.sequence = self.next.fetch_add(1, Ordering::Relaxed);
        if event.kind() != EventKind::Progress {
            self.store.append(&event);
        }
        event
    }
}
