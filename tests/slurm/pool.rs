//! Jobs to which donors outside of them lend, and which wait for those donors' memory by licences.

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::CONTROLLER;
use rampool_e2e::slurm::{Fields, Job, SlurmCluster, site};
use rampool_e2e::until::until;
use serde_json::Value;

use crate::faults::WAITING_MKFS;
use crate::own::{LOCAL, SOON, a_job_of};

/// Of two donors, which do not have twice as much.
pub(crate) const LARGE: &str = "560MiB";

/// Runs until it is let go: `touch /tmp/end` on its first node.
pub(crate) const LET_GO: &str = "#!/bin/sh\necho \"dir=$RAMPOOL_DIR\"\ntouch $RAMPOOL_DIR/mine || exit 9\n\
    until [ -e /tmp/end ]; do sleep 0.3; done\nls $RAMPOOL_DIR/mine\n";

/// Donors that lend to jobs elsewhere, and what a job gets of them that gives no size; a service
/// node may be the head.
pub(crate) fn profiles(donors: &str, size: &str) -> String {
    let donors = format!("    donors: {donors}\n    size: {size}\n    patience: 10s\n");
    let lake = format!("    lend: pool\n    fs: ext4\n{donors}");
    format!("  lake:\n{lake}  lake_served:\n    head: {CONTROLLER}\n{lake}")
}

/// Waits until job_submit.lua knows of licences: slurmctld may have answered late.
pub(crate) fn until_facts(slurm: &SlurmCluster) -> Result<()> {
    let n1 = slurm.cluster.node(CONTROLLER);
    until("facts with licences", SOON, || {
        let facts = n1.sh(&format!("cat {} || true", site::FACTS))?;
        Ok(if facts.contains("\nlicences ") { Ok(()) } else { Err(facts) })
    })
}

pub(crate) fn submit<'a>(slurm: &'a SlurmCluster, options: &[&str]) -> Result<Job<'a>> {
    for node in slurm.compute() {
        slurm.cluster.node(node).sh("rm -f /tmp/end")?;
    }
    slurm.submit(&[&["-C", "lake"], options].concat(), LET_GO)
}

pub(crate) fn until_running(job: &Job<'_>) -> Result<()> {
    job.until("running", SOON, |fields| fields.get("JobState") == "RUNNING")?;
    let path = format!("dir=/rampool/{}", job.id);
    until("in its scratch", SOON, || {
        let output = job.output().unwrap_or_default();
        Ok(if output.contains(&path) { Ok(()) } else { Err(output) })
    })
}

pub(crate) fn let_go(slurm: &SlurmCluster, job: &Job<'_>) -> Result<()> {
    let first = job.show()?.get("BatchHost").to_owned();
    slurm.cluster.node(&first).sh("touch /tmp/end").map(drop)
}

pub(crate) fn ensure_completed(job: &Job<'_>) -> Result<()> {
    let fields = job.until_over(SOON)?;
    let output = job.output()?;
    ensure!(fields.get("JobState") == "COMPLETED", "{fields}\n{output}");
    ensure!(output.ends_with(&format!("/rampool/{}/mine", job.id)), "{output}");
    ensure!(fields.get("Restarts") == "0", "{fields}");
    Ok(())
}

/// A job's pool, as `rampool list` tells; none where it has none.
pub(crate) fn pool_of(slurm: &SlurmCluster, job: &Job<'_>) -> Result<Option<Value>> {
    let list = slurm.cluster.rampool_json(&["list"])?;
    let own = format!("job-{}-", job.id);
    let pools = list["pools"].as_array().context("no pools")?;
    let is_own = |pool: &&Value| pool["name"].as_str().is_some_and(|name| name.starts_with(&own));
    Ok(pools.iter().find(is_own).cloned())
}

/// A pool's donors.
pub(crate) fn donors_of(slurm: &SlurmCluster, job: &Job<'_>) -> Result<Vec<String>> {
    let pool = pool_of(slurm, job)?.context("the job has no pool")?;
    let donors = pool["donors"].as_array().context("no donors")?;
    Ok(donors.iter().filter_map(|donor| donor["node"].as_str()).map(str::to_owned).collect())
}

pub(crate) fn signal_agent(slurm: &SlurmCluster, node: &str, signal: &str) -> Result<()> {
    let line = format!("kill -{signal} $(pidof rampool-agent)");
    slurm.cluster.node(node).sh(&line).map(drop)
}

