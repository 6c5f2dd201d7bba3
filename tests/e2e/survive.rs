//! Pools that outlive a donor, a head, a cut network and a lost store. What was acknowledged
//! and the redundancy promises is read back after each.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::{CONTROLLER, Cluster};
use rampool_e2e::load::{self, Load, Report};
use rampool_e2e::{programs, until};
use rampool_lab::Pace;
use serde_json::Value;

/// Any number: it names the blocks that fio writes.
const SEED: u64 = 2016;

/// More than any step here takes on the busiest machine.
const LONG: Duration = Duration::from_secs(600);

/// What issue and docs promise of a redundant pool with the default patience.
const LONGEST_STALL: Duration = Duration::from_secs(10);

#[test]
fn a_mirror_bears_the_loss_of_a_donor_and_mends_itself() -> Result<()> {
    boot("mirror", 6)?.run(|cluster| {
        let before = cluster.footprints()?;
        up(cluster, "m", "--size 400MiB --redundancy mirror --head n1 --donors n[2-5]")?;
        let head = cluster.node("n1");
        let pace = cluster.lab.pace(&["n1"])?;
        let work = Load::begin(head, "/rampool/m", SEED)?;
        cluster.node("n3").kill()?;
        let mended = until(cluster, "m", "whole again without n3", |pool| {
            pool["state"] == "ready" && !donors(pool).contains(&"n3".to_owned())
        })?;
        ensure!(donors(&mended).contains(&"n6".to_owned()), "who took n3's place? {mended}");
        let report = work.end(head, LONG)?;
        ensure!(report.errors.is_empty(), "users met errors: {:?}", report.errors);
        ensure_borne(&pace, &report)?;
        load::compare_files(head, "/rampool/m", &report.log)?;
        load::compare_blocks(head, "/rampool/m", &report.blocks)?;
        cluster.node("n3").boot()?;
        cluster.wait_reachable(&["n3"])?;
        down(cluster, "m")?;
        cluster.ensure_as_before(&before)
    })
}

/// Each donor in its turn: what was copied to the first must serve alone when the second goes.
#[test]
fn a_mirror_over_all_nodes_mends_itself_when_a_donor_reboots() -> Result<()> {
    boot("anew", 3)?.run(|cluster| {
        let before = cluster.footprints()?;
        up(cluster, "a", "--size 320MiB --redundancy mirror --head n1 --donors n[2-3]")?;
        let head = cluster.node("n1");
        let pace = cluster.lab.pace(&["n1"])?;
        let work = Load::begin(head, "/rampool/a", SEED)?;
        work.wait_acknowledged(20, LONG)?;
        reboot_until_whole(cluster, "n3")?;
        let report = work.end(head, LONG)?;
        ensure!(report.errors.is_empty(), "users met errors: {:?}", report.errors);
        ensure_borne(&pace, &report)?;

        cluster.node("n2").kill()?;
        load::compare_files(head, "/rampool/a", &report.log)?;
        load::compare_blocks(head, "/rampool/a", &report.blocks)?;
        cluster.node("n2").boot()?;
        until(cluster, "a", "whole once more", is_whole)?;
        load::compare_files(head, "/rampool/a", &report.log)?;
        load::compare_blocks(head, "/rampool/a", &report.blocks)?;
        down(cluster, "a")?;
        cluster.ensure_as_before(&before)
    })
}

/// Power off, power on, and nothing else.
fn reboot_until_whole(cluster: &Cluster, donor: &str) -> Result<()> {
    let begin = Instant::now();
    cluster.node(donor).kill()?;
    until(cluster, "a", "degraded", |pool| pool["state"] == "degraded")?;
    cluster.node(donor).boot()?;
    cluster.wait_reachable(&[donor])?;
    println!("{donor} answers anew {:?} after it lost power", begin.elapsed());
    let known = Instant::now();
    until(cluster, "a", "whole again", is_whole)?;
    println!("whole again {:?} after that", known.elapsed());
    Ok(())
}

fn is_whole(pool: &Value) -> bool {
    pool["state"] == "ready" && donors(pool) == ["n2", "n3"]
}

