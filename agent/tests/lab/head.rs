//! Two donors and a head: sessions, volumes, file systems.

use rampool_proto::v1::{self, Export, FailureKind, FilesystemKind, VolumeLayout};

use crate::cases::cases;
use crate::cluster::{Agent, Cluster, HEAD, demo};
use crate::daemons;
use crate::foreign::a_sites_own_storage_beside_a_pool_is_as_it_was;
use crate::mounts;
use crate::trio::{POINT, Trio, each_with_fresh_exports};

#[test]
fn a_head_makes_pools_of_two_donors_and_leaves_no_trace() {
    let cluster = Cluster::boot("agent-head", 3, 768);
    each_with_fresh_exports(
        &cluster,
        cases![
            // First: no pool has made /rampool yet.
            a_head_says_beforehand_what_it_lacks,
            md_with_xfs_comes_and_goes_without_a_trace,
            lvm_with_ext4_comes_and_goes_without_a_trace,
            a_volume_of_another_layout_on_the_same_disks_carries_no_old_files,
            a_mount_in_use_is_refused_with_names_and_freed_by_force,
            a_wrong_secret_names_the_donor_and_detaching_cleans_up,
            secrets_are_in_no_log_and_no_file_but_root_s,
            after_kill_9_between_steps_a_repeat_converges,
            sessions_run_with_the_settings_of_their_records,
            mounts::a_users_pool_is_the_users_alone_wherever_it_is_mounted,
            mounts::nothing_in_a_users_tree_leads_root_or_anybody_out_of_it,
            mounts::a_bare_device_is_its_owners_and_kept_while_it_is_open,
            mounts::mounts_that_others_made_of_the_pool_are_named,
            daemons::the_agent_is_spared_when_memory_is_short,
            daemons::iscsid_dies_and_comes_back_under_load,
            daemons::a_renamed_donors_exports_are_listed_and_can_be_destroyed,
        ],
    );
    // Last: what is the site's own stays.
    a_sites_own_storage_beside_a_pool_is_as_it_was(&cluster);
}

fn is_a_pool_and_then_nothing(trio: &Trio<'_>, layout: VolumeLayout, kind: FilesystemKind) {
    let head = &trio.head;
    let attached = head.attach_to(&trio.exports).unwrap();
    assert_eq!((attached.disks.len(), attached.already), (2, false));
    let again = head.attach_to(&trio.exports).unwrap();
    assert_eq!((again.disks, again.already), (attached.disks, true));

    let volume = head.assemble(layout, &trio.exports).unwrap();
    assert_eq!(volume.bytes, 2 * (255 << 20), "{layout:?}");
    assert!(head.assemble(layout, &trio.exports).unwrap().already);
    let reversed: Vec<_> = trio.exports.iter().rev().cloned().collect();
    if layout == VolumeLayout::Md {
        let conflict = head.assemble(layout, &reversed).unwrap_err();
        assert_eq!(conflict.kind(), FailureKind::Conflict, "{conflict}");
    }

    assert!(!head.mkfs(kind, 2).unwrap().already);
    assert!(head.mkfs(kind, 2).unwrap().already);
    let mounted = head.mount_at(kind, POINT).unwrap();
    let usage = mounted.usage.unwrap();
    assert_eq!((mounted.already, usage.mount_point.as_str()), (false, POINT));
    assert!(usage.bytes_free > 300 << 20 && usage.inodes_free > 10_000, "{usage:?}");
    assert!(head.mount_at(kind, POINT).unwrap().already);
    let elsewhere = head.mount_at(kind, "/mnt").unwrap_err();
    assert_eq!(elsewhere.kind(), FailureKind::Conflict, "{elsewhere}");
    let options = head.node.sh("findmnt -no OPTIONS /rampool/demo").unwrap();
    assert!(options.contains("nosuid,nodev,noatime"), "{options}");

    head.node
        .sh("test \"$(cat /rampool/demo/README)\" = 'This is memory.'; \
             dd if=/dev/urandom of=/rampool/demo/f bs=1M count=16 oflag=direct; \
             md5sum /rampool/demo/f > /tmp/sum; echo 3 > /proc/sys/vm/drop_caches; \
             md5sum -c /tmp/sum")
        .unwrap();
    for step in [head.stop().unwrap_err(), head.detach_demo().unwrap_err()] {
        assert_eq!(step.kind(), FailureKind::Busy, "{step}");
    }
    let busy = trio.donors[0].destroy().unwrap_err();
    assert_eq!(busy.kind(), FailureKind::Busy, "{busy}");
    assert!(busy.said.contains(HEAD), "{busy}");

    assert!(!head.unmount_demo(false).unwrap().already);
    assert!(head.unmount_demo(false).unwrap().already);
    assert!(!head.stop().unwrap().already);
    assert!(head.stop().unwrap().already);

    // Stopped, not gone: the same volume again, with its files.
    assert!(!head.assemble(layout, &trio.exports).unwrap().already);
    assert!(head.mkfs(kind, 2).unwrap().already);
    head.mount_at(kind, POINT).unwrap();
    head.node.sh("md5sum -c /tmp/sum").unwrap();
    let usage = head.get_usage(v1::GetUsageRequest { pool: demo() }).unwrap().usage.unwrap();
    assert!(usage.bytes_total - usage.bytes_free >= 16 << 20, "{usage:?}");
    head.unmount_demo(false).unwrap();
    head.stop().unwrap();
    assert!(!head.detach_demo().unwrap().already);
    assert!(head.detach_demo().unwrap().already);
    trio.cluster.assert_node_as_at_boot(&head.node);
}

