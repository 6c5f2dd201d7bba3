//! A head whose own link is cut, and is back: what its stripe is then.

use std::time::{Duration, Instant};

use rampool_proto::v1::{self, FilesystemKind, VolumeHealth, VolumeLayout};

use crate::cluster::{HEAD, demo};
use crate::trio::{POINT, Trio};

/// Seconds that are over soon.
const SHORT: u32 = 8;

/// Seconds in which a session is open again on a busy machine, too.
const LONG: u32 = 24;

fn up(trio: &Trio<'_>, layout: VolumeLayout, patience_seconds: u32) {
    let attach = v1::AttachRequest {
        pool: demo(),
        initiator: HEAD.to_owned(),
        exports: trio.exports.clone(),
        patience_seconds,
        ..Default::default()
    };
    trio.head.attach(attach).unwrap();
    trio.head.assemble(layout, &trio.exports).unwrap();
    trio.head.mkfs(FilesystemKind::Xfs, 2).unwrap();
    trio.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    write(trio);
    trio.head.node.sh("sync").unwrap();
    assert!(!trio.head.health().broken);
}

fn down(trio: &Trio<'_>) {
    trio.head.unmount_demo(true).unwrap();
    trio.head.stop().unwrap();
    trio.head.detach_demo().unwrap();
    trio.cluster.assert_node_as_at_boot(&trio.head.node);
}

/// The states of the head's sessions and of their disks, asked on the node itself.
fn states(trio: &Trio<'_>) -> Vec<String> {
    let show = "cat /sys/class/iscsi_session/*/state /sys/block/sd*/device/state";
    trio.head.node.sh(show).unwrap().lines().map(str::to_owned).collect()
}

#[track_caller]
fn await_states(trio: &Trio<'_>, session: &str, disk: &str) {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let states = states(trio);
        if states == [session, session, disk, disk] {
            return;
        }
        assert!(Instant::now() < patience, "not {session} and {disk}: {states:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The same blocks each time: while the link is cut, the page cache takes them, and says so.
fn write(trio: &Trio<'_>) {
    let write = "dd if=/dev/urandom of=/rampool/demo/f bs=1M count=8 conv=notrunc 2>&1";
    trio.head.node.sh(&format!("{write}; md5sum /rampool/demo/f > /tmp/sum")).unwrap();
}

/// Cuts the head off, and has something to be written there.
fn cut(trio: &Trio<'_>) {
    trio.head.node.cut().unwrap();
    write(trio);
}

/// Whether the disks have what was written.
fn is_whole(trio: &Trio<'_>) -> bool {
    let check = "sync; echo 3 > /proc/sys/vm/drop_caches; md5sum -c /tmp/sum";
    trio.head.node.exec(["sh", "-c", check]).unwrap().status.success()
}

fn health_when_back(trio: &Trio<'_>) -> VolumeHealth {
    trio.head.node.heal().unwrap();
    await_states(trio, "LOGGED_IN", "running");
    trio.cluster.await_agent("n1").health()
}

fn is_broken(health: &VolumeHealth) {
    assert_eq!((health.broken, health.lacking), (true, 0), "{health:?}");
}

pub(crate) fn a_stripe_whose_head_waited_in_vain_is_broken_though_all_is_back(trio: &Trio<'_>) {
    up(trio, VolumeLayout::Md, SHORT);
    cut(trio);
    await_states(trio, "FAILED", "blocked");
    await_states(trio, "FREE", "transport-offline");
    trio.head.node.sh("sync; true").unwrap();
    is_broken(&health_when_back(trio));
    assert!(!is_whole(trio), "nothing was lost: then what is it called broken for?");
    // What is remembered ends with the sessions.
    down(trio);
    up(trio, VolumeLayout::Md, SHORT);
    down(trio);
}

pub(crate) fn an_agent_that_was_not_there_knows_of_patience_that_ran_out(trio: &Trio<'_>) {
    up(trio, VolumeLayout::Lvm, SHORT);
    trio.cluster.kill_agent("n1");
    cut(trio);
    await_states(trio, "FREE", "transport-offline");
    trio.head.node.sh("sync; true").unwrap();
    trio.head.node.heal().unwrap();
    await_states(trio, "LOGGED_IN", "running");
    is_broken(&trio.cluster.start_agent("n1").health());
    assert!(!is_whole(trio), "nothing was lost: then what is it called broken for?");
    down(trio);
}

pub(crate) fn a_stripe_whose_head_is_back_in_time_is_whole(trio: &Trio<'_>) {
    for layout in [VolumeLayout::Md, VolumeLayout::Lvm] {
        up(trio, layout, LONG);
        cut(trio);
        await_states(trio, "FAILED", "blocked");
        let health = health_when_back(trio);
        assert_eq!((health.broken, health.lacking), (false, 0), "{health:?}");
        assert!(is_whole(trio));
        down(trio);
    }
}
