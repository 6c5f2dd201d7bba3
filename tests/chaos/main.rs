//! `make chaos`: every cell of the fault matrix on real kernels. See [`rampool_e2e::chaos`].

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
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
    /// Only the cells whose name contains one of these, e.g. `plain.donor.load.killed,mirror.`; or
    /// `cycles`
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Results so far: cells that held, at any commit, are not tried again
    #[arg(long)]
    resume: Option<PathBuf>,
    /// Where the last result of each cell is kept, a line each
    #[arg(long, default_value = "docs/chaos.jsonl")]
    results: PathBuf,
    /// The page that shows them
    #[arg(long, default_value = "docs/chaos.md")]
    page: PathBuf,
    /// Where the logs of a cell that did not hold go
    #[arg(long, default_value = "target/chaos")]
    logs: PathBuf,
    /// No cell begins after so many minutes
    #[arg(long, default_value_t = 600)]
    budget: u64,
    /// Clusters side by side: by default, one for every two cores
    #[arg(long, default_value_t = half_the_cores())]
    jobs: usize,
    /// Pools made, used and taken down again in a row, watching free memory; 0: none
    #[arg(long, default_value_t = 50)]
    cycles: usize,
    /// Shows every cell and what is promised, and runs nothing
    #[arg(long)]
    list: bool,
}

/// What the cycles are called among cells.
const CYCLES: &str = "cycles";

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
    let cells = chosen(options, seed)?;
    println!("seed {seed}, commit {commit}, {} cells", cells.len());
    let results = Ledger::at(&options.results);
    // The table of what makes sense may be another than when the results came.
    write_page(options, &results.latest()?)?;
    // Told by one player at a time: the count of failures, and the files.
    let ledger = Mutex::new((0, results));
    let tell = |entry: &Entry| -> Result<()> {
        let mut now = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        now.0 += usize::from(!entry.passed);
        let result = if entry.passed { "held" } else { "NOT HELD" };
        println!("{:<40} {result:<8} {:>4.0} s  {}", entry.cell, entry.seconds, entry.note);
        write_page(options, &now.1.add(entry)?)
    };
    let budget = Duration::from_secs(options.budget * 60);
    let logs = options.logs.clone();
    Run { cells, seed, commit: commit.clone(), jobs: options.jobs, budget, logs }.play(tell)?;
    // A run of chosen cells is about these.
    let wanted = options.only.is_empty() || options.only.iter().any(|only| only == CYCLES);
    if options.cycles > 0 && wanted && begin.elapsed() < budget {
        tell(&cycle(options.cycles, seed, commit)?)?;
    }
    let failed = ledger.into_inner().unwrap_or_else(PoisonError::into_inner).0;
    Ok(failed)
}

fn write_page(options: &Options, latest: &BTreeMap<String, Entry>) -> Result<()> {
    std::fs::write(&options.page, ledger::page(latest))
        .with_context(|| format!("write {}", options.page.display()))
}

/// The cells to play: those asked for, less those that held already.
fn chosen(options: &Options, seed: u64) -> Result<Vec<Cell>> {
    let mut cells = sensible(seed);
    if !options.only.is_empty() {
        let named = |cell: &Cell, only: &String| cell.to_string().contains(only.as_str());
        for only in options.only.iter().filter(|only| *only != CYCLES) {
            let known = cells.iter().any(|cell| named(cell, only));
            ensure!(known, "no cell that makes sense is named {only:?}; see --list");
        }
        cells.retain(|cell| options.only.iter().any(|only| named(cell, only)));
    }
    if let Some(path) = &options.resume {
        let so_far = Ledger::at(path).latest()?;
        let held = |cell: &Cell| so_far.get(&cell.to_string()).is_some_and(|entry| entry.passed);
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
    Ok(Entry { cell: CYCLES.into(), seed, commit, passed, seconds, stall_ms: None, note })
}

fn list() {
    for cell in Cell::all() {
        match verdict(&cell) {
            Verdict::Runs(promise) => println!("{cell:<40} {promise:?}"),
            Verdict::NotApplicable(reason) => println!("{cell:<40} n/a: {reason}"),
        }
    }
}

/// A cluster's five kernels keep two cores busy enough: beside another one, calls come near their
/// deadlines for no fault of the product.
fn half_the_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

fn seed_of_the_clock() -> Result<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Ok(since.context("the clock is before 1970")?.as_secs())
}
