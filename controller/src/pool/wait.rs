//! `wait`: follows what is going on with a pool to its end, or says at once how it stands.

use futures::{StreamExt, stream};
use rampool_proto::v1::{Event, EventKind, Failure, FailureKind, PoolId};

use super::record::{Phase, PoolRecord};
use super::state::Cause;
use super::{Events, Pools, status, unknown};
use crate::clock::now_ms;

impl Pools {
    /// The events of the operation in flight; where there is none, one that says whether the
    /// pool is well, or gone as was asked.
    pub async fn wait(&self, name: &str) -> Result<Events, Failure> {
        let now = self.slot(name).ok_or_else(|| unknown(name))?.now();
        if let Some(operation) = now.operation {
            return Ok(operation.subscribe());
        }
        let record = now.record.ok_or_else(|| unknown(name))?;
        let failure = trouble(&record);
        let kind = if failure.is_some() { EventKind::GaveUp } else { EventKind::Finished };
        let event = Event {
            time_ms: now_ms(),
            pool: Some(PoolId::from(&record.assembly)),
            operation: "wait".to_owned(),
            kind: kind.into(),
            text: failure.as_ref().map_or_else(|| status::sentence(&record), Failure::to_string),
            failure,
            result: Some(self.status_of(&record).await),
            ..Event::default()
        };
        Ok(stream::iter([event]).boxed())
    }
}

/// Why a pool with which nothing is going on is not as anybody wants it, if so.
fn trouble(record: &PoolRecord) -> Option<Failure> {
    let stuck = || {
        Failure::new(FailureKind::NotNow, "wait for the pool")
            .saying(status::sentence(record))
            .advising("it goes on by itself when the nodes concerned answer")
    };
    match &record.phase {
        Phase::Ready | Phase::Reserved | Phase::Released(Cause::Down) => None,
        Phase::Released(cause) => Some(cause.failure()),
        Phase::Failed(failed) => {
            Some(Failure::new(FailureKind::Failed, "wait for the pool").saying(&failed.why))
        }
        Phase::Replacing(replacing) => Some(replacing.trouble.clone().unwrap_or_else(stuck)),
        Phase::FailingOver(over) => Some(over.remains.first().cloned().unwrap_or_else(stuck)),
        Phase::Releasing(releasing) => {
            Some(releasing.remains.first().cloned().unwrap_or_else(stuck))
        }
        Phase::Creating => Some(stuck()),
    }
}