#[test]
fn a_stripe_whose_donor_lost_its_memory_fails_at_once_and_goes_without_a_reboot() -> Result<()> {
    boot("stripe", 3)?.run(|cluster| {
        let before = cluster.footprints()?;
        up(cluster, "s", "--size 320MiB --head n1 --donors n[2-3]")?;
        let head = cluster.node("n1");
        let work = Load::begin(head, "/rampool/s", SEED)?;
        cluster.node("n3").kill()?;
        cluster.node("n3").boot()?;
        cluster.wait_reachable(&["n3"])?;
        let (known, pace) = (Instant::now(), cluster.lab.pace(&["n1"])?);
        let failed = until(cluster, "s", "failed", |pool| pool["state"] == "failed")?;
        println!("failed {:?} after n3 answered anew", known.elapsed());
        ensure_known(pace.since(known))?;
        ensure!(failed.to_string().contains("n3"), "the reason does not name n3: {failed}");
        let report = work.wait_errors(Duration::from_secs(10))?;
        ensure!(!report.errors.is_empty(), "the users of a lost pool met no error");
        down(cluster, "s")?;
        cluster.ensure_as_before(&before)
    })
}

/// All donors answer, and hold their pieces, before anybody hears of what was.
#[test]
fn a_stripe_whose_head_waited_in_vain_is_failed_when_its_link_is_healed() -> Result<()> {
    boot("invain", 4)?.run(|cluster| {
        let before = cluster.footprints()?;
        up(cluster, "w", "--size 320MiB --patience 5s --head n2 --donors n[3-4]")?;
        let head = cluster.node("n2");
        let work = Load::begin(head, "/rampool/w", SEED)?;
        work.wait_acknowledged(20, LONG)?;
        cluster.kill_program("n2", "rampool-agent")?;
        head.cut()?;
        let report = work.wait_errors(LONG)?;
        head.heal()?;
        let states = "cat /sys/class/iscsi_session/*/state | sort -u";
        head.sh(&format!("until test \"$({states})\" = LOGGED_IN; do sleep 0.05; done"))?;
        cluster.start_agent("n2")?;
        cluster.wait_reachable(&["n2"])?;
        let (known, pace) = (Instant::now(), cluster.lab.pace(&["n1", "n2"])?);
        let failed = until(cluster, "w", "failed", |pool| pool["state"] == "failed")?;
        println!("failed {:?} after its head answered again", known.elapsed());
        ensure_known(pace.since(known))?;
        ensure!(failed.to_string().contains("longer than its patience"), "for what? {failed}");
        cluster.rampool(&["failover", "w", "--head", "n1"])?.ok()?;
        load::compare_files(cluster.node("n1"), "/rampool/w", &report.log)?;
        down(cluster, "w")?;
        cluster.ensure_as_before(&before)
    })
}

#[test]
fn what_was_synced_comes_up_on_another_head_when_the_head_dies() -> Result<()> {
    boot("failover", 5)?.run(|cluster| {
        let before = cluster.footprints()?;
        up(cluster, "f", "--size 320MiB --head n2 --donors n[3-4]")?;
        let work = Load::begin(cluster.node("n2"), "/rampool/f", SEED)?;
        work.wait_acknowledged(50, LONG)?;
        cluster.node("n2").kill()?;
        let report = work.wait_errors(LONG)?;
        let begin = Instant::now();
        cluster.rampool(&["failover", "f", "--head", "n5"])?.ok()?;
        println!("on another head after {:?}", begin.elapsed());
        let pool = cluster.rampool_json(&["status", "f"])?;
        ensure!(pool["state"] == "ready" && pool["generation"] == 2, "{pool}");
        load::compare_files(cluster.node("n5"), "/rampool/f", &report.log)?;
        cluster.node("n2").boot()?;
        cluster.wait_reachable(&["n2"])?;
        down(cluster, "f")?;
        cluster.ensure_as_before(&before)
    })
}

