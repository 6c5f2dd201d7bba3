//! Logical volumes: moved from disk to disk in use, whatever dies meanwhile.

use std::time::{Duration, Instant};

use rampool_lab::Node;
use rampool_proto::v1::{FailureKind, FilesystemKind, MemberState, VolumeLayout};

use crate::cases::cases;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::ring::{POINT, Ring, each_with_fresh_exports};

#[test]
fn logical_volumes_are_moved_from_disk_to_disk() {
    let cluster = Cluster::boot("agent-lvm", 6, 640);
    each_with_fresh_exports(
        &cluster,
        cases![
            a_logical_volume_is_moved_under_load_and_kill_9_of_the_agent,
            a_logical_volume_is_stopped_and_put_together_in_the_middle_of_a_move,
            a_logical_volume_whose_new_disk_dies_is_as_it_was,
            a_move_whose_new_disk_was_lost_while_no_agent_looked_is_undone,
            a_logical_volume_is_put_together_without_the_new_disk_of_a_move,
            a_logical_volume_is_moved_though_an_empty_disk_is_gone,
            a_logical_volume_is_put_together_though_an_empty_disk_is_gone,
            an_empty_disk_of_a_logical_volume_leaves_its_group_before_its_session_ends,
        ],
    );
}

fn lvm_up(ring: &Ring<'_>) {
    ring.attach(&ring.exports[..3]);
    ring.head.assemble(VolumeLayout::Lvm, &ring.exports[..3]).unwrap();
    ring.head.mkfs(FilesystemKind::Xfs, 3).unwrap();
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    ring.attach(&ring.exports[3..4]);
}

fn a_logical_volume_is_moved_under_load_and_kill_9_of_the_agent(ring: &Ring<'_>) {
    lvm_up(ring);
    let load = Load::start(&ring.head.node, POINT);
    let slowly = Slowly::on(ring);
    ring.head.begin_to_replace(ring.replacement(1, 3));
    is_moving(ring);
    let health = ring.health();
    assert_eq!(ring.state(&health, 3), MemberState::Rebuilding, "{health:?}");
    ring.cluster.kill_agent("n1");
    // Whoever watched for LVM is gone too.
    ring.head.node.sh("pkill -9 -f pvmov[e] || true").unwrap();
    drop(slowly);
    ring.cluster.start_agent("n1");
    let began = Instant::now();
    ring.replace(1, 3).unwrap();
    eprintln!("a logical volume's disk moved in {:.1} s", began.elapsed().as_secs_f64());
    load.end();
    let health = ring.health();
    assert_eq!((health.lacking, health.members.len(), health.action.as_str()), (0, 3, ""));
    assert_eq!(ring.state(&health, 3), MemberState::InSync, "{health:?}");
    assert_eq!(ring.state(&health, 1), MemberState::Missing, "{health:?}");
    ring.replace(1, 3).unwrap();
    ring.head.detach_donor("n3").unwrap();
    ring.down();
}

fn a_logical_volume_is_stopped_and_put_together_in_the_middle_of_a_move(ring: &Ring<'_>) {
    lvm_up(ring);
    ring.write_a_file();
    let slowly = Slowly::on(ring);
    ring.head.begin_to_replace(ring.replacement(1, 3));
    is_moving(ring);
    ring.head.unmount_demo(false).unwrap();
    ring.head.stop().unwrap();
    drop(slowly);
    let three = &ring.exports[..3];
    ring.head.assemble(VolumeLayout::Lvm, three).unwrap();
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    ring.replace(1, 3).unwrap();
    ring.is_as_written();
    ring.down();
}

/// While it is there, disks are copied so slowly that the middle of a move cannot be missed.
struct Slowly(Node);

impl Slowly {
    fn on(ring: &Ring<'_>) -> Self {
        ring.head.node.sh(&format!("modprobe dm-mirror && echo 1 > {THROTTLE}")).unwrap();
        Self(ring.head.node.clone())
    }
}

impl Drop for Slowly {
    fn drop(&mut self) {
        // A test that failed already shows why.
        let _ = self.0.sh(&format!("echo 100 > {THROTTLE}"));
    }
}

/// The share of time that may go into copying, in percent (drivers/md/dm-raid1.c).
const THROTTLE: &str = "/sys/module/dm_mirror/parameters/raid1_resync_throttle";

fn is_moving(ring: &Ring<'_>) {
    ring.until("moving", Duration::from_secs(60), |health| health.action == "move");
}