fn md_with_xfs_comes_and_goes_without_a_trace(trio: &Trio<'_>) {
    is_a_pool_and_then_nothing(trio, VolumeLayout::Md, FilesystemKind::Xfs);
}

fn lvm_with_ext4_comes_and_goes_without_a_trace(trio: &Trio<'_>) {
    is_a_pool_and_then_nothing(trio, VolumeLayout::Lvm, FilesystemKind::Ext4);
}

fn a_volume_of_another_layout_on_the_same_disks_carries_no_old_files(trio: &Trio<'_>) {
    trio.up(VolumeLayout::Md, FilesystemKind::Xfs);
    trio.head.unmount_demo(false).unwrap();
    trio.head.stop().unwrap();
    trio.head.assemble(VolumeLayout::Lvm, &trio.exports).unwrap();
    assert!(!trio.head.mkfs(FilesystemKind::Xfs, 2).unwrap().already);
    trio.head.stop().unwrap();
    trio.head.assemble(VolumeLayout::Md, &trio.exports).unwrap();
    assert!(!trio.head.mkfs(FilesystemKind::Ext4, 2).unwrap().already);
    trio.head.mount_at(FilesystemKind::Ext4, POINT).unwrap();
    trio.down();
}

fn a_mount_in_use_is_refused_with_names_and_freed_by_force(trio: &Trio<'_>) {
    trio.up(VolumeLayout::Md, FilesystemKind::Xfs);
    let node = &trio.head.node;
    node.daemon("writer", ["sh", "-c", "exec 9> /rampool/demo/held; exec sleep 600"]).unwrap();
    node.daemon(
        "stander",
        ["sh", "-c", "cd /rampool/demo; trap '' TERM; while :; do sleep 1; done"],
    )
    .unwrap();
    node.sh(
        "until test -e /rampool/demo/held && readlink /proc/[0-9]*/cwd | grep -qx /rampool/demo; \
             do sleep 0.05; done",
    )
    .unwrap();
    let busy = trio.head.unmount_demo(false).unwrap_err();
    assert_eq!(busy.kind(), FailureKind::Busy, "{busy}");
    assert!(busy.said.contains("/rampool/demo/held") && busy.said.contains("sleep"), "{busy}");
    assert!(busy.said.contains("(cwd)") && busy.said.contains("user root"), "{busy}");
    let forced = trio.head.unmount_demo(true).unwrap();
    assert!(forced.terminated.len() >= 2, "{forced:?}");
    trio.down();
}

fn a_wrong_secret_names_the_donor_and_detaching_cleans_up(trio: &Trio<'_>) {
    let mut exports = trio.exports.clone();
    let chap = exports[1].target.as_mut().unwrap().chap.as_mut().unwrap();
    chap.password = "0000000000000000000000000000000000000000".to_owned();
    let refused = trio.head.attach_to(&exports).unwrap_err();
    assert!(refused.step.contains("n3") && refused.said.contains("24"), "{refused}");
    assert!(!refused.to_string().contains("00000000"), "{refused}");
    assert!(!refused.said.contains("n2"), "{refused}");
    trio.head.detach_demo().unwrap();
    trio.cluster.assert_node_as_at_boot(&trio.head.node);
    // With the right one it works after that.
    trio.up(VolumeLayout::Md, FilesystemKind::Xfs);
    trio.down();
}

fn secrets_are_in_no_log_and_no_file_but_root_s(trio: &Trio<'_>) {
    trio.up(VolumeLayout::Md, FilesystemKind::Xfs);
    let secrets: Vec<_> = trio
        .exports
        .iter()
        .map(|export| export.target.as_ref().unwrap().chap.as_ref().unwrap())
        .flat_map(|chap| [&chap.password, &chap.mutual_password])
        .map(|secret| format!("-e {secret}"))
        .collect();
    let grep = format!("grep -rl {} /etc /run /var /tmp 2>/dev/null || true", secrets.join(" "));
    let files = trio.head.node.sh(&grep).unwrap();
    assert_eq!(files.lines().count(), trio.exports.len(), "{files}");
    for file in files.lines() {
        assert!(file.starts_with("/etc/iscsi/nodes/"), "{file}");
        let mode = trio.head.node.sh(&format!("stat -c %a:%u '{file}'")).unwrap();
        assert_eq!(mode, "600:0", "{file}");
    }
    trio.down();
}

