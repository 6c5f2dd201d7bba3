//! Leases of pools: renewed by people, told of once when they near their end, and kept to where
//! that was asked for. They are stored beside the records, which belong to operations.

use std::sync::Arc;

use rampool_proto::v1::{AtExpiry, Failure, FailureKind, Pool};

use super::record::{Phase, PoolRecord};
use super::{Pools, store_failure, unknown};
use crate::clock::now_ms;
use crate::lease::{Lease, Stage};
use crate::spec;

impl Pools {
    /// The lease of a pool: as asked for, or as it was renewed.
    #[must_use]
    pub fn lease(&self, record: &PoolRecord) -> Lease {
        let asked = Lease::as_asked(record);
        let leases = Self::lock(&self.leases);
        let stored = leases.get(record.assembly.name.as_str()).copied();
        stored.filter(|lease| lease.formed == asked.formed).unwrap_or(asked)
    }

    /// A new lease of `seconds`, counted from now; 0: as long as it was.
    pub async fn renew(&self, name: &str, seconds: u64) -> Result<Pool, Failure> {
        let record = self.record(name).ok_or_else(|| unknown(name))?;
        let step = || Failure::new(FailureKind::NotNow, "renew the lease");
        if !is_live(&record) {
            let said = super::status::sentence(&record);
            return Err(step().saying(said).advising("only a pool in use has a lease to renew"));
        }
        let lease = self.lease(&record).renewed(spec::check_lease(seconds)?, now_ms());
        if lease.seconds == 0 {
            return Err(step()
                .saying("the pool has no lease: it lives until `rampool down`")
                .advising("give the new lease's length (--lease) to limit it"));
        }
        self.write_lease(&record, lease).await?;
        let length = humantime::format_duration(std::time::Duration::from_secs(lease.seconds));
        self.note(&record.assembly, "", format!("the lease was renewed: {length} from now"));
        Ok(self.status_of(&record).await)
    }

    async fn write_lease(&self, record: &PoolRecord, lease: Lease) -> Result<(), Failure> {
        let name = record.assembly.name.as_str();
        self.env.store.put_lease(name, lease).await.map_err(store_failure)?;
        Self::lock(&self.leases).insert(name.to_owned(), lease);
        Ok(())
    }

    /// Tells in the pools' histories, once each, that a lease's last tenth has begun and that
    /// it has ended. Answers the pools that are to be released because theirs has.
    pub async fn look_at_leases(&self) -> Vec<Arc<PoolRecord>> {
        let now = now_ms();
        let mut over = Vec::new();
        for record in self.records().into_iter().filter(|record| is_live(record)) {
            let lease = self.lease(&record);
            let stage = lease.stage(now);
            if stage == Stage::Ended && record.spec.at_expiry() == AtExpiry::Release {
                over.push(Arc::clone(&record));
            }
            let Some(text) = lease.remark(record.spec.at_expiry(), now) else { continue };
            if stage <= lease.told {
                continue;
            }
            // The note goes to the store first: a crash between them may repeat it, not lose it.
            tracing::warn!(pool = %record.assembly, "{text}");
            self.note(&record.assembly, "", text);
            if let Err(failure) = self.write_lease(&record, Lease { told: stage, ..lease }).await {
                tracing::error!(pool = %record.assembly, %failure, "a lease was not recorded");
            }
        }
        over
    }
}

/// Whether its lease runs: it was mounted, and nobody takes it down yet.
fn is_live(record: &PoolRecord) -> bool {
    let gone = matches!(
        record.phase,
        Phase::Creating | Phase::Reserved | Phase::Releasing(_) | Phase::Released(_)
    );
    record.ready_ms != 0 && !gone
}
