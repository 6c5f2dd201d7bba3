//! One contender's turn in one round: make the pool, measure it, take it down.

use std::time::Instant;

use anyhow::{Context, Result};
use rampool_e2e::cluster::Cluster;
use rampool_e2e::fio::{self, WORKLOADS};
use rampool_e2e::small_files;

use crate::contender::{Contender, HEAD};

const FILE_MIB: u64 = 512;
const FILES: u32 = 10_000;

/// What one turn gave, row by row. More is better in every row: of times, the reciprocal is
/// kept (pools a second), so that all ratios read alike.
pub(crate) type Rates = Vec<f64>;

/// The rows' titles, in the order of [`Rates`].
pub(crate) fn titles() -> Vec<String> {
    let pace = ["pools up a second", "pools down a second"].map(String::from);
    WORKLOADS
        .iter()
        .map(fio::Workload::title)
        .chain(small_files::TITLES.map(String::from))
        .chain(pace)
        .collect()
}

/// Runs one turn.
pub(crate) fn turn(cluster: &Cluster, contender: &Contender, seconds: f64) -> Result<Rates> {
    measured(cluster, contender, seconds).with_context(|| format!("measure {}", contender.name()))
}

fn measured(cluster: &Cluster, contender: &Contender, seconds: f64) -> Result<Rates> {
    let begin = Instant::now();
    let mount = contender.up(cluster)?;
    let up = begin.elapsed().as_secs_f64();

    let head = cluster.node(HEAD);
    let run = |arguments: Vec<String>| fio::iops(&head.exec(arguments)?.ok()?);
    let file = format!("{mount}/fio");
    head.sh(&format!("dd if=/dev/zero of={file} bs=1M count={FILE_MIB} oflag=direct"))?;
    let mut rates = Rates::new();
    for workload in WORKLOADS {
        rates.push(run(workload.arguments(&file, FILE_MIB << 20, seconds))?);
    }
    head.sh(&format!("rm {file}"))?;
    rates.extend(small_files::rates(head, &mount, FILES)?);

    let begin = Instant::now();
    contender.down(cluster)?;
    rates.extend([1.0 / up, 1.0 / begin.elapsed().as_secs_f64()]);
    Ok(rates)
}
