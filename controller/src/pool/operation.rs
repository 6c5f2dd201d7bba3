//! An operation in flight: one a pool. It belongs to the controller; callers attach to it, see
//! what happened so far and what follows, and leave when they like.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::{self, BoxStream, StreamExt};
use rampool_proto::v1::{Event, EventKind, PoolId, PoolSpec};
use tokio::sync::{mpsc, watch};

use super::journal::Journal;

/// What an operation is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Making a pool of this spec.
    Up(Box<PoolSpec>),
    /// Reserving the memory of a pool of this spec, which has no head yet.
    Reserve(Box<PoolSpec>),
    /// Taking it away because somebody asked.
    Down,
    /// Going on with a release without being asked: after a restart, or when a node is back.
    Release,
    /// Putting one piece in another's place.
    Replace {
        /// The donor whose piece goes.
        old: String,
        /// The node that lends instead.
        new: String,
    },
    /// Doing without a spare.
    GiveUpSpare {
        /// Its donor.
        donor: String,
    },
    /// Bringing the pool up on this head.
    Failover {
        /// The new head.
        head: String,
    },
    /// Giving up a pool that is lost.
    Fail,
    /// Going on without being asked with what is under way or owed.
    Repair,
}

impl Kind {
    /// Its name in events.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Up(_) => "up",
            Self::Reserve(_) => "reserve",
            Self::Down => "down",
            Self::Release => "release",
            Self::Replace { .. } => "replace",
            Self::GiveUpSpare { .. } => "give up a spare",
            Self::Failover { .. } => "failover",
            Self::Fail => "fail",
            Self::Repair => "repair",
        }
    }
}

/// What makes an operation in flight give way.
#[derive(Clone, Debug)]
pub enum Order {
    /// Somebody wants the pool gone.
    Down {
        /// At any price.
        force: bool,
    },
    /// The pool is lost, or given up, for this reason.
    Fail(String),
}

/// An operation and what is to be seen of it.
pub struct Operation {
    /// What it is about.
    pub kind: Kind,
    id: PoolId,
    journal: Arc<Journal>,
    orders: mpsc::UnboundedSender<Order>,
    seen: Mutex<Seen>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    /// Only the last progress counts: a slow caller skips what is outdated.
    progress: Option<Event>,
    ended: bool,
}

impl Operation {
    /// A new operation, and the orders that callers will give it.
    #[must_use]
    pub fn new(
        kind: Kind,
        id: PoolId,
        journal: Arc<Journal>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Order>) {
        let (orders, received) = mpsc::unbounded_channel();
        let changed = watch::Sender::new(());
        let seen = Mutex::default();
        (Arc::new(Self { kind, id, journal, orders, seen, changed }), received)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // Each change is one push or assignment: a panic elsewhere leaves it whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody, now and later. FINISHED and GAVE_UP end the operation.
    pub fn tell(&self, event: Event) {
        let event = self.journal.enter(Event {
            pool: Some(self.id.clone()),
            operation: self.kind.name().to_owned(),
            ..event
        });
        let mut seen = self.lock();
        match event.kind() {
            EventKind::Progress => seen.progress = Some(event),
            kind => {
                seen.ended |= is_last(kind);
                seen.events.push(event);
            }
        }
        drop(seen);
        self.changed.send_replace(());
    }

    /// Asks the operation to make way.
    pub fn order(&self, order: Order) {
        // An operation that just ended takes no orders; the caller looks again.
        _ = self.orders.send(order);
    }

    /// All its events from the first on; ends with the operation.
    pub fn subscribe(self: &Arc<Self>) -> BoxStream<'static, Event> {
        let cursor = Cursor {
            operation: Arc::clone(self),
            changed: self.changed.subscribe(),
            events: 0,
            progress: 0,
        };
        stream::unfold(cursor, |mut cursor| async move {
            let event = cursor.next().await?;
            Some((event, cursor))
        })
        .boxed()
    }
}

/// Whether nothing follows an event of this kind.
#[must_use]
pub fn is_last(kind: EventKind) -> bool {
    matches!(kind, EventKind::Finished | EventKind::GaveUp)
}

/// How far one caller has read.
struct Cursor {
    operation: Arc<Operation>,
    changed: watch::Receiver<()>,
    events: usize,
    /// The number of the last progress read.
    progress: u64,
}

impl Cursor {
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.changed.mark_unchanged();
            if let Some(step) = self.read() {
                return step;
            }
            // The sender lives in the operation, which the cursor keeps.
            self.changed.changed().await.ok()?;
        }
    }

    /// `None`: nothing new yet; `Some(None)`: the end.
    fn read(&mut self) -> Option<Option<Event>> {
        let seen = self.operation.lock();
        if let Some(event) = seen.events.get(self.events) {
            self.events += 1;
            return Some(Some(event.clone()));
        }
        if seen.ended {
            return Some(None);
        }
        let progress = seen.progress.as_ref().filter(|event| event.sequence > self.progress)?;
        self.progress = progress.sequence;
        Some(Some(progress.clone()))
    }
}
