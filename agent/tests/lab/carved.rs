//! Memory that outlives its generation: the old head is fenced, and another finds what was there.

use std::time::{Duration, Instant};

use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{self, Backend, Export, FailureKind, FilesystemKind, VolumeLayout};

use crate::cluster::{Agent, Cluster, MIB, assert_as_before, demo, export_request, pool, traces};
use crate::trio::{PIECE, POINT, Trio};

/// The initiator name of the head after the failover.
const SECOND_HEAD: &str = "iqn.2026-11.org.rampool:demo.2.head";

#[test]
fn memory_outlives_its_generation_and_the_old_head_is_fenced() {
    let cluster = Cluster::boot("agent-carved", 4, 768);
    let before = traces(cluster.lab.node("n4").unwrap());
    let trio = Trio::lend(&cluster);
    a_fenced_head_writes_nothing_more_and_another_reads_the_same_for_ever(&trio);
    for donor in &trio.donors {
        let request =
            v1::DestroyExportRequest { pool: pool("demo", 2), carved: 1, ..Default::default() };
        assert_eq!(donor.destroy_export(request.clone()).unwrap().freed_bytes, PIECE * MIB);
        assert!(donor.destroy_export(request).unwrap().already);
    }
    cluster.assert_as_at_boot();
    assert_as_before(cluster.lab.node("n4").unwrap(), &before);
}

fn second_export(donor: &Agent, carved: u32) -> crate::cluster::Answer<Export> {
    donor.create_export(v1::CreateExportRequest {
        pool: pool("demo", 2),
        carved,
        way: Some(Way::HeadInitiator(SECOND_HEAD.to_owned())),
        ..export_request(Backend::RdMcp, PIECE)
    })
}

fn attach_second(head: &Agent, exports: &[Export]) -> v1::AttachResponse {
    head.attach(v1::AttachRequest {
        pool: pool("demo", 2),
        initiator: SECOND_HEAD.to_owned(),
        exports: exports.to_vec(),
        patience_seconds: 8,
        ..Default::default()
    })
    .unwrap()
}

/// The volume and the file system are those of the first generation.
fn the_second_head_has_the_first_ones_files(head: &Agent, exports: &[Export]) {
    head.assemble_volume(v1::AssembleVolumeRequest {
        pool: pool("demo", 2),
        layout: VolumeLayout::Md.into(),
        chunk_kib: 64,
        serials: exports.iter().map(|export| export.serial.clone()).collect(),
        formed: 1,
        ..Default::default()
    })
    .unwrap();
    let mount = |formed| {
        head.mount(v1::MountRequest {
            pool: pool("demo", 2),
            filesystem: FilesystemKind::Xfs.into(),
            mount_point: POINT.to_owned(),
            readme: "This is another text.\n".to_owned(),
            formed,
            ..Default::default()
        })
    };
    let refused = mount(0).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::NotFound, "{refused}");
    assert!(!mount(1).unwrap().already);
    assert!(mount(1).unwrap().already);
    assert_eq!(
        head.node.sh("cat /rampool/demo/f /rampool/demo/README").unwrap(),
        "precious\nThis is memory."
    );
    assert!(head.node.sh("dmesg").unwrap().contains("Starting recovery"), "its log was replayed");
    head.unmount(v1::UnmountRequest { pool: pool("demo", 2), force: false }).unwrap();
    head.stop_volume(v1::StopVolumeRequest { pool: pool("demo", 2) }).unwrap();
    head.detach(v1::DetachRequest { pool: pool("demo", 2), donors: Vec::new() }).unwrap();
}

fn sums(node: &rampool_lab::Node, disks: &[v1::Disk]) -> String {
    let devices: Vec<_> = disks.iter().map(|disk| disk.device.as_str()).collect();
    node.sh(&format!(
        "for d in {}; do dd if=$d bs=1M iflag=direct status=none | md5sum; done",
        devices.join(" ")
    ))
    .unwrap()
}

fn a_fenced_head_writes_nothing_more_and_another_reads_the_same_for_ever(trio: &Trio<'_>) {
    trio.up(VolumeLayout::Md, FilesystemKind::Xfs);
    let old = &trio.head.node;
    old.sh("echo precious > /rampool/demo/f; sync /rampool/demo/f").unwrap();
    let writes = "i=0; while dd if=/dev/urandom of=/rampool/demo/w bs=64k count=16 oflag=direct \
                  conv=notrunc status=none; do i=$((i+1)); echo $i > /tmp/rounds; done; touch /tmp/ended";
    old.daemon("writer", ["sh", "-c", writes]).unwrap();
    old.sh("until test $(cat /tmp/rounds || echo 0) -ge 10; do sleep 0.05; done").unwrap();

    // While the old head has the way out, nobody else gets one.
    let conflict = second_export(&trio.donors[0], 1).unwrap_err();
    assert_eq!(conflict.kind(), FailureKind::Conflict, "{conflict}");
    assert!(conflict.advice.contains("fence demo.1"), "{conflict}");
    let absent = second_export(&trio.donors[0], 2);
    assert!(!absent.unwrap().already, "a piece of its own is no conflict");
    trio.donors[0]
        .destroy_export(v1::DestroyExportRequest { pool: pool("demo", 2), ..Default::default() })
        .unwrap();

    let fence = v1::FenceExportRequest { pool: demo() };
    let began = Instant::now();
    for donor in &trio.donors {
        assert!(!donor.fence_export(fence.clone()).unwrap().already);
    }
    eprintln!("two fences: {:.2} s", began.elapsed().as_secs_f64());
    for donor in &trio.donors {
        assert!(donor.fence_export(fence.clone()).unwrap().already);
        let held = donor.holdings();
        assert!(held.len() == 1 && held[0].ends_with("/rp.demo.1"), "{held:?}");
    }
    let exports: Vec<_> =
        trio.donors.iter().map(|donor| second_export(donor, 1).unwrap()).collect();
    for (new, old) in exports.iter().zip(&trio.exports) {
        assert_eq!((&new.serial, new.bytes, new.carved), (&old.serial, old.bytes, 1));
        let password = |export: &Export| {
            export.target.as_ref().unwrap().chap.as_ref().unwrap().password.clone()
        };
        assert_ne!(password(new), password(old), "secrets are drawn afresh");
    }
    assert!(second_export(&trio.donors[1], 1).unwrap().already);
    let held = trio.donors[1].holdings();
    assert!(held.iter().any(|h| h.ends_with(":demo.2.n3")), "{held:?}");

    // The old head still lives and still has its mount.
    let second = trio.cluster.agent("n4");
    let attached = attach_second(&second, &exports);
    let first = sums(&second.node, &attached.disks);
    let rounds = old.sh("cat /tmp/rounds").unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(sums(&second.node, &attached.disks), first);
    eprintln!(
        "the old head had written {rounds} rounds, and has {}",
        old.sh("cat /tmp/rounds").unwrap()
    );
    the_second_head_has_the_first_ones_files(&second, &exports);

    // The first comes clean, too.
    trio.head.fail_volume(v1::FailVolumeRequest { pool: demo() }).unwrap();
    old.sh("until test -e /tmp/ended; do sleep 0.05; done").unwrap();
    trio.down();
}
