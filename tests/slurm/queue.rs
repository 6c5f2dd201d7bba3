//! Jobs in Slurm's queue: whose pool fails, that are preempted, that share a node, that come all at
//! once, and whose constraint is an expression.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::CONTROLLER;
use rampool_e2e::slurm::{Fields, Job, SlurmCluster, site};
use rampool_e2e::until::until;
use rampool_proto::hostlist::HostList;
use serde_json::Value;

use crate::faults::{LASTING, LET_GO, WISH, each, let_go, start_again, submit, until_running};
use crate::faults::{cases, while_its_pool_is_made};
use crate::own::{PROFILES, SOON};

/// Jobs submitted at once.
const MANY: usize = 50;

/// For all of them, of which sixteen run at a time: several times what they take.
const LONG: Duration = Duration::from_secs(1200);

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn a_job_whose_pool_fails_is_tried_again_elsewhere_and_held_at_last() -> Result<()> {
    // Without facts nothing is refused at submission that the controller would refuse.
    SlurmCluster::builder("failing", 4).profiles(PROFILES).boot()?.run(|slurm| {
        each(
            slurm,
            cases![
                one_broken_node_is_left_out_of_the_next_try,
                held_after_three_tries_also_by_a_controller_that_was_killed,
                not_to_be_queued_again,
                refused_its_scratch_before_a_step,
                of_an_expression,
                doctor_knows_slurm,
            ],
        )
    })
}

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn jobs_beside_each_other_each_have_their_own() -> Result<()> {
    SlurmCluster::builder("beside", 4).profiles(PROFILES).keeping_facts().boot()?.run(|slurm| {
        each(
            slurm,
            cases![
                several_on_one_node,
                preempted,
                slurmctld_is_restarted_while_it_runs,
                slurmctld_is_restarted_while_its_pool_is_made,
                many_at_once,
            ],
        )
    })
}

/// As `rampool list --job` tells it.
fn told(slurm: &SlurmCluster, id: u32) -> Result<Value> {
    let list = slurm.cluster.rampool_json(&["list", "--job", &id.to_string()])?;
    ensure!(list["slurm"].is_null() && list["jobs"][0]["job"] == id, "{list}");
    Ok(list["jobs"][0].clone())
}

fn ensure_says(text: &Value, words: &str) -> Result<()> {
    ensure!(text.as_str().is_some_and(|text| text.contains(words)), "wanted {words:?}: {text}");
    Ok(())
}

const FAILING_MKFS: &str = "#!/bin/sh\necho 'no file system today' >&2\nexit 1\n";

/// No file system can be made on any node.
fn break_all(slurm: &SlurmCluster) -> Result<()> {
    for node in slurm.compute() {
        let node = slurm.cluster.node(node);
        node.sh("rm -f /usr/sbin/mkfs.ext4")?;
        node.write_file("/usr/sbin/mkfs.ext4", 0o755, FAILING_MKFS)?;
    }
    Ok(())
}

/// It can again, but not on this node.
fn mend_all_but(slurm: &SlurmCluster, broken: &str) -> Result<()> {
    for node in slurm.compute().iter().filter(|node| *node != broken) {
        slurm.cluster.node(node).sh("ln -sf mke2fs /usr/sbin/mkfs.ext4")?;
    }
    Ok(())
}

/// The nodes that a job is kept off, once there are so many.
fn until_kept_off(job: &Job<'_>, count: usize) -> Result<HostList> {
    let excluded = |fields: &Fields| match fields.get("ExcNodeList") {
        "" | "(null)" => Ok(HostList::default()),
        list => list.parse::<HostList>(),
    };
    let fields = job.until(&format!("kept off {count} nodes"), SOON, |fields| {
        excluded(fields).is_ok_and(|nodes| nodes.len() == count)
    })?;
    Ok(excluded(&fields)?)
}

