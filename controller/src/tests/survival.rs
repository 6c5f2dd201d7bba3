//! Pools that survive: pieces move, heads follow each other, lost pools let their users go.

use std::sync::Arc;
use std::time::Duration;

use rampool_proto::v1::{
    CreateExportRequest, DestroyExportRequest, DetachRequest, Event, FailureKind, PoolId, PoolSpec,
    PoolState, Redundancy, VolumeLayout,
};
use tokio::sync::Notify;

use super::fake_nodes::{FakeNodes, Fault};
use super::rig::{Rig, all, finished, gave_up, killed_at, spec};
use crate::agents::Call;
use crate::pool::health;

const SIX: [&str; 6] = ["n1", "n2", "n3", "n4", "n5", "n6"];

/// Of n2 to n4, on n1: a stripe whose pieces can be moved.
fn movable() -> PoolSpec {
    PoolSpec { layout: VolumeLayout::Lvm.into(), ..spec() }
}

/// Of n2 to n5, on n1.
fn mirror() -> PoolSpec {
    PoolSpec {
        donors: "n[2-5]".into(),
        redundancy: Redundancy::Mirror.into(),
        auto_replace: Some(false),
        spares: Some(0),
        ..spec()
    }
}

async fn replace(rig: &Rig, old: &str, new: &str) -> Vec<Event> {
    all(rig.pools.replace("demo", old, new).await.unwrap()).await
}

async fn failover(rig: &Rig, head: &str) -> Vec<Event> {
    all(rig.pools.failover("demo", head, false).await.unwrap()).await
}

async fn until(so: impl Fn() -> bool, what: &str) {
    let looking = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looking)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

fn donors(rig: &Rig) -> Vec<String> {
    let record = rig.pools.record("demo").unwrap();
    record.placement.pieces.iter().map(|piece| piece.donor.clone()).collect()
}

#[tokio::test]
async fn a_piece_moves_while_the_pool_is_in_use_and_the_old_memory_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&movable()).await);
    finished(&replace(&rig, "n2", "n5").await);
    assert_eq!(donors(&rig), ["n5", "n3", "n4"]);
    assert!(rig.fake.lends("n2").is_empty() && !rig.fake.lends("n5").is_empty());
    assert!(rig.pools.record("demo").unwrap().debts.is_empty());
    assert_eq!(rig.fake.writers(), ["n1 demo.1"]);
    let calls = rig.fake.calls().len();
    assert!(finished(&replace(&rig, "n2", "n5").await).text.contains("already"));
    assert_eq!(rig.fake.calls().len(), calls, "nothing was done");
    finished(&rig.down(false).await);
    rig.nothing_held();
}

#[tokio::test]
async fn what_cannot_be_moved_is_refused_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&spec()).await);
    let failure = rig.pools.replace("demo", "n2", "n5").await.map(drop).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Invalid, "{failure}");
    let failure = rig.pools.evacuate("n2").map(drop).unwrap_err();
    assert!(failure.said.contains("nothing was moved: demo"), "{failure}");
    finished(&all(rig.pools.evacuate("n6").unwrap()).await);
}

#[tokio::test]
async fn an_evacuated_node_lends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&movable()).await);
    finished(&all(rig.pools.evacuate("n3").unwrap()).await);
    assert!(rig.fake.lends("n3").is_empty());
    assert_eq!(rig.fake.writers(), ["n1 demo.1"]);
}

#[tokio::test]
async fn an_evacuated_spare_is_given_up_and_its_pool_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&PoolSpec { donors: "n[2-6]".into(), spares: Some(1), ..mirror() }).await);
    let spare = rig.pools.record("demo").unwrap().placement.spares[0].donor.clone();
    let (before, first) = (donors(&rig), rig.fake.calls().len());
    let last = finished(&all(rig.pools.evacuate(&spare).unwrap()).await).text.clone();
    assert_eq!(last, format!("{spare} lends nothing any more: 0 moved, 1 spares given up"));
    let record = rig.pools.record("demo").unwrap();
    assert_eq!((donors(&rig), record.placement.spares.len()), (before, 0));
    until(|| rig.fake.lends(&spare).is_empty(), "the spare's memory is not given back").await;
    let calls = rig.fake.calls();
    let of_head = calls[first..].iter().find(|(node, _)| node == "n1").unwrap();
    assert_eq!(of_head.1, "Detach", "{calls:?}");
    finished(&rig.down(false).await);
    rig.nothing_held();
}

