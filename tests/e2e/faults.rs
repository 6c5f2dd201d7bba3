//! Programs killed and nodes lost: what is up stays up, what was half made is unmade.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rampool_e2e::cases;
use rampool_e2e::cluster::{CONTROLLER, Cluster};
use rampool_e2e::until::until;
use serde_json::Value;

#[test]
fn what_is_up_stays_up_and_what_was_half_made_is_unmade() -> Result<()> {
    Cluster::builder("faults", 4).boot()?.run(|cluster| {
        cluster.each(cases![
            no_program_of_ours_is_needed_for_io_and_each_finds_its_pools_again,
            an_up_cut_short_by_a_killed_controller_leaves_nothing,
            a_donor_that_loses_power_during_up_undoes_it_and_names_the_donor,
            down_of_a_pool_whose_donor_lost_power_frees_the_rest_without_a_reboot,
        ])
    })
}

const WANTED: [&str; 8] = ["up", "demo", "--size", "320MiB", "--head", "n1", "--donors", "n[2-3]"];

/// Less patience than the default, where a donor dies: how long I/O to it is held is no part of
/// these tests.
const IMPATIENT: [&str; 2] = ["--patience", "5s"];

fn no_program_of_ours_is_needed_for_io_and_each_finds_its_pools_again(
    cluster: &Cluster,
) -> Result<()> {
    cluster.rampool(&WANTED)?.ok()?;
    let head = cluster.node("n1");
    head.sh("echo precious > /rampool/demo/file && sync")?;

    cluster.kill_program(CONTROLLER, "rampool-controller")?;
    for node in ["n1", "n2", "n3"] {
        cluster.kill_program(node, "rampool-agent")?;
    }
    head.sh("echo 3 > /proc/sys/vm/drop_caches; grep -q precious /rampool/demo/file")?;
    head.sh("dd if=/dev/zero of=/rampool/demo/more bs=1M count=64 oflag=direct")?;

    for node in ["n1", "n2", "n3"] {
        cluster.start_agent(node)?;
    }
    cluster.start_controller()?;
    cluster.wait_reachable(&["n1", "n2", "n3"])?;
    let pool = cluster.rampool_json(&["status", "demo"])?;
    ensure!(pool["state"] == "ready", "after the restart: {pool}");
    head.sh("grep -q precious /rampool/demo/file")?;
    cluster.rampool(&["down", "demo"])?.ok().map(drop)
}

fn an_up_cut_short_by_a_killed_controller_leaves_nothing(cluster: &Cluster) -> Result<()> {
    let before = cluster.footprints()?;
    // Killed after ever longer, so that other steps are cut each time.
    for milliseconds in [50, 200, 400, 700] {
        let up = cluster.node("n1").command(std::iter::once("rampool").chain(WANTED)).spawn()?;
        // The moment is what is varied: there is no event to wait for.
        std::thread::sleep(Duration::from_millis(milliseconds));
        cluster.kill_program(CONTROLLER, "rampool-controller")?;
        let ended = up.output()?;
        cluster.start_controller()?;
        cluster.wait_reachable(&["n1", "n2", "n3"])?;
        if !ended.status.success() {
            settled(cluster).with_context(|| format!("killed after {milliseconds} ms"))?;
        }
        // Nothing of it stands in the way of the same pool, and that goes away without trace.
        cluster.rampool(&WANTED)?.ok()?;
        cluster.rampool(&["down", "demo"])?.ok()?;
        cluster.ensure_as_before(&before)?;
    }
    Ok(())
}

/// Waits until the controller is done with what it found.
fn settled(cluster: &Cluster) -> Result<()> {
    until("settled", Duration::from_secs(180), || {
        let pools = cluster.rampool_json(&["list"])?;
        let mut all = pools["pools"].as_array().into_iter().flatten();
        let open = all.any(|pool| pool["state"] == "creating" || pool["state"] == "releasing");
        Ok(if open { Err(pools) } else { Ok(()) })
    })
}

fn a_donor_that_loses_power_during_up_undoes_it_and_names_the_donor(
    cluster: &Cluster,
) -> Result<()> {
    let before = cluster.footprints()?;
    let wanted = "up demo --size 500MiB --head n1 --donors n[2-4] --patience 5s";
    let wanted: Vec<&str> = wanted.split(' ').collect();
    for step in ["export", "attach", "format"] {
        kill_n3_at(cluster, step, &wanted).with_context(|| format!("n3 killed at {step}"))?;
        cluster.node("n3").boot()?;
        cluster.wait_reachable(&["n1", "n2", "n3", "n4"])?;
        settled(cluster).with_context(|| format!("n3 killed at {step}"))?;
        cluster.ensure_as_before(&before).with_context(|| format!("n3 killed at {step}"))?;
    }
    cluster.rampool(&wanted)?.ok()?;
    cluster.rampool(&["down", "demo"])?.ok().map(drop)
}

/// Runs `up` and cuts n3's power when `step` begins: it fails and names n3. Where the machine was
/// so slow to cut it that all was made before, the pool fails and names it.
fn kill_n3_at(cluster: &Cluster, step: &str, wanted: &[&str]) -> Result<()> {
    let argv = std::iter::once("rampool").chain(wanted.iter().copied());
    let mut said = String::new();
    let mut killed = None;
    let ended = cluster.node("n1").exec_streaming(argv, |_, line| {
        said.push_str(line);
        said.push('\n');
        if killed.is_none() && line.contains(&format!("] {step}")) {
            killed = Some(cluster.node("n3").kill());
        }
    })?;
    killed.with_context(|| format!("`up` never came to {step}: {said}"))??;
    if ended.success() {
        println!("`up` was done before n3 lost its power at {step}");
        let failed = |pool: &Value| pool["state"] == "failed";
        said = cluster.until_pool("demo", "failed", SILENT, failed)?["alerts"].to_string();
        cluster.rampool(&["down", "demo", "--force"])?;
    }
    ensure!(said.contains("n3"), "n3 is not named: {said}");
    Ok(())
}

/// Within this a donor's silence of 5 s has been noticed and borne, on a busy machine, too.
const SILENT: Duration = Duration::from_secs(60);

fn down_of_a_pool_whose_donor_lost_power_frees_the_rest_without_a_reboot(
    cluster: &Cluster,
) -> Result<()> {
    let before = cluster.footprints()?;
    cluster.rampool(&[&WANTED[..], &IMPATIENT].concat())?.ok()?;
    cluster.node("n3").kill()?;

    let begin = Instant::now();
    let down = cluster.rampool(&["down", "demo", "--force"])?;
    let words = String::from_utf8_lossy(&down.stderr).into_owned();
    ensure!(begin.elapsed() < Duration::from_secs(120), "`down` took {:?}", begin.elapsed());
    ensure!(down.status.success() || words.contains("n3"), "{}: {words}", down.status);
    ensure!(!cluster.footprint("n1")?.mentions("rp.demo"), "the head still holds the pool");
    ensure!(!cluster.footprint("n2")?.mentions("rp.demo"), "n2 still holds its piece");

    cluster.node("n3").boot()?;
    cluster.wait_reachable(&["n1", "n2", "n3"])?;
    settled(cluster)?;
    cluster.ensure_as_before(&before)?;
    cluster.rampool(&WANTED)?.ok()?;
    cluster.rampool(&["down", "demo"])?.ok().map(drop)
}
