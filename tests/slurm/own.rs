//! Jobs whose own nodes lend the memory of their pool.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::CONTROLLER;
use rampool_e2e::slurm::cluster::USER;
use rampool_e2e::slurm::{SlurmCluster, site};
use rampool_e2e::until::until;

/// Lends this much of each node of the job.
pub(crate) const PROFILES: &str =
    "  moreIOPS:\n    lend: own\n    fs: ext4\n    size_per_donor: 128MiB\n";

/// From submission to the end, for a job that does little: several times what it takes on a
/// machine that does nothing else.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// Writes on each node, then reads on each node what all of them wrote.
const EVERYWHERE: &str = "#!/bin/bash
#SBATCH --mem=300
set -e
cd $RAMPOOL_DIR
echo \"dir=$RAMPOOL_DIR\"
stat -c 'own=%U,%a' .
srun --ntasks-per-node=1 sh -c 'hostname >$RAMPOOL_DIR/of-$(hostname)
stat -c \"$(hostname) sees %U,%a,$(stat -f -c %T $RAMPOOL_DIR)\" $RAMPOOL_DIR'
srun --ntasks-per-node=1 sh -c 'echo $(hostname) read $(cat $RAMPOOL_DIR/of-*)'
echo end
";

pub(crate) fn boot(name: &str, compute: u8) -> Result<SlurmCluster> {
    let slurm = SlurmCluster::builder(name, compute).profiles(PROFILES).keeping_facts().boot()?;
    until_facts_are_whole(&slurm)?;
    Ok(slurm)
}

/// What job_submit.lua must know to have jobs ask for what their nodes lend: what the controller
/// heard of Slurm and of every node.
fn until_facts_are_whole(slurm: &SlurmCluster) -> Result<()> {
    until("the facts are whole", SOON, || {
        let facts = slurm.cluster.node(CONTROLLER).sh(&format!("cat {} || true", site::FACTS))?;
        let parts = ["\nlendable-mib own ", "\ndefault-mib main node 100\n"];
        Ok(if parts.iter().all(|part| facts.contains(part)) { Ok(()) } else { Err(facts) })
    })
}

#[test]
fn jobs_of_four_nodes_and_of_one_find_their_scratch_and_the_memory_is_given_back() -> Result<()> {
    boot("own", 4)?.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        a_job_of(slurm, "moreIOPS", &["n2", "n3", "n4", "n5"], LOCAL)?;
        slurm.ensure_given_back(&before, SOON).context("after the job of four nodes")?;
        a_job_of(slurm, "moreIOPS", &["n2"], LOCAL)?;
        slurm.ensure_given_back(&before, SOON).context("after the job of one node")?;
        what_these_nodes_cannot_give_is_refused_at_submission(slurm)?;
        steps_without_a_script(slurm)?;
        slurm.ensure_given_back(&before, SOON).context("after srun and salloc")?;
        an_array_has_a_pool_a_task(slurm)?;
        slurm.ensure_given_back(&before, SOON).context("after the array")
    })
}

/// What its first node sees of a pool that it is the head of.
pub(crate) const LOCAL: &str = "ext2/ext3";

/// A job of these nodes that wants `feature`, whose first node sees a file system of that kind.
pub(crate) fn a_job_of(
    slurm: &SlurmCluster,
    feature: &str,
    nodes: &[&str],
    first: &str,
) -> Result<()> {
    let (count, list) = (format!("-N{}", nodes.len()), format!("-w{}", nodes.join(",")));
    let job = slurm.submit(&[&count, &list, "-C", feature], EVERYWHERE)?;
    let fields = job.until_over(SOON)?;
    let output = job.output()?;
    ensure!(fields.get("JobState") == "COMPLETED", "{fields}\n{output}");
    let path = format!("/rampool/{}", job.id);
    let lines: Vec<&str> = output.lines().collect();
    ensure!(lines.len() > 2 && lines.last() == Some(&"end"), "{output}");
    for (line, words) in [(0, path.as_str()), (1, "MEMORY")] {
        ensure!(lines[line].contains(words), "line {line} does not say {words:?}: {output}");
    }
    let count_of = |wanted: &str| lines.iter().filter(|line| **line == wanted).count();
    ensure!(count_of(&format!("dir={path}")) == 1, "{output}");
    ensure!(count_of(&format!("own={USER},700")) == 1, "{output}");
    for (index, node) in nodes.iter().enumerate() {
        let kind = if index == 0 { first } else { "nfs" };
        ensure!(count_of(&format!("{node} sees {USER},700,{kind}")) == 1, "{output}");
        ensure!(count_of(&format!("{node} read {}", nodes.join(" "))) == 1, "{output}");
    }
    ensure!(output.matches("MEMORY").count() == 1, "told more than once: {output}");
    Ok(())
}

