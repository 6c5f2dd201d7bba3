//! A node with systemd, udev and what Debian starts for disks. Boots a kernel: run with `--features lab`, as root.

use std::time::Instant;

use anyhow::Result;
use rampool_lab::{Init, Lab};

#[test]
fn a_node_with_systemd_watches_disks() -> Result<()> {
    let started = Instant::now();
    let unit =
        "[Service]\nType=oneshot\nExecStart=/bin/touch /run/unit-was-here\nRemainAfterExit=yes\n";
    let lab = Lab::builder("systemd")
        .nodes(1)
        .init(Init::Systemd)
        .persist_file("/etc/systemd/system/probe.service", 0o644, unit)
        .boot()?;
    println!(
        "1 node with systemd from launch to running: {:.1} s",
        started.elapsed().as_secs_f64()
    );
    let n1 = lab.node("n1")?;
    assert_eq!(n1.sh("cat /proc/1/comm")?, "systemd");
    assert_eq!(
        n1.sh("systemctl is-active systemd-udevd multipathd dbus")?,
        "active\nactive\nactive"
    );
    n1.sh("systemctl start probe.service && test -e /run/unit-was-here")?;

    // udev sees a disk that appears, and runs its rules on it: a name by label, and an array that nobody asked for.
    n1.sh("truncate -s 20M /tmp/a && mkfs.ext4 -q -L lab /tmp/a && losetup /dev/loop0 /tmp/a")?;
    n1.sh("udevadm settle && test -e /dev/disk/by-label/lab")?;
    n1.sh("truncate -s 20M /tmp/b && losetup /dev/loop1 /tmp/b && modprobe raid0")?;
    n1.sh("mdadm --create /dev/md/x --run --level=0 --force --raid-devices=1 /dev/loop1")?;
    n1.sh("mdadm --stop /dev/md/x && udevadm settle && losetup -d /dev/loop1")?;
    n1.sh("losetup /dev/loop1 /tmp/b && udevadm settle && grep loop1 /proc/mdstat")?;
    for rules in
        ["63-md-raid-arrays", "64-md-raid-assembly", "69-lvm", "60-multipath", "70-open-iscsi"]
    {
        n1.sh(&format!("test -e /usr/lib/udev/rules.d/{rules}.rules"))?;
    }

    n1.kill()?;
    n1.boot()?;
    assert!(n1.exec(["test", "-e", "/run/unit-was-here"])?.status.code == Some(1));
    Ok(())
}