#[tokio::test]
async fn a_spare_whose_donor_was_booted_anew_is_given_up_and_its_donor_is_free_again() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&PoolSpec { donors: "n[2-6]".into(), spares: Some(1), ..mended() }).await);
    assert_eq!(rig.pools.record("demo").unwrap().placement.spares[0].donor, "n6");
    rig.fake.reboot("n6");
    let spares = || rig.pools.record("demo").unwrap().placement.spares.len();
    until(|| spares() == 0, "the pool believes that it has a spare").await;
    until(|| rig.pools.record("demo").unwrap().debts.is_empty(), "its memory is owed").await;
    let told = rig.pools.events("demo").await.unwrap();
    let why = "the spare of n6 is lost (the node was booted anew): the pool does without it";
    assert!(told.iter().any(|event| event.text == why), "{told:?}");
    let remarks = rig.pools.status("demo").await.unwrap().remarks.join("\n");
    assert!(remarks.contains("0 of 1 spares left"), "{remarks}");
    rig.fake.reboot("n3");
    until(|| donors(&rig) == ["n2", "n6", "n4", "n5"], "nobody takes its place").await;
    assert_eq!(rig.fake.lends("n6"), ["demo.1 of demo.2".to_owned()].into());
    finished(&rig.down(false).await);
    rig.nothing_held();
}

#[tokio::test]
async fn a_lost_spare_takes_nobodys_place() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&PoolSpec { donors: "n[2-6]".into(), spares: Some(1), ..mended() }).await);
    rig.fake.reboot("n6");
    rig.fake.reboot("n3");
    until(|| carved(&rig, 1) == 2, "nobody takes its place").await;
    rig.until(PoolState::Ready).await;
    assert!(rig.pools.record("demo").unwrap().placement.spares.is_empty());
    assert_eq!(rig.fake.writers(), ["n1 demo.1"]);
    finished(&rig.down(false).await);
    rig.nothing_held();
}

#[tokio::test]
async fn whatever_is_refused_in_a_replace_the_pool_is_as_before() {
    for (node, call) in [("n5", "CreateExport"), ("n1", "Attach"), ("n1", "ReplaceMember")] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
        finished(&rig.up(&movable()).await);
        let before = rig.fake.held();
        rig.fake.inject(node, call, Fault::Refuse(FailureKind::Failed));
        let events = replace(&rig, "n2", "n5").await;
        assert_eq!(gave_up(&events).said, "injected", "{call}");
        assert_eq!((rig.state().await, rig.fake.held()), (PoolState::Ready, before), "{call}");
        assert_eq!(donors(&rig), ["n2", "n3", "n4"], "{call}");
    }
}

#[tokio::test]
async fn another_operation_is_refused_by_name_and_the_same_one_joined() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&movable()).await);
    let go_on = Arc::new(Notify::new());
    rig.fake.inject("n1", "ReplaceMember", Fault::Wait(Arc::clone(&go_on)));
    let first = rig.pools.replace("demo", "n2", "n5").await.unwrap();
    rig.fake.until(|fake| fake.calls().iter().any(|(_, call)| call == "ReplaceMember")).await;
    let second = rig.pools.replace("demo", "n2", "").await.unwrap();
    let waiting = rig.pools.wait("demo").await.unwrap();
    let refused = rig.pools.replace("demo", "n3", "").await.map(drop).unwrap_err();
    assert!(refused.said.contains("`replace` of demo is under way"), "{refused}");
    let refused = rig.pools.failover("demo", "n6", false).await.map(drop).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::NotNow);
    go_on.notify_one();
    let (first, second, waiting) = (all(first).await, all(second).await, all(waiting).await);
    assert_eq!(finished(&first).sequence, finished(&second).sequence);
    assert_eq!(finished(&first).sequence, finished(&waiting).sequence);
    let after = all(rig.pools.wait("demo").await.unwrap()).await;
    assert!(finished(&after).text.contains("mounted"));
}

