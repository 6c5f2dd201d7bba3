//! Jobs that have the memory of donors outside reserved while they wait for their nodes, by Slurm's
//! burst buffer.

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::CONTROLLER;
use rampool_e2e::slurm::{Fields, Job, SlurmCluster, site};
use rampool_e2e::until::until;
use serde_json::Value;

use crate::own::SOON;
use crate::pool::{
    LARGE, LET_GO, donors_of, ensure_completed, let_go, profiles, submit, until_running,
};

/// Holds every node that it is given, until it is let go.
const BLOCKER: &str = "#!/bin/sh\nuntil [ -e /tmp/unblock ]; do sleep 0.3; done\n";

fn cluster(name: &str, compute: u8) -> Result<SlurmCluster> {
    let donors = format!("n[{}-{}]", compute + 2, compute + 3);
    let cluster = SlurmCluster::with_donors(name, compute, 2).profiles(&profiles(&donors, LARGE));
    let slurm = cluster.keeping_facts().burst_buffer().boot()?;
    until_pool(&slurm, "is known", |pool| pool.get("TotalSpace") != "0")?;
    Ok(slurm)
}

/// The pool in `scontrol show burst`, once it is so: Slurm asks for it every 30 s.
fn until_pool(slurm: &SlurmCluster, what: &str, so: impl Fn(&Fields) -> bool) -> Result<Fields> {
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
fn block(slurm: &SlurmCluster) -> Result<Job<'_>> {
    for node in slurm.compute() {
        slurm.cluster.node(node).sh("rm -f /tmp/unblock")?;
    }
    let all = format!("-N{}", slurm.compute().len());
    let blocker = slurm.submit(&[&all, "--exclusive", "-t", "1"], BLOCKER)?;
    blocker.until("blocks", SOON, |fields| fields.get("JobState") == "RUNNING")?;
    Ok(blocker)
}

fn unblock(slurm: &SlurmCluster) -> Result<()> {
    slurm
        .compute()
        .iter()
        .try_for_each(|node| slurm.cluster.node(node).sh("touch /tmp/unblock").map(drop))
}

fn state_of(slurm: &SlurmCluster, job: &Job<'_>) -> Result<String> {
    let list = slurm.cluster.rampool_json(&["list"])?;
    let name = format!("job-{}-1", job.id);
    let pools = list["pools"].as_array().context("no pools")?;
    let pool = pools.iter().find(|pool| pool["name"] == name);
    Ok(pool.and_then(|pool| pool["state"].as_str()).unwrap_or_default().to_owned())
}

fn until_reserved(slurm: &SlurmCluster, job: &Job<'_>) -> Result<()> {
    until("reserved", SOON, || {
        let state = state_of(slurm, job)?;
        Ok(if state == "reserved" { Ok(()) } else { Err(format!("{state}\n{}", job.show()?)) })
    })
}

#[test]
fn a_job_has_its_memory_before_its_nodes_and_the_next_one_waits_for_it() -> Result<()> {
    cluster("burst", 2)?.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        more_than_there_is_is_refused(slurm)?;
        let blocker = block(slurm)?;
        let first = submit(slurm, &["-N2"])?;
        until_reserved(slurm, &first)?;
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