#[test]
fn the_next_job_waits_for_its_licence_until_the_donors_have_their_memory_back() -> Result<()> {
    let cluster = SlurmCluster::with_donors("lake", 2, 2).profiles(&profiles("n[4-5]", LARGE));
    cluster.keeping_facts().licences(1).boot()?.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        until_facts(slurm)?;
        what_donors_cannot_give_is_refused(slurm)?;
        let first = submit(slurm, &["-N2"])?;
        until_running(&first)?;
        let donors = donors_of(slurm, &first)?;
        ensure!(donors == ["n4", "n5"], "{donors:?}");
        let next = slurm.submit(&["-N1", "-C", "lake"], LET_GO)?;
        let waits = |job: &Job<'_>| {
            job.until("waits for its licence", SOON, |fields| {
                fields.get("JobState") == "PENDING" && fields.get("Reason") == "Licenses"
            })
        };
        waits(&next)?;
        // A donor that is slow to free its memory: the nodes of the job do not wait for it.
        signal_agent(slurm, "n5", "STOP")?;
        let_go(slurm, &first)?;
        let ended = slurm.until_idle(SOON).and_then(|()| {
            let fields = first.show()?;
            ensure!(fields.get("JobState") == "COMPLETING", "its licence is free: {fields}");
            waits(&next)
        });
        signal_agent(slurm, "n5", "CONT")?;
        ended?;
        ensure_completed(&first)?;
        // Its pool is made at the first try: the memory was back before it had its nodes.
        until_running(&next)?;
        let_go(slurm, &next)?;
        ensure_completed(&next)?;
        slurm.ensure_given_back(&before, SOON)
    })
}

fn what_donors_cannot_give_is_refused(slurm: &SlurmCluster) -> Result<()> {
    let said = slurm.refusal(&["-C", "lake", "--comment=rampool:size=2G"], LET_GO)?;
    ensure!(said.contains("size=2G is more than all donors together can lend"), "{said}");
    Ok(())
}

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn jobs_of_one_node_and_of_four_use_donors_outside_by_a_head_of_theirs_or_of_the_service()
-> Result<()> {
    let cluster = SlurmCluster::with_donors("lakes", 4, 2).profiles(&profiles("n[6-7]", "256MiB"));
    cluster.keeping_facts().licences(4).boot()?.run(|slurm| {
        until_facts(slurm)?;
        each_head_serves_one_node_and_four(slurm)
    })
}

/// Jobs with a head of their own, and with the service's: on one node and on four.
pub(crate) fn each_head_serves_one_node_and_four(slurm: &SlurmCluster) -> Result<()> {
    let before = slurm.cluster.footprints()?;
    for (feature, first) in [("lake", LOCAL), ("lake_served", "nfs")] {
        for nodes in [&["n3"][..], &["n2", "n3", "n4", "n5"]] {
            let what = || format!("{feature} on {nodes:?}");
            a_job_of(slurm, feature, nodes, first).with_context(what)?;
            slurm.ensure_given_back(&before, SOON).with_context(what)?;
        }
    }
    Ok(())
}

/// What Slurm gives to nobody of each node that runs jobs: donors lend no more of it.
const KEPT_MIB: u64 = 200;

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn donors_under_slurm_lend_what_slurm_gives_to_nobody_and_jobs_wait_for_what_admins_have()
-> Result<()> {
    let cluster = SlurmCluster::builder("kept", 4).profiles(&profiles("n[4-5]", "300MiB"));
    cluster.keeping_mib(KEPT_MIB).keeping_facts().licences(8).boot()?.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        until_facts(slurm)?;
        more_than_donors_may_lend_is_refused(slurm)?;
        a_node_that_lends_runs_other_jobs(slurm)?;
        slurm.ensure_given_back(&before, SOON).context("after jobs on donors")?;
        a_recovered_pool_is_its_jobs(slurm)?;
        slurm.ensure_given_back(&before, SOON).context("after the recovered pool")?;
        a_job_on_a_donor_does_not_have_it(slurm)?;
        a_job_waits_for_what_an_admin_has(slurm)?;
        slurm.ensure_given_back(&before, SOON).context("after the admin's pool")
    })
}

/// Each of them has more memory than that to spare.
fn more_than_donors_may_lend_is_refused(slurm: &SlurmCluster) -> Result<()> {
    let most = 2 * KEPT_MIB;
    let wish = format!("--comment=rampool:size={}M", most + 1);
    let said = slurm.refusal(&["-C", "lake", &wish], LET_GO)?;
    ensure!(said.contains(&format!("all donors together can lend ({most} MiB")), "{said}");
    Ok(())
}