#[tokio::test]
async fn down_in_the_middle_of_a_replace_frees_old_and_new() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&movable()).await);
    rig.fake.inject("n1", "ReplaceMember", Fault::Wait(Arc::new(Notify::new())));
    let moving = rig.pools.replace("demo", "n2", "n5").await.unwrap();
    rig.fake.until(|fake| fake.calls().iter().any(|(_, call)| call == "ReplaceMember")).await;
    finished(&rig.down(false).await);
    assert!(gave_up(&all(moving).await).said.contains("rampool down"));
    rig.nothing_held();
}

#[tokio::test]
async fn a_pool_follows_to_another_head_and_the_old_one_gives_all_back_when_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&mirror()).await);
    rig.fake.set_alive("n1", false);
    finished(&failover(&rig, "n6").await);
    assert_eq!(rig.fake.writers(), ["n6 demo.2"]);
    assert_eq!(rig.fake.lends("n2"), ["demo.2 of demo.1".to_owned()].into());
    assert!(finished(&failover(&rig, "n6").await).text.contains("already"));
    assert!(rig.fake.held().contains("n1 demo.1"), "it does not answer yet");
    rig.fake.set_alive("n1", true);
    until(|| !rig.fake.held().contains("n1 demo.1"), "the old head keeps its part").await;
    until(|| rig.pools.record("demo").unwrap().debts.is_empty(), "the debt stands").await;
    finished(&rig.down(false).await);
    rig.nothing_held();
}

#[tokio::test]
async fn a_failed_pool_comes_up_elsewhere_but_on_a_drained_node_only_by_force() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&mirror()).await);
    finished(&all(rig.pools.fail("demo").await.unwrap()).await);
    let refused = rig.pools.failover("demo", "n1", false).await.map(drop).unwrap_err();
    assert_eq!(refused.said, "n1 still has the volume of demo.1 that does not work");
    rig.pools.drain(&["n6".to_owned()], Some("new disk")).await.unwrap();
    let refused = rig.pools.failover("demo", "n6", false).await.map(drop).unwrap_err();
    assert_eq!(refused.said, "head n6 is drained: new disk");
    assert!(refused.advice.contains("resume n6") && refused.advice.contains("--force"));
    finished(&all(rig.pools.failover("demo", "n6", true).await.unwrap()).await);
    assert_eq!(rig.fake.writers(), ["n6 demo.2"]);
    finished(&all(rig.pools.fail("demo").await.unwrap()).await);
    finished(&failover(&rig, "n1").await);
    assert_eq!(rig.fake.writers(), ["n1 demo.3"]);
    finished(&rig.down(false).await);
    rig.nothing_held();
}

#[tokio::test]
async fn a_split_through_the_mirror_is_refused_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&mirror()).await);
    let before = rig.fake.held();
    for node in ["n1", "n2", "n4"] {
        rig.fake.set_alive(node, false);
    }
    let unreachable = |node: &str| !rig.nodes.get(node).unwrap().reachable();
    until(|| unreachable("n2") && unreachable("n4"), "they seem to answer").await;
    let refused = rig.pools.failover("demo", "n6", false).await.map(drop).unwrap_err();
    assert!(refused.said.contains("n2, n4") && refused.said.contains("both heads"), "{refused}");
    assert_eq!((rig.fake.held(), rig.fake.writers()), (before, vec!["n1 demo.1".to_owned()]));
    // One side of a pair is enough, and the one left out owes its memory.
    rig.fake.set_alive("n2", true);
    until(|| !unreachable("n2"), "it does not come back").await;
    finished(&failover(&rig, "n6").await);
    assert_eq!(rig.fake.writers(), ["n6 demo.2"]);
    assert_eq!(rig.pools.record("demo").unwrap().lacking, [2].into());
    rig.fake.set_alive("n4", true);
    until(|| rig.fake.lends("n4").is_empty(), "who did not confirm is not wiped").await;
}

/// Of n2 and n3, on n1.
fn pair() -> PoolSpec {
    PoolSpec { donors: "n[2-3]".into(), ..mirror() }
}

