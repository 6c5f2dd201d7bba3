//! Redundant volumes that are stopped, or lose their head, and are put together again from what
//! is left of them.

use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{self, Backend, Export, FailureKind, FilesystemKind, Redundancy};

use crate::cases::cases;
use crate::cluster::{Cluster, MIB, export_request};
use crate::ring::{PIECE, POINT, Ring, each_with_fresh_exports, volume};

#[test]
fn redundant_volumes_are_put_together_again() {
    let cluster = Cluster::boot("agent-reassembly", 6, 640);
    each_with_fresh_exports(
        &cluster,
        cases![
            parity_groups_each_bear_a_loss,
            a_redundant_volume_is_put_together_again_without_a_member,
            a_volume_whose_head_was_lost_just_after_a_copy_takes_the_new_disk_for_the_old,
            parity_that_was_written_to_is_not_forced_without_a_member,
        ],
    );
}

fn parity_groups_each_bear_a_loss(ring: &Ring<'_>) {
    // The head lends the sixth piece itself.
    let own = v1::CreateExportRequest {
        way: Some(Way::Local(v1::LocalWay {})),
        ..export_request(Backend::RdMcp, PIECE)
    };
    let own = ring.head.create_export(own).unwrap();
    let mut exports = ring.exports.clone();
    exports.push(own);
    ring.attach(&exports);
    let grouped = |exports: &[Export]| v1::AssembleVolumeRequest {
        group_width: 3,
        ..volume(Redundancy::Parity, exports, &[])
    };
    let made = ring.head.assemble_volume(grouped(&exports)).unwrap();
    assert!(made.bytes > 4 * (PIECE - 3) * MIB, "{made:?}");
    assert!(ring.head.assemble_volume(grouped(&exports)).unwrap().already);
    ring.head.mkfs(FilesystemKind::Xfs, 4).unwrap();
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    let health = ring.health();
    let donors: Vec<_> = health.members.iter().map(|member| member.donor.as_str()).collect();
    assert_eq!(donors, ["n2", "n3", "n4", "n5", "n6", "n1"]);
    ring.bears(&[1, 4]);
    ring.head.node.sh("cd /rampool/demo; md5sum $PWD/load > /tmp/sum").unwrap();
    ring.down();
    // Put together again from what is left of each group.
    let left: Vec<_> = [0, 2, 3, 5].map(|index| exports[index].clone()).into();
    ring.attach(&left);
    let formed = v1::AssembleVolumeRequest { formed: 1, ..grouped(&left) };
    ring.head.assemble_volume(formed).unwrap();
    assert_eq!(ring.health().lacking, 2);
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    ring.head.node.sh("md5sum -c /tmp/sum").unwrap();
    // A place is filled again, in the group that lacks it.
    ring.heal(4);
    ring.attach(&exports[4..5]);
    ring.replace(1, 4).unwrap();
    assert_eq!(ring.health().lacking, 1);
    ring.head.node.sh("echo 3 > /proc/sys/vm/drop_caches; md5sum -c /tmp/sum").unwrap();
    ring.down();
    ring.heal(1);
    ring.head.destroy().unwrap();
}

fn a_redundant_volume_is_put_together_again_without_a_member(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    ring.write_a_file();
    ring.down();
    let formed = |exports: &[Export]| v1::AssembleVolumeRequest {
        formed: 1,
        ..volume(Redundancy::Mirror, exports, &[])
    };
    let [one, two, three, four, five] = [0, 1, 2, 3, 4].map(|index| ring.exports[index].clone());
    // A whole pair is missing.
    ring.attach(&[one.clone(), two]);
    ring.head.assemble_volume(formed(&[one.clone(), ring.exports[1].clone()])).unwrap_err();
    assert!(!ring.head.holdings().iter().any(|held| held.contains("VOLUME")));
    // A disk that never belonged to it is not taken for one, and not cleared.
    ring.attach(&[three.clone(), four, five.clone()]);
    let refused = ring.head.assemble_volume(formed(&[one.clone(), three.clone(), five]));
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Conflict, "{refused}");
    assert!(refused.said.contains("carries no array, not \"rp.demo.1\""), "{refused}");
    // Nor is it made anew while one of its members is there.
    let anew = volume(Redundancy::Mirror, &[one.clone(), ring.exports[4].clone()], &[]);
    let refused = ring.head.assemble_volume(anew).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Conflict, "{refused}");
    // One of each pair will do.
    ring.head.assemble_volume(formed(&[one.clone(), three.clone()])).unwrap();
    assert!(ring.head.assemble_volume(formed(&[one, three])).unwrap().already);
    assert_eq!(ring.health().lacking, 2);
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    ring.is_as_written();
    ring.down();
}

/// The old disk carries nothing any more: whoever asks does not know that the copy ended.
fn a_volume_whose_head_was_lost_just_after_a_copy_takes_the_new_disk_for_the_old(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    ring.write_a_file();
    ring.attach(&ring.exports[4..5]);
    ring.replace(0, 4).unwrap();
    ring.down();
    ring.attach(&ring.exports[..5]);
    let formed = v1::AssembleVolumeRequest {
        formed: 1,
        replacing: Some(ring.replacement(0, 4)),
        ..volume(Redundancy::Mirror, &ring.exports[..4], &[])
    };
    ring.head.assemble_volume(formed.clone()).unwrap();
    assert!(ring.head.assemble_volume(formed).unwrap().already);
    assert_eq!(ring.health().lacking, 0);
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    ring.is_as_written();
    ring.down();
}

fn parity_that_was_written_to_is_not_forced_without_a_member(ring: &Ring<'_>) {
    ring.up(Redundancy::Parity, 3, 0);
    let n1 = ring.cluster.lab.node("n1").unwrap();
    let fio = ["fio", "--name=f", "--filename=/rampool/demo/f", "--size=32M", "--rw=randwrite"];
    let on = ["--bs=16k", "--direct=1", "--time_based", "--runtime=60"];
    n1.daemon("writer", fio.into_iter().chain(on)).unwrap();
    let state = "/sys/block/md_rp.demo.1/md/array_state";
    n1.sh(&format!("until test -s {POINT}/f && grep -qx active {state}; do :; done")).unwrap();
    n1.kill().unwrap();
    n1.boot().unwrap();
    // Another client: the first one's connection ended with the node.
    let (cluster, head) = (ring.cluster, ring.cluster.start("n1"));
    let ring = &Ring { cluster, head, donors: Vec::new(), exports: ring.exports.clone() };
    let head = &ring.head;
    let two = &ring.exports[..2];
    ring.attach(two);
    let formed = v1::AssembleVolumeRequest { formed: 1, ..volume(Redundancy::Parity, two, &[]) };
    let refused = head.assemble_volume(formed).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Failed, "{refused}");
    assert!(refused.said.contains("acknowledged data may be inconsistent"), "{refused}");
    assert!(!head.holdings().iter().any(|held| held.contains("VOLUME")));
    // With all its members it starts, and repairs its parity.
    ring.attach(&ring.exports[..3]);
    let whole = volume(Redundancy::Parity, &ring.exports[..3], &[]);
    head.assemble_volume(v1::AssembleVolumeRequest { formed: 1, ..whole }).unwrap();
    head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    ring.down();
}