/// Its fields once its try of this number failed, and it waits for the next.
fn until_failed(job: &Job<'_>, times: u32) -> Result<Fields> {
    job.until("queued again", SOON, |fields| {
        fields.get("JobState") == "PENDING"
            && fields.get("Restarts") == times.to_string()
            && fields.get("Reason") == "BeginTime"
    })
}

fn one_broken_node_is_left_out_of_the_next_try(slurm: &SlurmCluster) -> Result<()> {
    break_all(slurm)?;
    let job = slurm.submit(&[&WISH[..], &["-N2"]].concat(), LASTING)?;
    let fields = until_failed(&job, 1)?;
    ensure!(fields.get("AdminComment").contains("no file system today"), "{fields}");
    let waits = told(slurm, job.id)?;
    ensure!(waits["failures"] == 1 && waits["user"] == "alice", "{waits}");
    let broken = until_kept_off(&job, 1)?.to_string();
    mend_all_but(slurm, &broken)?;
    ensure_says(&waits["text"], &format!("its pool failed: {broken}: "))?;
    ensure_says(&waits["text"], &format!("scontrol update jobid={} StartTime=now", job.id))?;
    until_it_runs(slurm, &job)?;
    let runs = told(slurm, job.id)?;
    let pool = runs["pool"].as_str().unwrap_or_default();
    ensure!(pool.starts_with(&format!("job-{}-", job.id)) && runs["state"] == "RUNNING", "{runs}");
    let nodes: HostList = runs["nodes"].as_str().unwrap_or_default().parse()?;
    ensure!(nodes.len() == 2 && !nodes.contains(&broken), "{runs}");
    ensure_says(&runs["text"], "is mounted at /rampool/")?;
    list_shows_its_pool(slurm, &job)?;
    job.cancel()?;
    job.until_over(SOON)?;
    mend_all_but(slurm, "")
}

/// A machine that stalls may have a node silent, and the job queued again for that.
fn until_it_runs(slurm: &SlurmCluster, job: &Job<'_>) -> Result<()> {
    until(&format!("job {} runs", job.id), 2 * SOON, || {
        let fields = job.show()?;
        match (fields.get("JobState"), fields.get("Reason")) {
            ("RUNNING", _) => return Ok(Ok(())),
            ("PENDING", "BeginTime") => job.update("StartTime=now")?,
            _ => {}
        }
        Ok(Err(fields))
    })?;
    until_running(slurm, job).map(drop)
}

/// With its user, and when Slurm ends it: the partition's hour.
fn list_shows_its_pool(slurm: &SlurmCluster, job: &Job<'_>) -> Result<()> {
    until("when the job ends", SOON, || {
        let list = slurm.cluster.rampool_json(&["list"])?;
        let pool = &list["pools"][0];
        ensure!(pool["job"] == job.id && pool["owner"] == "alice", "{list}");
        Ok(if pool["expires_at"].is_string() { Ok(()) } else { Err(list) })
    })?;
    let table = slurm.cluster.rampool(&["list"])?.ok()?;
    ensure!(table.contains("alice") && table.contains("59m "), "{table}");
    Ok(())
}

/// Three tries more than the first: on four nodes, one after the other.
fn held_after_three_tries_also_by_a_controller_that_was_killed(slurm: &SlurmCluster) -> Result<()> {
    break_all(slurm)?;
    let job = slurm.submit(&[&WISH[..], &["-N1"]].concat(), LASTING)?;
    for times in 1..=3 {
        until_failed(&job, times)?;
        ensure!(told(slurm, job.id)?["failures"] == times, "{}", told(slurm, job.id)?);
        until_kept_off(&job, times as usize)?;
        if times == 2 {
            slurm.cluster.kill_program(CONTROLLER, "rampool-controller")?;
            slurm.cluster.start_controller()?;
            slurm.cluster.wait_reachable(&["n2", "n3", "n4", "n5"])?;
        }
        job.update("StartTime=now")?;
    }
    let fields = until_held(&job)?;
    ensure!(fields.get("AdminComment").starts_with("rampool: held: n"), "{fields}");
    let waits = told(slurm, job.id)?;
    ensure_says(&waits["text"], &format!("scontrol release {}", job.id))?;
    ensure_says(&waits["text"], "no file system today")?;
    // What was broken is mended: it may be anywhere again.
    mend_all_but(slurm, "")?;
    until_kept_off(&job, 0)?;
    slurm.slurm(&["scontrol", "release", &job.id.to_string()])?;
    until_it_runs(slurm, &job)?;
    job.cancel()?;
    job.until_over(SOON).map(drop)
}

