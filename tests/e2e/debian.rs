//! Nodes as they are: systemd, udev with mdadm's and LVM's rules, multipathd, and our own units.

use anyhow::{Result, ensure};
use rampool_e2e::cluster::{CONTROLLER, Cluster};

#[test]
fn nobody_on_a_debian_node_grabs_a_pools_disks() -> Result<()> {
    Cluster::builder("debian", 3).systemd().boot()?.run(|cluster| {
        let before = cluster.footprints()?;
        // As packaged, the command finds its configuration by itself.
        cluster.node(CONTROLLER).exec(["rampool", "nodes"])?.ok()?;
        // A mirror is md's, as a stripe is.
        for kind in [["--layout", "lvm"], ["--redundancy", "mirror"]] {
            let wanted = ["up", "demo", "--size", "320MiB", "--head", "n1", "--donors", "n[2-3]"];
            cluster.rampool(&[&wanted[..], &kind].concat())?.ok()?;
            let head = cluster.node("n1");
            head.sh("udevadm settle; cp /usr/bin/perl /rampool/demo/ && sync")?;
            let maps = head.sh("ls /sys/block; multipath -ll")?;
            ensure!(
                !maps.contains("mpath") && !maps.contains("md127"),
                "somebody grabbed disks: {maps}"
            );
            // A user's shell sees the mount, and it outlives the agent.
            head.sh("systemctl restart rampool-agent && cmp /usr/bin/perl /rampool/demo/perl")?;
            cluster.wait_reachable(&["n1", "n2", "n3"])?;
            cluster.rampool(&["down", "demo"])?.ok()?;
            head.sh("udevadm settle")?;
            cluster.ensure_as_before(&before)?;
        }

        cluster
            .rampool(&[
                "up",
                "demo",
                "--size",
                "400MiB",
                "--head",
                "n1",
                "--donors",
                "n[2-3]",
                "--patience",
                "5s",
            ])?
            .ok()?;
        cluster.node("n3").kill()?;
        let down = cluster.rampool(&["down", "demo", "--force"])?;
        let words = String::from_utf8_lossy(&down.stderr).into_owned();
        ensure!(down.status.success() || words.contains("n3"), "{}: {words}", down.status);
        ensure!(!cluster.footprint("n1")?.mentions("rp.demo"), "the head still holds the pool");
        ensure!(!cluster.footprint("n2")?.mentions("rp.demo"), "n2 still holds its piece");
        Ok(())
    })
}
