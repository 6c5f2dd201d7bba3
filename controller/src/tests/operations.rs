use std::sync::Arc;

use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::{EventKind, FailureKind, PoolSpec, PoolState, Severity};
use tokio::sync::Notify;

use super::fake_nodes::{Fault, GIB};
use super::rig::{Rig, all, finished, gave_up, spec};

#[tokio::test]
async fn up_makes_the_pool_step_by_step_and_down_takes_it_away() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let events = rig.up(&spec()).await;
    let pool = finished(&events).result.clone().unwrap();
    assert_eq!(pool.state(), PoolState::Ready);
    assert_eq!(pool.id.unwrap().generation, 1);
    assert_eq!(pool.usage.unwrap().bytes_free, GIB);
    assert!(pool.volatile_memory);
    let started: Vec<&str> = events
        .iter()
        .filter(|event| event.kind() == EventKind::Started)
        .map(|event| event.step.as_str())
        .collect();
    assert_eq!(started, ["check", "export", "attach", "assemble", "format", "mount"]);
    assert!(events.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));

    let seen = rig.pools.status("demo").await.unwrap();
    assert_eq!(seen.usage.unwrap().bytes_free, GIB / 2, "asked of the head");
    assert!(seen.donors.iter().all(|donor| donor.state == "ok"), "{:?}", seen.donors);

    let events = rig.down(false).await;
    assert_eq!(finished(&events).result.as_ref().unwrap().state(), PoolState::Released);
    rig.nothing_held();
    let names: Vec<String> = rig.fake.calls().into_iter().map(|(_, call)| call).collect();
    let order = ["Unmount", "StopVolume", "Detach", "DestroyExport"];
    let places = order.map(|call| names.iter().position(|name| name == call).unwrap());
    assert!(places.is_sorted(), "{names:?}");
    assert!(rig.pools.list(|_| true).await.is_empty());
    let history = rig.pools.events("demo").await.unwrap();
    assert!(history.iter().any(|e| e.operation == "up" && e.kind() == EventKind::Finished));
    assert!(history.iter().all(|e| e.kind() != EventKind::Progress && e.result.is_none()));
}

#[tokio::test]
async fn the_same_request_again_is_answered_with_the_pool_another_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    rig.up(&spec()).await;
    let calls = rig.fake.calls().len();
    let events = rig.up(&spec()).await;
    assert!(finished(&events).text.contains("already"));
    assert_eq!(finished(&events).result.as_ref().unwrap().id.as_ref().unwrap().generation, 1);
    assert_eq!(rig.fake.calls().len(), calls, "nothing was done");
    let other = PoolSpec { capacity: Some(Capacity::SizeBytes(2 * GIB)), ..spec() };
    let failure = rig.pools.up(&other).await.map(|_| ()).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::NotNow);
    assert!(failure.said.contains("in use"), "{failure}");
}

#[tokio::test]
async fn impatient_callers_share_one_operation() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let go_on = Arc::new(Notify::new());
    rig.fake.inject("n1", "Attach", Fault::Wait(Arc::clone(&go_on)));
    let first = rig.pools.up(&spec()).await.unwrap();
    rig.fake.until(|fake| fake.calls().iter().any(|(_, call)| call == "Attach")).await;
    let second = rig.pools.up(&spec()).await.unwrap();
    let other = PoolSpec { owner: "bob".into(), ..spec() };
    let refused = rig.pools.up(&other).await.map(|_| ()).unwrap_err();
    assert!(refused.said.contains("`up` of it is under way"), "{refused}");
    go_on.notify_one();
    let (first, second) = (all(first).await, all(second).await);
    assert_eq!(finished(&first).sequence, finished(&second).sequence);
    let no_progress = |events: &[rampool_proto::v1::Event]| {
        let plain = events.iter().filter(|e| e.kind() != EventKind::Progress);
        plain.map(|e| e.sequence).collect::<Vec<_>>()
    };
    assert_eq!(no_progress(&first), no_progress(&second), "who attaches late sees all of it");
}

#[tokio::test]
async fn an_operation_goes_on_when_its_caller_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    drop(rig.pools.up(&spec()).await.unwrap());
    rig.until(PoolState::Ready).await;
    drop(rig.pools.down("demo", false).unwrap());
    rig.until(PoolState::Released).await;
    rig.nothing_held();
}

