//! Donors and heads that lose power.

use rampool_proto::v1::{self, FailureKind, FilesystemKind, VolumeLayout};

use crate::cases::cases;
use crate::cluster::{Cluster, MIB, demo};
use crate::trio::{PIECE, POINT, Trio, each_with_fresh_exports};

#[test]
fn what_outlives_a_power_cut_is_found_again_or_goes() {
    let cluster = Cluster::boot("agent-power", 3, 768);
    each_with_fresh_exports(
        &cluster,
        cases![
            // Of md the end-to-end suite has the same.
            a_dead_donor_under_lvm_does_not_keep_the_head_from_coming_clean,
            a_dead_heads_exports_are_removed_by_force_alone,
            a_head_that_was_restarted_finds_its_files_on_md_again,
            a_head_that_was_restarted_finds_its_files_on_lvm_again,
        ],
    );
}

fn a_dead_donor_under_lvm_does_not_keep_the_head_from_coming_clean(trio: &Trio<'_>) {
    trio.up(VolumeLayout::Lvm, FilesystemKind::Xfs);
    trio.head.node.sh("dd if=/dev/zero of=/rampool/demo/f bs=1M count=16 oflag=direct").unwrap();
    // At once: the head does not know yet that the donor is silent, and holds I/O for 8 s.
    let n3 = trio.cluster.lab.node("n3").unwrap();
    n3.kill().unwrap();
    trio.head.unmount_demo(true).unwrap();
    trio.head.stop().unwrap();
    trio.head.detach_demo().unwrap();
    trio.cluster.assert_node_as_at_boot(&trio.head.node);
    assert_eq!(trio.donors[0].destroy().unwrap().freed_bytes, PIECE * MIB);
    n3.boot().unwrap();
    trio.cluster.start("n3");
}

fn a_dead_heads_exports_are_removed_by_force_alone(trio: &Trio<'_>) {
    trio.up(VolumeLayout::Md, FilesystemKind::Xfs);
    let n1 = trio.cluster.lab.node("n1").unwrap();
    n1.kill().unwrap();
    for donor in &trio.donors {
        assert_eq!(donor.destroy().unwrap_err().kind(), FailureKind::Busy);
    }
    take_by_force(trio);
    n1.boot().unwrap();
    trio.cluster.start("n1");
}

fn a_head_that_was_restarted_finds_its_files_on_md_again(trio: &Trio<'_>) {
    files_are_found_again(trio, VolumeLayout::Md);
}

fn a_head_that_was_restarted_finds_its_files_on_lvm_again(trio: &Trio<'_>) {
    files_are_found_again(trio, VolumeLayout::Lvm);
}

fn files_are_found_again(trio: &Trio<'_>, layout: VolumeLayout) {
    trio.up(layout, FilesystemKind::Xfs);
    trio.head.node.sh("echo precious > /rampool/demo/f && sync").unwrap();
    let n1 = trio.cluster.lab.node("n1").unwrap();
    n1.kill().unwrap();
    n1.boot().unwrap();
    let head = trio.cluster.start("n1");
    head.attach_to(&trio.exports).unwrap();
    head.assemble(layout, &trio.exports).unwrap();
    assert!(head.mkfs(FilesystemKind::Xfs, 2).unwrap().already, "it was made anew");
    head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    assert_eq!(head.node.sh("cat /rampool/demo/f").unwrap(), "precious");
    head.unmount_demo(false).unwrap();
    head.stop().unwrap();
    head.detach_demo().unwrap();
    // A donor may still count the session that the power cut ended, until it has probed it.
    take_by_force(trio);
}

fn take_by_force(trio: &Trio<'_>) {
    for donor in &trio.donors {
        let request = v1::DestroyExportRequest { pool: demo(), force: true, ..Default::default() };
        assert_eq!(donor.destroy_export(request).unwrap().freed_bytes, PIECE * MIB);
        assert!(donor.holdings().is_empty());
    }
}