/// The volume is LVM's, and nothing but its own records on the donors says what it is made of.
#[test]
fn an_lvm_pool_comes_up_on_another_head_when_the_head_dies() -> Result<()> {
    boot("lvmfailover", 5)?.run(|cluster| {
        let before = cluster.footprints()?;
        up(cluster, "v", "--size 320MiB --layout lvm --head n2 --donors n[3-4]")?;
        let work = Load::begin(cluster.node("n2"), "/rampool/v", SEED)?;
        work.wait_acknowledged(50, LONG)?;
        cluster.node("n2").kill()?;
        let report = work.wait_errors(LONG)?;
        cluster.rampool(&["drain", "n5", "--reason", "new memory"])?.ok()?;
        let refused = cluster.rampool(&["failover", "v", "--head", "n5"])?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(said.contains("n5 is drained: new memory"), "{}: {said}", refused.status);
        cluster.rampool(&["resume", "n5"])?.ok()?;
        let begin = Instant::now();
        cluster.rampool(&["failover", "v", "--head", "n5"])?.ok()?;
        println!("on another head after {:?}", begin.elapsed());
        let pool = cluster.rampool_json(&["status", "v"])?;
        ensure!(pool["state"] == "ready" && pool["generation"] == 2, "{pool}");
        load::compare_files(cluster.node("n5"), "/rampool/v", &report.log)?;
        // It can be moved there as on the first head.
        cluster.node("n2").boot()?;
        cluster.wait_reachable(&["n2"])?;
        cluster.rampool(&["evacuate", "n3"])?.ok()?;
        load::compare_files(cluster.node("n5"), "/rampool/v", &report.log)?;
        // Given up though all its donors have their memory: it needs no force to be had back.
        cluster.rampool(&["fail", "v"])?.ok()?;
        cluster.rampool(&["failover", "v", "--head", "n2"])?.ok()?;
        load::compare_files(cluster.node("n2"), "/rampool/v", &report.log)?;
        down(cluster, "v")?;
        cluster.ensure_as_before(&before)
    })
}

/// n1 (with the controller) and n2 are heads; a cut between some nodes leaves both alive.
#[test]
fn two_heads_never_both_have_a_usable_pool() -> Result<()> {
    boot("split", 6)?.run(|cluster| {
        let before = cluster.footprints()?;
        up(
            cluster,
            "d",
            "--size 400MiB --redundancy mirror --head n2 --donors n[3-6] --auto-replace=false",
        )?;
        let old = cluster.node("n2");
        let work = Load::begin(old, "/rampool/d", SEED)?;
        work.wait_acknowledged(20, LONG)?;

        // One half of each mirror stays with the old head, out of the controller's reach.
        split(cluster, &["n1", "n4", "n6"], &["n2", "n3", "n5"])?;
        until_unreachable(cluster, &["n2", "n3", "n5"])?;
        let refused = cluster.rampool(&["failover", "d", "--head", "n1"])?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.shell_code() == 4, "{}: {said}", refused.status);
        ensure!(said.contains("n3") && said.contains("n5"), "who is in doubt? {said}");
        ensure!(cluster.rampool_json(&["status", "d"])?["generation"] == 1, "it was reassembled");
        heal(cluster)?;
        cluster.wait_reachable(&["n2", "n3", "n5"])?;
        until(cluster, "d", "whole again", |pool| pool["state"] == "ready")?;

        // Only one donor stays with it: the other halves make the pool, and it makes none.
        split(cluster, &["n1", "n4", "n5", "n6"], &["n2", "n3"])?;
        until_unreachable(cluster, &["n2", "n3"])?;
        let report = work.wait_errors(LONG)?;
        cluster.rampool(&["failover", "d", "--head", "n1"])?.ok()?;
        load::compare_files(cluster.node("n1"), "/rampool/d", &report.log)?;
        heal(cluster)?;
        cluster.wait_reachable(&["n2", "n3"])?;
        until_footprint(cluster, "n3", "rp.d.1")?;
        until_footprint(cluster, "n2", "rp.d.1")?;
        load::compare_files(cluster.node("n1"), "/rampool/d", &report.log)?;
        down(cluster, "d")?;
        cluster.ensure_as_before(&before)
    })
}

#[test]
fn a_donor_is_evacuated_while_its_pools_are_in_use() -> Result<()> {
    boot("evacuate", 5)?.run(|cluster| {
        let before = cluster.footprints()?;
        up(cluster, "l", "--size 320MiB --layout lvm --head n1 --donors n[2-4]")?;
        let head = cluster.node("n1");
        let work = Load::begin(head, "/rampool/l", SEED)?;
        cluster.rampool(&["drain", "n3", "--reason", "new memory"])?.ok()?;
        let begin = Instant::now();
        cluster.rampool(&["evacuate", "n3"])?.ok()?;
        println!("evacuated in {:?}", begin.elapsed());
        let pool = cluster.rampool_json(&["status", "l"])?;
        ensure!(donors(&pool) == ["n2", "n5", "n4"] || !donors(&pool).contains(&"n3".to_owned()));
        ensure!(!cluster.footprint("n3")?.mentions("rp.l"), "n3 still holds its piece");
        let report = work.end(head, LONG)?;
        ensure!(report.errors.is_empty(), "users met errors: {:?}", report.errors);
        load::compare_files(head, "/rampool/l", &report.log)?;
        load::compare_blocks(head, "/rampool/l", &report.blocks)?;
        cluster.rampool(&["resume", "n3"])?.ok()?;
        down(cluster, "l")?;
        cluster.ensure_as_before(&before)
    })
}

