//! `down`: always safe to repeat.

use std::sync::Arc;

use futures::StreamExt;
use rampool_proto::v1::{Event, EventKind, Failure, PoolId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::operation::{Kind, Operation, Order, is_last};
use super::record::PoolRecord;
use super::state::Input;
use super::{Events, Pools, status, unknown};
use crate::clock::now_ms;

/// Events that a caller of `down` may lag behind before the operation's own list is used.
const BUFFER: usize = 64;

/// What a `down` does next.
enum Next {
    /// Follow an operation to its end, and that is the end.
    Follow(Arc<Operation>),
    /// Follow an operation that makes way, then look again.
    FollowThenLook(Arc<Operation>),
    /// There is nothing left to take away.
    Gone(Arc<PoolRecord>),
}

/// What is asked for.
struct Wanted {
    name: String,
    force: bool,
    /// Whose it must be; none: anybody's.
    whose: Option<u32>,
}

impl Pools {
    /// Takes a pool down, or attaches to the operation that does.
    pub fn down(self: &Arc<Self>, name: &str, force: bool) -> Result<Events, Failure> {
        self.down_of(name, force, None)
    }

    /// The same of a pool only as long as it is this user's: a name that was released meanwhile may
    /// be another's.
    pub fn down_of(
        self: &Arc<Self>,
        name: &str,
        force: bool,
        whose: Option<u32>,
    ) -> Result<Events, Failure> {
        let wanted = Wanted { name: name.to_owned(), force, whose };
        let first = self.next(&wanted)?;
        let pools = Arc::clone(self);
        let (sender, receiver) = mpsc::channel(BUFFER);
        // A task of its own: what was begun is seen through whoever leaves.
        tokio::spawn(async move { pools.see_down(&wanted, first, &sender).await });
        Ok(ReceiverStream::new(receiver).boxed())
    }

    async fn see_down(self: &Arc<Self>, wanted: &Wanted, mut next: Next, to: &mpsc::Sender<Event>) {
        loop {
            match next {
                Next::Follow(operation) => return follow(&operation, to, true).await,
                Next::FollowThenLook(operation) => follow(&operation, to, false).await,
                Next::Gone(record) => {
                    // Nobody listens any more: nothing is lost.
                    _ = to.send(self.gone(&record)).await;
                    return;
                }
            }
            match self.next(wanted) {
                Ok(then) => next = then,
                // A name that was known a moment ago.
                Err(failure) => {
                    tracing::error!(name = wanted.name, %failure, "a pool vanished while it was taken down");
                    return;
                }
            }
        }
    }

    /// Decides, and begins an operation where none is in flight.
    fn next(self: &Arc<Self>, wanted: &Wanted) -> Result<Next, Failure> {
        let (name, force) = (wanted.name.as_str(), wanted.force);
        let slot = self.slot(name).ok_or_else(|| unknown(name))?;
        let mut now = slot.lock();
        let uid = now.record.as_ref().map(|record| record.spec.uid);
        if wanted.whose.is_some() && wanted.whose != uid {
            return Err(unknown(name));
        }
        if let Some(operation) = &now.operation {
            let operation = Arc::clone(operation);
            return Ok(match operation.kind {
                Kind::Down | Kind::Release if !force => Next::Follow(operation),
                _ => {
                    operation.order(Order::Down { force });
                    Next::FollowThenLook(operation)
                }
            });
        }
        let record = now.record.clone().ok_or_else(|| unknown(name))?;
        if record.is_released() {
            return Ok(Next::Gone(record));
        }
        let record = PoolRecord::clone(&record);
        let operation = self.begin(&slot, Kind::Down, record, Input::Down { force }, None);
        now.operation = Some(Arc::clone(&operation));
        Ok(Next::Follow(operation))
    }

    fn gone(&self, record: &PoolRecord) -> Event {
        Event {
            time_ms: now_ms(),
            pool: Some(PoolId::from(&record.assembly)),
            operation: "down".to_owned(),
            kind: EventKind::Finished.into(),
            text: status::sentence(record),
            result: Some(self.seen(record, None)),
            ..Event::default()
        }
    }
}

/// Passes an operation's events on; its last one only where it is this caller's last too.
async fn follow(operation: &Arc<Operation>, to: &mpsc::Sender<Event>, last_too: bool) {
    let mut events = operation.subscribe();
    while let Some(event) = events.next().await {
        if is_last(event.kind()) && !last_too {
            continue;
        }
        // A caller that left: the operation goes on, and must still be followed to its end.
        _ = to.send(event).await;
    }
}
