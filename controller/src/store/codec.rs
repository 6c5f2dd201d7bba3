//! A pool's record as bytes: protobuf messages of the store's own, so that a newer controller
//! reads what an older one wrote.

use std::collections::BTreeMap;

use prost::Message;
use rampool_proto::v1::{Failure, Placement, PoolId, PoolSpec};

use crate::pool::record::{Phase, PoolRecord, Releasing};
use crate::pool::state::Cause;

#[derive(Clone, PartialEq, Message)]
struct StoredPool {
    #[prost(message, optional, tag = "1")]
    id: Option<PoolId>,
    #[prost(message, optional, tag = "2")]
    spec: Option<PoolSpec>,
    #[prost(message, optional, tag = "3")]
    placement: Option<Placement>,
    #[prost(btree_map = "string, string", tag = "4")]
    boot_ids: BTreeMap<String, String>,
    #[prost(message, optional, tag = "5")]
    phase: Option<StoredPhase>,
    #[prost(uint64, tag = "6")]
    created_ms: u64,
    #[prost(uint64, tag = "7")]
    ready_ms: u64,
    #[prost(uint64, tag = "8")]
    released_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredPhase {
    /// 1 creating, 2 ready, 3 releasing, 4 released.
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(message, optional, tag = "2")]
    cause: Option<StoredCause>,
    #[prost(bool, tag = "3")]
    was_ready: bool,
    #[prost(bool, tag = "4")]
    force: bool,
    #[prost(message, repeated, tag = "5")]
    remains: Vec<Failure>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredCause {
    /// 1 failed, 2 cancelled, 3 restarted, 4 down.
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(message, optional, tag = "2")]
    failure: Option<Failure>,
}

/// The bytes of a record.
pub(super) fn encode(record: &PoolRecord) -> Vec<u8> {
    StoredPool {
        id: Some(PoolId::from(&record.assembly)),
        spec: Some(record.spec.clone()),
        placement: Some(record.placement.clone()),
        boot_ids: record.boot_ids.clone(),
        phase: Some(phase_out(&record.phase)),
        created_ms: record.created_ms,
        ready_ms: record.ready_ms,
        released_ms: record.released_ms,
    }
    .encode_to_vec()
}

/// The record of these bytes, or what is wrong with them.
pub(super) fn decode(bytes: &[u8]) -> Result<PoolRecord, String> {
    let stored = StoredPool::decode(bytes).map_err(|error| error.to_string())?;
    let id = stored.id.ok_or("it has no id")?;
    Ok(PoolRecord {
        assembly: (&id).try_into().map_err(|error| format!("its id: {error}"))?,
        spec: stored.spec.ok_or("it has no spec")?,
        placement: stored.placement.ok_or("it has no placement")?,
        boot_ids: stored.boot_ids,
        phase: phase_in(stored.phase.ok_or("it has no phase")?)?,
        created_ms: stored.created_ms,
        ready_ms: stored.ready_ms,
        released_ms: stored.released_ms,
    })
}

fn phase_out(phase: &Phase) -> StoredPhase {
    let bare = |kind| StoredPhase { kind, ..StoredPhase::default() };
    match phase {
        Phase::Creating => bare(1),
        Phase::Ready => bare(2),
        Phase::Releasing(releasing) => StoredPhase {
            kind: 3,
            cause: Some(cause_out(&releasing.cause)),
            was_ready: releasing.was_ready,
            force: releasing.force,
            remains: releasing.remains.clone(),
        },
        Phase::Released(cause) => StoredPhase { cause: Some(cause_out(cause)), ..bare(4) },
    }
}

fn phase_in(stored: StoredPhase) -> Result<Phase, String> {
    let cause = stored.cause.map(cause_in).transpose()?;
    match (stored.kind, cause) {
        (1, _) => Ok(Phase::Creating),
        (2, _) => Ok(Phase::Ready),
        (3, Some(cause)) => Ok(Phase::Releasing(Releasing {
            cause,
            was_ready: stored.was_ready,
            force: stored.force,
            remains: stored.remains,
        })),
        (4, Some(cause)) => Ok(Phase::Released(cause)),
        (kind, _) => Err(format!("its phase is {kind}, which this controller does not know")),
    }
}

fn cause_out(cause: &Cause) -> StoredCause {
    let bare = |kind| StoredCause { kind, failure: None };
    match cause {
        Cause::Failed(failure) => StoredCause { kind: 1, failure: Some(failure.clone()) },
        Cause::Cancelled => bare(2),
        Cause::Restarted => bare(3),
        Cause::Down => bare(4),
    }
}

fn cause_in(stored: StoredCause) -> Result<Cause, String> {
    match (stored.kind, stored.failure) {
        (1, Some(failure)) => Ok(Cause::Failed(failure)),
        (2, _) => Ok(Cause::Cancelled),
        (3, _) => Ok(Cause::Restarted),
        (4, _) => Ok(Cause::Down),
        (kind, _) => Err(format!("its cause is {kind}, which this controller does not know")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rampool_proto::v1::{FailureKind, Piece};

    fn any_cause() -> impl Strategy<Value = Cause> {
        prop_oneof![
            Just(Cause::Cancelled),
            Just(Cause::Restarted),
            Just(Cause::Down),
            ".{0,9}".prop_map(|said| Cause::Failed(
                Failure::new(FailureKind::Busy, "unmount").on("n1").saying(said)
            )),
        ]
    }

    fn any_phase() -> impl Strategy<Value = Phase> {
        prop_oneof![
            Just(Phase::Creating),
            Just(Phase::Ready),
            any_cause().prop_map(Phase::Released),
            (any_cause(), any::<bool>(), any::<bool>()).prop_map(|(cause, was_ready, force)| {
                let remains = vec![Failure::new(FailureKind::NotNow, "free").on("n2")];
                Phase::Releasing(Releasing { cause, was_ready, force, remains })
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_written(
            phase in any_phase(), generation in 1..9_999_999u32, times in any::<(u64, u64, u64)>()
        ) {
            let record = PoolRecord {
                assembly: format!("demo.{generation}").parse().unwrap(),
                spec: PoolSpec { name: "demo".into(), owner: "ada".into(), ..PoolSpec::default() },
                placement: Placement {
                    pieces: vec![Piece { donor: "n2".into(), bytes: 7, ..Piece::default() }],
                    ..Placement::default()
                },
                boot_ids: [("n2".to_owned(), "b".to_owned())].into(),
                phase,
                created_ms: times.0, ready_ms: times.1, released_ms: times.2,
            };
            prop_assert_eq!(decode(&encode(&record)), Ok(record));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            _ = decode(&bytes);
        }
    }
}
