//! How far nodes are with reserving memory or copying it, as one figure, told now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rampool_proto::v1::{Event, EventKind};

use super::operation::Operation;
use crate::agents::Progress;

/// Often enough for a bar that moves, seldom enough for thousands of donors.
const EVERY: Duration = Duration::from_millis(200);

/// The sum over all pieces.
pub(super) struct ByteProgress {
    operation: Arc<Operation>,
    step: &'static str,
    done: Vec<AtomicU64>,
    total: u64,
    told: Mutex<Instant>,
}

impl ByteProgress {
    pub(super) fn new(
        operation: Arc<Operation>,
        step: &'static str,
        sizes: impl Iterator<Item = u64>,
    ) -> Arc<Self> {
        let sizes: Vec<u64> = sizes.collect();
        Arc::new(Self {
            operation,
            step,
            done: sizes.iter().map(|_| AtomicU64::new(0)).collect(),
            total: sizes.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes)),
            told: Mutex::new(Instant::now()),
        })
    }

    /// What the call of one piece reports to.
    pub(super) fn of(self: &Arc<Self>, donor: usize) -> Progress {
        let all = Arc::clone(self);
        Arc::new(move |bytes| {
            // The last message of a call carries no figure.
            all.done[donor].fetch_max(bytes, Ordering::Relaxed);
            all.tell();
        })
    }

    fn tell(&self) {
        // Somebody else is telling: that will do.
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.elapsed() < EVERY {
            return;
        }
        *told = Instant::now();
        let done = self
            .done
            .iter()
            .fold(0u64, |sum, bytes| sum.saturating_add(bytes.load(Ordering::Relaxed)));
        self.operation.tell(Event {
            step: self.step.to_owned(),
            kind: EventKind::Progress.into(),
            done,
            total: self.total,
            ..Event::default()
        });
    }
}
