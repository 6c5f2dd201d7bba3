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
            no_secret_outlives_its_pool_in_memory_or_any_file,
            a_crash_leaves_no_core_dump,
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
        let line = format!("audit: who=operator admin from=\"[0-9.:]*\" what=\"{what}\" .*demo");
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

/// What is in the memory of every agent and controller: the search finds it, or finds nothing at all.
const KNOWN: &str = "iqn.2026-11.org.rampool";

/// The secrets of all exports of a donor.
const SECRETS: &str =
    "cat /sys/kernel/config/target/iscsi/iqn*/tpgt_1/acls/iqn*/auth/password{,_mutual}";

fn no_secret_outlives_its_pool_in_memory_or_any_file(cluster: &Cluster) -> Result<()> {
    cluster
        .rampool(&["up", "demo", "--size", "320MiB", "--head", "n1", "--donors", "n[2-3]"])?
        .ok()?;
    let mut secrets = Vec::new();
    for donor in ["n2", "n3"] {
        let each = cluster.node(donor).exec(["bash", "-c", SECRETS])?.ok()?;
        secrets.extend(each.lines().map(str::to_owned));
    }
    ensure!(secrets.len() == 4 && secrets.iter().all(|secret| secret.len() == 40), "no secrets");
    let kept = files_with(cluster, "n1", &secrets)?;
    ensure!(kept.lines().count() == 2, "a record for each donor: {kept}");
    for record in kept.lines() {
        ensure!(record.starts_with("/etc/iscsi/nodes/"), "{record}");
        let mode = cluster.node("n1").sh(&format!("stat -c %a:%u '{record}'"))?;
        ensure!(mode == "600:0", "{record}: {mode}");
    }
    for donor in ["n2", "n3"] {
        ensure!(files_with(cluster, donor, &secrets)?.is_empty(), "{donor} has them in files");
    }

    cluster.rampool(&["down", "demo"])?.ok()?;
    let texts: Vec<_> = secrets.iter().map(String::as_str).chain([KNOWN]).collect();
    let everybody =
        [("n1", "rampool-controller"), ("n1", "rampool-agent"), ("n2", "rampool-agent")];
    for (node, program) in everybody.into_iter().chain([("n3", "rampool-agent")]) {
        let found = cluster.node(node).find_in_memory(program, &texts)?;
        ensure!(!found.is_empty(), "{program} of {node}: the search finds nothing at all");
        let left: Vec<_> = found.iter().filter(|line| !line.starts_with(KNOWN)).collect();
        ensure!(left.is_empty(), "{program} of {node}: {left:?}");
        ensure!(files_with(cluster, node, &secrets)?.is_empty(), "{node} has them in files");
    }
    Ok(())
}

/// The files of a node that have one of the secrets in them, one a line.
fn files_with(cluster: &Cluster, node: &str, secrets: &[String]) -> Result<String> {
    let each: Vec<_> = secrets.iter().map(|secret| format!("-e {secret}")).collect();
    let folders = "/etc /root /run /tmp /var";
    cluster.node(node).sh(&format!("grep -rlF {} {folders} 2>/dev/null || true", each.join(" ")))
}

/// Ends a program as a fault of its own would, where nothing but itself could keep it from leaving
/// a core dump; tells how many there are.
const CRASH: &str = "echo /var/tmp/core.%p >/proc/sys/kernel/core_pattern; pid=$(pidof $0); \
    prlimit --pid $pid --core=unlimited; kill -ABRT $pid; \
    while kill -0 $pid 2>/dev/null; do sleep 0.02; done; \
    set -- /var/tmp/core.*; test -e \"$1\" && echo $# || echo 0";

fn a_crash_leaves_no_core_dump(cluster: &Cluster) -> Result<()> {
    let node = cluster.node("n1");
    let crash = |program: &str| node.exec(["sh", "-c", CRASH, program])?.ok();
    let pattern = node.sh("cat /proc/sys/kernel/core_pattern")?;
    for program in ["rampool-agent", "rampool-controller"] {
        ensure!(crash(program)? == "0", "{program} left a core dump");
    }
    node.daemon("sleep", ["sleep", "1000"])?;
    node.sh("until pidof sleep; do :; done")?;
    ensure!(crash("sleep")? == "1", "nobody leaves a core dump there");
    node.sh(&format!("rm /var/tmp/core.*; echo '{pattern}' >/proc/sys/kernel/core_pattern"))?;
    cluster.start_agent("n1")?;
    cluster.start_controller()?;
    cluster.wait_reachable(&["n1", "n2", "n3"])
}
