//! What a pool is to show after a fault that took a node's memory, or a head: that it is whole
//! again, that it has failed, or that it is there on another head.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::aftermath::settle;
use super::cell::{Fault, Victim};
use super::stage::{Cast, HEAD, LEAVING, MOUNT, OTHER_HEAD, POOL, Stage};
use super::strike::bring_back;
use super::table::{KNOWN, loses_donor};
use crate::cluster::CONTROLLER;
use crate::load;
use crate::witness::log::Log;

/// How long a rebuild of a small piece may take, under load on a machine of two cores, from the
/// moment that somebody takes the lost one's place.
const MENDED: Duration = Duration::from_secs(600);

/// Longer than any machine takes to see what is promised within seconds; these are judged by what
/// they took.
const SEEN: Duration = Duration::from_secs(300);

/// Waits until all members of a redundant pool have their data, without who lost it; how long
/// that took.
pub fn mended(stage: &Stage, cast: &Cast) -> Result<Duration> {
    until(stage, MENDED, "whole again", |pool| {
        let gone = loses_donor(&cast.cell) && lends(pool, cast.victim());
        pool["state"] == "ready" && all_in_sync(&pool["health"]) && !gone
    })
}

fn all_in_sync(health: &Value) -> bool {
    let members = health["members"].as_array();
    let well = |member: &Value| member["state"] == "in_sync" || member["state"] == "spare";
    health["lacking"] == 0 && members.is_some_and(|members| members.iter().all(well))
}

/// Whether the node has a piece of the pool.
pub fn lends(pool: &Value, node: &str) -> bool {
    let donors = pool["donors"].as_array();
    donors.is_some_and(|donors| donors.iter().any(|donor| donor["node"] == node))
}

/// Waits until the pool has failed, and sees that it names who is lost; how long that took since
/// it could be known. A donor that answers with another boot id is known at once, one that is
/// silent after `patience`.
pub fn failed_soon(stage: &Stage, cast: &Cast, patience: Duration) -> Result<Duration> {
    let rebooted = cast.cell.fault == Fault::Rebooted;
    if rebooted {
        stage.cluster.wait_reachable(&[cast.victim()])?;
    }
    let within = if rebooted { KNOWN } else { patience + KNOWN };
    let (begin, pace) = (Instant::now(), stage.cluster.lab.pace(&[CONTROLLER, HEAD])?);
    until(stage, SEEN, "failed", |pool| pool["state"] == "failed")?;
    let took = pace.since(begin);
    ensure!(took <= within, "failed only after {took:?}, promised are {within:?}");
    let said = stage.pool()?["alerts"].to_string();
    // A head that is cut off sees all its donors go; when it is heard again they may be back.
    let is_head = cast.cell.victim == Victim::Head;
    let at_once = is_head && said.contains("more donors failed at once");
    let lost = if is_head { LEAVING } else { cast.victim() };
    ensure!(at_once || said.contains(lost), "the reason does not name {lost}: {said}");
    Ok(took)
}

fn until(
    stage: &Stage,
    within: Duration,
    what: &str,
    so: impl Fn(&Value) -> bool,
) -> Result<Duration> {
    let begin = Instant::now();
    stage.cluster.until_pool(POOL, what, within, so)?;
    Ok(begin.elapsed())
}

/// Brings the pool up on another head, compares all that was acknowledged, has the first head
/// back, and uses the pool where it is now; how long `failover` took. Donors
/// that all answer need no force, whatever became of the first head.
pub fn fail_over(stage: &Stage, cast: &Cast, log: &mut Log) -> Result<Duration> {
    let old = stage.pool()?;
    stage.open_other_head()?;
    let begin = Instant::now();
    stage.rampool(&["failover", POOL, "--head", OTHER_HEAD])?.ok()?;
    let took = begin.elapsed();
    let head = stage.cluster.node(OTHER_HEAD);
    load::compare_files(head, MOUNT, log).context("what was acknowledged, on another head")?;
    bring_back(stage, cast)?;
    let state = settle(stage).context("with the first head back")?;
    ensure!(state.as_deref() == Some("ready"), "on {OTHER_HEAD} the pool is {state:?}");
    load::add_files(head, MOUNT, log, 1)?;
    load::compare_files(head, MOUNT, log).context("with the first head back")?;
    let held = stage.cluster.footprint(HEAD)?;
    let held_before = held.mentions(&format!("rp.{POOL}.{}", old["generation"]));
    ensure!(!held_before, "{HEAD} still holds what it had as a head: {held:?}");
    Ok(took)
}
