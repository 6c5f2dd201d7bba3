//! Jobs that have the memory of donors outside reserved while they wait for their nodes, by Slurm's
//! burst buffer.

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::CONTROLLER;
use rampool_e2e::slurm::cluster::Builder;
use rampool_e2e::slurm::{Fields, Job, SlurmCluster, site};
use rampool_e2e::until::until;
use serde_json::Value;

use crate::own::SOON;
use crate::pool::{
    LARGE, LET_GO, donors_of, each_head_serves_one_node_and_four, ensure_completed, let_go,
    pool_of, profiles, submit, until_running,
};

/// Holds every node that it is given, until it is let go.
const BLOCKER: &str = "#!/bin/sh\nuntil [ -e /tmp/unblock ]; do sleep 0.3; done\n";

pub(crate) fn cluster(name: &str, compute: u8, size: &str) -> Result<SlurmCluster> {
    let donors = format!("n[{}-{}]", compute + 2, compute + 3);
    let cluster = SlurmCluster::with_donors(name, compute, 2).profiles(&profiles(&donors, size));
    boot(cluster)
}

pub(crate) fn boot(cluster: Builder) -> Result<SlurmCluster> {
    let slurm = cluster.keeping_facts().burst_buffer().boot()?;
    until_pool(&slurm, "is known", |pool| pool.get("TotalSpace") != "0")?;
    Ok(slurm)
}

/// The pool in `scontrol show burst`, once it is so: Slurm asks for it every 30 s.
pub(crate) fn until_pool(
    slurm: &SlurmCluster,
    what: &str,
    so: impl Fn(&Fields) -> bool,
) -> Result<Fields> {
    until(&format!("the buffer {what}"), SOON, || {
        let shown = slurm.slurm(&["scontrol", "show", "burst"])?;
        let pool = shown.lines().find_map(|line| line.split_once("[0]=rampool "));
        let fields = pool.map(|(_, fields)| Fields::parse(fields));
        Ok(fields.filter(&so).ok_or_else(|| {
            let facts = slurm.cluster.node(CONTROLLER).sh(&format!("cat {}", site::FACTS));
            format!("{shown}{}", facts.unwrap_or_default())
        }))
    })
}

/// A job that has all nodes.
pub(crate) fn block(slurm: &SlurmCluster) -> Result<Job<'_>> {
    for node in slurm.compute() {
        slurm.cluster.node(node).sh("rm -f /tmp/unblock")?;
    }
    let all = format!("-N{}", slurm.compute().len());
    let blocker = slurm.submit(&[&all, "--exclusive", "-t", "10"], BLOCKER)?;
    blocker.until("blocks", SOON, |fields| fields.get("JobState") == "RUNNING")?;
    Ok(blocker)
}

pub(crate) fn unblock(slurm: &SlurmCluster) -> Result<()> {
    slurm
        .compute()
        .iter()
        .try_for_each(|node| slurm.cluster.node(node).sh("touch /tmp/unblock").map(drop))
}

/// Waits until a job's pool is in a state; in none, where it has none.
pub(crate) fn until_state(slurm: &SlurmCluster, job: &Job<'_>, state: Option<&str>) -> Result<()> {
    until(&format!("the pool {}", state.unwrap_or("gone")), SOON, || {
        let pool = pool_of(slurm, job)?;
        let now = pool.as_ref().and_then(|pool| pool["state"].as_str());
        Ok(if now == state { Ok(()) } else { Err(format!("{now:?}\n{}", job.show()?)) })
    })
}

#[test]
fn a_job_has_its_memory_before_its_nodes_and_the_next_one_waits_for_it() -> Result<()> {
    cluster("burst", 2, LARGE)?.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        more_than_there_is_is_refused(slurm)?;
        let blocker = block(slurm)?;
        let first = submit(slurm, &["-N2"])?;
        until_state(slurm, &first, Some("reserved"))?;
        ensure!(first.show()?.get("JobState") == "PENDING", "{}", first.show()?);
        what_is_reserved_is_shown(slurm, &first)?;
        let next = slurm.submit(&["-N1", "-C", "lake"], LET_GO)?;
        unblock(slurm)?;
        until_running(&first)?;
        let donors = donors_of(slurm, &first)?;
        ensure!(donors == ["n4", "n5"], "{donors:?}");
        next.until("waits for the buffer", SOON, |fields| {
            fields.get("Reason") == "BurstBufferResources"
        })?;
        let_go(slurm, &first)?;
        ensure_completed(&first)?;
        until_running(&next)?;
        let_go(slurm, &next)?;
        ensure_completed(&next)?;
        blocker.until_over(SOON)?;
        slurm.ensure_given_back(&before, SOON)?;
        until_pool(slurm, "is free", |pool| {
            pool.get("UsedSpace") == "0" && pool.get("FreeSpace") == pool.get("TotalSpace")
        })
        .map(drop)
    })
}

