//! A pool's record as bytes: protobuf messages of the store's own, so that a newer controller
//! reads what an older one wrote.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use rampool_proto::v1::{Failure, Piece, Placement, PoolId, PoolSpec};

use crate::jobs::failures::Failures;
use crate::lease::{Lease, Stage};
use crate::pool::record::{
    Debt, Failed, FailingOver, Owed, Phase, PoolRecord, Releasing, Replacing,
};
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
    #[prost(uint32, tag = "9")]
    formed: u32,
    #[prost(uint32, repeated, tag = "10")]
    lacking: Vec<u32>,
    #[prost(message, repeated, tag = "11")]
    debts: Vec<StoredDebt>,
    #[prost(btree_map = "string, string", tag = "12")]
    serials: BTreeMap<String, String>,
    #[prost(uint32, tag = "13")]
    given: u32,
}

#[derive(Clone, PartialEq, Message)]
struct StoredDebt {
    #[prost(string, tag = "1")]
    node: String,
    /// 1 what a head holds, 2 a donor's piece.
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(uint32, tag = "3")]
    generation: u32,
    #[prost(uint32, tag = "4")]
    carved: u32,
}

#[derive(Clone, PartialEq, Message)]
struct StoredPhase {
    /// 1 creating, 2 ready, 3 releasing, 4 released, 5 replacing, 6 failing over, 7 failed,
    /// 8 reserved.
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
    /// What is being replaced, also while failing over.
    #[prost(message, optional, tag = "6")]
    replacing: Option<StoredReplacing>,
    #[prost(string, tag = "7")]
    head: String,
    #[prost(uint32, tag = "8")]
    generation: u32,
    #[prost(bool, tag = "9")]
    fenced: bool,
    /// Why it failed, also while failing over.
    #[prost(string, tag = "10")]
    why: String,
    #[prost(bool, tag = "11")]
    shut: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StoredReplacing {
    #[prost(uint64, tag = "1")]
    slot: u64,
    #[prost(message, optional, tag = "2")]
    new: Option<Piece>,
    #[prost(bool, tag = "3")]
    from_spare: bool,
    #[prost(message, optional, tag = "4")]
    trouble: Option<Failure>,
    #[prost(bool, tag = "5")]
    copying: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StoredCause {
    /// 1 failed, 2 cancelled, 3 restarted, 4 down.
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(message, optional, tag = "2")]
    failure: Option<Failure>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredFailures {
    #[prost(uint32, tag = "1")]
    count: u32,
    #[prost(string, repeated, tag = "2")]
    avoid: Vec<String>,
    #[prost(string, tag = "3")]
    said: String,
    #[prost(string, tag = "4")]
    given_up: String,
    #[prost(string, repeated, tag = "5")]
    told: Vec<String>,
    #[prost(string, repeated, tag = "6")]
    donors: Vec<String>,
    #[prost(bool, tag = "7")]
    lacks: bool,
}

/// The bytes of a job's failures.
pub(super) fn failures_out(failures: &Failures) -> Vec<u8> {
    let Failures { count, avoid, told, donors, lacks, said, given_up } = failures.clone();
    let [avoid, told, donors] = [avoid, told, donors].map(|nodes| nodes.into_iter().collect());
    StoredFailures { count, avoid, said, given_up, told, donors, lacks }.encode_to_vec()
}

/// A job's failures from their bytes.
pub(super) fn failures_in(bytes: &[u8]) -> Result<Failures, prost::DecodeError> {
    let StoredFailures { count, avoid, said, given_up, told, donors, lacks } =
        StoredFailures::decode(bytes)?;
    let [avoid, told, donors] = [avoid, told, donors].map(|nodes| nodes.into_iter().collect());
    Ok(Failures { count, avoid, told, donors, lacks, said, given_up })
}

/// The bytes of a record.
pub(super) fn encode(record: &PoolRecord) -> Vec<u8> {
    // No volume has so many members that a place does not fit.
    let place = |slot: &usize| u32::try_from(*slot).unwrap_or(u32::MAX);
    StoredPool {
        id: Some(PoolId::from(&record.assembly)),
        spec: Some(record.spec.clone()),
        placement: Some(record.placement.clone()),
        boot_ids: record.boot_ids.clone(),
        phase: Some(phase_out(&record.phase)),
        created_ms: record.created_ms,
        ready_ms: record.ready_ms,
        released_ms: record.released_ms,
        formed: record.formed,
        given: record.given,
        lacking: record.lacking.iter().map(place).collect(),
        debts: record.debts.iter().map(debt_out).collect(),
        serials: record.serials.clone(),
    }
    .encode_to_vec()
}

/// The record of these bytes, or what is wrong with them.
pub(super) fn decode(bytes: &[u8]) -> Result<PoolRecord, String> {
    let stored = StoredPool::decode(bytes).map_err(|error| error.to_string())?;
    let id = stored.id.ok_or("it has no id")?;
    let placement = stored.placement.ok_or("it has no placement")?;
    let phase = phase_in(stored.phase.ok_or("it has no phase")?, placement.pieces.len())?;
    let lacking: BTreeSet<usize> = stored.lacking.iter().map(|slot| *slot as usize).collect();
    if lacking.iter().any(|slot| *slot >= placement.pieces.len()) {
        return Err("it lacks a piece that it does not have".to_owned());
    }
    Ok(PoolRecord {
        assembly: (&id).try_into().map_err(|error| format!("its id: {error}"))?,
        spec: stored.spec.ok_or("it has no spec")?,
        placement,
        boot_ids: stored.boot_ids,
        serials: stored.serials,
        formed: stored.formed,
        given: stored.given,
        lacking,
        debts: stored.debts.into_iter().map(debt_in).collect::<Result<_, String>>()?,
        phase,
        created_ms: stored.created_ms,
        ready_ms: stored.ready_ms,
        released_ms: stored.released_ms,
    })
}

fn debt_out(debt: &Debt) -> StoredDebt {
    let (kind, generation, carved) = match debt.what {
        Owed::Head { generation } => (1, generation, 0),
        Owed::Piece { generation, carved } => (2, generation, carved),
    };
    StoredDebt { node: debt.node.clone(), kind, generation, carved }
}

fn debt_in(stored: StoredDebt) -> Result<Debt, String> {
    let StoredDebt { node, kind, generation, carved } = stored;
    let what = match kind {
        1 => Owed::Head { generation },
        2 => Owed::Piece { generation, carved },
        kind => {
            return Err(format!("a debt is of kind {kind}, which this controller does not know"));
        }
    };
    Ok(Debt { node, what })
}

fn replacing_out(replacing: &Replacing) -> StoredReplacing {
    StoredReplacing {
        slot: replacing.slot as u64,
        new: Some(replacing.new.clone()),
        from_spare: replacing.from_spare,
        trouble: replacing.trouble.clone(),
        copying: replacing.copying,
    }
}

fn replacing_in(stored: StoredReplacing, pieces: usize) -> Result<Replacing, String> {
    let slot = usize::try_from(stored.slot).ok().filter(|slot| *slot < pieces);
    Ok(Replacing {
        slot: slot.ok_or("it replaces a piece that it does not have")?,
        new: stored.new.ok_or("it replaces a piece by none")?,
        from_spare: stored.from_spare,
        copying: stored.copying,
        trouble: stored.trouble,
    })
}

/// A lease as the store's table has it.
pub(super) fn lease_out(lease: Lease) -> (u32, u64, u64, u8) {
    let told = match lease.told {
        Stage::Running => 0,
        Stage::Ending => 1,
        Stage::Ended => 2,
    };
    (lease.formed, lease.from_ms, lease.seconds, told)
}

/// A lease as it was stored. What is not known of it is told once more.
pub(super) fn lease_in((formed, from_ms, seconds, told): (u32, u64, u64, u8)) -> Lease {
    let told = match told {
        1 => Stage::Ending,
        2 => Stage::Ended,
        _ => Stage::Running,
    };
    Lease { formed, from_ms, seconds, told }
}

fn phase_out(phase: &Phase) -> StoredPhase {
    let bare = |kind| StoredPhase { kind, ..StoredPhase::default() };
    match phase {
        Phase::Creating => bare(1),
        Phase::Reserved => bare(8),
        Phase::Ready => bare(2),
        Phase::Releasing(releasing) => StoredPhase {
            cause: Some(cause_out(&releasing.cause)),
            was_ready: releasing.was_ready,
            force: releasing.force,
            remains: releasing.remains.clone(),
            ..bare(3)
        },
        Phase::Released(cause) => StoredPhase { cause: Some(cause_out(cause)), ..bare(4) },
        Phase::Replacing(replacing) => {
            StoredPhase { replacing: Some(replacing_out(replacing)), ..bare(5) }
        }
        Phase::FailingOver(over) => StoredPhase {
            head: over.head.clone(),
            generation: over.generation,
            force: over.force,
            fenced: over.fenced,
            why: over.failed.clone().unwrap_or_default(),
            replacing: over.joining.as_ref().map(replacing_out),
            remains: over.remains.clone(),
            ..bare(6)
        },
        Phase::Failed(failed) => {
            StoredPhase { why: failed.why.clone(), shut: failed.shut, ..bare(7) }
        }
    }
}

fn phase_in(stored: StoredPhase, pieces: usize) -> Result<Phase, String> {
    let cause = stored.cause.map(cause_in).transpose()?;
    let replacing = stored.replacing.map(|of| replacing_in(of, pieces)).transpose()?;
    match (stored.kind, cause, replacing) {
        (1, ..) => Ok(Phase::Creating),
        (2, ..) => Ok(Phase::Ready),
        (3, Some(cause), _) => Ok(Phase::Releasing(Releasing {
            cause,
            was_ready: stored.was_ready,
            force: stored.force,
            remains: stored.remains,
        })),
        (4, Some(cause), _) => Ok(Phase::Released(cause)),
        (5, _, Some(replacing)) => Ok(Phase::Replacing(replacing)),
        (6, _, joining) => Ok(Phase::FailingOver(FailingOver {
            head: stored.head,
            generation: stored.generation,
            force: stored.force,
            fenced: stored.fenced,
            failed: Some(stored.why).filter(|why| !why.is_empty()),
            joining,
            remains: stored.remains,
        })),
        (7, ..) => Ok(Phase::Failed(Failed { why: stored.why, shut: stored.shut })),
        (8, ..) => Ok(Phase::Reserved),
        (kind, ..) => Err(format!("its phase is {kind}, which this controller does not know")),
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

    fn any_replacing() -> impl Strategy<Value = Replacing> {
        (0..2usize, any::<bool>(), prop::option::of(".{0,9}")).prop_map(|(slot, spare, said)| {
            let new = Piece { donor: "n7".into(), bytes: 7, ..Piece::default() };
            let failed = |said| Failure::new(FailureKind::Failed, "replace").saying(said);
            Replacing { slot, new, from_spare: spare, copying: !spare, trouble: said.map(failed) }
        })
    }

    fn any_debt() -> impl Strategy<Value = Debt> {
        let what = prop_oneof![
            any::<u32>().prop_map(|generation| Owed::Head { generation }),
            any::<(u32, u32)>().prop_map(|(generation, carved)| Owed::Piece { generation, carved }),
        ];
        ("[a-z]{1,4}", what).prop_map(|(node, what)| Debt { node, what })
    }

    fn any_phase() -> impl Strategy<Value = Phase> {
        prop_oneof![
            Just(Phase::Creating),
            Just(Phase::Ready),
            Just(Phase::Reserved),
            any_cause().prop_map(Phase::Released),
            any_replacing().prop_map(Phase::Replacing),
            (
                any::<(u32, bool, bool)>(),
                prop::option::of(".{1,9}"),
                prop::option::of(any_replacing())
            )
                .prop_map(|((generation, force, fenced), failed, joining)| {
                    let remains = vec![Failure::new(FailureKind::NotNow, "fence").on("n2")];
                    let head = "n9".to_owned();
                    Phase::FailingOver(FailingOver {
                        head,
                        generation,
                        force,
                        fenced,
                        failed,
                        joining,
                        remains,
                    })
                }),
            (".{0,9}", any::<bool>()).prop_map(|(why, shut)| Phase::Failed(Failed { why, shut })),
            (any_cause(), any::<bool>(), any::<bool>()).prop_map(|(cause, was_ready, force)| {
                let remains = vec![Failure::new(FailureKind::NotNow, "free").on("n2")];
                Phase::Releasing(Releasing { cause, was_ready, force, remains })
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_written(
            phase in any_phase(), generation in 1..9_999_999u32, times in any::<(u64, u64, u64)>(),
            (formed, given) in any::<(u32, u32)>(), lacking in prop::collection::btree_set(0..2usize, 0..3),
            debts in prop::collection::vec(any_debt(), 0..3),
        ) {
            let piece = |donor: &str| Piece { donor: donor.into(), bytes: 7, ..Piece::default() };
            let record = PoolRecord {
                assembly: format!("demo.{generation}").parse().unwrap(),
                spec: PoolSpec { name: "demo".into(), owner: "ada".into(), ..PoolSpec::default() },
                placement: Placement {
                    pieces: vec![piece("n2"), piece("n3")],
                    ..Placement::default()
                },
                boot_ids: [("n2".to_owned(), "b".to_owned())].into(),
                serials: [("n2".to_owned(), "s".to_owned())].into(),
                formed, given, lacking, debts, phase,
                created_ms: times.0, ready_ms: times.1, released_ms: times.2,
            };
            prop_assert_eq!(decode(&encode(&record)), Ok(record));
        }

        #[test]
        fn a_record_of_the_first_schema_reads_as_one_that_was_never_moved(ready in any::<bool>()) {
            let old = StoredPool {
                id: Some(PoolId { name: "demo".into(), generation: 3 }),
                spec: Some(PoolSpec::default()),
                placement: Some(Placement::default()),
                phase: Some(StoredPhase { kind: 1 + u32::from(ready), ..StoredPhase::default() }),
                ..StoredPool::default()
            };
            let read = decode(&old.encode_to_vec()).unwrap();
            prop_assert_eq!(read.phase, if ready { Phase::Ready } else { Phase::Creating });
            prop_assert_eq!((read.formed, read.lacking.len(), read.debts.len()), (0, 0, 0));
        }

        #[test]
        fn failures_read_back(
            count in any::<u32>(), nodes in "[a-z,0-9]{0,20}", said in ".{0,20}", lacks in any::<bool>()
        ) {
            let set = || nodes.split(',').map(str::to_owned).collect();
            let given_up = "job-7-1".to_owned();
            let (avoid, told, donors) = (set(), set(), set());
            let failures = Failures { count, avoid, told, donors, lacks, said, given_up };
            prop_assert_eq!(failures_in(&failures_out(&failures)), Ok(failures));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            _ = (decode(&bytes), failures_in(&bytes));
        }
    }
}