/// Also while the memory is on its way back.
fn a_node_that_lends_runs_other_jobs(slurm: &SlurmCluster) -> Result<()> {
    let job = submit(slurm, &["-N2", "-wn2,n3"])?;
    until_running(&job)?;
    runs_another_job(slurm, "n4")?;
    signal_agent(slurm, "n5", "STOP")?;
    let_go(slurm, &job)?;
    let others = slurm.until_idle(SOON).and_then(|()| runs_another_job(slurm, "n4"));
    signal_agent(slurm, "n5", "CONT")?;
    others?;
    ensure_completed(&job)
}

fn runs_another_job(slurm: &SlurmCluster, node: &str) -> Result<()> {
    let other = slurm.submit(&["-N1", "-w", node], "#!/bin/sh\nhostname\n")?;
    let fields = other.until_over(SOON)?;
    ensure!(fields.get("JobState") == "COMPLETED", "{fields}");
    ensure!(other.output()? == node, "{}", other.output()?);
    Ok(())
}

/// Its donors are known not to be its nodes, and its nodes to have it until both left.
fn a_recovered_pool_is_its_jobs(slurm: &SlurmCluster) -> Result<()> {
    let job = submit(slurm, &["-N2", "-wn2,n3"])?;
    until_running(&job)?;
    slurm.cluster.kill_program(CONTROLLER, "rampool-controller")?;
    slurm.cluster.node(CONTROLLER).sh("rm -r /var/lib/rampool/*")?;
    slurm.cluster.start_controller()?;
    slurm.cluster.wait_reachable(&["n2", "n3", "n4", "n5"])?;
    slurm.cluster.rampool(&["recover", "--apply"])?.ok()?;
    let list = slurm.cluster.rampool_json(&["list"])?;
    ensure!(list["pools"][0]["job"] == job.id, "{list}");
    runs_another_job(slurm, "n4")?;
    let_go(slurm, &job)?;
    ensure_completed(&job)
}

/// Waits until a job was queued again so many times, for lack of memory, which AdminComment tells.
fn until_waits(job: &Job<'_>, times: u32) -> Result<Fields> {
    let times = times.to_string();
    let fields = job.until("queued again", SOON, |fields| {
        fields.get("Reason") == "BeginTime" && fields.get("Restarts") == times
    })?;
    let said = fields.get("AdminComment");
    ensure!(said.starts_with("rampool: waits for memory: plan the pool: "), "{fields}");
    Ok(fields)
}

/// One donor of the two is left, which may not lend as much.
fn a_job_on_a_donor_does_not_have_it(slurm: &SlurmCluster) -> Result<()> {
    let job = submit(slurm, &["-N2", "-wn3,n4"])?;
    let bound = "a donor under Slurm lends no more than its MemSpecLimit: n5 may lend 200 MiB";
    let mut times = 1;
    // A donor that seems silent when the machine stalls lends nothing at all then.
    until("bound", SOON, || {
        let fields = until_waits(&job, times)?;
        if fields.get("AdminComment").contains(bound) {
            return Ok(Ok(()));
        }
        times += 1;
        job.update("StartTime=now")?;
        Ok(Err(fields))
    })?;
    job.cancel()
}

fn a_job_waits_for_what_an_admin_has(slurm: &SlurmCluster) -> Result<()> {
    let donors = ["--donors", "n[4-5]", "--size-per-donor", "100M"];
    let taken = [&["up", "ours", "--head", "n2", "--fs", "ext4"][..], &donors].concat();
    slurm.cluster.rampool(&taken)?.ok()?;
    let findings = slurm.cluster.rampool(&["doctor"])?;
    let findings = String::from_utf8_lossy(&findings.stdout).into_owned();
    ensure!(findings.contains("8 licences rampool, but of the 400 MiB"), "{findings}");
    let job = submit(slurm, &["-N1", "-wn3"])?;
    // More often than a job may fail: lack of memory is no failure.
    for times in 1..=3 {
        until_waits(&job, times)?;
        // Slurm would let it wait for two minutes.
        job.update("StartTime=now")?;
    }
    until_waits(&job, 4)?;
    slurm.cluster.rampool(&["down", "ours"])?.ok()?;
    job.update("StartTime=now")?;
    until_running(&job)?;
    let_go(slurm, &job)?;
    let fields = job.until_over(SOON)?;
    ensure!(fields.get("JobState") == "COMPLETED", "{fields}\n{}", job.output()?);
    Ok(())
}