fn until_held(job: &Job<'_>) -> Result<Fields> {
    job.until("held", SOON, |fields| {
        fields.get("JobState") == "PENDING"
            && fields.get("Priority") == "0"
            && fields.get("Reason").contains("held")
    })
}

fn not_to_be_queued_again(slurm: &SlurmCluster) -> Result<()> {
    break_all(slurm)?;
    let job = slurm.submit(&[&WISH[..], &["-N2", "--no-requeue"]].concat(), LASTING)?;
    let fields = job.until_over(SOON)?;
    ensure!(fields.get("JobState") == "CANCELLED", "{fields}");
    ensure!(fields.get("AdminComment").starts_with("rampool: its pool failed: "), "{fields}");
    let ended = told(slurm, job.id)?;
    ensure_says(&ended["text"], "it was cancelled; its pool failed: n")?;
    mend_all_but(slurm, "")
}

/// Runs a step on all its nodes when it is let go, and says how that ended.
const STEP: &str = "#!/bin/sh\necho \"dir=$RAMPOOL_DIR\"\nuntil [ -e /tmp/end ]; do sleep 0.3; done\n\
    srun --ntasks-per-node=1 touch $RAMPOOL_DIR/mine\necho step=$?\n\
    until [ -e /tmp/over ]; do sleep 0.3; done\nexit 3\n";

/// Something else is where the scratch was: no line of the step runs there.
fn refused_its_scratch_before_a_step(slurm: &SlurmCluster) -> Result<()> {
    let (n2, n3) = (slurm.cluster.node("n2"), slurm.cluster.node("n3"));
    n2.sh("rm -f /tmp/over")?;
    let job = submit(slurm, STEP)?;
    until_running(slurm, &job)?;
    let path = format!("/rampool/{}", job.id);
    n3.sh(&format!("mount -t tmpfs none {path}"))?;
    n2.sh("touch /tmp/end")?;
    let output = until("the step's end", SOON, || {
        let output = job.output()?;
        Ok(if output.contains("step=") { Ok(output) } else { Err(output) })
    })?;
    n3.sh(&format!("[ -z \"$(ls {path})\" ] && umount {path}"))?;
    n2.sh("touch /tmp/over")?;
    ensure!(!output.contains("step=0"), "{output}");
    let fields = job.until_over(SOON)?;
    ensure!(fields.get("JobState") == "FAILED", "{fields}");
    // Slurm lets nobody change the AdminComment of a job that has ended.
    let said = until("told by the Epilog", SOON, || {
        let text = told(slurm, job.id)?["text"].to_string();
        Ok(if text.contains("refused: n3: ") { Ok(text) } else { Err(text) })
    })?;
    ensure!(said.contains("it failed; refused: n3: a task had no scratch: /rampool/"), "{said}");
    ensure!(said.contains("is not mounted"), "{said}");
    Ok(())
}

fn of_an_expression(slurm: &SlurmCluster) -> Result<()> {
    const SAY: &str = "#!/bin/sh\necho \"dir=$RAMPOOL_DIR\"\n";
    for (constraint, has) in
        [("moreIOPS&ssd", true), ("ssd&moreIOPS", true), ("notmoreIOPS", false)]
    {
        let job = slurm.submit(&["-C", constraint, "--mem=250", "-N2"], SAY)?;
        let fields = job.until_over(SOON)?;
        ensure!(fields.get("JobState") == "COMPLETED", "{fields}");
        let own = if has { format!("dir=/rampool/{}", job.id) } else { "dir=".to_owned() };
        ensure!(job.output()?.lines().any(|line| line == own), "{constraint}: {}", job.output()?);
    }
    // Which of them it would have is not known: it is held, and says what to write instead.
    let job = slurm.submit(&["-C", "[ssd|moreIOPS]", "--mem=250"], SAY)?;
    let fields = until_held(&job)?;
    ensure!(fields.get("AdminComment").contains("write moreIOPS&(the rest)"), "{fields}");
    ensure_says(&told(slurm, job.id)?["text"], "held: ")?;
    job.cancel()
}