#[tokio::test]
async fn down_in_the_middle_of_up_cancels_and_undoes_it() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let go_on = Arc::new(Notify::new());
    rig.fake.inject("n1", "AssembleVolume", Fault::Wait(Arc::clone(&go_on)));
    let up = rig.pools.up(&spec()).await.unwrap();
    rig.fake.until(|fake| fake.calls().iter().any(|(_, call)| call == "AssembleVolume")).await;
    let down = rig.pools.down("demo", false).unwrap();
    go_on.notify_one();
    let (up, down) = (all(up).await, all(down).await);
    assert!(gave_up(&up).said.contains("rampool down"), "{}", gave_up(&up));
    assert_eq!(finished(&down).result.as_ref().unwrap().state(), PoolState::Released);
    rig.nothing_held();
}

#[tokio::test]
async fn down_of_a_pool_in_use_changes_nothing_and_names_who_uses_it() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    rig.up(&spec()).await;
    rig.fake.use_mount("n1", true);
    let before = rig.fake.held();
    let events = rig.down(false).await;
    let failure = gave_up(&events);
    assert_eq!(failure.kind(), FailureKind::Busy);
    assert!(failure.said.contains("4711 (vi, ada)"));
    assert_eq!((rig.state().await, rig.fake.held()), (PoolState::Ready, before));
    let events = rig.down(true).await;
    finished(&events);
    assert!(events.iter().any(|event| event.text.contains("terminated 4711 (vi, ada)")));
    rig.nothing_held();
}

#[tokio::test]
async fn down_is_safe_to_repeat_and_an_unknown_pool_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let failure = rig.pools.down("demo", false).map(|_| ()).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::NotFound);
    assert_eq!(rig.pools.status("demo").await.unwrap_err().kind(), FailureKind::NotFound);
    assert_eq!(rig.pools.events("demo").await.unwrap_err().kind(), FailureKind::NotFound);
    rig.up(&spec()).await;
    let (first, second) =
        (rig.pools.down("demo", false).unwrap(), rig.pools.down("demo", true).unwrap());
    let (first, second) = (all(first).await, all(second).await);
    finished(&first);
    finished(&second);
    finished(&rig.down(false).await);
}

#[tokio::test]
async fn a_generation_is_never_given_twice_not_even_after_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    rig.fake.plant_export("n4", "demo.6");
    rig.fake.inject("n1", "Mount", Fault::Refuse(FailureKind::Failed));
    let generation = |events: &[rampool_proto::v1::Event]| {
        events.last().unwrap().pool.as_ref().unwrap().generation
    };
    assert_eq!(generation(&rig.up(&spec()).await), 7, "beyond what a node holds of that name");
    assert_eq!(generation(&rig.up(&spec()).await), 8);
    rig.down(false).await;
    assert_eq!(generation(&rig.up(&spec()).await), 9);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_anything_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    rig.fake.set_memory("n3", GIB / 4);
    let failure = rig.pools.up(&spec()).await.map(|_| ()).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::NotNow);
    assert!(failure.said.contains("n3"), "{failure}");
    assert!(rig.pools.record("demo").is_none());
    assert!(rig.fake.calls().is_empty());
}

#[tokio::test]
async fn memory_promised_to_one_pool_is_not_promised_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let go_on = Arc::new(Notify::new());
    rig.fake.inject("n1", "CheckHead", Fault::Wait(Arc::clone(&go_on)));
    let large = PoolSpec { capacity: Some(Capacity::SizePerDonorBytes(3 * GIB)), ..spec() };
    let first = rig.pools.up(&large).await.unwrap();
    let second = PoolSpec { name: "other".into(), ..large };
    let failure = rig.pools.up(&second).await.map(|_| ()).unwrap_err();
    assert!(failure.said.contains("can lend"), "{failure}");
    go_on.notify_one();
    finished(&all(first).await);
}

#[tokio::test]
async fn plan_asks_the_head_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let placement = rig.pools.plan(&spec()).await.unwrap();
    assert_eq!(placement.pieces.len(), 3);
    assert_eq!(rig.fake.calls(), [("n1".to_owned(), "CheckHead".to_owned())]);
    rig.fake.inject("n1", "CheckHead", Fault::Refuse(FailureKind::NotNow));
    assert_eq!(rig.pools.plan(&spec()).await.unwrap_err().kind(), FailureKind::NotNow);
    assert!(rig.pools.record("demo").is_none());
    rig.nothing_held();
}

