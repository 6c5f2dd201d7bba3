//! Events whose reader gives a job up where it leaves before their end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::{Stream, StreamExt};
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::Event;

use super::Jobs;
use crate::pool::Events;
use crate::pool::operation::is_last;

/// Slurm ends its hook's process when the job is cancelled meanwhile, and then runs nothing on the
/// job's nodes: the connection is the only word of it.
pub(super) struct Guarded {
    jobs: Arc<Jobs>,
    name: PoolName,
    events: Events,
    ended: bool,
}

impl Guarded {
    /// Those of this pool's making.
    pub(super) fn new(jobs: &Arc<Jobs>, name: PoolName, events: Events) -> Self {
        Self { jobs: Arc::clone(jobs), name, events, ended: false }
    }
}

impl Stream for Guarded {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let next = self.events.poll_next_unpin(cx);
        if let Poll::Ready(event) = &next {
            self.ended |= event.as_ref().is_none_or(|event| is_last(event.kind()));
        }
        next
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // A controller that ends lets go of everybody: that is nobody's giving up.
        if !self.ended && !self.jobs.stopping.is_cancelled() {
            tracing::info!(pool = %self.name, "its job was given up while the pool was made");
            self.jobs.release(&self.name);
        }
    }
}
