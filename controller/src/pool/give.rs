//! A pool that was reserved for a job is given to it, once the job has its nodes.

use std::sync::Arc;

use rampool_proto::v1::{Failure, PoolSpec};

use super::operation::Kind;
use super::record::{Phase, PoolRecord, Seat};
use super::slot::Now;
use super::state::Input;
use super::up::in_use;
use super::{Events, Pools, status, unknown};
use crate::planner;
use crate::spec::Wanted;

impl Pools {
    /// Makes the rest of a reserved pool, whose spec now has the job's nodes; or attaches to the
    /// operation that does.
    pub async fn give(self: &Arc<Self>, spec: &PoolSpec) -> Result<Events, Failure> {
        let wanted = self.resolve(spec)?;
        let name = wanted.name.as_str();
        let permit = self.permit()?;
        self.hear(&wanted).await;
        // No other pool may take the same mount point meanwhile.
        let _alone = self.admission.lock().await;
        let slot = self.slot(name).ok_or_else(|| unknown(name))?;
        let Now { record, operation, .. } = slot.now();
        if let Some(operation) = operation {
            return match &operation.kind {
                Kind::Up(spec) if **spec == wanted.spec => Ok(operation.subscribe()),
                kind => Err(in_use(&wanted.name, &format!("`{}` of it is under way", kind.name()))),
            };
        }
        let seen = record.ok_or_else(|| unknown(name))?;
        if seen.phase != Phase::Reserved {
            return Err(in_use(&wanted.name, &status::sentence(&seen)));
        }
        let give = Input::Give(Box::new(self.seat(&wanted, &seen)?));
        let kind = Kind::Up(Box::new(wanted.spec));
        let record = PoolRecord::clone(&seen);
        let started = self.start(&slot, &seen, kind, record, give, Some(permit));
        let operation = started.ok_or_else(|| in_use(&wanted.name, "it changes just now"))?;
        Ok(operation.subscribe())
    }

    fn seat(&self, wanted: &Wanted, record: &PoolRecord) -> Result<Seat, Failure> {
        let (head_address, clients) = planner::seat(wanted, &self.candidates())?;
        let donors = record.members().map(|piece| &piece.donor);
        let boot_ids = self.boot_ids(donors.chain(&wanted.head));
        let seat = Seat { spec: wanted.spec.clone(), head_address, clients, boot_ids };
        let mut seated = record.clone();
        seated.sit(seat.clone());
        self.refuse_shared_mount_point(&seated.placement)?;
        Ok(seat)
    }
}
