//! Everything given back, and compared with before.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::cell::{Cell, Phase, Victim};
use super::stage::{Cast, HEAD, POOL, Stage};
use super::strike::bring_back;
use super::table::{Promise, Verdict, boots_a_node, stays_away, verdict};
use crate::footprint::Footprint;

/// How long the controller may take to settle what a fault left open, once everybody is back.
const SETTLED: Duration = Duration::from_secs(300);

/// How long a `down` may take while a node is away: each of its calls has a deadline.
const DOWN_WITHOUT: Duration = Duration::from_secs(120);

/// What nodes still hold after the last `down` said that all is free: the kernel's own
/// afterwork (a session's last reference, memory on per-CPU lists).
const AFTERWORK: Duration = Duration::from_secs(60);

/// What a node may have less of afterwards, of what counts.
const MISSING: u64 = 8 << 20;

/// And what its slabs may have grown by: dentries of configfs and sysfs, sockets, SCSI commands;
/// and the controller's and agents' own heaps.
const SLABS: u64 = 8 << 20;

/// The pool's state by `rampool status`; none where there is no such pool.
pub fn state(stage: &Stage) -> Result<Option<String>> {
    let output = stage.rampool(&["status", POOL, "-o", "json"])?;
    if output.status.code == Some(3) {
        return Ok(None);
    }
    let told = output.ok()?;
    let pool: serde_json::Value = serde_json::from_str(&told).context("status is no JSON")?;
    let state = pool["state"].as_str().with_context(|| format!("no state in {told}"))?;
    Ok(Some(state.to_owned()).filter(|state| state != "released"))
}

/// Waits until the controller is done with what it found; the pool's state then.
pub fn settle(stage: &Stage) -> Result<Option<String>> {
    stage.wait_all_reachable()?;
    settle_without(stage)
}

/// The same while somebody may be away.
pub fn settle_without(stage: &Stage) -> Result<Option<String>> {
    let begin = Instant::now();
    loop {
        let state = state(stage)?;
        match state.as_deref() {
            None | Some("ready" | "failed" | "degraded") => return Ok(state),
            Some(open) if begin.elapsed() > SETTLED => bail!(
                "{POOL} is still {open} after {SETTLED:?}: {}",
                stage.rampool(&["status", POOL])?.stdout_text()
            ),
            // The command line has no "wait".
            Some(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// Whether somebody is still away when the pool is to be taken down. After a disturbed `up`
/// nobody is: the same `up` was repeated; nor with another head, which saw the first one back.
fn is_away(cell: &Cell) -> bool {
    let seen_back = verdict(cell) == Verdict::Runs(Promise::FailedOver);
    stays_away(cell) && !seen_back && !matches!(cell.moment.phase(), Phase::Up(_))
}

/// Takes the pool down, also without those who are away; brings them back; sees that nothing of
/// it is left anywhere.
pub fn take_down(stage: &Stage, cast: &Cast, before: &[Footprint]) -> Result<()> {
    if is_away(&cast.cell) {
        down_without(stage, cast)?;
        bring_back(stage, cast)?;
    }
    settle(stage).context("before the last `down`")?;
    let down = stage.rampool(&["down", POOL])?;
    if down.status.code != Some(3) {
        down.ok().context("the last `down`")?;
    }
    let booted = Some(cast.victim()).filter(|_| boots_a_node(&cast.cell));
    as_before(stage, booted, before).map(drop)
}

/// `down` while a node is away: it ends, is honest, and frees all that can be reached.
fn down_without(stage: &Stage, cast: &Cast) -> Result<()> {
    let victim = cast.victim();
    if cast.cell.victim == Victim::Head {
        let refused = timed_down(stage, &["down", POOL])?;
        if refused.status.code != Some(3) && !refused.success() {
            let words = refused.stderr_text();
            ensure!(words.contains(HEAD), "`down` without its head does not name it: {words}");
        }
    }
    let down = timed_down(stage, &["down", POOL, "--force"])?;
    let words = down.stderr_text();
    ensure!(
        down.success() || down.status.code == Some(3) || words.contains(victim),
        "`down --force` without {victim} failed and does not name it: {words}"
    );
    for name in stage.cluster.nodes().iter().filter(|name| *name != victim) {
        let held = stage.cluster.footprint(name)?;
        ensure!(
            !held.mentions("rp.demo"),
            "{name} still holds the pool after `down --force` without {victim}: {words}"
        );
    }
    Ok(())
}

fn timed_down(stage: &Stage, words: &[&str]) -> Result<rampool_lab::Output> {
    let begin = Instant::now();
    let output = stage.rampool(words)?;
    ensure!(
        begin.elapsed() < DOWN_WITHOUT,
        "`{}` took {:?}: {}",
        words.join(" "),
        begin.elapsed(),
        output.stderr_text()
    );
    Ok(output)
}

/// Compares every node with before, and returns what they hold now. `booted` has other memory.
pub fn as_before(
    stage: &Stage,
    booted: Option<&str>,
    before: &[Footprint],
) -> Result<Vec<Footprint>> {
    let begin = Instant::now();
    loop {
        let after = stage.cluster.weighed_footprints()?;
        let same = stage.cluster.ensure_same(before, &after);
        let same = same.and_then(|()| memory_as_before(stage, booted, before, &after));
        if same.is_ok() || begin.elapsed() > AFTERWORK {
            return same.map(|()| after);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn memory_as_before(
    stage: &Stage,
    booted: Option<&str>,
    before: &[Footprint],
    after: &[Footprint],
) -> Result<()> {
    for ((name, before), after) in stage.cluster.nodes().iter().zip(before).zip(after) {
        let missing = before.available.saturating_sub(after.available);
        ensure!(
            Some(name.as_str()) == booted || missing <= MISSING + SLABS,
            "{name} misses {} MiB of memory, more than {} and {} for slabs",
            missing >> 20,
            MISSING >> 20,
            SLABS >> 20
        );
    }
    Ok(())
}