/// One of the pair was booted anew, then its head is lost.
async fn lose_one_then_the_head(rig: &Rig) {
    finished(&rig.up(&pair()).await);
    rig.fake.reboot("n2");
    rig.until(PoolState::Degraded).await;
    let volume = || {
        let record = rig.pools.record("demo").unwrap();
        health::volume(&record, rig.nodes.get("n1").as_ref()).unwrap()
    };
    until(|| volume().lacking == 1, "the head does not say so").await;
    rig.fake.set_alive("n1", false);
    until(|| !rig.nodes.get("n1").unwrap().reachable(), "it seems to answer").await;
}

#[tokio::test]
async fn a_donor_that_was_booted_anew_does_not_keep_the_other_from_another_head() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    lose_one_then_the_head(&rig).await;
    finished(&failover(&rig, "n6").await);
    assert_eq!(rig.fake.writers(), ["n6 demo.2"]);
    // What was still on its way to it for the old head is refused.
    let pool = Some(PoolId { name: "demo".into(), generation: 1 });
    let late = CreateExportRequest { pool, bytes: 1, ..Default::default() };
    let refused = rig.fake.carry_out("n2", &Call::CreateExport(late)).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Conflict, "{refused}");
    finished(&replace(&rig, "n2", "n2").await);
    assert_eq!(rig.fake.lends("n2"), ["demo.2 of demo.3".to_owned()].into());
    rig.fake.set_alive("n1", true);
    until(|| rig.pools.record("demo").unwrap().debts.is_empty(), "the debt stands").await;
    finished(&rig.down(false).await);
    rig.nothing_held();
}

#[tokio::test]
async fn whether_the_other_of_a_pair_has_all_is_not_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let first = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    lose_one_then_the_head(&first).await;
    let fake = Arc::clone(&first.fake);
    drop(first);
    // It never heard of that head.
    let rig = Rig::start_again(folder.path(), &fake).await;
    until(|| rig.nodes.get("n2").unwrap().reachable(), "n2 does not answer").await;
    until(|| rig.nodes.get("n3").unwrap().reachable(), "n3 does not answer").await;
    until(|| rig.nodes.get("n6").unwrap().reachable(), "n6 does not answer").await;
    let refused = rig.pools.failover("demo", "n6", false).await.map(drop).unwrap_err();
    assert!(refused.said.contains("n2 lost what they had"), "{refused}");
    assert!(refused.advice.contains("--force"), "{refused}");
    assert_eq!(rig.pools.record("demo").unwrap().assembly.generation, 1);
    finished(&all(rig.pools.failover("demo", "n6", true).await.unwrap()).await);
    assert_eq!(rig.fake.writers(), ["n6 demo.2"]);
}

#[tokio::test]
async fn a_failed_pool_whose_donor_falls_silent_on_the_way_waits_for_it() {
    for (call, node) in [("FenceExport", "n3"), ("CreateExport", "n3")] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
        finished(&rig.up(&mirror()).await);
        finished(&all(rig.pools.fail("demo").await.unwrap()).await);
        rig.fake.inject(node, call, Fault::Die);
        let events = failover(&rig, "n6").await;
        assert!(gave_up(&events).said.contains("may lack acknowledged data"), "{call}");
        assert_eq!(rig.state().await, PoolState::FailingOver, "{call}");
        rig.fake.set_alive(node, true);
        rig.until(PoolState::Ready).await;
        assert!(rig.pools.record("demo").unwrap().lacking.is_empty(), "{call}");
        finished(&rig.down(true).await);
        rig.nothing_held();
    }
}

#[tokio::test]
async fn a_failed_pool_lets_its_users_go_and_down_frees_it() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&spec()).await);
    finished(&all(rig.pools.fail("demo").await.unwrap()).await);
    assert_eq!(rig.state().await, PoolState::Failed);
    assert!(rig.fake.writers().is_empty());
    assert!(finished(&all(rig.pools.fail("demo").await.unwrap()).await).text.contains("already"));
    gave_up(&all(rig.pools.wait("demo").await.unwrap()).await);
    finished(&rig.down(false).await);
    rig.nothing_held();
}

