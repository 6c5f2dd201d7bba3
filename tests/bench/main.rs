//! `make bench`: the pool by rampool beside the same pool made in other ways, in one boot, in
//! alternating rounds. Only ratios within a round are judged; absolute figures are shown.

#![forbid(unsafe_code)]

mod by_hand;
mod contender;
mod report;
mod round;
mod stats;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use contender::{Contender, DEFAULTS};
use rampool_e2e::cluster::Cluster;
use report::Report;

/// rampool beside what people would use instead.
#[derive(Parser)]
struct Options {
    /// Rounds; the interval says little below 7
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Seconds of each fio row
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Whom to compare with: by-hand, rd_mcp, tmpfs, brd, lvm, ext4
    #[arg(long, value_delimiter = ',', default_value = "by-hand")]
    against: Vec<String>,
    /// Where to write the figures as JSON
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
}

fn main() -> ExitCode {
    match bench(&Options::parse()) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => {
            eprintln!("bench: a row against the pool by hand is short");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether any row against the pool by hand is short.
fn bench(options: &Options) -> Result<bool> {
    let others: Vec<Contender> =
        options.against.iter().map(|name| Contender::named(name)).collect::<Result<_>>()?;
    let contenders: Vec<Contender> = std::iter::once(DEFAULTS).chain(others).collect();
    let cluster = Cluster::builder("bench", 5)
        .memory_mib(768)
        // targetcli talks to its runtime over D-Bus.
        .boot_with(|lab| lab.on_boot("mkdir -p /run/dbus && dbus-daemon --system --fork"))
        .context("boot the cluster")?;
    let mut rounds = Vec::new();
    cluster.run(|cluster| {
        rounds = measure(cluster, &contenders, options)?;
        Ok(())
    })?;
    let report = Report::new(&contenders, &round::titles(), &rounds);
    println!("{report}");
    std::fs::write(&options.json, report.json()?)
        .with_context(|| format!("write {}", options.json.display()))?;
    println!("as JSON: {}", options.json.display());
    Ok(report.any_short())
}

/// Every contender once a round, the order turned by one from round to round, so that none
/// always runs first. Rates by round, then by contender.
fn measure(
    cluster: &Cluster,
    contenders: &[Contender],
    options: &Options,
) -> Result<Vec<Vec<round::Rates>>> {
    // Not counted: a node's first touch of its memory is paid to the machine under the lab.
    round::turn(cluster, &DEFAULTS, options.seconds)?;
    let mut rounds = Vec::new();
    for number in 0..options.rounds as usize {
        let mut rates = vec![Vec::new(); contenders.len()];
        for turn in 0..contenders.len() {
            let which = (number + turn) % contenders.len();
            let contender = &contenders[which];
            eprintln!("round {} of {}: {}", number + 1, options.rounds, contender.name());
            rates[which] = round::turn(cluster, contender, options.seconds)?;
        }
        rounds.push(rates);
    }
    Ok(rounds)
}
