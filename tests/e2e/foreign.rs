//! A site's own storage on the same nodes is as before after everything that rampool does.

use anyhow::{Result, ensure};
use rampool_e2e::cluster::Cluster;

/// On a donor: a target of the site's own, with its ramdisk, a tmpfs, and a name close to ours.
const SITE_DONOR: &str = r"
set -e
T=/sys/kernel/config/target
mkdir -p $T/core/rd_mcp_0/site
echo rd_pages=16384 > $T/core/rd_mcp_0/site/control
echo 1 > $T/core/rd_mcp_0/site/enable
Q=$T/iscsi/iqn.2003-01.org.site:store
mkdir -p $Q/tpgt_1/lun/lun_0 $Q/tpgt_1/np/0.0.0.0:3270
ln -s $T/core/rd_mcp_0/site $Q/tpgt_1/lun/lun_0/site
for a in authentication=0 generate_node_acls=1 demo_mode_write_protect=0; do
    echo ${a#*=} > $Q/tpgt_1/attrib/${a%=*}
done
echo 1 > $Q/tpgt_1/enable
mkdir -p /site && mount -t tmpfs -o size=16M site /site && echo mine > /site/file
mkdir -p $T/core/rd_mcp_1/rp.not-ours
";

/// On the head: a session to it, with records, an md array and a volume group on it.
const SITE_HEAD: &str = r"
set -e
iscsiadm -m discovery -t sendtargets -p 10.77.0.12:3270
iscsiadm -m node -T iqn.2003-01.org.site:store --login
modprobe sd_mod
until [ -e /dev/sda ]; do :; done
modprobe raid0
mdadm --create /dev/md7 --run --force --level=0 --raid-devices=1 /dev/sda
pvcreate --config 'devices { use_devicesfile=0 }' /dev/md7
vgcreate --config 'devices { use_devicesfile=0 }' site /dev/md7
lvcreate -an -Zn -Wn --config 'devices { use_devicesfile=0 } activation { udev_sync=0 udev_rules=0 }' -l 100%FREE -n own site
sha256sum /etc/iscsi/initiatorname.iscsi /etc/iscsi/iscsid.conf > /tmp/iscsi.sum
";

const SITE_INTACT: &str = r"
set -e
sha256sum -c /tmp/iscsi.sum
dd if=/dev/md7 of=/dev/null bs=1M count=8 iflag=direct
vgs --noheadings -o vg_name site
";

#[test]
fn a_sites_own_storage_is_left_alone() -> Result<()> {
    Cluster::builder("foreign", 3).boot()?.run(|cluster| {
        cluster.node("n2").sh(SITE_DONOR)?;
        cluster.node("n1").sh(SITE_HEAD)?;
        let before = cluster.footprints()?;
        for layout in ["md", "lvm"] {
            let wanted = ["up", "demo", "--size", "320MiB", "--head", "n1", "--donors", "n[2-3]"];
            cluster.rampool(&[&wanted[..], &["--layout", layout]].concat())?.ok()?;
            let during = cluster.footprint("n1")?;
            ensure!(during.mentions("rp.demo"), "the pool shows in no name");
            cluster.kill_program("n2", "rampool-agent")?;
            cluster.start_agent("n2")?;
            cluster.wait_reachable(&["n2"])?;
            cluster.rampool(&["down", "demo"])?.ok()?;
            cluster.ensure_as_before(&before)?;
            cluster.node("n1").sh(SITE_INTACT)?;
            ensure!(cluster.node("n2").sh("cat /site/file")? == "mine", "the site's tmpfs changed");
        }
        Ok(())
    })
}
