//! Jobs that do not end by themselves, and what breaks around them: each ends with the memory
//! free, and no job or node hangs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::CONTROLLER;
use rampool_e2e::footprint::Footprint;
use rampool_e2e::slurm::{Fields, Job, SlurmCluster};
use rampool_e2e::until::until;

use crate::own::{SOON, boot};

/// A job's options.
pub(crate) const WISH: [&str; 3] = ["-C", "moreIOPS", "--mem=250"];

/// Says where it is, and goes on until it is ended.
pub(crate) const LASTING: &str = "#!/bin/sh\necho \"dir=$RAMPOOL_DIR run=$SLURM_RESTART_COUNT\"\n\
    touch $RAMPOOL_DIR/mine || exit 9\nexec sleep 600\n";

/// The same, until somebody lets it go: `touch /tmp/end` on its first node.
pub(crate) const LET_GO: &str = "#!/bin/sh\necho \"dir=$RAMPOOL_DIR\"\ntouch $RAMPOOL_DIR/mine || exit 9\n\
    until [ -e /tmp/end ]; do sleep 0.3; done\nls $RAMPOOL_DIR/mine\n";

/// What a case does to a cluster, and the cluster's nodes before.
pub(crate) type Case = fn(&SlurmCluster) -> Result<()>;

pub(crate) fn each(slurm: &SlurmCluster, cases: &[(&str, Case)]) -> Result<()> {
    let before: Vec<Footprint> = slurm.cluster.footprints()?;
    for (name, case) in cases {
        println!("{name}");
        case(slurm).with_context(|| (*name).to_owned())?;
        slurm.ensure_given_back(&before, SOON).with_context(|| format!("after {name}"))?;
    }
    Ok(())
}

macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), $case as $crate::faults::Case)),*] };
}
pub(crate) use cases;

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn a_job_that_is_ended_gives_its_memory_back() -> Result<()> {
    boot("ended", 3)?.run(|slurm| {
        each(
            slurm,
            cases![
                cancelled_while_its_pool_is_made,
                cancelled_while_it_runs,
                queued_again,
                slurmctld_is_killed_while_it_runs,
                slurmctld_is_killed_while_its_pool_is_made,
                the_controller_is_killed_while_it_runs,
                the_controller_is_killed_while_its_pool_is_made,
            ],
        )
    })
}

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn a_job_without_time_or_controller_gives_its_memory_back() -> Result<()> {
    boot("away", 3)?.run(|slurm| {
        each(
            slurm,
            cases![
                its_time_is_over,
                the_controller_is_down_when_it_starts,
                the_controller_is_down_when_it_ends,
            ],
        )
    })
}

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn a_job_whose_node_is_lost_gives_its_memory_back() -> Result<()> {
    boot("lost", 3)?.run(|slurm| each(slurm, cases![a_node_loses_power, its_head_loses_power]))
}

pub(crate) fn submit<'a>(slurm: &'a SlurmCluster, script: &str) -> Result<Job<'a>> {
    for node in slurm.compute() {
        slurm.cluster.node(node).sh("rm -f /tmp/end")?;
    }
    slurm.submit(&[&WISH[..], &["-N2", "-wn2,n3"]].concat(), script)
}

/// Its output once it runs; the script says a first line of its own.
pub(crate) fn until_running(slurm: &SlurmCluster, job: &Job<'_>) -> Result<String> {
    job.until("running", SOON, |fields| fields.get("JobState") == "RUNNING")?;
    until("running", SOON, || {
        let output = job.output().unwrap_or_default();
        Ok(if output.contains("dir=/rampool/") { Ok(output) } else { Err(output) })
    })
    .with_context(|| format!("{:?}", slurm.slurm(&["squeue"])))
}

pub(crate) fn let_go(slurm: &SlurmCluster, job: &Job<'_>) -> Result<Fields> {
    slurm.cluster.node("n2").sh("touch /tmp/end")?;
    let fields = job.until_over(SOON)?;
    let output = job.output()?;
    ensure!(fields.get("JobState") == "COMPLETED", "{fields}\n{output}");
    ensure!(output.ends_with(&format!("/rampool/{}/mine", job.id)), "{output}");
    Ok(fields)
}

/// Stands before `mkfs.ext4` on a head: waits, where it is told to, and says so.
pub(crate) const WAITING_MKFS: &str = "#!/bin/sh\nif [ -e /run/hold ]; then touch /run/holds; fi\n\
    while [ -e /run/hold ]; do sleep 0.1; done\nexec /usr/sbin/mke2fs -t ext4 \"$@\"\n";

/// Does something while a job's pool is half made: its head, `n2`, is at the file system.
pub(crate) fn while_its_pool_is_made<'a>(
    slurm: &'a SlurmCluster,
    script: &str,
    act: impl FnOnce(&Job<'a>) -> Result<()>,
) -> Result<Job<'a>> {
    let head = slurm.cluster.node("n2");
    head.sh("rm -f /usr/sbin/mkfs.ext4 /run/holds; touch /run/hold")?;
    head.write_file("/usr/sbin/mkfs.ext4", 0o755, WAITING_MKFS)?;
    let job = submit(slurm, script)?;
    let acted = until("at the file system", SOON, || {
        let there = head.exec(["test", "-e", "/run/holds"])?.status.success();
        Ok(if there { Ok(()) } else { Err(job.show()?) })
    })
    .and_then(|()| act(&job));
    head.sh("rm /run/hold")?;
    acted.map(|()| job)
}