fn after_kill_9_between_steps_a_repeat_converges(trio: &Trio<'_>) {
    type Step = fn(&Agent, &[Export]);
    let steps: [Step; 7] = [
        |head, exports| drop(head.attach_to(exports).unwrap()),
        |head, exports| drop(head.assemble(VolumeLayout::Md, exports).unwrap()),
        |head, _| {
            head.mkfs(FilesystemKind::Xfs, 2).unwrap();
        },
        |head, _| drop(head.mount_at(FilesystemKind::Xfs, POINT).unwrap()),
        |head, _| drop(head.unmount_demo(false).unwrap()),
        |head, _| {
            head.stop().unwrap();
        },
        |head, _| {
            head.detach_demo().unwrap();
        },
    ];
    for step in steps {
        step(&trio.head, &trio.exports);
        trio.cluster.kill_agent("n1");
        let head = trio.cluster.start_agent("n1");
        step(&head, &trio.exports);
    }
    trio.cluster.assert_node_as_at_boot(&trio.head.node);
}

fn a_head_says_beforehand_what_it_lacks(trio: &Trio<'_>) {
    let agent = &trio.head;
    let check = |point: &str, layout: VolumeLayout| {
        agent.check_head(v1::CheckHeadRequest {
            pool: demo(),
            layout: layout.into(),
            filesystem: FilesystemKind::Xfs.into(),
            mount_point: point.to_owned(),
            ..Default::default()
        })
    };
    check("", VolumeLayout::Md).unwrap();
    check(POINT, VolumeLayout::Lvm).unwrap();
    agent
        .node
        .sh("! test -e /rampool; mkdir -p /mnt/full/x /mnt/empty; ln -s /mnt/empty /mnt/link")
        .unwrap();
    check("/mnt/empty", VolumeLayout::Md).unwrap();
    for (point, reason) in [
        ("/mnt/full", "not empty"),
        ("/mnt/link", "symbolic link"),
        ("/mnt/absent", "does not exist"),
        ("relative", "not absolute"),
        ("/proc", "pools are mounted below"),
    ] {
        let refused = check(point, VolumeLayout::Md).unwrap_err();
        assert!(refused.said.contains(reason), "{point}: {refused}");
    }
    agent.node.sh("rm -r /mnt/full /mnt/empty /mnt/link; mv /sbin/mdadm /sbin/kept").unwrap();
    trio.cluster.kill_agent("n1");
    let agent = trio.cluster.start_agent("n1");
    let refused = agent.check_head(v1::CheckHeadRequest {
        pool: demo(),
        layout: VolumeLayout::Md.into(),
        filesystem: FilesystemKind::Xfs.into(),
        ..Default::default()
    });
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), FailureKind::NotNow);
    assert!(refused.program == "mdadm" && refused.advice.contains("apt-get install mdadm"));
    agent.node.sh("mv /sbin/kept /sbin/mdadm").unwrap();
    trio.cluster.kill_agent("n1");
    trio.cluster.start_agent("n1");
}

fn sessions_run_with_the_settings_of_their_records(trio: &Trio<'_>) {
    trio.up(VolumeLayout::Md, FilesystemKind::Xfs);
    let read = |path: &str| trio.head.node.sh(&format!("cat {path} | sort -u")).unwrap();
    let session = "/sys/class/iscsi_session/session*";
    assert_eq!(read(&format!("{session}/initial_r2t")), "0");
    assert_eq!(read(&format!("{session}/immediate_data")), "1");
    assert_eq!(read(&format!("{session}/first_burst_len")), "262144");
    assert_eq!(read(&format!("{session}/max_burst_len")), "1048576");
    assert_eq!(read(&format!("{session}/max_outstanding_r2t")), "16");
    assert_eq!(read(&format!("{session}/recovery_tmo")), "4");
    let connection = "/sys/class/iscsi_connection/connection*";
    assert_eq!(read(&format!("{connection}/max_xmit_dlength")), "262144");
    assert_eq!(read(&format!("{connection}/ping_tmo")), "2");
    assert_eq!(read(&format!("{connection}/header_digest")), "0");
    assert_eq!(read("/sys/class/scsi_disk/*/device/queue_depth"), "128");
    assert_eq!(read("/sys/block/sd*/queue/logical_block_size"), "4096");
    assert!(read("/sys/block/sd*/queue/scheduler").starts_with("[none]"));
    assert_eq!(read("/sys/fs/xfs/md_rp.demo.1/error/metadata/EIO/max_retries"), "0");
    trio.down();
}
