//! One cell, from the pool's making to the fault's healing.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::aftermath::{settle, take_down};
use super::cell::{Cell, Phase};
use super::follow::{Told, follow};
use super::moving::while_moving;
use super::outlive::{fail_over, failed_soon, mended};
use super::stage::{Cast, HEAD, MOUNT, POOL, Stage};
use super::strike::{bring_back, hit};
use super::table::{Promise, Verdict, loses_donor, loses_head, verdict};
use crate::load::{self, Load, Report};
use crate::witness::log::Log;

/// Files made before and after a fault, where no load is at work.
const FILES: u64 = 60;

/// How long the load is at work before and after the fault.
const WORK: Duration = Duration::from_secs(2);

/// How long the load may take to see its last round through.
pub const LAST_ROUND: Duration = Duration::from_secs(300);

/// What a played cell showed, beyond that it held what is promised.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The longest that one request took under load.
    pub stall: Option<Duration>,
    /// What else is worth a line.
    pub note: String,
}

/// Plays one cell on a cluster where the pool's name is free. An error says what was not held.
pub fn play(stage: &Stage, cell: Cell, seed: u64) -> Result<Findings> {
    let Verdict::Runs(promise) = verdict(&cell) else { bail!("{cell} makes no sense") };
    let cast = Cast::of(cell, seed);
    stage.shut_other_head()?;
    let before = stage.cluster.weighed_footprints().context("before")?;
    let findings = match cell.moment.phase() {
        Phase::Up(step) => during_up(stage, &cast, step)?,
        Phase::Idle => while_idle(stage, &cast, promise)?,
        Phase::Load => under_load(stage, &cast, promise)?,
        Phase::Down(step) => during_down(stage, &cast, step)?,
        Phase::Moving => while_moving(stage, &cast, promise)?,
    };
    take_down(stage, &cast, &before)?;
    Ok(findings)
}

fn during_up(stage: &Stage, cast: &Cast, step: &str) -> Result<Findings> {
    let words = cast.up();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let told = follow(&stage.cluster, &words, step, || hit(stage, cast))?;
    bring_back(stage, cast)?;
    let state = settle(stage).context("after `up`")?;
    judge_up(&told, state.as_deref())?;
    let outcome = if state.is_some() { "made" } else { "undone" };
    if state.is_some() && (loses_donor(&cast.cell) || loses_head(&cast.cell)) {
        // It was made with memory that is gone.
        stage.rampool(&["down", POOL, "--force"])?.ok().context("down of what was made")?;
    }
    stage.rampool(&words)?.ok().context("the same `up` again")?;
    use_pool(stage, &mut Log::default())?;
    Ok(Findings {
        stall: None,
        note: format!("{outcome}, `up` took {:.1} s", told.took.as_secs_f64()),
    })
}

/// Whether what `up` said is what came of it.
fn judge_up(told: &Told, state: Option<&str>) -> Result<()> {
    let made = match state {
        None => false,
        Some("ready" | "failed") => true,
        Some(other) => bail!("after `up` the pool is {other}: {}", told.said),
    };
    let truthful = told.status.success() == made || told.knows_not();
    ensure!(truthful, "`up` ended with {} and the pool is {state:?}: {}", told.status, told.said);
    Ok(())
}

/// Files more, and all of them compared.
fn use_pool(stage: &Stage, log: &mut Log) -> Result<()> {
    load::add_files(stage.head(), MOUNT, log, FILES)?;
    load::compare_files(stage.head(), MOUNT, log).context("what was acknowledged")
}

fn while_idle(stage: &Stage, cast: &Cast, promise: Promise) -> Result<Findings> {
    stage.rampool(&cast.up())?.ok()?;
    let mut log = Log::default();
    use_pool(stage, &mut log)?;
    hit(stage, cast)?;
    let mut findings = Findings::default();
    match promise {
        Promise::Borne(_) => findings.note = note_of("whole again", mended(stage, cast)?),
        Promise::Unharmed(_) => ensure_ready(stage)?,
        Promise::CutOff(within) => {
            failed_soon(stage, cast, within)?;
            findings.note = note_of("on another head", fail_over(stage, cast, &mut log)?);
        }
        Promise::FailedOver => {
            findings.note = note_of("on another head", fail_over(stage, cast, &mut log)?);
        }
        Promise::DataLost(within) => {
            let failed = failed_soon(stage, cast, within)?;
            findings.note = note_of("failed", failed);
            // Whether these files are on the lost donor is chance; but nobody may hang.
            let words = ["sh", "-c", "echo 3 > /proc/sys/vm/drop_caches; cat /rampool/demo/*/*/*"];
            let read = stage.head().command(words).timeout(within).output();
            read.context("reading neither succeeds nor fails")?;
        }
        _ => {}
    }
    if matches!(promise, Promise::Borne(_) | Promise::Unharmed(_)) {
        load::compare_files(stage.head(), MOUNT, &log).context("what was acknowledged")?;
        use_pool(stage, &mut log)?;
    }
    Ok(findings)
}

