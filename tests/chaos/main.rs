//! `make chaos`: every cell of the fault matrix on real kernels. See [`rampool_e2e::chaos`].

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rampool_e2e::chaos::cell::Cell;
use rampool_e2e::chaos::cycles;
use rampool_e2e::chaos::ledger::{self, Entry, Ledger};
use rampool_e2e::chaos::stage::Stage;
use rampool_e2e::chaos::table::{Verdict, verdict};
use rampool_e2e::chaos::troupe::{Run, sensible};

/// Hits every part of a pool at every moment of its life, and sees what becomes of it
#[derive(Parser)]
struct Options {
    /// Decides the order, which donor is hit, and the moment within a step; from the clock where
    /// not said
    #[arg(long)]
    seed: Option<u64>,
    /// Only the cells whose name contains this, e.g. `plain.donor.load.killed` or `.load.`
    #[arg(long)]
    only: Option<String>,
    /// Results so far: cells that held at this commit are not tried again
    #[arg(long)]
    resume: Option<PathBuf>,
    /// Where results are added, a line each
    #[arg(long, default_value = "target/chaos.jsonl")]
    results: PathBuf,
    /// The page that shows the last result of each cell
    #[arg(long, default_value = "docs/chaos.md")]
    page: PathBuf,
    /// No cell begins after so many minutes
    #[arg(long, default_value_t = 600)]
    budget: u64,
    /// Clusters side by side: much of a fault's time is waiting
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Pools made, used and taken down again in a row, watching free memory; 0: none
    #[arg(long, default_value_t = 50)]
    cycles: usize,
    /// Shows every cell and what is promised, and runs nothing
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(0) => {
            println!("chaos: ok");
            ExitCode::SUCCESS
        }
        Ok(failed) => {
            eprintln!("chaos: {failed} did not hold");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("chaos: FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// How many results were failures.
fn run(options: &Options) -> Result<usize> {
    if options.list {
        list();
        return Ok(0);
    }
    let begin = Instant::now();
    let seed = options.seed.map_or_else(seed_of_the_clock, Ok)?;
    let commit = ledger::commit()?;
    let cells = chosen(options, seed, &commit)?;
    println!("seed {seed}, commit {commit}, {} cells", cells.len());
    let ledger = Ledger::at(&options.results);
    let failed = std::sync::atomic::AtomicUsize::new(0);
    let tell = |entry: &Entry| -> Result<()> {
        if !entry.passed {
            failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        let result = if entry.passed { "held" } else { "NOT HELD" };
        println!("{:<40} {result:<8} {:>4.0} s  {}", entry.cell, entry.seconds, entry.note);
        ledger.add(entry)?;
        std::fs::write(&options.page, ledger::page(&ledger.latest()?))
            .with_context(|| format!("write {}", options.page.display()))
    };
    let budget = Duration::from_secs(options.budget * 60);
    let logs = options.results.with_extension("logs");
    Run { cells, seed, commit: commit.clone(), jobs: options.jobs, budget, logs }.play(tell)?;
    // A run of chosen cells is about these.
    if options.cycles > 0 && options.only.is_none() && begin.elapsed() < budget {
        tell(&cycle(options.cycles, seed, commit)?)?;
    }
    Ok(failed.into_inner())
}

/// The cells to play: those asked for, less those that held already.
fn chosen(options: &Options, seed: u64, commit: &str) -> Result<Vec<Cell>> {
    let mut cells = sensible(seed);
    if let Some(words) = &options.only {
        cells.retain(|cell| cell.to_string().contains(words.as_str()));
        ensure!(!cells.is_empty(), "no cell that makes sense is named {words:?}; see --list");
    }
    if let Some(path) = &options.resume {
        let so_far = Ledger::at(path).latest()?;
        let held = |cell: &Cell| {
            so_far.get(&cell.to_string()).is_some_and(|e| e.passed && e.commit == commit)
        };
        cells.retain(|cell| !held(cell));
    }
    Ok(cells)
}

fn cycle(count: usize, seed: u64, commit: String) -> Result<Entry> {
    let stage = Stage::boot("cycles")?;
    let begin = Instant::now();
    let outcome = cycles::run(&stage, count);
    let passed = outcome.is_ok();
    let note = outcome.unwrap_or_else(|error| format!("{error:#}"));
    let note = format!("{count} cycles of up, use, down: {note}");
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Entry { cell: "cycles".into(), seed, commit, passed, seconds, stall_ms: None, note })
}

fn list() {
    for cell in Cell::all() {
        match verdict(&cell) {
            Verdict::Runs(promise) => println!("{cell:<40} {promise:?}"),
            Verdict::NotApplicable(reason) => println!("{cell:<40} n/a: {reason}"),
        }
    }
}

fn seed_of_the_clock() -> Result<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Ok(since.context("the clock is before 1970")?.as_secs())
}
