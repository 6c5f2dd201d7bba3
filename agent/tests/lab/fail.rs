//! The end of patience: whoever waits for a silent donor gets an error, and the head comes clean
//! without a reboot.

use std::time::{Duration, Instant};

use rampool_proto::v1::{self, FilesystemKind, HoldingKind, VolumeLayout};

use crate::cases::cases;
use crate::cluster::{Cluster, HEAD, demo};
use crate::patience::{
    a_stripe_whose_head_is_back_in_time_is_whole,
    a_stripe_whose_head_waited_in_vain_is_broken_though_all_is_back,
    an_agent_that_was_not_there_knows_of_patience_that_ran_out,
};
use crate::trio::{POINT, Trio, each_with_fresh_exports};

#[test]
fn failing_a_pool_ends_all_waiting_for_a_silent_donor() {
    let cluster = Cluster::boot("agent-fail", 3, 768);
    each_with_fresh_exports(
        &cluster,
        cases![
            xfs_on_md_fails_at_once,
            ext4_on_lvm_fails_at_once,
            a_bare_device_fails_at_once,
            a_donor_not_yet_known_to_be_silent_is_waited_for_no_longer_than_its_probes,
            unmounting_by_force_waits_for_no_silent_donor,
            a_dead_donor_leaves_with_its_own_session_alone,
            a_stripe_whose_head_waited_in_vain_is_broken_though_all_is_back,
            an_agent_that_was_not_there_knows_of_patience_that_ran_out,
            a_stripe_whose_head_is_back_in_time_is_whole,
        ],
    );
}

/// As long as a user may be left waiting.
const PATIENCE: u32 = 60;

fn attach(trio: &Trio<'_>) {
    trio.head
        .attach(v1::AttachRequest {
            pool: demo(),
            initiator: HEAD.to_owned(),
            exports: trio.exports.clone(),
            patience_seconds: PATIENCE,
            ..Default::default()
        })
        .unwrap();
}

fn up(trio: &Trio<'_>, layout: VolumeLayout, kind: FilesystemKind) {
    attach(trio);
    trio.head.assemble(layout, &trio.exports).unwrap();
    trio.head.mkfs(kind, 2).unwrap();
    trio.head.mount_at(kind, POINT).unwrap();
    let write = "dd if=/dev/zero of=/rampool/demo/r bs=1M count=64 oflag=direct";
    trio.head.node.sh(&format!("{write}; cp /rampool/demo/r /rampool/demo/w; sync")).unwrap();
}

/// A program that uses the pool until it meets an error, and tells of it.
struct User(rampool_lab::exec::process::RemoteProcess);

impl User {
    fn of(trio: &Trio<'_>, copy: &str) -> Self {
        let script = format!("while LC_ALL=C dd {copy} bs=64k; do :; done");
        Self(trio.head.node.command(["sh", "-c", &script]).spawn().unwrap())
    }

    /// Direct I/O that was held back for a disk that then goes tells of the disk (ENODEV).
    fn fails(self) {
        let output = self.0.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let errors = ["Input/output error", "No such device"];
        assert!(errors.iter().any(|error| said.contains(error)), "{said}");
    }
}

fn users_of_files(trio: &Trio<'_>) -> [User; 2] {
    [
        User::of(trio, "if=/rampool/demo/r of=/dev/null iflag=direct"),
        User::of(
            trio,
            "if=/dev/zero of=/rampool/demo/w oflag=direct conv=notrunc,nocreat count=64",
        ),
    ]
}

fn cut(trio: &Trio<'_>) {
    trio.cluster.lab.node("n3").unwrap().cut().unwrap();
}

