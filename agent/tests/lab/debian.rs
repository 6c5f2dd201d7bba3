//! The same on nodes as sites have them: systemd, udev, mdadm's and LVM's rules, multipathd, all
//! as Debian configures them. Nobody else may take what is the pool's.

use rampool_lab::Init;
use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{self, Backend, FilesystemKind, Redundancy, VolumeLayout};

use crate::cases::{cases, in_turn};
use crate::cluster::{Cluster, assert_as_before, demo, export_request, traces};
use crate::trio::POINT;

#[test]
fn a_pool_is_left_alone_by_debians_services_and_survives_the_agents_own() {
    // A node that lends to itself by iSCSI is both: services take long to start.
    let cluster = Cluster::boot_with("agent-debian", 1, 1280, Init::Systemd);
    let cases = cases![
        the_agents_unit_keeps_its_mounts_and_objects_when_it_is_restarted,
        nobody_else_touches_a_pools_disks_under_systemd_and_udev,
    ];
    in_turn(cases, |case| case(&cluster));
}

#[test]
fn disks_are_replaced_under_debians_services() {
    let cluster = Cluster::boot_with("agent-debian-replace", 3, 896, Init::Systemd);
    let (head, donors) = (cluster.agent("n1"), [cluster.agent("n2"), cluster.agent("n3")]);
    let node = &head.node;
    for (layout, redundancy) in
        [(VolumeLayout::Md, Redundancy::Mirror), (VolumeLayout::Lvm, Redundancy::None)]
    {
        let own = v1::CreateExportRequest {
            way: Some(Way::Local(v1::LocalWay {})),
            ..export_request(Backend::RdMcp, 320)
        };
        let mut exports = vec![head.create_export(own).unwrap()];
        exports.extend(donors.iter().map(|donor| donor.export(Backend::RdMcp, 320).unwrap()));
        head.attach_to(&exports).unwrap();
        let serials: Vec<_> = exports.iter().map(|export| export.serial.clone()).collect();
        let volume = v1::AssembleVolumeRequest {
            pool: demo(),
            layout: layout.into(),
            redundancy: redundancy.into(),
            chunk_kib: 64,
            serials: serials[..2].to_vec(),
            ..Default::default()
        };
        head.assemble_volume(volume).unwrap();
        head.mkfs(FilesystemKind::Xfs, 1).unwrap();
        head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
        node.sh("dd if=/dev/urandom of=/rampool/demo/f bs=1M count=64 conv=fsync 2>&1; \
                 md5sum /rampool/demo/f > /tmp/sum")
            .unwrap();
        let replacement = v1::ReplaceMemberRequest {
            pool: demo(),
            old_serial: serials[1].clone(),
            new_serial: serials[2].clone(),
        };
        head.replace_member(replacement).unwrap();
        node.sh("udevadm trigger --subsystem-match=block --settle").unwrap();
        node.sh("echo 3 > /proc/sys/vm/drop_caches; md5sum -c /tmp/sum").unwrap();
        head.detach_donor("n2").unwrap();
        head.unmount_demo(false).unwrap();
        head.stop().unwrap();
        node.sh("udevadm trigger --subsystem-match=block --settle").unwrap();
        node.sh("while systemctl list-jobs --no-legend | grep -q .; do sleep 0.05; done").unwrap();
        node.sh("! ls -d /sys/block/md* /sys/block/dm-* 2>/dev/null").unwrap();
        head.detach_demo().unwrap();
        for agent in donors.iter().chain([&head]) {
            agent.destroy().unwrap();
        }
        node.sh("udevadm settle").unwrap();
    }
    cluster.assert_as_at_boot();
}

fn nobody_else_touches_a_pools_disks_under_systemd_and_udev(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    let node = &agent.node;
    node.sh("systemctl start multipathd; systemctl is-active multipathd").unwrap();
    let before = traces(node);
    for layout in [VolumeLayout::Md, VolumeLayout::Lvm] {
        let exports = [agent.export(Backend::RdMcp, 400).unwrap()];
        let attached = agent.attach_to(&exports).unwrap();
        agent.assemble(layout, &exports).unwrap();
        agent.mkfs(FilesystemKind::Xfs, 1).unwrap();
        agent.mount_at(FilesystemKind::Xfs, POINT).unwrap();
        node.sh("echo data > /rampool/demo/f; sync; udevadm settle").unwrap();
        // Whatever udev does when it looks at everything again.
        node.sh("udevadm trigger --subsystem-match=block --settle; multipath -r; udevadm settle")
            .unwrap();
        assert_eq!(node.sh("multipath -ll").unwrap(), "", "{layout:?}");
        assert_eq!(node.sh("cat /rampool/demo/f").unwrap(), "data", "{layout:?}");
        // Nothing that looks for file systems or arrays is offered a member.
        let links = "find /dev/disk -type l | xargs -r readlink -f | grep /dev/sd || true";
        assert_eq!(node.sh(links).unwrap(), "", "{layout:?}");
        let member = attached.disks[0].device.as_str();
        let seen = node.sh(&format!("udevadm info -q property {member}")).unwrap();
        assert!(!seen.contains("ID_FS_TYPE") && seen.contains("SYSTEMD_READY=0"), "{seen}");

        agent.unmount_demo(false).unwrap();
        // A stopped volume stays stopped, though its disks are there and udev looks at them.
        agent.stop().unwrap();
        node.sh("udevadm trigger --subsystem-match=block --settle").unwrap();
        // What udev told systemd to start has had its turn too.
        node.sh("while systemctl list-jobs --no-legend | grep -q .; do sleep 0.05; done").unwrap();
        node.sh("! ls -d /sys/block/md* /sys/block/dm-* 2>/dev/null").unwrap();
        agent.detach_demo().unwrap();
        agent.destroy().unwrap();
        node.sh("udevadm settle").unwrap();
        assert_as_before(node, &before);
    }
}

fn the_agents_unit_keeps_its_mounts_and_objects_when_it_is_restarted(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    let node = &agent.node;
    let exports = [agent.export(Backend::Tmpfs, 400).unwrap()];
    agent.attach_to(&exports).unwrap();
    agent.assemble(VolumeLayout::Md, &exports).unwrap();
    agent.mkfs(FilesystemKind::Xfs, 1).unwrap();
    agent.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    // As Debian's own kernel is: the log is for those alone who may read it.
    node.sh("echo 1 > /proc/sys/kernel/dmesg_restrict; systemctl restart rampool-agent").unwrap();
    node.sh("pid() { systemctl show --property MainPID --value rampool-agent; }; old=$(pid); \
             systemctl kill --signal=KILL rampool-agent; \
             until test $(pid) != 0 && test $(pid) != $old; do sleep 0.05; done; \
             systemctl is-active rampool-agent")
        .unwrap();
    node.sh("findmnt /rampool/demo && echo x > /rampool/demo/x && sync").unwrap();
    let agent = cluster.start("n1");
    node.sh("readlink /proc/$(pidof rampool-agent)/fd/* | grep /dev/kmsg").unwrap();
    node.sh("echo 0 > /proc/sys/kernel/dmesg_restrict; ! dmesg | grep 'no CAP_SYSLOG'").unwrap();
    assert!(agent.mount_at(FilesystemKind::Xfs, POINT).unwrap().already);
    assert!(agent.export(Backend::Tmpfs, 400).unwrap().already);
    agent.unmount_demo(false).unwrap();
    agent.stop().unwrap();
    agent.detach_demo().unwrap();
    agent.destroy().unwrap();
}
