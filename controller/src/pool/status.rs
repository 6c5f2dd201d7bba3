//! What a pool looks like: its record beside what nodes say now. Pure, but for asking the head
//! for the usage.

use rampool_proto::v1::{
    DonorStatus, FilesystemKind, GetUsageRequest, HoldingKind, Inventory, Piece, Pool, PoolId,
    Usage,
};

use super::Env;
use super::record::{Phase, PoolRecord};
use crate::agents::{Answer, Call};
use crate::lease;
use crate::nodes::Known;

/// The device, bytes and inodes of a pool that is up, if its head answers soon.
pub(super) async fn ask_usage(env: &Env, record: &PoolRecord) -> Option<Usage> {
    let up = record.phase == Phase::Ready
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

/// A pool as it is shown. `known` says what is known of a node.
#[must_use]
pub fn pool(
    record: &PoolRecord,
    known: &dyn Fn(&str) -> Option<Known>,
    usage: Option<Usage>,
    now_ms: u64,
) -> Pool {
    let head = known(&record.placement.head);
    let donors: Vec<DonorStatus> = match record.phase {
        Phase::Released(_) => Vec::new(),
        _ => {
            let status = |piece: &Piece| donor(record, piece, known(&piece.donor), head.as_ref());
            record.placement.pieces.iter().map(status).collect()
        }
    };
    Pool {
        id: Some(PoolId::from(&record.assembly)),
        state: record.phase.pool_state().into(),
        spec: Some(record.spec.clone()),
        placement: Some(record.placement.clone()),
        remarks: remarks(record, &donors, head.as_ref(), now_ms),
        donors,
        usage,
        created_ms: record.created_ms,
        ready_ms: record.ready_ms,
        expires_ms: lease::expires_ms(record.ready_ms, record.spec.lease_seconds),
        volatile_memory: true,
        ..Pool::default()
    }
}

/// One sentence on where a pool is.
#[must_use]
pub fn sentence(record: &PoolRecord) -> String {
    let assembly = &record.assembly;
    match &record.phase {
        Phase::Creating => format!("{assembly} is being made"),
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

fn holds(inventory: &Inventory, id: &PoolId, kinds: &[HoldingKind]) -> bool {
    inventory.holdings.iter().any(|h| h.pool.as_ref() == Some(id) && kinds.contains(&h.kind()))
}

/// Whether a node was booted anew since the pool was placed.
fn rebooted(record: &PoolRecord, node: &str, inventory: &Inventory) -> bool {
    record.boot_ids.get(node).is_some_and(|before| *before != inventory.boot_id)
}

fn donor(
    record: &PoolRecord,
    piece: &Piece,
    known: Option<Known>,
    head: Option<&Known>,
) -> DonorStatus {
    let status = |state: &str, detail: String| DonorStatus {
        node: piece.donor.clone(),
        bytes: piece.bytes,
        state: state.to_owned(),
        detail,
    };
    let Some(known) = known else {
        return status("unknown node", "it is no longer in the controller's configuration".into());
    };
    let Some(inventory) = known.current() else {
        return status("unreachable", known.why_not().to_owned());
    };
    let id = PoolId::from(&record.assembly);
    let has_piece = holds(inventory, &id, &[HoldingKind::Ramdisk, HoldingKind::Export]);
    match record.phase {
        Phase::Ready if rebooted(record, &piece.donor, inventory) => {
            status("lost its memory", "the node was booted anew".into())
        }
        Phase::Ready if !has_piece && known.speaks_of_after(record.ready_ms) => {
            status("lost its memory", "the node no longer holds the piece".into())
        }
        Phase::Ready => match session_state(&id, piece, head) {
            Some(state) if state != "LOGGED_IN" => {
                status("cut off", format!("the head's session is {state}"))
            }
            Some(state) => status("ok", state),
            None if piece.local => status("ok", "local".into()),
            None => status("ok", String::new()),
        },
        Phase::Creating if !has_piece => status("reserving", String::new()),
        Phase::Releasing(_) | Phase::Released(_) if !has_piece => status("free", String::new()),
        _ => status("held", String::new()),
    }
}

/// The state of the head's session with a donor. The session is named after its target,
/// `<authority>:<pool>.<generation>.<donor>`.
fn session_state(id: &PoolId, piece: &Piece, head: Option<&Known>) -> Option<String> {
    let ending = format!(":{}.{}.{}", id.name, id.generation, piece.donor);
    let holdings = &head?.current()?.holdings;
    let session = holdings.iter().find(|h| {
        h.kind() == HoldingKind::Session && h.pool.as_ref() == Some(id) && h.name.ends_with(&ending)
    })?;
    Some(session.detail.clone())
}

fn remarks(
    record: &PoolRecord,
    donors: &[DonorStatus],
    head: Option<&Known>,
    now_ms: u64,
) -> Vec<String> {
    let mut remarks = Vec::new();
    match &record.phase {
        Phase::Ready => {
            remarks.push(
                "volatile: all data is in memory and lost with any donor or `down`".to_owned(),
            );
            remarks.extend(lease::remark(record.ready_ms, record.spec.lease_seconds, now_ms));
            remarks.extend(head_remark(record, head));
            let bad = donors.iter().filter(|donor| donor.state != "ok");
            remarks.extend(
                bad.map(|donor| format!("{} {}: {}", donor.node, donor.state, donor.detail)),
            );
        }
        Phase::Releasing(releasing) => {
            remarks.push(format!("being released: {}", releasing.cause));
            remarks.extend(releasing.remains.iter().map(|left| format!("remains: {left}")));
        }
        Phase::Released(cause) => remarks.push(format!("released: {cause}")),
        Phase::Failed(failed) => remarks.push(format!("failed: {}", failed.why)),
        Phase::Creating | Phase::Replacing(_) | Phase::FailingOver(_) => {}
    }
    remarks
}

fn head_remark(record: &PoolRecord, head: Option<&Known>) -> Option<String> {
    let name = &record.placement.head;
    let Some(head) = head else {
        return Some(format!("head {name} is no longer in the controller's configuration"));
    };
    let Some(inventory) = head.current() else {
        return Some(format!("head {name} is unreachable: {}", head.why_not()));
    };
    let id = PoolId::from(&record.assembly);
    if rebooted(record, name, inventory) {
        return Some(format!("head {name} was booted anew: the pool is not mounted"));
    }
    let wanted = match record.placement.filesystem() {
        FilesystemKind::None => HoldingKind::Volume,
        _ => HoldingKind::Mount,
    };
    (!holds(inventory, &id, &[wanted]) && head.speaks_of_after(record.ready_ms))
        .then(|| format!("head {name} no longer holds the pool's mount or volume"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use super::*;
    use crate::nodes::Contact;
    use rampool_proto::v1::{Holding, Placement, PoolSpec};

    fn record() -> PoolRecord {
        let piece = |donor: &str| Piece { donor: donor.into(), bytes: 7, ..Piece::default() };
        PoolRecord {
            assembly: "demo.3".parse().unwrap(),
            spec: PoolSpec { lease_seconds: 100, ..PoolSpec::default() },
            placement: Placement {
                head: "n1".into(),
                pieces: vec![piece("n2"), piece("n12")],
                mount_point: "/rampool/demo".into(),
                ..Placement::default()
            },
            boot_ids: BTreeMap::from([("n2".into(), "boot".into())]),
            serials: BTreeMap::new(),
            formed: 0,
            lacking: BTreeSet::new(),
            debts: Vec::new(),
            phase: Phase::Ready,
            created_ms: 1,
            ready_ms: 1000,
            released_ms: 0,
        }
    }

    fn node(name: &str, holdings: &[(HoldingKind, &str, &str)]) -> Known {
        let holding = |(kind, name, detail): &(HoldingKind, &str, &str)| Holding {
            pool: Some(PoolId { name: "demo".into(), generation: 3 }),
            kind: (*kind).into(),
            name: (*name).to_owned(),
            detail: (*detail).to_owned(),
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

    #[test]
    fn what_was_looked_up_before_the_mount_says_nothing_of_it() {
        let nodes = ["n1", "n2", "n12"].map(|name| Known { last_seen_ms: 1001, ..node(name, &[]) });
        let pool = seen(&nodes, 1002);
        assert!(pool.donors.iter().all(|donor| donor.state == "ok"), "{:?}", pool.donors);
        assert_eq!(pool.remarks.len(), 1, "{:?}", pool.remarks);
    }

    fn seen(nodes: &[Known], now_ms: u64) -> Pool {
        let known = |name: &str| nodes.iter().find(|node| node.name == name).cloned();
        pool(&record(), &known, None, now_ms)
    }

    #[test]
    fn a_donor_is_as_well_as_the_heads_session_with_it() {
        let piece = &[(HoldingKind::Ramdisk, "", "")];
        let target = |donor: &str| format!("iqn.2026-11.org.rampool:demo.3.{donor}");
        let (up, down) = (target("n12"), target("n2"));
        let head = node(
            "n1",
            &[
                (HoldingKind::Session, &up, "LOGGED_IN"),
                (HoldingKind::Session, &down, "FAILED"),
                (HoldingKind::Mount, "/rampool/demo", ""),
            ],
        );
        let pool = seen(&[head, node("n2", piece), node("n12", piece)], 2000);
        let states: Vec<&str> = pool.donors.iter().map(|donor| donor.state.as_str()).collect();
        assert_eq!(states, ["cut off", "ok"]);
        assert!(pool.remarks.iter().any(|remark| remark.contains("n2 cut off")));
    }

    #[test]
    fn remarks_name_a_head_that_lost_the_mount_a_missing_donor_and_a_lease_that_ended() {
        let pool = seen(&[node("n1", &[]), node("n2", &[])], 200_000);
        assert_eq!(pool.expires_ms, 101_000);
        let remarks = pool.remarks.join("\n");
        for word in
            ["no longer holds the pool's mount", "lease ended", "n12 unknown node", "n2 lost"]
        {
            assert!(remarks.contains(word), "{word} is missing in:\n{remarks}");
        }
    }
}
