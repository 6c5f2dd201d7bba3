//! Every call of `up` and `down` refused, its answer lost, its node dead.

use std::time::{Duration, Instant};

use rampool_proto::v1::{FailureKind, PoolState};

use super::fake_nodes::{FakeNodes, Fault};
use super::rig::{NODES, Rig, all, finished, gave_up, spec};

/// Every call of `up`, with a node that gets it.
const MAKING: [(&str, &str); 7] = [
    ("n1", "CheckHead"),
    ("n2", "CreateExport"),
    ("n4", "CreateExport"),
    ("n1", "Attach"),
    ("n1", "AssembleVolume"),
    ("n1", "MakeFilesystem"),
    ("n1", "Mount"),
];

const TAKING: [(&str, &str); 5] = [
    ("n1", "Unmount"),
    ("n1", "StopVolume"),
    ("n1", "Detach"),
    ("n2", "DestroyExport"),
    ("n4", "DestroyExport"),
];

#[tokio::test]
async fn whatever_is_refused_in_up_all_of_it_is_undone_and_the_reason_is_the_answer() {
    for (node, call) in MAKING {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::new(folder.path());
        rig.fake.inject(node, call, Fault::Refuse(FailureKind::Failed));
        let events = rig.up(&spec()).await;
        let failure = gave_up(&events);
        assert_eq!((failure.said.as_str(), failure.node.as_str()), ("injected", node), "{call}");
        assert_eq!(rig.state().await, PoolState::Released, "{call}");
        rig.nothing_held();
        finished(&rig.up(&spec()).await);
    }
}

#[tokio::test]
async fn whatever_answer_is_lost_in_up_nothing_stays_behind() {
    for (node, call) in MAKING {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::new(folder.path());
        rig.fake.inject(node, call, Fault::LoseAnswer);
        let events = rig.up(&spec()).await;
        assert_eq!(gave_up(&events).kind(), FailureKind::TimedOut, "{call}");
        rig.nothing_held();
    }
}

#[tokio::test]
async fn whatever_node_dies_in_up_the_rest_is_undone_and_its_part_when_it_is_back() {
    for (node, call) in MAKING {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::new(folder.path());
        rig.fake.inject(node, call, Fault::Die);
        let events = rig.up(&spec()).await;
        assert_eq!(gave_up(&events).node, node, "{call}");
        if call == "CheckHead" {
            assert_eq!(rig.state().await, PoolState::Released, "nothing was made anywhere");
            continue;
        }
        assert!(gave_up(&events).advice.contains("still held"), "{}", gave_up(&events));
        assert_eq!(rig.state().await, PoolState::Releasing, "{call}");
        let stranger = |held: &String| !held.starts_with(node);
        assert!(!rig.fake.held().iter().any(stranger), "{call}: {:?}", rig.fake.held());
        let failure = rig.pools.up(&spec()).await.map(|_| ()).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::NotNow, "{call}");
        rig.fake.set_alive(node, true);
        rig.until(PoolState::Released).await;
        rig.nothing_held();
    }
}

#[tokio::test]
async fn whatever_fails_in_down_it_is_said_and_a_second_down_finishes() {
    for (node, call) in TAKING {
        for fault in [Fault::Refuse(FailureKind::Failed), Fault::LoseAnswer] {
            let folder = tempfile::tempdir().unwrap();
            let rig = Rig::new(folder.path());
            rig.up(&spec()).await;
            rig.fake.inject(node, call, fault.clone());
            let events = rig.down(false).await;
            assert_eq!(gave_up(&events).node, node, "{call}");
            finished(&rig.down(false).await);
            rig.nothing_held();
        }
    }
}

#[tokio::test]
async fn whoever_is_out_of_reach_for_a_moment_in_down_it_is_waited_for() {
    for (node, call) in TAKING.into_iter().filter(|(_, call)| *call != "Unmount") {
        let folder = tempfile::tempdir().unwrap();
        let fake = FakeNodes::new(&NODES);
        let rig = Rig::patient(folder.path(), &fake, Duration::from_secs(30));
        finished(&rig.up(&spec()).await);
        fake.inject(node, call, Fault::Die);
        let down = rig.pools.down("demo", false).unwrap();
        let unreachable = || !rig.nodes.get(node).unwrap().reachable();
        while !unreachable() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        fake.set_alive(node, true);
        let events = all(down).await;
        assert_eq!(finished(&events).result.as_ref().unwrap().state(), PoolState::Released);
        let told = format!("{node} does not answer: it is waited for, at most 30 s");
        assert!(events.iter().any(|event| event.text == told), "{call}: {events:?}");
        rig.nothing_held();
    }
}

#[tokio::test]
async fn whoever_is_out_of_reach_for_a_moment_when_an_up_is_undone_nothing_stays_behind() {
    for (node, call) in [("n1", "Unmount"), ("n1", "Detach"), ("n3", "DestroyExport")] {
        let folder = tempfile::tempdir().unwrap();
        let fake = FakeNodes::new(&NODES);
        let rig = Rig::patient(folder.path(), &fake, Duration::from_secs(30));
        fake.inject("n1", "Mount", Fault::Refuse(FailureKind::Failed));
        fake.inject(node, call, Fault::Die);
        let up = rig.pools.up(&spec()).await.unwrap();
        fake.until(|fake| fake.calls().contains(&(node.to_owned(), call.to_owned()))).await;
        while rig.nodes.get(node).unwrap().reachable() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        fake.set_alive(node, true);
        assert!(gave_up(&all(up).await).advice.is_empty(), "{call}: nothing is still held");
        assert_eq!(rig.state().await, PoolState::Released, "{call}");
        rig.nothing_held();
    }
}

#[tokio::test]
async fn whoever_stays_out_of_reach_is_told_when_the_patience_ends() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeNodes::new(&NODES);
    let patience = Duration::from_millis(300);
    let rig = Rig::patient(folder.path(), &fake, patience);
    finished(&rig.up(&spec()).await);
    for node in ["n2", "n3"] {
        fake.set_alive(node, false);
    }
    let began = Instant::now();
    assert_eq!(gave_up(&rig.down(false).await).kind(), FailureKind::NotNow);
    let took = began.elapsed();
    assert!(took >= patience && took < patience + Duration::from_secs(5), "{took:?}");
    assert_eq!(fake.held().len(), 2, "they still hold their memory");
}

#[tokio::test]
async fn a_node_that_was_booted_anew_in_the_meantime_counts_as_clean() {
    for node in ["n1", "n2"] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::new(folder.path());
        rig.up(&spec()).await;
        rig.fake.set_alive(node, false);
        assert_eq!(gave_up(&rig.down(false).await).node, node);
        rig.fake.reboot(node);
        rig.until(PoolState::Released).await;
        rig.nothing_held();
    }
}

#[tokio::test]
async fn without_the_head_memory_is_freed_only_by_force() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    rig.up(&spec()).await;
    rig.fake.set_alive("n1", false);
    rig.down(false).await;
    assert_eq!(rig.fake.held().len(), 4, "the head may still write: {:?}", rig.fake.held());
    let remarks = rig.pools.status("demo").await.unwrap().remarks.join("\n");
    assert!(remarks.contains("remains: n1"), "{remarks}");
    gave_up(&rig.down(true).await);
    assert_eq!(rig.fake.held().len(), 1);
    rig.fake.reboot("n1");
    rig.until(PoolState::Released).await;
    rig.nothing_held();
}
