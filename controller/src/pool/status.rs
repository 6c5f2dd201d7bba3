//! What a pool looks like: its record beside what nodes say now. Pure, but for asking the head
//! for the usage.

use rampool_proto::v1::{
    DonorStatus, GetUsageRequest, HoldingKind, Piece, Pool, PoolId, PoolState, Usage,
};

use super::health::{self, Condition, Knows};
use super::record::{Phase, PoolRecord};
use super::{Env, alerts};
use crate::agents::{Answer, Call};
use crate::lease::Lease;
use crate::planner;

/// The device, bytes and inodes of a pool that is up, if its head answers soon.
pub(super) async fn ask_usage(env: &Env, record: &PoolRecord) -> Option<Usage> {
    let up = is_in_use(record)
        && env.nodes.get(&record.placement.head).is_some_and(|head| head.reachable());
    if !up {
        return None;
    }
    let call = Call::GetUsage(GetUsageRequest { pool: Some(PoolId::from(&record.assembly)) });
    match env.agents.call(&record.placement.head, call, None).await {
        Ok(Answer::Usage(usage)) => Some(usage),
        Ok(_) => None,
        Err(failure) => {
            tracing::debug!(pool = %record.assembly, %failure, "no usage");
            None
        }
    }
}

/// A pool as it is shown. `knows` says what is known of a node.
#[must_use]
pub fn pool(
    record: &PoolRecord,
    lease: &Lease,
    knows: &Knows<'_>,
    usage: Option<Usage>,
    now_ms: u64,
) -> Pool {
    let head = knows(&record.placement.head);
    let in_use = is_in_use(record);
    // Who lost what is worth knowing of a pool that failed too.
    let looked_at = in_use || matches!(record.phase, Phase::Failed(_));
    let conditions = if looked_at { health::conditions(record, knows) } else { Vec::new() };
    let donors: Vec<DonorStatus> = match record.phase {
        Phase::Released(_) => Vec::new(),
        _ if looked_at => {
            let told = record.members().enumerate().zip(&conditions);
            told.filter(|((number, piece), _)| !begins_anew(record, *number, piece))
                .map(|((_, piece), condition)| told_of(piece, condition.words()))
                .collect()
        }
        _ => record.members().map(|piece| half_made(record, piece, knows)).collect(),
    };
    let degraded = record.phase == Phase::Ready && conditions.iter().any(Condition::is_out);
    let state = if degraded { PoolState::Degraded } else { record.phase.pool_state() };
    Pool {
        id: Some(PoolId::from(&record.assembly)),
        state: state.into(),
        spec: Some(record.spec.clone()),
        placement: Some(record.placement.clone()),
        remarks: remarks(record, &donors),
        alerts: alerts::of(record, lease, &conditions, knows, now_ms),
        health: if in_use { health::volume(record, head.as_ref()) } else { None },
        donors,
        usage,
        created_ms: record.created_ms,
        ready_ms: record.ready_ms,
        expires_ms: lease.end_ms(),
        volatile_memory: true,
    }
}

/// Whether a lost piece's donor is joining again: it is told once.
fn begins_anew(record: &PoolRecord, number: usize, piece: &Piece) -> bool {
    let joins = record.joining().is_some_and(|joining| joining.donor == piece.donor);
    joins && record.lacking.contains(&number)
}

/// Whether people may be using it.
fn is_in_use(record: &PoolRecord) -> bool {
    matches!(record.phase, Phase::Ready | Phase::Replacing(_))
}