fn more_than_there_is_is_refused(slurm: &SlurmCluster) -> Result<()> {
    let said = slurm.refusal(&["-C", "lake", "--comment=rampool:size=2G"], LET_GO)?;
    ensure!(said.contains("size=2G is more than all donors together can lend"), "{said}");
    // What burst_buffer.lua itself says, of a share that its user writes.
    let share = "--bb=#RAMPOOL pool=rampool capacity=9999M";
    let said = slurm.refusal(&[share], LET_GO)?;
    ensure!(said.contains("9999 MiB of the donors' memory are asked for"), "{said}");
    Ok(())
}

/// In Slurm, and in rampool's own list.
fn what_is_reserved_is_shown(slurm: &SlurmCluster, job: &Job<'_>) -> Result<()> {
    let shown = slurm.slurm(&["scontrol", "show", "burst"])?;
    ensure!(shown.contains(&format!("JobID={} ", job.id)), "{shown}");
    until_pool(slurm, "is used", |pool| pool.get("UsedSpace") != "0")?;
    let number = job.id.to_string();
    let list: Value = slurm.cluster.rampool_json(&["list", "--job", &number])?;
    ensure!(list.to_string().contains("reserved on 2 donors"), "{list}");
    Ok(())
}

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn jobs_of_one_node_and_of_four_find_what_was_reserved_by_a_head_of_theirs_or_of_the_service()
-> Result<()> {
    cluster("bursts", 4, "256MiB")?.run(each_head_serves_one_node_and_four)
}

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn what_admins_have_is_not_free_and_a_donor_that_runs_the_job_does_not_lend_to_it() -> Result<()> {
    let cluster = SlurmCluster::builder("burst-kept", 4).profiles(&profiles("n[4-5]", "300MiB"));
    boot(cluster.keeping_mib(200))?.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        a_job_waits_for_what_an_admin_has(slurm)?;
        slurm.ensure_given_back(&before, SOON).context("after the admin's pool")?;
        a_job_that_an_admin_was_faster_than_is_held_until_there_is_memory(slurm)?;
        slurm.ensure_given_back(&before, SOON).context("after the faster admin's pool")?;
        a_job_on_a_donor_has_another(slurm)?;
        slurm.ensure_given_back(&before, SOON).context("after the job on a donor")
    })
}

/// Half of what the donors lend, of which each has 200 MiB: a job takes more than the other half.
fn take_half(slurm: &SlurmCluster) -> Result<()> {
    let donors = ["--donors", "n[4-5]", "--size-per-donor", "100M"];
    let taken = [&["up", "ours", "--head", "n2", "--fs", "ext4"][..], &donors].concat();
    slurm.cluster.rampool(&taken)?.ok().map(drop)
}

fn a_job_waits_for_what_an_admin_has(slurm: &SlurmCluster) -> Result<()> {
    take_half(slurm)?;
    until_pool(slurm, "shows what the admin has", |pool| pool.get("FreeSpace") == "200MiB")?;
    let job = submit(slurm, &["-N1", "-wn3"])?;
    job.until("waits for the buffer", SOON, |fields| {
        fields.get("Reason") == "BurstBufferResources"
    })?;
    slurm.cluster.rampool(&["down", "ours"])?.ok()?;
    until_running(&job)?;
    let_go(slurm, &job)?;
    ensure_completed(&job)
}

/// Of what is free Slurm knows what was so when it asked last: half a minute ago, at most.
fn a_job_that_an_admin_was_faster_than_is_held_until_there_is_memory(
    slurm: &SlurmCluster,
) -> Result<()> {
    take_half(slurm)?;
    until_pool(slurm, "shows what the admin has", |pool| pool.get("FreeSpace") == "200MiB")?;
    slurm.cluster.rampool(&["down", "ours"])?.ok()?;
    until_pool(slurm, "is free", |pool| pool.get("FreeSpace") == pool.get("TotalSpace"))?;
    take_half(slurm)?;
    let n1 = slurm.cluster.node(CONTROLLER);
    n1.sh("sed -i.before 's/^deadline:.*/deadline: 5s/' /etc/rampool/slurm.yaml")?;
    let job = submit(slurm, &["-N1", "-wn3"])?;
    let held = job.until("held", SOON, |fields| fields.get("Priority") == "0");
    n1.sh("mv /etc/rampool/slurm.yaml.before /etc/rampool/slurm.yaml")?;
    let (held, said) = (held?, "rampool: waits for memory, and is held until there is");
    ensure!(held.get("AdminComment").starts_with(said), "{held}");
    slurm.cluster.rampool(&["down", "ours"])?.ok()?;
    until_running(&job)?;
    let_go(slurm, &job)?;
    ensure_completed(&job)
}

/// Which donors are reserved is decided before its nodes are known.
fn a_job_on_a_donor_has_another(slurm: &SlurmCluster) -> Result<()> {
    let blocker = block(slurm)?;
    let job = submit(slurm, &["-N1", "-wn4", "--comment=rampool:size=150M"])?;
    until_state(slurm, &job, Some("reserved"))?;
    unblock(slurm)?;
    until_running(&job)?;
    let donors = donors_of(slurm, &job)?;
    ensure!(donors == ["n5"], "{donors:?}");
    let_go(slurm, &job)?;
    ensure_completed(&job)?;
    blocker.until_over(SOON).map(drop)
}