#[tokio::test]
async fn a_stripe_whose_donor_lost_its_memory_fails_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&spec()).await);
    rig.fake.reboot("n3");
    rig.until(PoolState::Failed).await;
    until(|| rig.fake.calls().iter().any(|(_, call)| call == "FailVolume"), "nobody is told").await;
    finished(&rig.down(false).await);
    rig.nothing_held();
}

#[tokio::test]
async fn a_mirror_replaces_a_donor_that_lost_its_memory_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&SIX));
    finished(&rig.up(&PoolSpec { auto_replace: Some(true), ..mirror() }).await);
    rig.fake.reboot("n3");
    until(|| donors(&rig) == ["n2", "n6", "n4", "n5"], "nobody takes its place").await;
    assert_eq!(rig.fake.writers(), ["n1 demo.1"]);
    finished(&rig.down(false).await);
    rig.nothing_held();
}

const FIVE: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

/// As many nodes as the pool needs, and no more.
fn mended() -> PoolSpec {
    PoolSpec { auto_replace: Some(true), ..mirror() }
}

/// The generation under which a place's memory was taken.
fn carved(rig: &Rig, place: usize) -> u32 {
    rig.pools.record("demo").unwrap().placement.pieces[place].carved
}

#[tokio::test]
async fn a_donor_that_lost_its_memory_takes_its_own_place_where_nobody_else_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&FIVE));
    finished(&rig.up(&mended()).await);
    for (donor, place, number) in [("n3", 1, 2), ("n2", 0, 3), ("n3", 1, 4)] {
        rig.fake.reboot(donor);
        until(|| carved(&rig, place) == number, "it does not begin anew").await;
        rig.until(PoolState::Ready).await;
        assert_eq!(donors(&rig), ["n2", "n3", "n4", "n5"]);
        assert_eq!(rig.fake.lends(donor), [format!("demo.1 of demo.{number}")].into());
        let record = rig.pools.record("demo").unwrap();
        assert!(record.lacking.is_empty() && record.debts.is_empty(), "{record:?}");
    }
    assert_eq!(rig.fake.writers(), ["n1 demo.1"]);
    // A change of heads finds the new memory under its number, and goes on counting.
    finished(&failover(&rig, "n2").await);
    assert_eq!(rig.fake.writers(), ["n2 demo.5"]);
    assert_eq!(rig.fake.lends("n3"), ["demo.5 of demo.4".to_owned()].into());
    finished(&rig.down(false).await);
    rig.nothing_held();
    finished(&rig.up(&mended()).await);
    assert_eq!(rig.fake.writers(), ["n1 demo.6"], "no number is given twice");
}

#[tokio::test]
async fn a_donor_begins_anew_where_a_person_says_so_and_not_while_it_has_its_memory() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&FIVE));
    finished(&rig.up(&mirror()).await);
    for new in ["", "n3"] {
        let refused = rig.pools.replace("demo", "n3", new).await.map(drop).unwrap_err();
        assert_eq!(refused.kind(), FailureKind::NotNow, "{refused}");
    }
    rig.fake.reboot("n3");
    rig.until(PoolState::Degraded).await;
    finished(&replace(&rig, "n3", "n3").await);
    assert_eq!((rig.state().await, carved(&rig, 1)), (PoolState::Ready, 2));
}

#[tokio::test]
async fn what_an_earlier_controller_still_had_on_its_way_does_no_harm_to_new_memory() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), &FakeNodes::new(&FIVE));
    finished(&rig.up(&mended()).await);
    rig.fake.reboot("n3");
    until(|| carved(&rig, 1) == 2, "it does not begin anew").await;
    rig.until(PoolState::Ready).await;
    let pool = Some(PoolId { name: "demo".into(), generation: 1 });
    let donors = vec!["n3".to_owned()];
    let create = CreateExportRequest { pool: pool.clone(), bytes: 1, ..Default::default() };
    let destroy = DestroyExportRequest { pool: pool.clone(), force: true, carved: 0 };
    for (node, call) in [
        ("n1", Call::Detach(DetachRequest { pool, donors })),
        ("n3", Call::DestroyExport(destroy)),
        ("n3", Call::CreateExport(create)),
    ] {
        // Refused or not: it may take nothing away, and leave nothing.
        _ = rig.fake.carry_out(node, &call);
    }
    assert_eq!(rig.fake.lends("n3"), ["demo.1 of demo.2".to_owned()].into());
    assert_eq!(rig.state().await, PoolState::Ready);
}

