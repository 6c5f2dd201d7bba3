//! `make demo-slurm`: a job of two nodes asks for scratch, uses it, and its memory is given back.
//! Real kernels, a real Slurm; every figure it prints was measured in this run.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::CONTROLLER;
use rampool_e2e::footprint::Footprint;
use rampool_e2e::slurm::{Fields, SlurmCluster};

/// What a job gets by `--constraint=moreIOPS`.
const PROFILES: &str = "  moreIOPS:\n    lend: own\n    size_per_donor: 192MiB\n";

/// Nobody waits longer for a demo.
const PATIENCE: Duration = Duration::from_secs(120);

const SCRIPT: &str = "#!/bin/sh
#SBATCH --nodes=2 --constraint=moreIOPS --mem=400
echo \"scratch of $SLURM_JOB_NODELIST: $RAMPOOL_DIR\"
stat -c '%U %a' $RAMPOOL_DIR
srun --ntasks-per-node=1 sh -c 'df -h $RAMPOOL_DIR | tail -1
fio --name=$(hostname) --directory=$RAMPOOL_DIR --size=32M --rw=randwrite --bs=4k \\
    --ioengine=libaio --iodepth=32 --direct=1 --time_based --runtime=5 --minimal |
    cut -d\";\" -f49 | sed \"s/^/$(hostname): 4k random writes a second: /\"'
touch $RAMPOOL_DIR/used
until [ -e /tmp/seen ]; do sleep 0.2; done
echo 'the end'
";

fn main() -> ExitCode {
    match demo() {
        Ok(()) => {
            println!("demo-slurm: ok");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("demo-slurm: FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<()> {
    say("three real kernels: n1 has slurmctld and rampool's controller, n2 and n3 run jobs");
    let begin = Instant::now();
    let cluster = SlurmCluster::builder("demo-slurm", 2).profiles(PROFILES).boot();
    let cluster = cluster.context("boot the cluster")?;
    println!("booted, every node idle: {:.1} s", begin.elapsed().as_secs_f64());
    cluster.run(use_slurm)
}

fn use_slurm(slurm: &SlurmCluster) -> Result<()> {
    let before = slurm.cluster.footprints().context("see what nodes hold before")?;
    show(slurm, &["sinfo", "-N", "-o", "%N %T %m MiB features=%f"])?;

    say("alice submits a job");
    println!("{}", SCRIPT.trim_end());
    let begin = Instant::now();
    let job = slurm.submit(&[], SCRIPT)?;
    job.until("running", PATIENCE, |fields| fields.get("JobState") == "RUNNING")?;
    println!("\nsubmitted and running, its pool mounted: {:.1} s", begin.elapsed().as_secs_f64());

    say("meanwhile");
    show(slurm, &["squeue"])?;
    show(slurm, &["rampool", "list"])?;
    let used =
        |_: &Fields| job.output().is_ok_and(|output| output.matches("a second").count() == 2);
    job.until("done with fio", PATIENCE, used)?;
    let during = slurm.cluster.footprints().context("see what nodes hold meanwhile")?;
    slurm.cluster.node("n2").sh("touch /tmp/seen")?;

    say("what the job printed");
    let fields = job.until_over(PATIENCE)?;
    println!("{}", job.output()?);
    ensure!(fields.get("JobState") == "COMPLETED", "{fields}");

    say("is everything as before?");
    slurm.ensure_given_back(&before, PATIENCE)?;
    let after = slurm.cluster.footprints()?;
    tell_memory(slurm.cluster.nodes(), [&before, &during, &after]);
    show(slurm, &["sinfo", "-N", "-o", "%N %T"])?;
    println!("\nmounts, devices, sessions, targets and files of all nodes: as before");
    Ok(())
}

/// Available memory of each node before, during and after.
fn tell_memory(nodes: &[String], footprints: [&[Footprint]; 3]) {
    println!("available memory, MiB   before   during    after");
    for (index, node) in nodes.iter().enumerate() {
        let [before, during, after] = footprints.map(|all| all[index].available >> 20);
        println!("{node:22} {before:8} {during:8} {after:8}");
    }
}

fn say(what: &str) {
    println!("\n--- {what}");
}

/// Runs a command on the controller's node, and shows it with what it prints.
fn show(slurm: &SlurmCluster, argv: &[&str]) -> Result<()> {
    println!("\n{CONTROLLER}# {}\n{}", argv.join(" "), slurm.slurm(argv)?);
    Ok(())
}
