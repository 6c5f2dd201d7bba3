//! `make demo`: pools the memory of four nodes, uses it, gives it back. Real kernels, real
//! programs; every figure it prints was measured in this run.

#![forbid(unsafe_code)]

mod memory;
mod report;
mod speed;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::Cluster;
use rampool_lab::Stream;
use report::Report;

const NODES: u8 = 5;
const DONORS: [&str; 4] = ["n2", "n3", "n4", "n5"];
const HEAD: &str = "n1";
/// Usable; a quarter of it from each donor.
const SIZE: &str = "1G";

fn main() -> ExitCode {
    match demo() {
        Ok(()) => {
            println!("demo: ok");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("demo: FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<()> {
    say("five real kernels (User Mode Linux): n1 is head and controller, n2 to n5 lend memory");
    let begin = Instant::now();
    let cluster =
        Cluster::builder("demo", NODES).memory_mib(768).boot().context("boot the cluster")?;
    println!("booted, agents and controller running: {:.1} s", begin.elapsed().as_secs_f64());
    cluster.run(use_pool)
}

fn use_pool(cluster: &Cluster) -> Result<()> {
    let before = cluster.weighed_footprints().context("see what nodes hold before")?;
    let mut report = Report::default();

    say("what is there, and what would be placed where");
    rampool(cluster, &["nodes"])?;
    let wanted = ["demo", "--size", SIZE, "--head", HEAD, "--donors", "n[2-5]"];
    rampool(cluster, &[&["plan"], &wanted[..]].concat())?;

    say("up");
    let begin = Instant::now();
    rampool(cluster, &[&["up"], &wanted[..]].concat())?;
    report.up = begin.elapsed();
    let mount = mount_point(cluster)?;
    rampool(cluster, &["status", "demo"])?;
    shell(cluster, &format!("df -h {mount}; df -hi {mount}; cat {mount}/README*"))?;
    let during =
        cluster.weighed_footprints().context("see what nodes hold while the pool is up")?;

    say("how fast it is");
    report.rows = speed::measure(cluster.node(HEAD), &mount)?;

    say("down");
    let begin = Instant::now();
    rampool(cluster, &["down", "demo"])?;
    report.down = begin.elapsed();

    say("is everything as before?");
    cluster.ensure_as_before(&before).context("compare nodes with before")?;
    let after = cluster.weighed_footprints().context("see what nodes hold after")?;
    let memory = memory::Memory::new(cluster.nodes(), &before, &during, &after);
    println!("{memory}");
    memory.ensure_returned(&DONORS).context("compare memory with before")?;
    println!(
        "mounts, block devices, sessions, records, targets and files of {NODES} nodes: as before\n"
    );
    report.returned = memory.returned(&DONORS);
    println!("{report}");
    Ok(())
}

fn say(what: &str) {
    println!("\n--- {what}");
}

/// Where the pool is mounted, as the controller tells it.
fn mount_point(cluster: &Cluster) -> Result<String> {
    let status = cluster.rampool_json(&["status", "demo"])?;
    status["mount_point"]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("`rampool status` names no mount point: {status}"))
}

fn rampool(cluster: &Cluster, arguments: &[&str]) -> Result<()> {
    let line = format!("rampool {}", arguments.join(" "));
    stream(cluster, &line, std::iter::once("rampool").chain(arguments.iter().copied()))
}

fn shell(cluster: &Cluster, script: &str) -> Result<()> {
    stream(cluster, script, ["sh", "-c", script])
}

/// Runs a command on the head as its admin would, and shows it with all that it prints.
fn stream<'a>(
    cluster: &Cluster,
    line: &str,
    argv: impl IntoIterator<Item = &'a str>,
) -> Result<()> {
    println!("\n{HEAD}# {line}");
    let status = cluster.node(HEAD).exec_streaming(argv, |stream, line| match stream {
        Stream::Stdout => println!("{line}"),
        Stream::Stderr => eprintln!("{line}"),
    })?;
    ensure!(status.success(), "`{line}` on {HEAD} ended with {status}");
    Ok(())
}