fn doctor_knows_slurm(slurm: &SlurmCluster) -> Result<()> {
    let of_slurm = |findings: &Value| -> Vec<String> {
        let all = findings["findings"].as_array().cloned().unwrap_or_default();
        let of_cluster = all.iter().filter(|finding| finding["node"].is_null());
        of_cluster.map(|finding| format!("{} {}", finding["severity"], finding["text"])).collect()
    };
    let n1 = slurm.cluster.node(CONTROLLER);
    let doctor = |config: &str| -> Result<Value> {
        let said = slurm.cluster.rampool(&["doctor", "--slurm-config", config, "-o", "json"])?;
        Ok(serde_json::from_slice(&said.stdout)?)
    };
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().display().to_string();
    let yaml = site::hooks_yaml(CONTROLLER, "slurm");
    std::fs::write(file.path(), &yaml)?;
    let fit = of_slurm(&doctor(&path)?);
    ensure!(fit == ["\"ok\" \"Slurm: fit for jobs that ask for a pool\""], "{fit:?}");
    let unknown = of_slurm(&doctor("/nonexistent/slurm.yaml")?);
    ensure!(unknown.len() == 2 && unknown[1].contains("was not compared"), "{unknown:?}");
    // Longer than the 300 s of examples/rampool.conf.
    std::fs::write(file.path(), yaml.replace("\ndeadline: 60s", "\ndeadline: 301s"))?;
    let late = of_slurm(&doctor(&path)?);
    ensure!(late.len() == 1 && late[0].starts_with("\"error\" "), "{late:?}");
    ensure!(
        late[0].contains("PrologEpilogTimeout is 300 s, and the hooks' deadline 301 s"),
        "{late:?}"
    );
    n1.sh("pkill -x -STOP slurmctld")?;
    let silent = doctor(&path).map(|findings| of_slurm(&findings));
    n1.sh("pkill -x -CONT slurmctld")?;
    let silent = silent?;
    ensure!(silent.len() == 1 && silent[0].contains("does not say"), "{silent:?}");
    Ok(())
}

/// Lasts until it is let go alone.
const ALONE: &str = "#!/bin/sh\necho \"dir=$RAMPOOL_DIR\"\ntouch $RAMPOOL_DIR/of-$SLURM_JOB_ID || exit 9\n\
    until [ -e /tmp/end-$SLURM_JOB_ID ]; do sleep 0.3; done\nls $RAMPOOL_DIR\n";

/// A job of one node that lends little.
const SMALL: [&str; 5] = ["-N1", "-C", "moreIOPS", "--mem=100", "--comment=rampool:size=32M"];

fn several_on_one_node(slurm: &SlurmCluster) -> Result<()> {
    let n2 = slurm.cluster.node("n2");
    let jobs: Vec<Job<'_>> = (0..3)
        .map(|_| slurm.submit(&[&SMALL[..], &["-wn2"]].concat(), ALONE))
        .collect::<Result<_>>()?;
    for job in &jobs {
        until_running(slurm, job)?;
    }
    let [first, second, third] = &jobs[..] else { unreachable!("there are three") };
    let mut others = vec![second, first, third];
    while !others.is_empty() {
        let job = others.remove(0);
        n2.sh(&format!("touch /tmp/end-{}", job.id))?;
        let fields = job.until_over(SOON)?;
        ensure!(fields.get("JobState") == "COMPLETED", "{fields}");
        let output = job.output()?;
        let last = output.lines().last().unwrap_or_default();
        ensure!(last == format!("of-{}", job.id), "more than its own: {output}");
        for other in &others {
            n2.sh(&format!("test -e /rampool/{0}/of-{0}", other.id))
                .context("another's is gone")?;
        }
    }
    Ok(())
}

