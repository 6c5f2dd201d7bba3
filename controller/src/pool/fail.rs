//! `fail`: a pool that is lost, or given up, lets its users go with an error.

use std::sync::Arc;

use rampool_proto::v1::{Failure, FailureKind};

use super::operation::{Kind, Order};
use super::record::Phase;
use super::state::Input;
use super::turn::see_out;
use super::{Events, Pools, status, unknown};

impl Pools {
    /// Fails a pool in use because somebody asks for it, or attaches to the operation that does.
    pub async fn fail(self: &Arc<Self>, name: &str) -> Result<Events, Failure> {
        loop {
            if let Some(events) = self.fail_now(name, "`rampool fail`").await? {
                return Ok(events);
            }
        }
    }

    /// Fails a pool for this reason; `None`: something else made way for it, look again.
    pub async fn fail_now(
        self: &Arc<Self>,
        name: &str,
        why: &str,
    ) -> Result<Option<Events>, Failure> {
        let slot = self.slot(name).ok_or_else(|| unknown(name))?;
        let now = slot.now();
        let refused =
            |said: String| Failure::new(FailureKind::NotNow, "fail the pool").saying(said);
        if let Some(operation) = now.operation {
            return match operation.kind {
                Kind::Fail => Ok(Some(operation.subscribe())),
                Kind::Replace { .. } | Kind::GiveUpSpare { .. } | Kind::Repair => {
                    operation.order(Order::Fail(why.to_owned()));
                    see_out(&operation).await;
                    Ok(None)
                }
                _ => Err(refused(format!("`{}` of it is under way", operation.kind.name()))),
            };
        }
        let record = now.record.ok_or_else(|| unknown(name))?;
        match &record.phase {
            Phase::Failed(failed) if failed.shut => {
                return Ok(Some(self.so_already("fail", &record).await));
            }
            Phase::Ready | Phase::Replacing(_) | Phase::Failed(_) => {}
            _ => return Err(refused(status::sentence(&record))),
        }
        let first = Input::Fail(why.to_owned());
        let started = self.start(&slot, &record, Kind::Fail, record.as_ref().clone(), first, None);
        Ok(started.map(|operation| operation.subscribe()))
    }
}