/// What LVM itself says of the volume group's disks: each with whether it is missing.
fn group(ring: &Ring<'_>) -> Vec<String> {
    let columns = "pv_used,pv_missing --units m --noheadings --nosuffix";
    let listed =
        ring.head.node.sh(&format!("{LVM} pvs -o {columns} -S vg_name=rp.demo.1")).unwrap();
    listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// LVM by hand. It sees all disks, and keeps no copy of what it wrote.
const LVM: &str = "LVM_SUPPRESS_FD_WARNINGS=1 lvm";

const NO_COPY: &str = "--config 'backup { backup=0 archive=0 }'";

fn a_logical_volume_whose_new_disk_dies_is_as_it_was(ring: &Ring<'_>) {
    lvm_up(ring);
    ring.write_a_file();
    let load = Load::start(&ring.head.node, POINT);
    let slowly = Slowly::on(ring);
    let refused = std::thread::scope(move |scope| {
        let call = scope.spawn(|| ring.replace(1, 3).unwrap_err());
        is_moving(ring);
        ring.cut(3);
        drop(slowly);
        call.join().unwrap()
    });
    assert_eq!(refused.kind(), FailureKind::Failed, "{refused}");
    assert!(refused.said.contains("failed while it was being filled"), "{refused}");
    ring.is_as_written();
    ring.head.detach_donor("n5").unwrap();
    assert_eq!(group(ring).len(), 3);
    ring.attach(&ring.exports[4..]);
    ring.replace(1, 4).unwrap();
    ring.is_as_written();
    load.end();
    ring.down();
    ring.heal(3);
}

fn a_move_whose_new_disk_was_lost_while_no_agent_looked_is_undone(ring: &Ring<'_>) {
    lvm_up(ring);
    ring.write_a_file();
    let slowly = Slowly::on(ring);
    ring.head.begin_to_replace(ring.replacement(1, 3));
    is_moving(ring);
    ring.cut(3);
    drop(slowly);
    ring.cluster.kill_agent("n1");
    ring.head.node.sh("pkill -9 -f pvmov[e] || true").unwrap();
    let until = |what: &str| {
        let file = "$(dirname $(grep -l :demo.1.n5 /sys/class/iscsi_session/*/targetname))/state";
        ring.head.node.sh(&format!("until grep {what} {file}; do sleep 0.05; done")).unwrap();
    };
    until("FREE");
    // The device mapper goes on as if it copied.
    let failed = "until dmsetup status rp.demo.1-pvmove0 | grep ' A[SD] '; do sleep 0.05; done";
    ring.head.node.sh(failed).unwrap();
    ring.heal(3);
    until("LOGGED_IN");
    ring.cluster.start_agent("n1");
    let refused = ring.replace(1, 3).unwrap_err();
    assert!(refused.said.contains("failed while it was being filled"), "{refused}");
    let health = ring.health();
    assert_eq!((health.broken, health.lacking, health.action.as_str()), (false, 0, ""));
    ring.is_as_written();
    // Whoever would count on that disk would do so in vain.
    let refused = ring.replace(1, 3).unwrap_err();
    assert!(refused.said.contains("ran out since it was attached"), "{refused}");
    ring.head.detach_donor("n5").unwrap();
    ring.attach(&ring.exports[3..4]);
    ring.replace(1, 3).unwrap();
    ring.is_as_written();
    assert!(!ring.health().broken);
    ring.down();
}

fn a_logical_volume_is_put_together_without_the_new_disk_of_a_move(ring: &Ring<'_>) {
    lvm_up(ring);
    ring.write_a_file();
    let slowly = Slowly::on(ring);
    ring.head.begin_to_replace(ring.replacement(1, 3));
    is_moving(ring);
    ring.head.unmount_demo(false).unwrap();
    ring.head.stop().unwrap();
    drop(slowly);
    ring.cut(3);
    ring.head.detach_donor("n5").unwrap();
    ring.head.assemble(VolumeLayout::Lvm, &ring.exports[..3]).unwrap();
    assert_eq!(group(ring).len(), 3);
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    ring.is_as_written();
    ring.attach(&ring.exports[4..]);
    ring.replace(1, 4).unwrap();
    ring.is_as_written();
    ring.down();
    ring.heal(3);
}

/// The fourth disk becomes one of the group, as `vgextend` of a move makes it, and no more.
fn with_an_empty_disk(ring: &Ring<'_>) {
    lvm_up(ring);
    ring.write_a_file();
    let find = format!(
        "for d in /sys/block/sd*; do grep -qa {} $d/device/vpd_pg80 && echo ${{d##*/}}; done; true",
        ring.exports[3].serial
    );
    let disk = ring.head.node.sh(&find).unwrap();
    let extend = format!("{LVM} vgextend {NO_COPY} --dataalignment 1m rp.demo.1 /dev/{disk}");
    ring.head.node.sh(&extend).unwrap();
    assert_eq!(group(ring).len(), 4);
}

/// The donor of that disk dies, and the head lets it go.
fn with_an_empty_disk_that_is_gone(ring: &Ring<'_>) {
    with_an_empty_disk(ring);
    ring.cut(3);
    ring.until_session("n5", false);
    ring.head.detach_donor("n5").unwrap();
    assert!(group(ring).contains(&"0 missing".to_owned()), "{:?}", group(ring));
}

fn a_logical_volume_is_moved_though_an_empty_disk_is_gone(ring: &Ring<'_>) {
    with_an_empty_disk_that_is_gone(ring);
    ring.attach(&ring.exports[4..]);
    ring.replace(1, 4).unwrap();
    assert_eq!(group(ring).len(), 3);
    ring.is_as_written();
    ring.down();
    ring.heal(3);
}

fn a_logical_volume_is_put_together_though_an_empty_disk_is_gone(ring: &Ring<'_>) {
    with_an_empty_disk_that_is_gone(ring);
    ring.head.unmount_demo(false).unwrap();
    ring.head.stop().unwrap();
    ring.head.assemble(VolumeLayout::Lvm, &ring.exports[..3]).unwrap();
    assert_eq!(group(ring).len(), 3);
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    ring.is_as_written();
    ring.down();
    ring.heal(3);
}

fn an_empty_disk_of_a_logical_volume_leaves_its_group_before_its_session_ends(ring: &Ring<'_>) {
    with_an_empty_disk(ring);
    ring.head.detach_donor("n5").unwrap();
    assert_eq!(group(ring).len(), 3);
    ring.is_as_written();
    ring.down();
}