#[test]
fn an_evacuated_spare_leaves_its_pool_and_the_node() -> Result<()> {
    boot("spare", 6)?.run(|cluster| {
        let before = cluster.footprints()?;
        let wanted = "--size 320MiB --redundancy mirror --spares 1 --head n1 --donors n[2-6]";
        up(cluster, "p", wanted)?;
        let head = cluster.node("n1");
        let work = Load::begin(head, "/rampool/p", SEED)?;
        let pool = cluster.rampool_json(&["status", "p"])?;
        let spare = pool["spares"][0].as_str().context("it has no spare")?;
        cluster.rampool(&["evacuate", spare])?.ok()?;
        ensure!(!cluster.footprint(spare)?.mentions("rp.p"), "{spare} still holds its piece");
        let report = work.end(head, LONG)?;
        ensure!(report.errors.is_empty(), "users met errors: {:?}", report.errors);
        load::compare_files(head, "/rampool/p", &report.log)?;
        load::compare_blocks(head, "/rampool/p", &report.blocks)?;
        let now = cluster.rampool_json(&["status", "p"])?;
        let is_there = donors(&now).iter().any(|donor| donor == spare);
        ensure!(now["state"] == "ready" && !is_there, "{now}");
        down(cluster, "p")?;
        cluster.ensure_as_before(&before)
    })
}

/// Nobody asks for it, and nobody else is free when a member is lost then.
#[test]
fn a_spare_whose_donor_lost_its_memory_is_given_up_and_its_donor_can_lend_anew() -> Result<()> {
    boot("lostspare", 4)?.run(|cluster| {
        let before = cluster.footprints()?;
        let wanted = "--size 320MiB --redundancy mirror --spares 1 --head n1 --donors n[2-4]";
        up(cluster, "q", wanted)?;
        let head = cluster.node("n1");
        let work = Load::begin(head, "/rampool/q", SEED)?;
        cluster.node("n4").kill()?;
        cluster.node("n4").boot()?;
        cluster.wait_reachable(&["n4"])?;
        let known = Instant::now();
        let pool = until(cluster, "q", "without its spare", |pool| {
            pool["spares"].as_array().is_some_and(Vec::is_empty) && pool["state"] == "ready"
        })?;
        println!("given up {:?} after n4 answered anew", known.elapsed());
        ensure!(pool.to_string().contains("0 of 1 spares left"), "{pool}");
        cluster.node("n3").kill()?;
        cluster.node("n3").boot()?;
        until(cluster, "q", "whole again with n4", |pool| {
            pool["state"] == "ready" && donors(pool) == ["n2", "n4"]
        })?;
        let report = work.end(head, LONG)?;
        ensure!(report.errors.is_empty(), "users met errors: {:?}", report.errors);
        load::compare_files(head, "/rampool/q", &report.log)?;
        load::compare_blocks(head, "/rampool/q", &report.blocks)?;
        down(cluster, "q")?;
        cluster.ensure_as_before(&before)
    })
}

#[test]
fn one_of_a_pair_comes_up_on_another_head_where_the_other_lost_its_memory() -> Result<()> {
    boot("pair", 5)?.run(|cluster| {
        let before = cluster.footprints()?;
        let wanted = "--size 320MiB --redundancy mirror --head n2 --donors n[3-4]";
        up(cluster, "t", &format!("{wanted} --auto-replace=false"))?;
        cluster.node("n3").kill()?;
        until(cluster, "t", "degraded", |pool| pool["state"] == "degraded")?;
        cluster.node("n3").boot()?;
        cluster.wait_reachable(&["n3"])?;
        let work = Load::begin(cluster.node("n2"), "/rampool/t", SEED)?;
        work.wait_acknowledged(50, LONG)?;
        cluster.node("n2").kill()?;
        let report = work.wait_errors(LONG)?;
        cluster.rampool(&["failover", "t", "--head", "n5"])?.ok()?;
        load::compare_files(cluster.node("n5"), "/rampool/t", &report.log)?;
        cluster.rampool(&["replace", "t", "n3"])?.ok()?;
        load::compare_files(cluster.node("n5"), "/rampool/t", &report.log)?;
        cluster.node("n2").boot()?;
        cluster.wait_reachable(&["n2"])?;
        down(cluster, "t")?;
        cluster.ensure_as_before(&before)
    })
}