#[tokio::test]
async fn status_says_which_donor_lost_its_memory_and_which_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    rig.up(&spec()).await;
    rig.fake.set_alive("n3", false);
    rig.fake.reboot("n2");
    let state_of = async |node: &str| {
        let pool = rig.pools.status("demo").await.unwrap();
        pool.donors.into_iter().find(|donor| donor.node == node).unwrap().state
    };
    for (node, state) in [("n2", "lost its memory"), ("n3", "unreachable"), ("n4", "ok")] {
        while state_of(node).await != state {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    let remarks = rig.pools.status("demo").await.unwrap().remarks.join("\n");
    assert!(remarks.contains("volatile") && remarks.contains("n2 lost its memory"), "{remarks}");
    finished_eventually(&rig).await;
}

/// The rebooted donor has nothing to free, the silent one must answer first.
async fn finished_eventually(rig: &Rig) {
    let events = rig.down(false).await;
    assert_eq!(gave_up(&events).node, "n3");
    rig.fake.set_alive("n3", true);
    rig.until(PoolState::Released).await;
    rig.nothing_held();
}

#[tokio::test]
async fn leftovers_of_the_released_are_removed_and_strangers_are_kept_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    rig.up(&spec()).await;
    rig.down(false).await;
    rig.fake.plant_export("n2", "demo.1");
    rig.fake.plant_export("n3", "stranger.4");
    rig.fake.until(|fake| !fake.held().contains("n2 demo.1")).await;
    assert!(rig.fake.held().contains("n3 stranger.4"));
    let node = rig.nodes.get("n3").unwrap();
    let findings = crate::doctor::examine(&node, |assembly| rig.pools.is_known(assembly));
    assert!(
        findings
            .iter()
            .any(|f| { f.severity() == Severity::Warning && f.text.contains("stranger.4") })
    );
    while !rig
        .pools
        .events("demo")
        .await
        .unwrap()
        .iter()
        .any(|e| e.text.contains("removed what was left"))
    {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_pool_released_long_since_is_forgotten_but_for_its_generation() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    rig.up(&spec()).await;
    rig.pools.forget_released_before(u64::MAX).await;
    assert_eq!(rig.state().await, PoolState::Ready, "what is in use is not forgotten");
    rig.down(false).await;
    rig.pools.forget_released_before(u64::MAX).await;
    assert!(rig.pools.status("demo").await.is_err());
    let events = rig.up(&spec()).await;
    assert_eq!(finished(&events).pool.as_ref().unwrap().generation, 2);
}

#[tokio::test]
async fn two_pools_on_one_head_do_not_share_a_mount_point() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    rig.up(&spec()).await;
    let second = PoolSpec { name: "other".into(), mount_point: "/rampool/demo/".into(), ..spec() };
    let failure = rig.pools.up(&second).await.map(|_| ()).unwrap_err();
    assert!(failure.said.contains("the mount point of demo.1"), "{failure}");
}

#[tokio::test]
async fn a_fault_of_the_controllers_own_is_settled_as_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    rig.fake.inject("n1", "AssembleVolume", Fault::Panic);
    let events = rig.up(&spec()).await;
    assert!(gave_up(&events).said.contains("a fault in the controller"));
    rig.until(PoolState::Released).await;
    rig.nothing_held();
    finished(&rig.up(&spec()).await);
}

#[tokio::test]
async fn insisting_while_a_down_hangs_ends_the_wait_for_the_users_of_the_mount() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    rig.up(&spec()).await;
    let go_on = Arc::new(Notify::new());
    rig.fake.inject("n1", "Unmount", Fault::Wait(Arc::clone(&go_on)));
    rig.fake.use_mount("n1", true);
    let plain = rig.pools.down("demo", false).unwrap();
    rig.fake.until(|fake| fake.calls().iter().any(|(_, call)| call == "Unmount")).await;
    let insisting = rig.pools.down("demo", true).unwrap();
    go_on.notify_one();
    let (_, insisting) = (all(plain).await, all(insisting).await);
    finished(&insisting);
    rig.nothing_held();
}