/// What breaks around a job of donors outside, each time on the same cluster.
type Case = fn(&SlurmCluster) -> Result<()>;

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn whatever_becomes_of_a_job_its_donors_have_their_memory_back() -> Result<()> {
    let cluster = SlurmCluster::with_donors("lost-lake", 2, 2);
    let cluster = cluster.profiles(&profiles("n[4-5]", "256MiB")).keeping_facts().licences(1);
    cluster.boot()?.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        until_facts(slurm)?;
        let cases: [(&str, Case); 4] = [
            ("cancelled while its pool is made", cancelled_while_its_pool_is_made),
            ("the controller is killed while donors free", controller_killed_while_donors_free),
            ("slurmctld is killed while donors free", slurmctld_killed_while_donors_free),
            ("a donor loses power", a_donor_loses_power),
        ];
        for (name, case) in cases {
            println!("{name}");
            case(slurm).context(name)?;
            slurm.ensure_given_back(&before, SOON).with_context(|| format!("after {name}"))?;
        }
        Ok(())
    })
}

/// While the head, the job's first node, is at the file system.
fn cancelled_while_its_pool_is_made(slurm: &SlurmCluster) -> Result<()> {
    let head = slurm.cluster.node("n2");
    head.sh("rm -f /usr/sbin/mkfs.ext4 /run/holds; touch /run/hold")?;
    head.write_file("/usr/sbin/mkfs.ext4", 0o755, WAITING_MKFS)?;
    let job = submit(slurm, &["-N2", "-wn2,n3"])?;
    let cancelled = until("at the file system", SOON, || {
        let there = head.exec(["test", "-e", "/run/holds"])?.status.success();
        Ok(if there { Ok(()) } else { Err(job.show()?) })
    })
    .and_then(|()| job.cancel());
    head.sh("rm /run/hold")?;
    cancelled?;
    // Its licences are free once the donors have their memory back, and no sooner.
    let next = slurm.submit(&["-N1", "-C", "lake", "--comment=rampool:size=600M"], LET_GO)?;
    until_running(&next)?;
    ensure!(next.show()?.get("Restarts") == "0", "{}", next.show()?);
    let_go(slurm, &next)?;
    ensure_completed(&next)
}

/// A job that is over but for the memory of a donor, `n5`.
fn while_donors_free<'a>(
    slurm: &'a SlurmCluster,
    act: impl FnOnce() -> Result<()>,
) -> Result<Job<'a>> {
    let job = submit(slurm, &["-N2"])?;
    until_running(&job)?;
    signal_agent(slurm, "n5", "STOP")?;
    let acted = let_go(slurm, &job).and_then(|()| slurm.until_idle(SOON)).and_then(|()| act());
    signal_agent(slurm, "n5", "CONT")?;
    acted.map(|()| job)
}

fn controller_killed_while_donors_free(slurm: &SlurmCluster) -> Result<()> {
    let job = while_donors_free(slurm, || {
        slurm.cluster.kill_program(CONTROLLER, "rampool-controller")?;
        slurm.cluster.start_controller()
    })?;
    ensure_completed(&job)
}

fn slurmctld_killed_while_donors_free(slurm: &SlurmCluster) -> Result<()> {
    let job = while_donors_free(slurm, || {
        slurm.kill_slurmctld()?;
        slurm.start_slurmctld()
    })?;
    ensure_completed(&job)
}

/// Slurm cannot know of it: the job is queued again, and has another pool.
fn a_donor_loses_power(slurm: &SlurmCluster) -> Result<()> {
    let job = submit(slurm, &["-N2"])?;
    until_running(&job)?;
    let donor = slurm.cluster.node("n5");
    donor.kill()?;
    let fields = job.until("queued again", SOON, |fields| {
        fields.get("JobState") == "PENDING" && fields.get("Reason") == "BeginTime"
    })?;
    ensure!(fields.get("AdminComment").contains("n5"), "{fields}");
    donor.boot()?;
    slurm.cluster.wait_reachable(&["n5"])?;
    job.update("StartTime=now")?;
    until_running(&job)?;
    ensure!(job.show()?.get("Restarts") == "1", "{}", job.show()?);
    let_go(slurm, &job)?;
    job.until_over(SOON).map(drop)
}
