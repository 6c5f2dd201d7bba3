//! What of a pool somebody should act on, and how: sentences for `status`, each with what to do.
//! Pure.

use rampool_proto::size::Size;
use rampool_proto::v1::{FilesystemKind, HoldingKind, Piece, PoolId};

use super::health::{self, Condition, Knows};
use super::record::{Phase, PoolRecord};
use crate::lease::Lease;
use crate::nodes::Known;
use crate::planner::redundancy::is_redundant;

/// The alerts of a pool whose pieces are in these conditions.
pub(super) fn of(
    record: &PoolRecord,
    lease: &Lease,
    conditions: &[Condition],
    knows: &Knows<'_>,
    now_ms: u64,
) -> Vec<String> {
    let name = &record.assembly.name;
    let mut alerts = Vec::new();
    match &record.phase {
        Phase::Failed(failed) => alerts.push(format!(
            "failed: {}; uses end with an error; where the donors still have their memory, \
             `rampool failover {name} --head NODE` brings up what was synchronised; \
             `rampool down {name}` gives the pool up",
            failed.why
        )),
        Phase::Ready | Phase::Replacing(_) => {
            alerts.extend(of_head(record, knows(&record.placement.head).as_ref()));
            alerts.extend(degraded(record, conditions));
            alerts.extend(waiting(record, conditions));
            alerts.extend(pressed(record, knows));
        }
        _ => {}
    }
    if !record.is_released() {
        alerts.extend(lease.remark(record.spec.at_expiry(), now_ms));
    }
    alerts
}

fn of_head(record: &PoolRecord, head: Option<&Known>) -> Option<String> {
    let (pool, name) = (&record.assembly.name, &record.placement.head);
    let elsewhere = format!("`rampool failover {pool} --head NODE` brings the pool up elsewhere");
    let Some(head) = head else {
        return Some(format!("head {name} is no longer in the controller's configuration"));
    };
    let Some(inventory) = head.current() else {
        let why = head.why_not();
        return Some(format!("head {name} is unreachable: {why}; if it is lost, {elsewhere}"));
    };
    if record.boot_ids.get(name).is_some_and(|before| *before != inventory.boot_id) {
        return Some(format!("head {name} was booted anew: the pool is not mounted; {elsewhere}"));
    }
    let wanted = match record.placement.filesystem() {
        FilesystemKind::None => HoldingKind::Volume,
        _ => HoldingKind::Mount,
    };
    let id = PoolId::from(&record.assembly);
    let gone = !health::holds(inventory, &id, wanted) && head.speaks_of_after(record.ready_ms);
    gone.then(|| format!("head {name} no longer holds the pool's mount or volume; {elsewhere}"))
}

/// Who is out of a redundant pool, and what becomes of their places.
fn degraded(record: &PoolRecord, conditions: &[Condition]) -> Option<String> {
    if !is_redundant(record.placement.redundancy()) {
        return None;
    }
    let told = |piece: &Piece, condition: &Condition| match condition.words() {
        (state, detail) if detail.is_empty() => format!("{} {state}", piece.donor),
        (state, detail) => format!("{} {state} ({detail})", piece.donor),
    };
    let places = record.placement.pieces.iter().zip(conditions);
    let out: Vec<(&Piece, &Condition)> =
        places.filter(|(_, condition)| condition.is_out()).collect();
    let first = out.iter().find(|(_, condition)| **condition != Condition::Rebuilding);
    let spare = conditions.contains(&Condition::Spare);
    let then = match (first, &record.phase) {
        _ if out.is_empty() => return None,
        (_, Phase::Replacing(replacing)) => format!("{} is being filled", replacing.new.donor),
        (None, _) => "it is being filled".to_owned(),
        (Some(_), _) if spare => "a spare takes the place".to_owned(),
        (Some(_), _) if record.spec.auto_replace() => {
            "an eligible node takes the place if it does not come back soon".to_owned()
        }
        (Some((piece, _)), _) => format!(
            "`rampool replace {} {}` puts another node in its place",
            record.assembly.name, piece.donor
        ),
    };
    let out: Vec<String> = out.iter().map(|(piece, condition)| told(piece, condition)).collect();
    Some(format!("degraded: {}; {then}", out.join(", ")))
}

/// Whom the users of a pool without redundancy wait for.
fn waiting(record: &PoolRecord, conditions: &[Condition]) -> Option<String> {
    if is_redundant(record.placement.redundancy()) {
        return None;
    }
    let silent = |(piece, condition): (&Piece, &Condition)| {
        matches!(condition, Condition::CutOff(_)).then(|| piece.donor.clone())
    };
    let silent: Vec<String> = record.members().zip(conditions).filter_map(silent).collect();
    (!silent.is_empty()).then(|| {
        format!(
            "I/O waits for {}, at most {} s from when it fell silent; then the pool fails; \
             `rampool fail {}` ends the waiting at once",
            silent.join(", "),
            record.placement.patience_seconds,
            record.assembly.name
        )
    })
}

/// Donors that run out of memory for themselves.
fn pressed(record: &PoolRecord, knows: &Knows<'_>) -> Vec<String> {
    let told = |piece: &Piece| {
        let known = knows(&piece.donor)?;
        let (available, floor) = known.pressure()?;
        Some(format!(
            "{} has only {} of memory available, less than its floor of {}; `rampool evacuate \
             {}` moves its pieces away where pools can be moved",
            piece.donor,
            Size(available),
            Size(floor),
            piece.donor
        ))
    };
    record.members().filter_map(told).collect()
}