#[test]
fn a_controller_that_lost_its_store_takes_its_pools_over_again() -> Result<()> {
    boot("recover", 4)?.run(|cluster| {
        let before = cluster.footprints()?;
        up(cluster, "r", "--size 320MiB --fs ext4 --head n2 --donors n[3-4]")?;
        let head = cluster.node("n2");
        let work = Load::begin(head, "/rampool/r", SEED)?;
        cluster.kill_program(CONTROLLER, "rampool-controller")?;
        cluster.node(CONTROLLER).sh("rm -r /var/lib/rampool")?;
        cluster.start_controller()?;
        cluster.wait_reachable(&["n1", "n2", "n3", "n4"])?;
        ensure!(cluster.rampool(&["status", "r"])?.status.shell_code() == 3, "it is known");
        let shown = cluster.rampool_json(&["recover"])?;
        ensure!(shown.to_string().contains("\"r\""), "nothing to take over: {shown}");
        ensure!(cluster.rampool(&["status", "r"])?.status.shell_code() == 3, "it was only to show");
        cluster.rampool(&["recover", "--apply"])?.ok()?;
        let pool = cluster.rampool_json(&["status", "r"])?;
        ensure!(pool["state"] == "ready", "{pool}");
        ensure!(pool["fs"] == "ext4", "{pool}");
        let report = work.end(head, LONG)?;
        ensure!(report.errors.is_empty(), "users met errors: {:?}", report.errors);
        down(cluster, "r")?;
        cluster.ensure_as_before(&before)
    })
}

/// Whether users waited no longer than is promised, but for what the machine withheld.
fn ensure_borne(pace: &Pace, report: &Report) -> Result<()> {
    let stall = report.longest_stall();
    let borne = pace.of_a_stretch(stall);
    println!("longest stall: {stall:?}, {borne:?} of it not the machine's");
    ensure!(borne < LONGEST_STALL, "{borne:?} of {stall:?}");
    Ok(())
}

/// Whether what could be known was known as soon as is promised.
fn ensure_known(after: Duration) -> Result<()> {
    ensure!(after < Duration::from_secs(5), "known only after {after:?}");
    Ok(())
}

/// A cluster whose nodes have the witness too.
fn boot(name: &str, nodes: u8) -> Result<Cluster> {
    let cluster = Cluster::builder(name, nodes).boot()?;
    cluster.lab.stage_binary(programs::path("rampool-witness")?)?;
    Ok(cluster)
}

fn up(cluster: &Cluster, name: &str, words: &str) -> Result<()> {
    let words: Vec<&str> = ["up", name].into_iter().chain(words.split(' ')).collect();
    cluster.rampool(&words)?.ok().map(drop)
}

/// Takes the pool down and waits until nodes that were away gave back what they held.
fn down(cluster: &Cluster, name: &str) -> Result<()> {
    let said = cluster.rampool(&["down", name])?;
    if !said.status.success() {
        println!("down {name}: {}", String::from_utf8_lossy(&said.stderr));
    }
    until(cluster, name, "released", |pool| pool["state"] == "released").map(drop)
}

/// Waits until the pool's status is so.
fn until(cluster: &Cluster, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Result<Value> {
    cluster.until_pool(name, what, LONG, so)
}

fn until_unreachable(cluster: &Cluster, nodes: &[&str]) -> Result<()> {
    cluster.until_nodes(nodes, "unreachable", LONG, |node| node["reachable"] == false)
}

/// Waits until a node holds nothing of that name any more.
fn until_footprint(cluster: &Cluster, node: &str, gone: &str) -> Result<()> {
    until::until(&format!("{node} rid of {gone}"), LONG, || {
        let footprint = cluster.footprint(node)?;
        Ok(if footprint.mentions(gone) { Err("it is still there") } else { Ok(()) })
    })
}

fn donors(pool: &Value) -> Vec<String> {
    let all = pool["donors"].as_array().into_iter().flatten();
    all.filter_map(|donor| Some(donor["node"].as_str()?.to_owned())).collect()
}

/// Cuts every link between the two sides, by routes on one of them: no packet of a connection
/// is answered any more.
fn split(cluster: &Cluster, one: &[&str], other: &[&str]) -> Result<()> {
    for node in one {
        for far in other {
            let far = cluster.node(far).data_addr();
            cluster
                .node(node)
                .sh(&format!("ip route add blackhole {far}/32"))
                .with_context(|| format!("cut {node} from {far}"))?;
        }
    }
    Ok(())
}

fn heal(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        cluster.node(node).sh("ip route flush type blackhole")?;
    }
    Ok(())
}
