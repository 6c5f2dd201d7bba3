//! A fault while a piece is moved from one donor to another, in use.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::aftermath::{settle, settle_without};
use super::cell::{Moment, Pool};
use super::follow::{Told, follow};
use super::outlive::{fail_over, failed_soon, lends};
use super::play::{Findings, LAST_ROUND, ends_well};
use super::stage::{Cast, JOINING, LEAVING, MOUNT, POOL, Stage};
use super::strike::hit;
use super::table::{Promise, loses_donor, stays_away};
use crate::load::Load;

/// The words after `rampool` that move the piece.
fn words(cast: &Cast) -> &'static [&'static str] {
    match cast.cell.moment {
        Moment::Evacuate => &["evacuate", LEAVING],
        _ => &["replace", POOL, LEAVING, JOINING],
    }
}

/// How `rampool` names a step of the move: of many pools, with the pool's name.
fn told_as(cast: &Cast) -> String {
    match cast.cell.moment {
        Moment::Evacuate => format!("{POOL} {}", cast.step),
        _ => cast.step.to_owned(),
    }
}

/// Hits somebody at one of the move's steps, under load.
pub fn while_moving(stage: &Stage, cast: &Cast, promise: Promise) -> Result<Findings> {
    stage.rampool(&cast.up())?.ok()?;
    let load = Load::begin(stage.head(), MOUNT, cast.seed)?;
    load.wait_acknowledged(1, LAST_ROUND)?;
    let told = follow(&stage.cluster, words(cast), &told_as(cast), || hit(stage, cast))?;
    let at = format!("{} hit at {}", cast.victim(), cast.step);
    if promise == Promise::FailedOver {
        let mut log = load.wait_errors(LAST_ROUND)?.log;
        let took = fail_over(stage, cast, &mut log)?;
        let note = format!("{at}, on another head after {:.1} s", took.as_secs_f64());
        return Ok(Findings { stall: None, note });
    }
    let state = if stays_away(&cast.cell) { settle_without(stage)? } else { settle(stage)? };
    let moved = judge(stage, cast, &told, state.as_deref())?;
    let note = format!("{at}, {moved}, {:.1} s", told.took.as_secs_f64());
    match promise {
        Promise::Moved(longest) => {
            let report = ends_well(stage, load, longest)?;
            Ok(Findings { stall: Some(report.longest_stall()), note })
        }
        Promise::MovedOrLost(within) if state.as_deref() == Some("failed") => {
            failed_soon(stage, cast, Duration::ZERO)?;
            let report = load.wait_errors(within)?;
            ensure!(!report.errors.is_empty(), "the users of a lost pool met no error");
            Ok(Findings { stall: None, note: format!("{note}, data lost") })
        }
        Promise::MovedOrLost(longest) => {
            let report = ends_well(stage, load, longest)?;
            Ok(Findings { stall: Some(report.longest_stall()), note })
        }
        other => anyhow::bail!("{other:?} is not promised while a piece is moved"),
    }
}

/// Whether what the command and `wait` said is so, and whether the same again succeeds; in words,
/// where the piece is.
fn judge(stage: &Stage, cast: &Cast, told: &Told, state: Option<&str>) -> Result<&'static str> {
    let state = state.with_context(|| format!("the pool is gone: {}", told.said))?;
    let waited = stage.rampool(&["wait", POOL])?;
    ensure!(
        waited.success() == (state != "failed"),
        "the pool is {state}, and `wait` says: {}{}",
        waited.stdout_text(),
        waited.stderr_text()
    );
    if loses_donor(&cast.cell) {
        // Others may have taken the lost one's place meanwhile, the one that left among them.
        let redundant = cast.cell.pool == Pool::Mirror;
        ensure!(!redundant || state != "failed", "a mirror failed: {}", told.said);
        return Ok(if told.status.success() { "moved" } else { "not moved at once" });
    }
    ensure!(state == "ready", "the pool is {state}: {}", told.said);
    let is_moved = || -> Result<bool> {
        let pool = stage.pool()?;
        Ok(lends(&pool, JOINING) && !lends(&pool, LEAVING))
    };
    let outcome = match (told.status.success(), is_moved()?) {
        (true, true) => "moved",
        (false, true) => "moved, though not as the command looked on",
        (false, false) => "undone and moved again",
        (true, false) => anyhow::bail!("said to be moved, and is not: {}", told.said),
    };
    again(stage, cast).context("the same again")?;
    ensure!(is_moved()?, "the same again succeeded, and nothing is moved");
    Ok(outcome)
}

/// What `rampool` exits with where something is right and not possible now.
const NOT_NOW: i32 = 4;

/// How soon the same is possible again after a move that was undone: the node that was to join
/// gives back its piece first, once the head that let go of it answers.
const OPEN_AGAIN: Duration = Duration::from_secs(300);

/// Types the same again, until it is possible.
fn again(stage: &Stage, cast: &Cast) -> Result<()> {
    let begin = Instant::now();
    loop {
        let output = stage.rampool(words(cast))?;
        if output.status.code != Some(NOT_NOW) || begin.elapsed() > OPEN_AGAIN {
            return output.ok().map(drop);
        }
        // Nothing tells when a node that owed something has given it back.
        std::thread::sleep(Duration::from_millis(500));
    }
}
