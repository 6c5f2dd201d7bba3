//! A seeded sample of the fault matrix. `make chaos` tries all of it.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, ensure};
use rampool_e2e::chaos::cycles;
use rampool_e2e::chaos::ledger::{Entry, commit};
use rampool_e2e::chaos::stage::Stage;
use rampool_e2e::chaos::troupe::{Run, sensible};

/// Says which sample to try: `make test SEED=N` sets it.
const SEED: &str = "RAMPOOL_CHAOS_SEED";

/// What is tried unless somebody asks for another sample: what lands must not depend on chance.
const USUAL: u64 = 2016;

/// One cell of each kind. Not as many as a time allows: what is tried must not depend on how busy
/// the machine is.
const CELLS: usize = 5;

/// More than they take anywhere.
const BUDGET: Duration = Duration::from_secs(3600);

#[test]
fn a_sample_of_the_fault_matrix_holds() -> Result<()> {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse()?,
        Err(_) => USUAL,
    };
    println!("{SEED}={seed}");
    let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chaos");
    let cells = sensible(seed).into_iter().take(CELLS).collect();
    let run = Run { cells, seed, commit: commit()?, jobs: 1, budget: BUDGET, logs };
    let played = Mutex::new(Vec::new());
    run.play(|entry: &Entry| {
        println!("{}: {:.0} s, {}", entry.cell, entry.seconds, entry.note);
        played.lock().expect("no other holder panics").push(entry.clone());
        Ok(())
    })?;
    let played = played.into_inner()?;
    ensure!(played.len() == CELLS, "{} cells were tried", played.len());
    let failed: Vec<String> = played
        .iter()
        .filter(|entry| !entry.passed)
        .map(|entry| format!("{} (logs in {}): {}", entry.cell, run.logs.display(), entry.note))
        .collect();
    ensure!(failed.is_empty(), "with {SEED}={seed}:\n{}", failed.join("\n"));
    Ok(())
}

#[test]
fn memory_shows_no_trend_over_a_few_pools() -> Result<()> {
    let stage = Stage::boot("cycles")?;
    println!("{}", cycles::run(&stage, 5)?);
    Ok(())
}
