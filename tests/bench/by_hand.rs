//! The same pool as an admin makes it without rampool, everything at its default.

use anyhow::Result;
use rampool_e2e::cluster::Cluster;

use crate::contender::{DONORS, HEAD, MIB_PER_DONOR};

const MOUNT: &str = "/mnt/by-hand";

/// targetcli's RAM disks are LIO's rd_mcp, rampool's default too.
fn export(donor: &str) -> String {
    let iqn = iqn(donor);
    format!(
        "set -e
        targetcli /backstores/ramdisk create name=byhand size={MIB_PER_DONOR}MiB
        targetcli /iscsi create {iqn}
        targetcli /iscsi/{iqn}/tpg1/luns create /backstores/ramdisk/byhand
        targetcli /iscsi/{iqn}/tpg1 set attribute \
            authentication=0 generate_node_acls=1 demo_mode_write_protect=0"
    )
}

fn iqn(donor: &str) -> String {
    format!("iqn.2003-01.org.example:{donor}")
}

/// Exports on all donors (side by side, as an admin with a parallel shell), then the head.
pub(crate) fn up(cluster: &Cluster) -> Result<String> {
    on_donors(cluster, export)?;
    let addresses: Vec<String> =
        DONORS.iter().map(|donor| cluster.node(donor).data_addr().to_string()).collect();
    let script = format!(
        "set -e
        for address in {}; do iscsiadm -m discovery -t sendtargets -p $address; done
        iscsiadm -m node --login
        disks=
        for session in /sys/class/iscsi_session/session*; do
            while :; do
                set -- $session/device/target*/*/block/*
                [ -e \"$1\" ] && break
            done
            disks=\"$disks /dev/${{1##*/}}\"
        done
        mdadm --create /dev/md0 --run --level=0 --raid-devices={} $disks
        mkfs.xfs -q -f /dev/md0
        mkdir -p {MOUNT}
        mount /dev/md0 {MOUNT}",
        addresses.join(" "),
        DONORS.len()
    );
    cluster.node(HEAD).sh(&script)?;
    Ok(MOUNT.into())
}

/// The reverse.
pub(crate) fn down(cluster: &Cluster) -> Result<()> {
    cluster.node(HEAD).sh(&format!(
        "set -e
        umount {MOUNT}
        mdadm --stop /dev/md0
        iscsiadm -m node --logout
        iscsiadm -m node -o delete"
    ))?;
    on_donors(cluster, |donor| {
        format!(
            "set -e
            targetcli /iscsi delete {}
            targetcli /backstores/ramdisk delete byhand",
            iqn(donor)
        )
    })
}

fn on_donors(cluster: &Cluster, script: impl Fn(&str) -> String + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let runs: Vec<_> = DONORS
            .iter()
            .map(|donor| {
                let script = script(donor);
                scope.spawn(move || cluster.node(donor).sh(&script).map(drop))
            })
            .collect();
        runs.into_iter()
            .try_for_each(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