/// One sentence on where a pool is.
#[must_use]
pub fn sentence(record: &PoolRecord) -> String {
    let assembly = &record.assembly;
    match &record.phase {
        Phase::Creating if record.awaits_nodes() => format!("{assembly} is being reserved"),
        Phase::Creating => format!("{assembly} is being made"),
        Phase::Reserved => {
            let donors = match record.members().count() {
                1 => "one donor".to_owned(),
                donors => format!("{donors} donors"),
            };
            format!("{assembly} is reserved on {donors} until its job has its nodes")
        }
        Phase::Ready if record.placement.mount_point.is_empty() => format!("{assembly} is ready"),
        Phase::Ready => format!(
            "{assembly} is mounted at {} on {}",
            record.placement.mount_point, record.placement.head
        ),
        Phase::Replacing(replacing) => {
            let old = record.placement.pieces.get(replacing.slot).map_or("", |p| &p.donor);
            format!("{assembly} is in use, and {} takes {old}'s place", replacing.new.donor)
        }
        Phase::FailingOver(over) => {
            format!("{assembly} is being brought up on {}", over.head)
        }
        Phase::Failed(failed) => format!("{assembly} has failed: {}", failed.why),
        Phase::Releasing(releasing) => {
            format!("{assembly} is being released ({})", releasing.cause)
        }
        Phase::Released(cause) => format!("{assembly} is released ({cause})"),
    }
}

fn told_of(piece: &Piece, (state, detail): (&str, String)) -> DonorStatus {
    DonorStatus { node: piece.donor.clone(), bytes: piece.bytes, state: state.to_owned(), detail }
}

/// A donor of a pool that is being made or unmade.
fn half_made(record: &PoolRecord, piece: &Piece, knows: &Knows<'_>) -> DonorStatus {
    let Some(known) = knows(&piece.donor) else {
        return told_of(piece, Condition::UnknownNode.words());
    };
    let Some(inventory) = known.current() else {
        return told_of(piece, ("unreachable", known.why_not().to_owned()));
    };
    let kinds = [HoldingKind::Ramdisk, HoldingKind::Export];
    let held = record.assemblies().any(|assembly| {
        let id = PoolId::from(&assembly);
        kinds.iter().any(|kind| health::holds(inventory, &id, *kind))
    });
    let state = match record.phase {
        _ if held => "held",
        Phase::Creating => "reserving",
        Phase::Releasing(_) | Phase::Released(_) => "free",
        _ => "not held",
    };
    told_of(piece, (state, String::new()))
}

/// Of a failed pool.
const UNCONFIRMED: &str = "its head did not yet confirm that nobody waits for it";

fn remarks(record: &PoolRecord, donors: &[DonorStatus]) -> Vec<String> {
    let mut remarks = Vec::new();
    match &record.phase {
        Phase::Ready | Phase::Replacing(_) | Phase::Failed(_) => {
            remarks.push(volatile(record));
            if matches!(&record.phase, Phase::Failed(failed) if !failed.shut) {
                remarks.push(UNCONFIRMED.to_owned());
            }
            let bad = donors.iter().filter(|donor| !["ok", "spare"].contains(&&*donor.state));
            remarks.extend(bad.map(|donor| match donor.detail.as_str() {
                "" => format!("{} {}", donor.node, donor.state),
                detail => format!("{} {}: {detail}", donor.node, donor.state),
            }));
            remarks.extend(spares_left(record));
        }
        Phase::FailingOver(over) => {
            remarks.push(format!("being brought up on {}", over.head));
            remarks.extend(over.remains.iter().map(|left| format!("waits: {left}")));
        }
        Phase::Releasing(releasing) => {
            remarks.push(format!("being released: {}", releasing.cause));
            remarks.extend(releasing.remains.iter().map(|left| format!("remains: {left}")));
        }
        Phase::Released(cause) => remarks.push(format!("released: {cause}")),
        Phase::Reserved => {
            remarks.push("its memory is held until its job has its nodes".to_owned());
        }
        Phase::Creating => {}
    }
    let owing = record.debts.iter().map(|debt| debt.node.as_str());
    let owing = Vec::from_iter(owing.collect::<std::collections::BTreeSet<_>>());
    if !owing.is_empty() && !record.is_released() {
        remarks.push(format!(
            "{} must still give back an older part of it, and does when it answers",
            owing.join(", ")
        ));
    }
    remarks
}

