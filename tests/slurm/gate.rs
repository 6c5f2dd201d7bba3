//! The Prolog that fails is the last one to end, and not on the job's first node: Slurm takes the
//! job off its nodes, and starts its tasks all the same. None of their lines may run.

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::CONTROLLER;
use rampool_e2e::slurm::{Job, SlurmCluster};
use rampool_e2e::until::until;

use crate::own::{SOON, boot};

/// On n3, in the place of the site's Prolog. It ends after the other's, which takes a second.
const FAILS_BEFORE: &str = "#!/bin/sh\nsleep 5\nexit 1\n";
const FAILS_WITHIN: &str =
    "#!/bin/sh\nsleep 5\nexec /usr/bin/rampool slurm prolog --config /none\n";

const PROLOG: &str = "/usr/lib/rampool/slurm/prolog";

/// Leaves a trace of every line, on whichever node.
const TRACES: &str = "touch /tmp/ran-$SLURM_JOB_ID; touch $RAMPOOL_DIR/ran";

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn no_line_runs_where_a_prolog_failed() -> Result<()> {
    boot("gate", 2)?.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        let n3 = slurm.cluster.node("n3");
        let own = n3.sh(&format!("cat {PROLOG}"))? + "\n";
        for (what, prolog) in
            [("before it called rampool", FAILS_BEFORE), ("within rampool", FAILS_WITHIN)]
        {
            replace(slurm, prolog)?;
            rounds(|| was_refused(slurm, |_| Ok(())))
                .with_context(|| format!("a script, the Prolog failed {what}"))?;
            tasks(slurm).with_context(|| format!("tasks, the Prolog failed {what}"))?;
            replace(slurm, &own)?;
            slurm.ensure_given_back(&before, SOON)?;
        }
        ensure_ran(slurm, &submit(slurm)?)
    })
}

fn submit(slurm: &SlurmCluster) -> Result<Job<'_>> {
    slurm.cluster.node("n3").sh("touch /run/wait")?;
    let script = format!("#!/bin/sh\n{TRACES}\nsrun sh -c '{TRACES}' && echo end\n");
    slurm.submit(&["-N2", "-C", "moreIOPS", "--mem=200"], &script)
}

/// The gate opens where all went well.
fn ensure_ran(slurm: &SlurmCluster, job: &Job<'_>) -> Result<()> {
    let fields = job.until_over(SOON)?;
    ensure!(fields.get("JobState") == "COMPLETED", "{fields}\n{}", job.output()?);
    ensure!(job.output()?.ends_with("\nend"), "{}", job.output()?);
    ensure!(traces(slurm)? == 2, "a trace on each node");
    Ok(())
}

/// On n3: waits as long as it is told to, before the lines that follow.
const WAITS: &str = "#!/bin/sh\nwhile [ -e /run/wait ]; do sleep 0.1; done\n";

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn the_gate_is_kept_by_a_controller_that_was_killed_between_prologs() -> Result<()> {
    boot("gate-again", 2)?.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        let n3 = slurm.cluster.node("n3");
        let own = n3.sh(&format!("cat {PROLOG}"))? + "\n";
        replace(slurm, &format!("{WAITS}exit 1\n"))?;
        rounds(|| was_refused(slurm, |job| controller_is_killed(slurm, job)))?;
        replace(slurm, &format!("{WAITS}{own}"))?;
        let job = submit(slurm)?;
        controller_is_killed(slurm, &job)?;
        ensure_ran(slurm, &job)?;
        slurm.ensure_given_back(&before, SOON)
    })
}

/// Once the first node let the job in, and while the other is about to.
fn controller_is_killed(slurm: &SlurmCluster, job: &Job<'_>) -> Result<()> {
    let (n2, note) = (slurm.cluster.node("n2"), format!("/run/rampool/jobs/{}", job.id));
    until("let in on its first node", SOON, || {
        let there = n2.exec(["test", "-e", &note])?.status.success();
        Ok(if there { Ok(()) } else { Err(job.show()?) })
    })?;
    slurm.cluster.kill_program(CONTROLLER, "rampool-controller")?;
    slurm.cluster.start_controller()?;
    slurm.cluster.node("n3").sh("rm /run/wait").map(drop)
}

/// A new file: one that runs cannot be written.
fn replace(slurm: &SlurmCluster, prolog: &str) -> Result<()> {
    let n3 = slurm.cluster.node("n3");
    n3.sh(&format!("rm -f {PROLOG}"))?;
    n3.write_file(PROLOG, 0o755, prolog)
}

/// Slurm ends the job and starts its script at the same moment. In about half of the rounds the
/// script is first, and only then the gate is tried.
const MOST_ROUNDS: usize = 20;

/// At least two rounds, until the gate was tried.
fn rounds(mut was_refused: impl FnMut() -> Result<bool>) -> Result<()> {
    let mut tried = 0;
    for round in 1..=MOST_ROUNDS {
        tried += usize::from(was_refused().with_context(|| format!("round {round}"))?);
        if tried > 0 && round > 1 {
            println!(
                "its script was refused in {tried} of {round} rounds, and ended in the others"
            );
            return Ok(());
        }
    }
    anyhow::bail!("Slurm never started the script: the gate was not tried")
}

/// Whether Slurm began with the script, so that it was refused. It never runs.
fn was_refused(
    slurm: &SlurmCluster,
    meanwhile: impl FnOnce(&Job<'_>) -> Result<()>,
) -> Result<bool> {
    let job = submit(slurm)?;
    meanwhile(&job)?;
    // Slurm's own word where a Prolog fails, or ours, whichever is heard first.
    job.until("off its nodes", SOON, |fields| {
        let held = fields.get("Reason").contains("held") && fields.get("JobState") == "PENDING";
        held || fields.get("JobState") == "FAILED"
    })?;
    until_drained(slurm)?;
    ensure!(traces(slurm)? == 0, "lines of its script ran");
    let output = slurm.cluster.node("n2").sh(&format!("cat /tmp/job-{}.out || true", job.id))?;
    give_up(slurm, &job)?;
    Ok(output.contains("has no scratch on another of its nodes"))
}

fn tasks(slurm: &SlurmCluster) -> Result<()> {
    let wanted = ["srun", "-N2", "-C", "moreIOPS", "--mem=200", "sh", "-c", TRACES];
    let said = slurm.refused(&wanted, "")?;
    until_drained(slurm)?;
    ensure!(traces(slurm)? == 0, "lines of a task ran: {said}");
    slurm.slurm(&["scontrol", "update", "nodename=n3", "state=resume"])?;
    slurm.until_idle(SOON)
}

fn until_drained(slurm: &SlurmCluster) -> Result<()> {
    slurm.until_node("n3", "drained", SOON, |node| node.get("State") == "IDLE+DRAIN")?;
    slurm.until_node("n2", "idle", SOON, |node| node.get("State") == "IDLE").map(drop)
}

fn give_up(slurm: &SlurmCluster, job: &Job<'_>) -> Result<()> {
    // It may be over already.
    slurm.as_user(&["scancel", &job.id.to_string()], "")?;
    slurm.slurm(&["scontrol", "update", "nodename=n3", "state=resume"])?;
    slurm.until_idle(SOON)
}

fn traces(slurm: &SlurmCluster) -> Result<usize> {
    let on_each = slurm.compute().iter().map(|node| {
        let listing = slurm.cluster.node(node).sh("ls /tmp | grep ^ran- || true")?;
        Ok(listing.lines().count())
    });
    on_each.sum()
}
