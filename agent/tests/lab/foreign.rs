//! A site's own storage on a head is as it was, whatever the pool did beside it.

use rampool_proto::v1::{Backend, FilesystemKind, VolumeLayout};

use crate::cluster::{Cluster, HEAD, assert_as_before, traces};
use crate::trio::POINT;

/// A site's target on the donor; on the head a session with it, an array, a volume group, and
/// mounts on both, and things that are named almost as ours.
const SITE_TARGET: &str = "
    cd /sys/kernel/config/target
    mkdir -p core/rd_mcp_0/site iscsi/iqn.2003-01.org.site:x/tpgt_1
    printf rd_pages=4096 > core/rd_mcp_0/site/control; printf 1 > core/rd_mcp_0/site/enable
    cd iscsi/iqn.2003-01.org.site:x/tpgt_1; mkdir lun/lun_0
    ln -s /sys/kernel/config/target/core/rd_mcp_0/site lun/lun_0/s
    mkdir np/10.77.0.12:3260
    printf 0 > attrib/authentication; printf 1 > attrib/generate_node_acls
    printf 0 > attrib/demo_mode_write_protect; printf 1 > enable";

const SITE_HEAD: &str = "
    iscsiadm -m discovery -t st -p 10.77.0.12 >/dev/null
    iscsiadm -m node -T iqn.2003-01.org.site:x --login >/dev/null
    modprobe loop; modprobe -a raid0 xfs
    cd /tmp; truncate -s 64M a b c
    losetup /dev/loop1 a; losetup /dev/loop2 b; losetup /dev/loop3 c
    mdadm --create /dev/md7 --run --level=0 --raid-devices=2 /dev/loop1 /dev/loop2 2>/dev/null
    mkfs.ext4 -q /dev/md7; mkdir /site-array; mount /dev/md7 /site-array; echo mine > /site-array/f
    C='activation { udev_sync=0 udev_rules=0 }'
    vgcreate --config \"$C\" rp.demo /dev/loop3 >/dev/null
    lvcreate --config \"$C\" -y -Zn -Wn -L 8m -n scratch rp.demo >/dev/null 2>&1
    mkdir -p /run/site; mount -t tmpfs rp.demo.1 /run/site; echo mine > /run/site/f
    mkdir -p /etc/iscsi/ifaces; echo '# theirs' > /etc/iscsi/ifaces/rp.demo";

const SITE_ALL: &str = "
    cat /site-array/f /run/site/f; cat /proc/mdstat | grep -c md7
    iscsiadm -m session | sed 's/^tcp: .[0-9]*. //'; iscsiadm -m node
    cat /etc/iscsi/initiatorname.iscsi /etc/iscsi/ifaces/rp.demo | md5sum
    find /etc/iscsi /etc/lvm /etc/mdadm -type f | sort | xargs md5sum
    dmsetup ls; vgs --noheadings -o vg_name,lv_count";

/// On `n1` and `n2`; the site's storage stays.
pub(crate) fn a_sites_own_storage_beside_a_pool_is_as_it_was(cluster: &Cluster) {
    let (head, donor) = (cluster.agent("n1"), cluster.agent("n2"));
    donor.node.sh(SITE_TARGET).unwrap();
    head.node.sh(&format!("set -e; {SITE_HEAD}")).unwrap();
    let (on_head, on_donor) = (traces(&head.node), traces(&donor.node));
    let before = head.node.sh(SITE_ALL).unwrap();
    assert!(head.holdings().is_empty(), "{:?}", head.holdings());
    for layout in [VolumeLayout::Md, VolumeLayout::Lvm] {
        let exports = [donor.export(Backend::RdMcp, 400).unwrap()];
        head.attach_to(&exports).unwrap();
        head.assemble(layout, &exports).unwrap();
        head.mkfs(FilesystemKind::Xfs, 1).unwrap();
        head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
        assert!(head.node.sh("cat /proc/mounts").unwrap().contains(POINT), "{HEAD}");
        head.unmount_demo(true).unwrap();
        head.stop().unwrap();
        head.detach_demo().unwrap();
        donor.destroy().unwrap();
        assert_eq!(head.node.sh(SITE_ALL).unwrap(), before, "{layout:?}");
        assert_as_before(&head.node, &on_head);
        assert_as_before(&donor.node, &on_donor);
    }
}
