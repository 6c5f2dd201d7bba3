//! States of the world that are nobody's fault: a full pool, a clock that is wrong, a node with
//! another name or address.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rampool_e2e::cases;
use rampool_e2e::cluster::{CONTROLLER, Cluster};

/// Longer than anything here takes on the busiest machine.
const LONG: Duration = Duration::from_secs(600);

/// A patience of 10 s, and what it takes to notice a silence and its end.
const PATIENCE_OVER: Duration = Duration::from_secs(25);

const WANTED: [&str; 8] = ["up", "demo", "--size", "320MiB", "--head", "n1", "--donors", "n[2-3]"];

#[test]
fn what_is_nobodys_fault_is_told_and_borne() -> Result<()> {
    Cluster::builder("conditions", 3).boot()?.run(|cluster| {
        cluster.each(cases![
            a_full_pool_says_so_and_a_wrong_clock_stops_no_io,
            a_donor_with_another_name_is_not_believed_and_one_with_another_address_is_as_if_lost,
        ])
    })
}

fn a_full_pool_says_so_and_a_wrong_clock_stops_no_io(cluster: &Cluster) -> Result<()> {
    cluster.rampool(&WANTED)?.ok()?;
    a_full_pool_refuses_more_and_is_well(cluster)?;
    a_donor_whose_clock_is_wrong_serves_on(cluster)?;
    cluster.rampool(&["down", "demo"])?.ok().map(drop)
}

fn a_full_pool_refuses_more_and_is_well(cluster: &Cluster) -> Result<()> {
    let head = cluster.node("n1");
    let filled = head.exec(["dd", "if=/dev/zero", "of=/rampool/demo/all", "bs=1M"])?;
    let said = String::from_utf8_lossy(&filled.stderr).into_owned();
    ensure!(said.contains("No space left on device"), "dd ended with: {said}");
    let pool = cluster.rampool_json(&["status", "demo"])?;
    ensure!(pool["state"] == "ready", "a full pool is no broken one: {pool}");
    let free = pool["usage"]["free_bytes"].as_u64();
    ensure!(free.is_some_and(|free| free < 1 << 20), "status does not show it full: {pool}");
    head.sh("rm /rampool/demo/all && echo again > /rampool/demo/file && sync").map(drop)
}

/// Two years back: the donor's own certificate is then not valid yet. The agent is started anew,
/// so that no connection from before helps it.
fn a_donor_whose_clock_is_wrong_serves_on(cluster: &Cluster) -> Result<()> {
    let donor = cluster.node("n3");
    cluster.kill_program("n3", "rampool-agent")?;
    donor.sh("date -s @$(($(date +%s) - 63072000))")?;
    cluster.start_agent("n3")?;
    cluster
        .node("n1")
        .sh("dd if=/dev/urandom of=/rampool/demo/more bs=1M count=64 oflag=direct && sync && \
         echo 3 > /proc/sys/vm/drop_caches && grep -q again /rampool/demo/file")?;
    cluster.kill_program("n3", "rampool-agent")?;
    donor.sh("date -s @$(($(date +%s) + 63072000))")?;
    cluster.start_agent("n3")?;
    cluster.wait_reachable(&["n3"])
}

fn a_donor_with_another_name_is_not_believed_and_one_with_another_address_is_as_if_lost(
    cluster: &Cluster,
) -> Result<()> {
    let wanted = [&WANTED[..], &["--patience", "10s"]].concat();
    cluster.rampool(&wanted)?.ok()?;
    cluster.node("n1").sh("echo kept > /rampool/demo/file && sync")?;
    a_donor_with_another_name_is_not_believed(cluster)?;
    a_stripe_whose_donor_moved_away_fails_after_its_patience(cluster)?;
    cluster.rampool(&["down", "demo"])?.ok()?;
    cluster.node("n3").sh(&moved("10.77.0.99", "10.77.0.13")).map(drop)
}

/// Memory must not be put where nobody would look for it; what is in use is not touched.
fn a_donor_with_another_name_is_not_believed(cluster: &Cluster) -> Result<()> {
    let rename = |from: &str, to: &str| {
        let script = format!("sed -i 's/^node: {from}$/node: {to}/' /etc/rampool/agent.yaml");
        cluster.kill_program("n3", "rampool-agent")?;
        cluster.node("n3").sh(&script)?;
        cluster.start_agent("n3")
    };
    rename("n3", "x3")?;
    cluster.until_nodes(&["n3"], "refused as x3", LONG, |node| {
        let why = node["detail"].as_str().unwrap_or_default();
        node["reachable"] == false && why.contains("calls itself \"x3\"")
    })?;
    let other = ["up", "other", "--size", "64MiB", "--head", "n1", "--donors", "n3"];
    let refused = cluster.rampool(&other)?;
    ensure!(!refused.success(), "memory of a node that is another one was lent");
    cluster.node("n1").sh("echo more >> /rampool/demo/file && sync")?;
    rename("x3", "n3")?;
    cluster.wait_reachable(&["n3"])
}

/// Sessions lead to an address: who takes it away takes the memory away. The agent answers at the
/// new one all the same, so that all of it is given back without a reboot.
fn a_stripe_whose_donor_moved_away_fails_after_its_patience(cluster: &Cluster) -> Result<()> {
    cluster.kill_program("n3", "rampool-agent")?;
    cluster.node("n3").sh(&moved("10.77.0.13", "10.77.0.99"))?;
    cluster.node("n1").sh("sed -i 's/^10.77.0.13 n3$/10.77.0.99 n3/' /etc/hosts")?;
    cluster.start_agent("n3")?;
    cluster.wait_reachable(&["n3"])?;
    let (begin, pace) = (Instant::now(), cluster.lab.pace(&[CONTROLLER])?);
    let failed = cluster.until_pool("demo", "failed", LONG, |pool| pool["state"] == "failed")?;
    let after = pace.since(begin);
    println!("failed {after:.1?} after its donor answered at another address");
    ensure!(after < PATIENCE_OVER, "{after:?}");
    ensure!(failed.to_string().contains("n3"), "the donor is not named: {failed}");
    // Both donors, past every cache: a small file would be read from the head's memory, or lie on
    // the donor that is left.
    let write = "dd if=/dev/zero of=/rampool/demo/much bs=1M count=16 oflag=direct";
    let written = cluster.node("n1").exec(["sh", "-c", write])?;
    ensure!(!written.success(), "a failed pool was written to");
    Ok(())
}

/// Takes one address of the data network away from a node and gives it another, in its
/// configuration too.
fn moved(from: &str, to: &str) -> String {
    format!(
        "link=$(ip -o -4 addr show to {from} | awk '{{ print $2 }}') && \
         ip addr del {from}/24 dev $link && ip addr add {to}/24 dev $link && \
         sed -i 's/^data_address: .*/data_address: {to}/' /etc/rampool/agent.yaml"
    )
}
