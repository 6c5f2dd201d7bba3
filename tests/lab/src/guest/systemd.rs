//! Readies a node's root for systemd: the exec server as a unit, and without what only costs time in a lab.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context, Result};

use super::init::write;
use crate::exec::BINARIES;

const UNITS: &str = "/etc/systemd/system";

/// Units that have nothing to do in a node that lives for minutes. What watches disks (udev, mdadm, LVM, multipath,
/// open-iscsi) is not among them: that is what a node with systemd is for. A site's NFS server and Slurm are started
/// where a test wants them.
const MASKED: [&str; 32] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "nfs-blkmap.service",
    "nfs-client.target",
    "nfs-server.service",
    "proc-fs-nfsd.mount",
    "rpcbind.service",
    "rpcbind.socket",
    "getty.target",
    "getty@tty1.service",
    "console-getty.service",
    "serial-getty@.service",
    "modprobe@drm.service",
    "munge.service",
    "slurmctld.service",
    "slurmd.service",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-user-sessions.service",
    "systemd-networkd-wait-online.service",
];

const EXEC_UNIT: &str = "\
[Unit]
Description=Exec server of the rampool lab
DefaultDependencies=no
After=systemd-remount-fs.service

[Service]
ExecStart={binaries}/rampool-lab guest
Restart=always
KillMode=process
# What the lab starts through it may take what it likes.
TasksMax=infinity
LimitNOFILE=1048576

[Install]
WantedBy=sysinit.target
";

/// At boot udev asks the kernel to announce again every device that it has: hundreds of terminals, memory blocks and the
/// like, seconds of a node's one CPU. Disks and network interfaces are enough. What appears later is announced as ever.
const COLDPLUG: &str = "\
[Service]
ExecStart=
ExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=block --subsystem-match=net
";

/// Writes the unit and the masks.
pub(super) fn prepare() -> Result<()> {
    let unit = "rampool-lab-exec.service";
    write(&format!("{UNITS}/{unit}"), &EXEC_UNIT.replace("{binaries}", BINARIES), 0o644)?;
    let wants = format!("{UNITS}/sysinit.target.wants");
    fs::create_dir_all(&wants).with_context(|| format!("cannot make {wants}"))?;
    link(&format!("../{unit}"), &format!("{wants}/{unit}"))?;
    for unit in MASKED {
        link("/dev/null", &format!("{UNITS}/{unit}"))?;
    }
    write(&format!("{UNITS}/systemd-udev-trigger.service.d/lab.conf"), COLDPLUG, 0o644)?;
    // No more log than the node's memory can afford, and none that outlives it.
    write(
        "/etc/systemd/journald.conf.d/lab.conf",
        "[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n",
        0o644,
    )
}

fn link(to: &str, at: &str) -> Result<()> {
    if Path::new(at).symlink_metadata().is_ok() {
        fs::remove_file(at).with_context(|| format!("cannot remove {at}"))?;
    }
    symlink(to, at).with_context(|| format!("cannot link {at} to {to}"))
}