#[test]
fn killed_at_any_call_of_beginning_anew_the_next_controller_finishes_it() {
    for (node, call) in [
        ("n1", "Detach"),
        ("n3", "DestroyExport"),
        ("n3", "CreateExport"),
        ("n1", "Attach"),
        ("n1", "ReplaceMember"),
    ] {
        killed_at(
            &FIVE,
            (node, call),
            async |rig| {
                finished(&rig.up(&mended()).await);
            },
            async |rig| rig.fake.reboot("n3"),
            async |rig| {
                until(|| carved(rig, 1) != 0, call).await;
                rig.until(PoolState::Ready).await;
                until(|| rig.pools.record("demo").unwrap().debts.is_empty(), call).await;
                assert_eq!(donors(rig), ["n2", "n3", "n4", "n5"], "{call}");
                assert_eq!(rig.fake.lends("n3").len(), 1, "{call}");
                finished(&rig.down(false).await);
                rig.nothing_held();
            },
        );
    }
}

#[test]
fn killed_at_any_call_of_a_replace_the_next_controller_finishes_it() {
    for (node, call) in [
        ("n6", "CreateExport"),
        ("n1", "Attach"),
        ("n1", "ReplaceMember"),
        ("n1", "Detach"),
        ("n2", "DestroyExport"),
    ] {
        killed_at(
            &SIX,
            (node, call),
            async |rig| {
                finished(&rig.up(&mirror()).await);
            },
            async |rig| {
                drop(rig.pools.replace("demo", "n2", "n6").await.unwrap());
            },
            async |rig| {
                until(|| donors(rig)[0] == "n6", call).await;
                until(|| rig.fake.lends("n2").is_empty(), call).await;
                assert_eq!(rig.fake.writers(), ["n1 demo.1"], "{call}");
                rig.until(PoolState::Ready).await;
                until(|| rig.pools.record("demo").unwrap().debts.is_empty(), call).await;
                finished(&rig.down(false).await);
                rig.nothing_held();
            },
        );
    }
}

#[test]
fn killed_at_any_call_of_a_failover_the_next_controller_finishes_it() {
    for (node, call) in [
        ("n2", "FenceExport"),
        ("n3", "CreateExport"),
        ("n6", "Attach"),
        ("n6", "AssembleVolume"),
        ("n6", "Mount"),
    ] {
        killed_at(
            &SIX,
            (node, call),
            async |rig| {
                finished(&rig.up(&mirror()).await);
            },
            async |rig| {
                rig.fake.set_alive("n1", false);
                drop(rig.pools.failover("demo", "n6", false).await.unwrap());
            },
            async |rig| {
                until(|| rig.fake.writers() == ["n6 demo.2"], call).await;
                rig.fake.set_alive("n1", true);
                until(|| rig.pools.record("demo").unwrap().debts.is_empty(), call).await;
                finished(&rig.down(false).await);
                rig.nothing_held();
            },
        );
    }
}

#[test]
fn killed_in_the_middle_of_an_evacuation_the_next_controller_empties_the_node() {
    let of = |rig: &Rig, name: &str| {
        let record = rig.pools.record(name).unwrap();
        (record.placement.pieces[0].donor.clone(), record.debts.is_empty())
    };
    killed_at(
        &SIX,
        ("n1", "ReplaceMember"),
        async |rig| {
            finished(&rig.up(&movable()).await);
            finished(&rig.up(&PoolSpec { name: "other".into(), ..movable() }).await);
        },
        async |rig| drop(rig.pools.evacuate("n2").unwrap()),
        async |rig| {
            for name in ["demo", "other"] {
                until(|| of(rig, name).0 != "n2" && of(rig, name).1, name).await;
            }
            assert!(rig.fake.lends("n2").is_empty());
            assert_eq!(rig.fake.writers(), ["n1 demo.1", "n1 other.1"]);
        },
    );
}