/// By what the controller heard of them.
fn what_these_nodes_cannot_give_is_refused_at_submission(slurm: &SlurmCluster) -> Result<()> {
    let facts = slurm.cluster.node(CONTROLLER).sh(&format!("cat {}", site::FACTS))?;
    let wanted = ["-N2", "-C", "moreIOPS", "--comment=rampool:size=2G"];
    let said = slurm.refusal(&wanted, EVERYWHERE).with_context(|| facts)?;
    ensure!(said.contains("size=2G is more than the nodes of this job can lend"), "{said}");
    Ok(())
}

fn steps_without_a_script(slurm: &SlurmCluster) -> Result<()> {
    let script = "echo $(hostname) $RAMPOOL_DIR; test -O $RAMPOOL_DIR";
    let wanted = ["-N2", "-wn[2-3]", "-C", "moreIOPS", "--mem=300"];
    let srun =
        slurm.as_user(&[&["srun"], &wanted[..], &["sh", "-c", script]].concat(), "")?.ok()?;
    let salloc = [&["salloc"], &wanted[..], &["srun", "sh", "-c", script]].concat();
    let salloc = slurm.as_user(&salloc, "")?.ok()?;
    for output in [srun, salloc] {
        for node in ["n2", "n3"] {
            let line = format!("{node} /rampool/");
            ensure!(output.lines().any(|l| l.starts_with(&line)), "{output}");
        }
    }
    Ok(())
}

/// Two of its tasks share a node.
fn an_array_has_a_pool_a_task(slurm: &SlurmCluster) -> Result<()> {
    let script = "#!/bin/sh\ntouch $RAMPOOL_DIR/mine\nls $RAMPOOL_DIR | grep -c mine
meet() { touch /tmp/$1-$SLURM_ARRAY_TASK_ID; until [ -e /tmp/$1-1 ] && [ -e /tmp/$1-2 ]; do sleep 0.3; done; }
meet here\nmount | grep -c ' on /rampool/'\nmeet counted\n";
    let options = ["-N1", "-wn2", "-C", "moreIOPS", "--array=1-2", "--mem=100"];
    let array = slurm.submit(&options, script)?;
    let listing = slurm.slurm(&["squeue", "-h", "-r", "-o", "%A"])?;
    ensure!(listing.lines().count() == 2, "{listing}");
    // Slurm gives the array's own number to its last task.
    for id in listing.lines() {
        let job = slurm.job(id.trim().parse().with_context(|| listing.clone())?);
        let fields = job.until_over(SOON)?;
        let output = job.output()?;
        ensure!(fields.get("JobState") == "COMPLETED", "{fields}\n{output}");
        let lines: Vec<&str> = output.lines().skip(2).collect();
        ensure!(lines == ["1", "2"], "array {}: {output}", array.id);
    }
    Ok(())
}

#[test]
#[ignore = "a measurement, which other labs at work would spoil: `make test-slurm`"]
fn what_a_pool_adds_to_a_jobs_start_is_little() -> Result<()> {
    boot("start", 4)?.run(|slurm| {
        let mut added = Vec::new();
        for _ in 0..3 {
            let without = start_of(slurm, &[])?;
            let with = start_of(slurm, &["-C", "moreIOPS", "--mem=300"])?;
            println!("start of 4 nodes: {without:.1} s without a pool, {with:.1} s with one");
            added.push(with - without);
        }
        added.sort_by(f64::total_cmp);
        println!("a pool of 4 nodes adds to a job's start: {:.1} s (median of 3)", added[1]);
        // What the product promises. The least of three: whatever else the machine did meanwhile
        // can only have made it longer.
        ensure!(added[0] < 5.0, "a pool of 4 nodes added {:.1} s at least", added[0]);
        Ok(())
    })
}

/// Seconds from submission to the script's first line.
fn start_of(slurm: &SlurmCluster, options: &[&str]) -> Result<f64> {
    slurm.until_idle(SOON)?;
    let submitted: f64 = slurm.cluster.node(CONTROLLER).sh("date +%s.%N")?.parse()?;
    let script = "#!/bin/sh\necho started $(date +%s.%N)\n";
    let job = slurm.submit(&[&["-N4"], options].concat(), script)?;
    job.until_over(SOON)?;
    let output = job.output()?;
    let started = output.lines().find_map(|line| line.strip_prefix("started "));
    let started: f64 = started.with_context(|| output.clone())?.parse()?;
    Ok(started - submitted)
}
