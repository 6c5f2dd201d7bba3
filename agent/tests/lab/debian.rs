//! The same on nodes as sites have them: systemd, udev, mdadm's and LVM's rules, multipathd, all
//! as Debian configures them. Nobody else may take what is the pool's.

use rampool_lab::Init;
use rampool_proto::v1::{Backend, FilesystemKind, VolumeLayout};

use crate::cluster::{Cluster, assert_as_before, traces};

const POINT: &str = "/rampool/demo";

#[test]
fn nobody_else_touches_a_pools_disks_under_systemd_and_udev() {
    let cluster = Cluster::boot_with("agent-debian", 2, 768, Init::Systemd);
    let (head, donor) = (cluster.agent("n1"), cluster.agent("n2"));
    head.node.sh("systemctl start multipathd; systemctl is-active multipathd").unwrap();
    let before = traces(&head.node);
    for layout in [VolumeLayout::Md, VolumeLayout::Lvm] {
        let exports = [donor.export(Backend::RdMcp, 400).unwrap()];
        let attached = head.attach_to(&exports).unwrap();
        head.assemble(layout, &exports).unwrap();
        head.mkfs(FilesystemKind::Xfs, 1).unwrap();
        head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
        head.node.sh("echo data > /rampool/demo/f; sync; udevadm settle").unwrap();
        // Whatever udev does when it looks at everything again.
        head.node.sh("udevadm trigger --settle; multipath -r; udevadm settle").unwrap();
        assert_eq!(head.node.sh("multipath -ll").unwrap(), "", "{layout:?}");
        assert_eq!(head.node.sh("cat /rampool/demo/f").unwrap(), "data", "{layout:?}");
        // Nothing that looks for file systems or arrays is offered a member.
        let links = "find /dev/disk -type l | xargs -r readlink -f | grep /dev/sd || true";
        assert_eq!(head.node.sh(links).unwrap(), "", "{layout:?}");
        let member = attached.disks[0].device.as_str();
        let seen = head.node.sh(&format!("udevadm info -q property {member}")).unwrap();
        assert!(!seen.contains("ID_FS_TYPE") && seen.contains("SYSTEMD_READY=0"), "{seen}");

        head.unmount_demo(false).unwrap();
        // A stopped volume stays stopped, though its disks are there and udev looks at them.
        head.stop().unwrap();
        head.node.sh("udevadm trigger --settle; udevadm settle; sleep 1").unwrap();
        head.node.sh("! ls -d /sys/block/md* /sys/block/dm-* 2>/dev/null").unwrap();
        head.detach_demo().unwrap();
        donor.destroy().unwrap();
        head.node.sh("udevadm settle").unwrap();
        assert_as_before(&head.node, &before);
    }
}

#[test]
fn the_agents_unit_keeps_its_mounts_and_objects_when_it_is_restarted() {
    let cluster = Cluster::boot_with("agent-unit", 2, 768, Init::Systemd);
    let (head, donor) = (cluster.agent("n1"), cluster.agent("n2"));
    let exports = [donor.export(Backend::Tmpfs, 400).unwrap()];
    head.attach_to(&exports).unwrap();
    head.assemble(VolumeLayout::Md, &exports).unwrap();
    head.mkfs(FilesystemKind::Xfs, 1).unwrap();
    head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    for node in [&head.node, &donor.node] {
        node.sh("systemctl restart rampool-agent").unwrap();
        node.sh("systemctl kill --signal=KILL rampool-agent; sleep 2; systemctl is-active rampool-agent")
            .unwrap();
    }
    head.node.sh("findmnt /rampool/demo && echo x > /rampool/demo/x && sync").unwrap();
    let (head, donor) = (cluster.start("n1"), cluster.start("n2"));
    assert!(head.mount_at(FilesystemKind::Xfs, POINT).unwrap().already);
    assert!(donor.export(Backend::Tmpfs, 400).unwrap().already);
    head.unmount_demo(false).unwrap();
    head.stop().unwrap();
    head.detach_demo().unwrap();
    donor.destroy().unwrap();
}
