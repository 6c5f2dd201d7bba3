//! Redundant volumes on real kernels: donors die and come back while data is written and read.

use std::time::{Duration, Instant};

use rampool_proto::v1::{
    self, Export, FailureKind, FilesystemKind, MemberState, Redundancy, VolumeLayout,
};

use crate::cases::cases;
use crate::cluster::{Cluster, MIB, demo};
use crate::load::Load;
use crate::ring::{PIECE, POINT, Ring, assert_borne, each_with_fresh_exports, volume};

#[test]
fn redundant_volumes_outlive_their_donors() {
    let cluster = Cluster::boot("agent-redundancy", 6, 640);
    each_with_fresh_exports(
        &cluster,
        cases![
            a_pair_that_cannot_be_is_refused_beforehand,
            parity_over_three_bears_one_loss,
            double_parity_over_four_bears_two_losses,
            a_mirror_goes_on_without_a_donor_and_takes_another,
            a_donor_that_was_cut_off_resynchronises_by_the_bitmap,
            a_spare_takes_over_by_itself,
        ],
    );
}

fn a_pair_that_cannot_be_is_refused_beforehand(ring: &Ring<'_>) {
    let check = |layout: VolumeLayout, redundancy: Redundancy| {
        ring.head.check_head(v1::CheckHeadRequest {
            pool: demo(),
            layout: layout.into(),
            redundancy: redundancy.into(),
            filesystem: FilesystemKind::Xfs.into(),
            ..Default::default()
        })
    };
    for redundancy in [Redundancy::Mirror, Redundancy::Parity, Redundancy::DoubleParity] {
        check(VolumeLayout::Md, redundancy).unwrap();
        let refused = check(VolumeLayout::Lvm, redundancy).unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Invalid, "{refused}");
        assert!(refused.said.contains("redundancy is md's work"), "{refused}");
    }
    check(VolumeLayout::Lvm, Redundancy::None).unwrap();
    ring.attach(&ring.exports);
    for (redundancy, width) in
        [(Redundancy::Mirror, 1), (Redundancy::Parity, 2), (Redundancy::DoubleParity, 3)]
    {
        let request = volume(redundancy, &ring.exports[..width], &[]);
        let refused = ring.head.assemble_volume(request).unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Invalid, "{refused}");
    }
    ring.head.detach_demo().unwrap();
}

fn parity_over_three_bears_one_loss(ring: &Ring<'_>) {
    ring.up(Redundancy::Parity, 3, 0);
    let health = ring.health();
    assert_eq!((health.redundancy(), health.lacking), (Redundancy::Parity, 0), "{health:?}");
    let donors: Vec<_> = health.members.iter().map(|member| member.donor.as_str()).collect();
    assert_eq!(donors, ["n2", "n3", "n4"]);
    ring.bears(&[1]);
    ring.down();
    ring.heal(1);
}

fn double_parity_over_four_bears_two_losses(ring: &Ring<'_>) {
    ring.up(Redundancy::DoubleParity, 4, 0);
    ring.bears(&[0, 2]);
    ring.down();
    ring.heal(0);
    ring.heal(2);
}

fn a_mirror_goes_on_without_a_donor_and_takes_another(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    let pace = ring.cluster.lab.pace(&["n1"]).unwrap();
    let load = Load::start(&ring.head.node, POINT);
    load.let_it_write();
    ring.cut(1);
    ring.until("degraded", Duration::from_secs(90), |health| health.lacking == 1);
    assert_borne(&pace, load.end());
    assert_eq!(ring.state(&ring.health(), 1), MemberState::Faulty);

    let load = Load::start(&ring.head.node, POINT);
    ring.attach(&ring.exports[4..]);
    let began = Instant::now();
    let seen = ring.replace(1, 4).unwrap();
    eprintln!("a dead mirror member replaced in {:.1} s", began.elapsed().as_secs_f64());
    assert!(seen.iter().all(|step| step.done_bytes <= step.total_bytes), "{seen:?}");
    load.end();
    let health = ring.health();
    assert_eq!((health.lacking, health.members.len()), (0, 4), "{health:?}");
    assert_eq!(ring.state(&health, 4), MemberState::InSync, "{health:?}");
    // The same again joins in what is done.
    ring.replace(1, 4).unwrap();
    ring.down();
    ring.heal(1);
}

fn a_donor_that_was_cut_off_resynchronises_by_the_bitmap(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    let node = &ring.head.node;
    node.sh("dd if=/dev/urandom of=/rampool/demo/before bs=1M count=160 conv=fsync 2>&1").unwrap();
    ring.cut(2);
    node.sh("dd if=/dev/urandom of=/rampool/demo/after bs=1M count=8 conv=fsync 2>&1").unwrap();
    ring.until("degraded", Duration::from_secs(90), |health| health.lacking == 1);
    node.sh("cd /rampool/demo; md5sum before after > /tmp/sums").unwrap();
    let still_out = ring.head.readd_members(readd(&[&ring.exports[2]])).unwrap();
    assert!(still_out.refused[0].contains("its session is not up"), "{still_out:?}");
    let written = sectors_written(ring);
    ring.heal(2);
    ring.until_session("n4", true);
    let back = ring.head.readd_members(readd(&[])).unwrap();
    assert_eq!(back.readded, [ring.exports[2].serial.clone()], "{back:?}");
    ring.until("whole", Duration::from_secs(90), |health| health.lacking == 0);
    let copied = (sectors_written(ring) - written) * 512 / MIB;
    eprintln!("{copied} MiB of {PIECE} copied to a member that was cut off");
    assert!(copied < PIECE / 2, "{copied} MiB");
    assert_eq!(ring.head.readd_members(readd(&[])).unwrap(), v1::ReaddMembersResponse::default());
    // What it holds is right: the other half of its pair goes.
    ring.cut(3);
    node.sh("echo 3 > /proc/sys/vm/drop_caches; cd /rampool/demo; md5sum -c /tmp/sums").unwrap();
    ring.down();
    ring.heal(3);
}

fn readd(exports: &[&Export]) -> v1::ReaddMembersRequest {
    let serials = exports.iter().map(|export| export.serial.clone()).collect();
    v1::ReaddMembersRequest { pool: demo(), serials }
}

/// To the disk of the third donor, as the head counts.
fn sectors_written(ring: &Ring<'_>) -> u64 {
    let serial = &ring.exports[2].serial;
    let count = format!(
        "for d in /sys/block/sd*; do grep -qa {serial} $d/device/vpd_pg80 && cat $d/stat; done; true"
    );
    let stat = ring.head.node.sh(&count).unwrap();
    stat.split_whitespace().nth(6).unwrap().parse().unwrap()
}

fn a_spare_takes_over_by_itself(ring: &Ring<'_>) {
    ring.up(Redundancy::Parity, 3, 1);
    assert_eq!(ring.state(&ring.health(), 3), MemberState::Spare);
    let load = Load::start(&ring.head.node, POINT);
    load.let_it_write();
    ring.cut(0);
    ring.until("whole again", Duration::from_secs(180), |health| {
        health.lacking == 0 && ring.state(health, 3) == MemberState::InSync
    });
    load.end();
    // Who asks for the same joins: the dead member leaves the list.
    ring.replace(0, 3).unwrap();
    let health = ring.health();
    assert_eq!((health.lacking, health.members.len()), (0, 3), "{health:?}");
    ring.down();
    ring.heal(0);
}