/// Another job takes its nodes; it begins again when they are free.
fn preempted(slurm: &SlurmCluster) -> Result<()> {
    let job = submit(slurm, LASTING)?;
    until_running(slurm, &job)?;
    let urgent = ["-p", site::URGENT, "--exclusive", "-N2", "-wn2,n3"];
    let other = slurm.submit(&urgent, "#!/bin/sh\ngrep -c ' /rampool/' /proc/mounts\ntrue\n")?;
    let fields = other.until_over(SOON)?;
    ensure!(fields.get("JobState") == "COMPLETED", "{fields}");
    ensure!(other.output()? == "0", "its nodes were not free: {}", other.output()?);
    start_again(&job)?;
    until("running again", SOON, || {
        let output = job.output().unwrap_or_default();
        Ok(if output.contains("run=1") { Ok(()) } else { Err(output) })
    })?;
    job.cancel()?;
    job.until_over(SOON).map(drop)
}

/// As its unit does when it is stopped.
fn stop_slurmctld(slurm: &SlurmCluster) -> Result<()> {
    let stop = "pid=$(pidof slurmctld) && kill -TERM $pid && \
                while kill -0 $pid 2>/dev/null; do sleep 0.1; done";
    slurm.cluster.node(CONTROLLER).sh(stop).map(drop)
}

fn slurmctld_is_restarted_while_it_runs(slurm: &SlurmCluster) -> Result<()> {
    let job = submit(slurm, LET_GO)?;
    until_running(slurm, &job)?;
    stop_slurmctld(slurm)?;
    slurm.start_slurmctld()?;
    let_go(slurm, &job).map(drop)
}

fn slurmctld_is_restarted_while_its_pool_is_made(slurm: &SlurmCluster) -> Result<()> {
    let job = while_its_pool_is_made(slurm, LET_GO, |_| stop_slurmctld(slurm))?;
    slurm.start_slurmctld()?;
    until_running(slurm, &job)?;
    let_go(slurm, &job).map(drop)
}

/// All end well, each with its own; no node is drained for a moment.
fn many_at_once(slurm: &SlurmCluster) -> Result<()> {
    let drains = || {
        let log = "grep -c 'state set to DRAIN' /var/log/rampool/slurmctld.log || true";
        slurm.cluster.node(CONTROLLER).sh(log)
    };
    let before = drains()?;
    let script =
        "#!/bin/sh\ntouch $RAMPOOL_DIR/mine && echo \"of $SLURM_JOB_ID in $RAMPOOL_DIR\"\n";
    let submit = format!(
        "cat >many; for i in $(seq {MANY}); do sbatch --parsable --output=/tmp/many-%j.out {} many; \
         done",
        SMALL.join(" ")
    );
    let said = slurm.as_user(&["sh", "-c", &submit], script)?.ok()?;
    let mut ids: Vec<u32> =
        said.lines().map(|line| line.parse().context(line.to_owned())).collect::<Result<_>>()?;
    ensure!(ids.len() == MANY, "{said}");
    until("all of them over", LONG, || {
        let left = slurm.slurm(&["squeue", "-h", "-o", "%i %T %r"])?;
        Ok(if left.is_empty() { Ok(()) } else { Err(left) })
    })?;
    for node in slurm.compute() {
        let lines = slurm.cluster.node(node).sh("cat /tmp/many-*.out 2>/dev/null || true")?;
        ids.retain(|id| !lines.lines().any(|line| line == format!("of {id} in /rampool/{id}")));
    }
    ensure!(ids.is_empty(), "without their scratch: {ids:?}");
    ensure!(drains()? == before, "nodes were drained: {} times before, {} now", before, drains()?);
    Ok(())
}