fn cancelled_while_its_pool_is_made(slurm: &SlurmCluster) -> Result<()> {
    let job = while_its_pool_is_made(slurm, LASTING, |job| {
        job.cancel()?;
        // Slurm gives the nodes to others at once: the next job is for the Prolog to hold up.
        job.until_over(SOON).map(drop)
    })?;
    let next = submit(slurm, LET_GO)?;
    let output = until_running(slurm, &next)?;
    ensure!(!output.contains(&format!("/rampool/{}\n", job.id)), "{output}");
    let_go(slurm, &next).map(drop)
}

fn cancelled_while_it_runs(slurm: &SlurmCluster) -> Result<()> {
    let job = submit(slurm, LASTING)?;
    until_running(slurm, &job)?;
    job.cancel()?;
    let fields = job.until_over(SOON)?;
    ensure!(fields.get("JobState") == "CANCELLED", "{fields}");
    Ok(())
}

fn queued_again(slurm: &SlurmCluster) -> Result<()> {
    let job = submit(slurm, LASTING)?;
    until_running(slurm, &job)?;
    slurm.slurm(&["scontrol", "requeue", &job.id.to_string()])?;
    start_again(&job)?;
    // Its output begins anew, but not at once.
    until("running again", SOON, || {
        let output = job.output().unwrap_or_default();
        Ok(if output.contains("run=1") { Ok(()) } else { Err(output) })
    })?;
    slurm
        .cluster
        .until_pool(&format!("job-{}-2", job.id), "ready", SOON, |pool| pool["state"] == "ready")?;
    job.cancel()
}

/// Slurm lets a job that was queued again wait for two minutes.
pub(crate) fn start_again(job: &Job<'_>) -> Result<()> {
    job.until("queued again", SOON, |fields| {
        fields.get("JobState") == "PENDING" && fields.get("Reason") == "BeginTime"
    })?;
    job.update("StartTime=now")
}

fn slurmctld_is_killed_while_it_runs(slurm: &SlurmCluster) -> Result<()> {
    let job = submit(slurm, LET_GO)?;
    until_running(slurm, &job)?;
    slurm.kill_slurmctld()?;
    slurm.start_slurmctld()?;
    let_go(slurm, &job).map(drop)
}

fn slurmctld_is_killed_while_its_pool_is_made(slurm: &SlurmCluster) -> Result<()> {
    let job = while_its_pool_is_made(slurm, LET_GO, |_| slurm.kill_slurmctld())?;
    slurm.start_slurmctld()?;
    // It is given nodes afresh, without an Epilog in between.
    until_running(slurm, &job)?;
    let_go(slurm, &job).map(drop)
}

fn the_controller_is_killed_while_it_runs(slurm: &SlurmCluster) -> Result<()> {
    let job = submit(slurm, LET_GO)?;
    until_running(slurm, &job)?;
    slurm.cluster.kill_program(CONTROLLER, "rampool-controller")?;
    slurm.cluster.start_controller()?;
    let_go(slurm, &job).map(drop)
}

fn the_controller_is_killed_while_its_pool_is_made(slurm: &SlurmCluster) -> Result<()> {
    let job = while_its_pool_is_made(slurm, LET_GO, |_| {
        slurm.cluster.kill_program(CONTROLLER, "rampool-controller")?;
        slurm.cluster.start_controller()
    })?;
    until_running(slurm, &job)?;
    let_go(slurm, &job).map(drop)
}

fn the_controller_is_down_when_it_starts(slurm: &SlurmCluster) -> Result<()> {
    slurm.cluster.kill_program(CONTROLLER, "rampool-controller")?;
    let job = submit(slurm, LET_GO)?;
    // PrologSlurmctld waits for the controller, then gives up: Slurm queues the job again. It is
    // completing as long as EpilogSlurmctld waits for the controller too.
    job.until("queued again", SOON, |fields| fields.get("Restarts") == "1")?;
    slurm.cluster.start_controller()?;
    slurm.until_idle(SOON)?;
    start_again(&job)?;
    until_running(slurm, &job)?;
    let_go(slurm, &job).map(drop)
}

