//! `make lab`: the demo's cluster, left running for a person, until Enter or Ctrl-C.

#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use rampool_e2e::cluster::{CONTROLLER, Cluster};

/// The demo's cluster, left running until Enter or Ctrl-C.
#[derive(Parser)]
struct Options {}

fn main() -> Result<()> {
    let Options {} = Options::parse();
    let cluster =
        Cluster::builder("playground", 5).memory_mib(768).boot().context("boot the cluster")?;
    let name = cluster.lab.name();
    let lab = rampool_e2e::programs::path("rampool-lab")?;
    println!(
        "\nFive nodes are running; {CONTROLLER} is head and controller. In another terminal:\n\n  \
         {lab} --name {name} exec {CONTROLLER} -- bash\n  \
         {lab} --name {name} exec {CONTROLLER} -- rampool nodes\n\n\
         Enter or Ctrl-C here takes everything away.",
        lab = lab.display()
    );
    std::io::stdin().read_line(&mut String::new()).context("wait for Enter")?;
    cluster.lab.take_down()
}