/// Until the head's session with n3 is in another state than logged in.
fn await_silence(trio: &Trio<'_>) {
    let patience = Instant::now() + Duration::from_secs(20);
    while state_of_n3(trio) == Some("LOGGED_IN".to_owned()) {
        assert!(Instant::now() < patience, "the silent donor is not found out");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn state_of_n3(trio: &Trio<'_>) -> Option<String> {
    let holdings = trio.head.inventory().unwrap().holdings;
    let session = |h: &v1::Holding| h.kind() == HoldingKind::Session && h.donor == "n3";
    holdings.into_iter().find(session).map(|session| session.detail)
}

fn fail(trio: &Trio<'_>) -> v1::FailVolumeResponse {
    trio.head.fail_volume(v1::FailVolumeRequest { pool: demo() }).unwrap()
}

/// Fails the pool once its donor is known to be silent; everybody hears of it within 3 s, and
/// nothing stays.
fn fails_at_once(trio: &Trio<'_>, users: impl IntoIterator<Item = User>) {
    std::thread::sleep(Duration::from_millis(300));
    cut(trio);
    await_silence(trio);
    let began = Instant::now();
    assert!(!fail(trio).already);
    let answered = began.elapsed();
    users.into_iter().for_each(User::fails);
    let took = began.elapsed();
    eprintln!(
        "failed in {:.2} s, users heard after {:.2} s",
        answered.as_secs_f64(),
        took.as_secs_f64()
    );
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(fail(trio).already);
    let began = Instant::now();
    trio.down();
    eprintln!("down in {:.2} s", began.elapsed().as_secs_f64());
    trio.cluster.assert_node_as_at_boot(&trio.head.node);
    give_back(trio);
}

/// The cut donor comes back, and counts the session no longer.
fn give_back(trio: &Trio<'_>) {
    trio.cluster.lab.node("n3").unwrap().heal().unwrap();
    let fence = v1::FenceExportRequest { pool: demo() };
    for donor in &trio.donors {
        donor.fence_export(fence.clone()).unwrap();
    }
}

fn xfs_on_md_fails_at_once(trio: &Trio<'_>) {
    up(trio, VolumeLayout::Md, FilesystemKind::Xfs);
    fails_at_once(trio, users_of_files(trio));
}

fn ext4_on_lvm_fails_at_once(trio: &Trio<'_>) {
    up(trio, VolumeLayout::Lvm, FilesystemKind::Ext4);
    fails_at_once(trio, users_of_files(trio));
}

fn a_bare_device_fails_at_once(trio: &Trio<'_>) {
    attach(trio);
    let volume = trio.head.assemble(VolumeLayout::Md, &trio.exports).unwrap();
    trio.head.mount_at(FilesystemKind::None, "").unwrap();
    let device = volume.device;
    let users = [
        User::of(trio, &format!("if={device} of=/dev/null iflag=direct")),
        User::of(trio, &format!("if=/dev/zero of={device} oflag=direct count=1000")),
    ];
    fails_at_once(trio, users);
}

fn a_donor_not_yet_known_to_be_silent_is_waited_for_no_longer_than_its_probes(trio: &Trio<'_>) {
    up(trio, VolumeLayout::Md, FilesystemKind::Xfs);
    let users = users_of_files(trio);
    std::thread::sleep(Duration::from_millis(300));
    cut(trio);
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    // The mount's root may wait for the donor too: then it says so, and goes on by itself.
    if let Err(failure) = trio.head.fail_volume(v1::FailVolumeRequest { pool: demo() }) {
        eprintln!("{failure}");
    }
    users.into_iter().for_each(User::fails);
    let took = began.elapsed();
    eprintln!("users heard after {:.2} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(13), "{took:?}");
    fail(trio);
    trio.down();
    give_back(trio);
}

fn unmounting_by_force_waits_for_no_silent_donor(trio: &Trio<'_>) {
    up(trio, VolumeLayout::Md, FilesystemKind::Xfs);
    let users = users_of_files(trio);
    std::thread::sleep(Duration::from_millis(300));
    cut(trio);
    let began = Instant::now();
    trio.head.unmount_demo(true).unwrap();
    let took = began.elapsed();
    eprintln!("unmounted by force in {:.2} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(20), "{took:?}");
    drop(users);
    trio.head.stop().unwrap();
    trio.head.detach_demo().unwrap();
    trio.cluster.assert_node_as_at_boot(&trio.head.node);
    give_back(trio);
}

fn a_dead_donor_leaves_with_its_own_session_alone(trio: &Trio<'_>) {
    attach(trio);
    let mut news = trio.head.watch(3600);
    trio.head.next(&mut news).unwrap();
    let began = Instant::now();
    cut(trio);
    // Nobody calls, and watchers hear of it: after two probes, and the second between two looks.
    let state = |heard: &v1::Inventory| {
        let session = heard.holdings.iter().find(|holding| holding.donor == "n3").unwrap();
        session.detail.clone()
    };
    let mut heard = trio.head.next(&mut news).unwrap();
    while state(&heard) == "LOGGED_IN" {
        heard = trio.head.next(&mut news).unwrap();
    }
    let took = began.elapsed();
    eprintln!("watchers heard of a silent donor after {:.2} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(13), "{took:?}");
    assert_eq!(state(&heard), "FAILED");
    let of = |donors: &[&str]| v1::DetachRequest {
        pool: demo(),
        donors: donors.iter().map(ToString::to_string).collect(),
    };
    // What is attached beside a dead donor is not kept waiting by it.
    assert!(!trio.head.detach(of(&["n2"])).unwrap().already);
    assert!(trio.head.detach(of(&["n2"])).unwrap().already);
    assert_eq!(trio.head.holdings().len(), 2, "a session and a record of n3");
    let began = Instant::now();
    let attached = trio.head.attach_to(&trio.exports[..1]).unwrap();
    assert_eq!((attached.disks.len(), attached.already), (1, false));
    assert!(trio.head.attach_to(&trio.exports[..1]).unwrap().already);
    // Nor by the record of one whose session was ended.
    fail(trio);
    assert_eq!(trio.head.holdings().len(), 2, "the records");
    trio.head.attach_to(&trio.exports[..1]).unwrap();
    let took = began.elapsed();
    eprintln!("beside a dead donor: {:.2} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(!trio.head.detach(of(&["n3"])).unwrap().already);
    trio.head.detach_demo().unwrap();
    trio.cluster.assert_node_as_at_boot(&trio.head.node);
    give_back(trio);
}
