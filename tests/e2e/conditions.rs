//! States of the world that are nobody's fault: a full pool, a clock that is wrong.

use anyhow::{Result, ensure};
use rampool_e2e::cluster::Cluster;

const WANTED: [&str; 8] = ["up", "demo", "--size", "320MiB", "--head", "n1", "--donors", "n[2-3]"];

#[test]
fn a_full_pool_says_so_and_a_wrong_clock_stops_no_io() -> Result<()> {
    Cluster::builder("conditions", 3).boot()?.run(|cluster| {
        let before = cluster.footprints()?;
        cluster.rampool(&WANTED)?.ok()?;
        a_full_pool_refuses_more_and_is_well(cluster)?;
        a_donor_whose_clock_is_wrong_serves_on(cluster)?;
        cluster.rampool(&["down", "demo"])?.ok()?;
        cluster.ensure_as_before(&before)
    })
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
