//! What people do with pools: make them of every kind, use them, give them back.

use anyhow::{Result, ensure};
use rampool_e2e::cases;
use rampool_e2e::cluster::Cluster;
use serde_json::Value;

#[test]
fn pools_are_made_used_and_given_back() -> Result<()> {
    Cluster::builder("pools", 3).boot()?.run(|cluster| {
        cluster.each(cases![
            every_kind_of_pool_is_made_used_and_given_back,
            pools_live_side_by_side_and_the_head_may_lend_without_a_session_to_itself,
            a_busy_pool_says_who_holds_it_and_force_ends_them,
        ])
    })
}

/// The kinds of pool: each backend, layout and file system at least once.
const KINDS: [[&str; 3]; 5] = [
    ["rd_mcp", "md", "xfs"],
    ["tmpfs", "lvm", "ext4"],
    ["brd", "md", "none"],
    ["rd_mcp", "lvm", "xfs"],
    ["tmpfs", "md", "ext4"],
];

fn every_kind_of_pool_is_made_used_and_given_back(cluster: &Cluster) -> Result<()> {
    let before = cluster.weighed_footprints()?;
    for [backend, layout, fs] in KINDS {
        let kind = ["--backend", backend, "--layout", layout, "--fs", fs];
        let wanted = ["up", "demo", "--size", "400MiB", "--head", "n1", "--donors", "n[2-3]"];
        let pool = cluster.rampool_json(&[&wanted[..], &kind].concat())?;
        ensure!(pool["state"] == "ready", "{kind:?}: {pool}");
        use_it(cluster, &pool, fs)?;
        cluster.rampool(&["down", "demo"])?.ok()?;
        cluster.ensure_as_before(&before)?;
    }
    let after = cluster.weighed_footprints()?;
    for (node, (before, after)) in cluster.nodes().iter().zip(before.iter().zip(&after)) {
        let missing = before.available.saturating_sub(after.available) >> 20;
        ensure!(missing < 24, "{node} misses {missing} MiB after {} pools", KINDS.len());
    }
    // Who asked for each of them is in the controller's log.
    for what in ["up", "down"] {
        let line = format!("audit: who=operator admin from=[0-9.:]* what=\"{what}\" .*demo");
        let log = "/var/log/rampool/controller.log";
        let lines = cluster.node("n1").sh(&format!("grep -c '{line}' {log} || true"))?;
        ensure!(lines.trim() == KINDS.len().to_string(), "{what}: {lines}");
    }
    Ok(())
}

/// Writes and reads back through the mount, or the bare device.
fn use_it(cluster: &Cluster, pool: &Value, fs: &str) -> Result<()> {
    let head = cluster.node("n1");
    if fs == "none" {
        let device = text(pool, "device");
        head.sh(&format!(
            "dd if=/dev/urandom of=/tmp/data bs=1M count=16
             dd if=/tmp/data of={device} bs=1M oflag=direct && cmp -n 16777216 /tmp/data {device} && rm /tmp/data"
        ))?;
        return Ok(());
    }
    let mount = text(pool, "mount_point");
    let readme = head.sh(&format!("cat {mount}/README*"))?;
    for word in ["demo", "volatile", "the people who run this lab"] {
        ensure!(
            readme.to_lowercase().contains(word),
            "the README does not say {word:?}:\n{readme}"
        );
    }
    head.sh(&format!(
        "dd if=/dev/urandom of=/tmp/data bs=1M count=64 2>&1
         cp /tmp/data {mount}/data && sync && echo 3 > /proc/sys/vm/drop_caches
         cmp /tmp/data {mount}/data && rm /tmp/data"
    ))?;
    let used = cluster.rampool_json(&["status", "demo"])?;
    let usage = &used["usage"];
    for key in ["total_bytes", "free_bytes", "inodes_total", "inodes_free"] {
        ensure!(usage[key].as_u64().is_some_and(|n| n > 0), "status has no {key}: {used}");
    }
    Ok(())
}

fn text<'a>(pool: &'a Value, key: &str) -> &'a str {
    pool[key].as_str().unwrap_or_else(|| panic!("`up` printed no {key}: {pool}"))
}

fn pools_live_side_by_side_and_the_head_may_lend_without_a_session_to_itself(
    cluster: &Cluster,
) -> Result<()> {
    cluster
        .rampool(&["up", "one", "--size", "320MiB", "--head", "n1", "--donors", "n[2-3]"])?
        .ok()?;
    cluster
        .rampool(&["up", "two", "--size", "320MiB", "--head", "n2", "--donors", "n[1-3]"])?
        .ok()?;
    let own = cluster.node("n2").sh("cat /sys/class/iscsi_session/*/targetname")?;
    ensure!(own.lines().count() == 2, "n2 heads three pieces, one of them its own: {own}");
    ensure!(!own.contains(".n2"), "n2 logged in to itself: {own}");

    let again = ["up", "one", "--size", "320MiB", "--head", "n1", "--donors", "n[2-3]"];
    cluster.rampool(&again)?.ok()?;
    let other =
        cluster.rampool(&["up", "one", "--size", "330MiB", "--head", "n1", "--donors", "n2"])?;
    ensure!(other.status.code == Some(4), "another pool of the same name: {}", other.status);

    let list = cluster.rampool_json(&["list"])?;
    ensure!(list["pools"].as_array().is_some_and(|pools| pools.len() == 2), "{list}");
    cluster.rampool(&["down", "one"])?.ok()?;
    cluster.node("n2").sh("touch /rampool/two/still-here")?;
    cluster.rampool(&["down", "two"])?.ok().map(drop)
}

fn a_busy_pool_says_who_holds_it_and_force_ends_them(cluster: &Cluster) -> Result<()> {
    cluster.rampool(&["up", "demo", "--size", "320MiB", "--head", "n1", "--donors", "n2"])?.ok()?;
    let holder = cluster.node("n1").command(["sleep", "1000"]).cwd("/rampool/demo").spawn()?;
    cluster.node("n1").sh("until pidof sleep; do sleep 0.05; done")?;

    let refused = cluster.rampool(&["down", "demo"])?;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code == Some(1), "{}: {words}", refused.status);
    ensure!(words.contains("sleep") && words.contains("--force"), "{words}");
    let pool = cluster.rampool_json(&["status", "demo"])?;
    ensure!(pool["state"] == "ready", "a refused `down` changed the pool: {pool}");

    cluster.rampool(&["down", "demo", "--force"])?.ok()?;
    drop(holder);
    Ok(())
}