/// Of a pool that used up or lost spares.
fn spares_left(record: &PoolRecord) -> Option<String> {
    let (left, asked) = (record.placement.spares.len(), record.spec.spares() as usize);
    let then = match record.spec.auto_replace() {
        true => "any eligible node takes the place of who is lost next",
        false => "`rampool replace` puts a node in the place of who is lost next",
    };
    let none = if left == 0 { format!("; {then}") } else { String::new() };
    (left < asked).then(|| format!("{left} of {asked} spares left{none}"))
}

fn volatile(record: &PoolRecord) -> String {
    let placement = &record.placement;
    let loss = planner::loss(placement.redundancy(), placement.pieces.len());
    format!("volatile: all data is in memory; {loss}; `down` ends it")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::nodes::{Contact, Known};
    use crate::pool::record::samples;
    use rampool_proto::v1::{Holding, Inventory, Memory, Placement, PoolSpec, Redundancy};

    fn record() -> PoolRecord {
        let piece = |donor: &str| Piece { donor: donor.into(), bytes: 7, ..Piece::default() };
        PoolRecord {
            spec: PoolSpec { lease_seconds: 100, ..PoolSpec::default() },
            placement: Placement {
                head: "n1".into(),
                pieces: vec![piece("n2"), piece("n12")],
                mount_point: "/rampool/demo".into(),
                ..Placement::default()
            },
            boot_ids: BTreeMap::from([("n2".into(), "boot".into())]),
            ..samples::ready("demo.3")
        }
    }

    /// A node that holds these, each with its detail and, of a session, its donor.
    fn node(name: &str, holdings: &[(HoldingKind, &str, &str)]) -> Known {
        let holding = |(kind, detail, donor): &(HoldingKind, &str, &str)| Holding {
            pool: Some(PoolId { name: "demo".into(), generation: 3 }),
            kind: (*kind).into(),
            detail: (*detail).to_owned(),
            donor: (*donor).to_owned(),
            ..Holding::default()
        };
        let inventory = Inventory {
            node: name.into(),
            boot_id: "boot".into(),
            holdings: holdings.iter().map(holding).collect(),
            ..Inventory::default()
        };
        Known {
            name: name.into(),
            contact: Contact::Reachable { since_ms: 1 },
            inventory: Some(Arc::new(inventory)),
            last_seen_ms: 100_000,
        }
    }

    const PIECE: [(HoldingKind, &str, &str); 2] =
        [(HoldingKind::Ramdisk, "rd_mcp", ""), (HoldingKind::Export, "", "")];

    fn seen(record: &PoolRecord, nodes: &[Known], now_ms: u64) -> Pool {
        let knows = |name: &str| nodes.iter().find(|node| node.name == name).cloned();
        pool(record, &Lease::as_asked(record), &knows, None, now_ms)
    }

    fn states(pool: &Pool) -> Vec<&str> {
        pool.donors.iter().map(|donor| donor.state.as_str()).collect()
    }

    #[test]
    fn what_was_looked_up_before_the_mount_says_nothing_of_it() {
        let nodes = ["n1", "n2", "n12"].map(|name| Known { last_seen_ms: 1001, ..node(name, &[]) });
        let pool = seen(&record(), &nodes, 1002);
        assert_eq!(states(&pool), ["ok", "ok"]);
        assert_eq!((pool.remarks.len(), pool.alerts.len()), (1, 0), "{pool:?}");
    }

    fn head(sessions: [&str; 2]) -> Known {
        let [one, two] = sessions;
        node(
            "n1",
            &[
                (HoldingKind::Session, one, "n2"),
                (HoldingKind::Session, two, "n12"),
                (HoldingKind::Mount, "/rampool/demo", ""),
            ],
        )
    }

    #[test]
    fn a_donor_is_as_well_as_the_heads_session_with_it() {
        let nodes = [head(["FAILED", "LOGGED_IN"]), node("n2", &PIECE), node("n12", &PIECE)];
        let pool = seen(&record(), &nodes, 2000);
        assert_eq!(states(&pool), ["cut off", "ok"]);
        assert!(pool.remarks.iter().any(|remark| remark.contains("n2 cut off")));
        assert!(pool.alerts[0].starts_with("I/O waits for n2"), "{:?}", pool.alerts);
        assert_eq!(pool.state(), PoolState::Ready);
    }

    #[test]
    fn a_redundant_pool_that_lacks_a_donor_is_degraded_and_says_what_follows() {
        let mut record = record();
        record.placement.redundancy = Redundancy::Mirror.into();
        let nodes = [head(["FREE", "LOGGED_IN"]), node("n2", &PIECE), node("n12", &PIECE)];
        for (auto_replace, then) in
            [(true, "an eligible node takes the place"), (false, "`rampool replace demo n2`")]
        {
            record.spec.auto_replace = Some(auto_replace);
            let pool = seen(&record, &nodes, 2000);
            assert_eq!((pool.state(), states(&pool)), (PoolState::Degraded, vec!["faulty", "ok"]));
            assert!(pool.alerts[0].contains("degraded: n2 faulty"), "{:?}", pool.alerts);
            assert!(pool.alerts[0].contains(then), "{:?}", pool.alerts);
        }
        record.phase = Phase::Failed(super::super::record::Failed {
            why: "n2 and n12 lost their memory".into(),
            shut: true,
        });
        let pool = seen(&record, &nodes, 2000);
        assert_eq!(pool.state(), PoolState::Failed);
        assert!(pool.alerts[0].contains("lost their memory"), "{:?}", pool.alerts);
        assert!(pool.alerts[0].contains("rampool down demo"), "{:?}", pool.alerts);
    }

    #[test]
    fn a_pool_that_has_fewer_spares_than_asked_for_says_so() {
        let mut record = record();
        record.spec.spares = Some(2);
        record.placement.spares = vec![Piece { donor: "n3".into(), ..Piece::default() }];
        let nodes = [head(["LOGGED_IN"; 2]), node("n2", &PIECE), node("n12", &PIECE)];
        let last = |record: &PoolRecord| seen(record, &nodes, 2000).remarks.pop().unwrap();
        assert_eq!(last(&record), "1 of 2 spares left");
        record.placement.spares.clear();
        assert!(last(&record).starts_with("0 of 2 spares left; `rampool replace`"));
        record.spec.spares = Some(0);
        assert!(!last(&record).contains("spares"));
    }

    #[test]
    fn alerts_name_a_head_that_lost_the_mount_and_a_lease_that_ended() {
        let pool = seen(&record(), &[node("n1", &[]), node("n2", &[])], 200_000);
        assert_eq!(pool.expires_ms, 101_000);
        let said = [pool.alerts.join("\n"), pool.remarks.join("\n")].concat();
        for word in [
            "no longer holds the pool's mount",
            "rampool failover demo --head NODE",
            "lease ended",
            "n12 unknown node",
            "n2 lost its memory",
        ] {
            assert!(said.contains(word), "{word} is missing in:\n{said}");
        }
    }

    #[test]
    fn a_donor_under_its_floor_is_an_alert_of_its_pools() {
        let mut poor = node("n2", &PIECE);
        let mut inventory = Inventory::clone(poor.inventory.as_ref().unwrap());
        inventory.memory =
            Some(Memory { available_bytes: 1 << 20, floor_bytes: 1 << 30, ..Memory::default() });
        poor.inventory = Some(Arc::new(inventory));
        let nodes = [head(["LOGGED_IN"; 2]), poor, node("n12", &PIECE)];
        let alerts = seen(&record(), &nodes, 2000).alerts;
        assert!(alerts[0].contains("n2 has only 1 MiB") && alerts[0].contains("evacuate n2"));
    }
}