fn the_controller_is_down_when_it_ends(slurm: &SlurmCluster) -> Result<()> {
    let job = submit(slurm, LASTING)?;
    until_running(slurm, &job)?;
    // Somebody else's reason must outlive what rampool does.
    slurm.slurm(&["scontrol", "update", "nodename=n4", "state=drain", "reason=a new disk"])?;
    slurm.cluster.kill_program(CONTROLLER, "rampool-controller")?;
    job.cancel()?;
    job.until_over(SOON)?;
    for node in ["n2", "n3"] {
        let reason = slurm.until_node(node, "drained by its Epilog", SOON, |fields| {
            fields.get("State").contains("DRAIN") && fields.get("Reason").starts_with("rampool:")
        })?;
        let words = format!("memory of job {} not known to be free", job.id);
        ensure!(reason.get("Reason").contains(&words), "{reason}");
    }
    slurm.cluster.start_controller()?;
    for node in ["n2", "n3"] {
        slurm.until_node(node, "given back", SOON, |fields| fields.get("State") == "IDLE")?;
        ensure_nothing_held(slurm, node)?;
    }
    let other = slurm.show_node("n4")?;
    ensure!(other.get("Reason").starts_with("a new disk"), "{other}");
    ensure!(other.get("State") == "IDLE+DRAIN", "{other}");
    slurm.slurm(&["scontrol", "update", "nodename=n4", "state=resume"]).map(drop)
}

fn its_time_is_over(slurm: &SlurmCluster) -> Result<()> {
    let options = [&WISH[..], &["-N2", "-wn2,n3", "-t1"]].concat();
    let job = slurm.submit(&options, LASTING)?;
    until_running(slurm, &job)?;
    // Slurm looks every half minute.
    let fields = job.until_over(SOON)?;
    ensure!(fields.get("JobState") == "TIMEOUT", "{fields}");
    Ok(())
}

/// A file is open on each node.
const OPEN: &str = "#!/bin/sh\necho \"dir=$RAMPOOL_DIR\"\n\
    exec srun --ntasks-per-node=1 sh -c 'exec 3>$RAMPOOL_DIR/of-$(hostname)\necho x >&3\necho open\n\
    exec sleep 600'\n";

fn a_node_loses_power(slurm: &SlurmCluster) -> Result<()> {
    let job = loses_power(slurm, "n3", "n2")?;
    ensure_unmounted_at_once(slurm, &format!("job-{}-1", job.id))?;
    is_back(slurm, "n3")
}

/// The other node has files open on what that one shared.
fn its_head_loses_power(slurm: &SlurmCluster) -> Result<()> {
    loses_power(slurm, "n2", "n3")?;
    is_back(slurm, "n2")
}

/// A job whose node `lost` does, and which is cancelled once Slurm noticed.
fn loses_power<'a>(slurm: &'a SlurmCluster, lost: &str, left: &str) -> Result<Job<'a>> {
    let job = submit(slurm, OPEN)?;
    until("files open", SOON, || {
        let output = job.output().unwrap_or_default();
        Ok(if output.matches("open").count() == 2 { Ok(()) } else { Err(output) })
    })?;
    slurm.cluster.node(lost).kill()?;
    job.until("queued again", SOON, |fields| fields.get("Restarts") == "1")?;
    let noticed = Instant::now();
    job.cancel()?;
    // The one that is left is free without the other, and was never taken out of use.
    slurm.until_node(left, "idle", SOON, |fields| fields.get("State") == "IDLE")?;
    ensure_nothing_held(slurm, left)?;
    println!("the node left was free {:.1} s after Slurm noticed", noticed.elapsed().as_secs_f64());
    Ok(job)
}

/// It boots, and is given to jobs again: the site's admin does, who was told why.
fn is_back(slurm: &SlurmCluster, node: &str) -> Result<()> {
    slurm.cluster.node(node).boot()?;
    slurm.cluster.wait_reachable(&[node])?;
    slurm.until_node(node, "seen to have rebooted", SOON, |fields| {
        fields.get("Reason").starts_with("Node unexpectedly rebooted")
    })?;
    slurm.slurm(&["scontrol", "update", &format!("nodename={node}"), "state=resume"]).map(drop)
}

/// A head that waited for a dead client's open files would wait for their lease: a minute and a
/// half.
const LEASE: Duration = Duration::from_secs(90);

/// By the controller's own account.
fn ensure_unmounted_at_once(slurm: &SlurmCluster, pool: &str) -> Result<()> {
    let events = slurm.cluster.rampool_json(&["events", pool])?;
    let all = events["events"].as_array().into_iter().flatten();
    let mut of_head = all.filter(|event| event["step"] == "unmount" && event["node"] == "n2");
    let done = of_head.rfind(|event| event["kind"] == "done").context("it is mounted")?;
    let took = Duration::from_millis(done["took_ms"].as_u64().unwrap_or(u64::MAX));
    println!("its unmount took {:.1} s", took.as_secs_f64());
    ensure!(took < LEASE / 3, "{events}");
    Ok(())
}

/// A node that Slurm has back, or will have.
fn ensure_nothing_held(slurm: &SlurmCluster, node: &str) -> Result<()> {
    let left = slurm
        .cluster
        .node(node)
        .sh("grep ' /rampool/' /proc/mounts; ls -d /sys/kernel/config/target/iscsi/iqn.*job-* \
         /sys/block/md* 2>/dev/null; true")?;
    ensure!(left.is_empty(), "{node} has it back, with {left}");
    Ok(())
}