fn note_of(what: &str, took: Duration) -> String {
    format!("{what} after {:.1} s", took.as_secs_f64())
}

fn under_load(stage: &Stage, cast: &Cast, promise: Promise) -> Result<Findings> {
    stage.rampool(&cast.up())?.ok()?;
    let load = Load::begin(stage.head(), MOUNT, cast.seed)?;
    std::thread::sleep(WORK);
    hit(stage, cast)?;
    let (mut report, seen) = match promise {
        Promise::Borne(longest) => {
            let seen = note_of("whole again", mended(stage, cast)?);
            (ends_well(stage, load, longest)?, seen)
        }
        Promise::Unharmed(longest) => {
            std::thread::sleep(WORK);
            let report = ends_well(stage, load, longest)?;
            ensure_ready(stage)?;
            (report, String::new())
        }
        Promise::DataLost(within) | Promise::CutOff(within) => {
            let seen = note_of("failed", failed_soon(stage, cast, within)?);
            let report = load.wait_errors(within)?;
            ensure!(!report.errors.is_empty(), "the users of a lost pool met no error");
            (report, seen)
        }
        // Nobody is left to be asked; what was told so far shows that there was load.
        _ => (load.wait_errors(LAST_ROUND)?, String::new()),
    };
    let acknowledged = report.log.acknowledged();
    ensure!(acknowledged > 0, "the witness had nothing to lose: {:?}", report.errors);
    let mut note =
        format!("{acknowledged} acknowledgements, {} rounds of fio", report.blocks.rounds);
    if matches!(promise, Promise::FailedOver | Promise::CutOff(_)) {
        let took = fail_over(stage, cast, &mut report.log)?;
        note = format!("{note}, {}", note_of("on another head", took));
    } else if !seen.is_empty() {
        note = format!("{note}, {seen}");
    }
    let goes_on = matches!(promise, Promise::Unharmed(_) | Promise::Borne(_));
    Ok(Findings { stall: goes_on.then(|| report.longest_stall()), note })
}

/// Ends a load that is to have met no error and no longer stall than this, and compares all that
/// it wrote.
pub fn ends_well(stage: &Stage, load: Load, longest: Duration) -> Result<Report> {
    let head = stage.head();
    let report = load.end(head, LAST_ROUND)?;
    ensure!(report.errors.is_empty(), "under load: {}", report.errors.join("; "));
    load::compare_files(head, MOUNT, &report.log).context("what was acknowledged")?;
    load::compare_blocks(head, MOUNT, &report.blocks)?;
    let stall = report.longest_stall();
    ensure!(stall <= longest, "a request took {stall:?}, promised are {longest:?}");
    Ok(report)
}

fn ensure_ready(stage: &Stage) -> Result<()> {
    let state = settle(stage)?;
    ensure!(state.as_deref() == Some("ready"), "the pool on {HEAD} is {state:?}, not ready");
    Ok(())
}

fn during_down(stage: &Stage, cast: &Cast, step: &str) -> Result<Findings> {
    stage.rampool(&cast.up())?.ok()?;
    let mut log = Log::default();
    use_pool(stage, &mut log)?;
    let told = follow(&stage.cluster, &["down", POOL], step, || hit(stage, cast))?;
    if told.status.success() && !told.knows_not() {
        let state = super::aftermath::state(stage)?;
        ensure!(state.is_none(), "`down` said that all is done, and the pool is {state:?}");
    }
    let ended = if told.status.success() { "done at once" } else { "done when repeated" };
    Ok(Findings {
        stall: None,
        note: format!("{ended}, `down` took {:.1} s", told.took.as_secs_f64()),
    })
}
