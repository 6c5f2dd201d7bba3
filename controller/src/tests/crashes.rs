//! The controller is killed at every call of `up` and `down`, and started again on its store.

use std::time::Duration;

use rampool_proto::v1::PoolState;
use tokio::runtime::Runtime;

use super::fake_nodes::FakeNodes;
use super::rig::{NODES, Rig, finished, killed_at, spec};

#[test]
fn killed_at_any_call_of_up_the_next_controller_undoes_it_and_can_begin_anew() {
    for (node, call) in [
        ("n1", "CheckHead"),
        ("n3", "CreateExport"),
        ("n1", "Attach"),
        ("n1", "AssembleVolume"),
        ("n1", "MakeFilesystem"),
        ("n1", "Mount"),
    ] {
        killed_at(
            &NODES,
            (node, call),
            async |_| {},
            async |rig| {
                drop(rig.pools.up(&spec()).await.unwrap());
            },
            async |rig| {
                rig.until(PoolState::Released).await;
                rig.nothing_held();
                let remarks = rig.pools.status("demo").await.unwrap().remarks.join("\n");
                assert!(remarks.contains("the controller was restarted"), "{call}: {remarks}");
                let events = rig.up(&spec()).await;
                assert_eq!(finished(&events).pool.as_ref().unwrap().generation, 2, "{call}");
            },
        );
    }
}

#[test]
fn killed_at_any_call_of_down_the_next_controller_finishes_it() {
    for (node, call) in
        [("n1", "Unmount"), ("n1", "StopVolume"), ("n1", "Detach"), ("n2", "DestroyExport")]
    {
        killed_at(
            &NODES,
            (node, call),
            async |_| {},
            async |rig| {
                finished(&rig.up(&spec()).await);
                drop(rig.pools.down("demo", false).unwrap());
            },
            async |rig| {
                rig.until(PoolState::Released).await;
                rig.nothing_held();
            },
        );
    }
}

#[test]
fn a_ready_pool_is_ready_after_a_restart_and_its_history_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeNodes::new(&NODES);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let rig = Rig::start(folder.path(), &fake);
        finished(&rig.up(&spec()).await);
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    let calls = fake.calls().len();
    Runtime::new().unwrap().block_on(async {
        let rig = Rig::start(folder.path(), &fake);
        assert_eq!(rig.state().await, PoolState::Ready);
        assert!(finished(&rig.up(&spec()).await).text.contains("already"));
        assert_eq!(fake.calls().len(), calls, "a restart does nothing to a pool in use");
        assert!(rig.pools.events("demo").await.unwrap().len() > 10);
        finished(&rig.down(false).await);
        rig.nothing_held();
    });
}
