//! Drained nodes, leases, what nobody knows, and a controller whose store is lost.

use rampool_proto::v1::{AtExpiry, FailureKind, PoolSpec, PoolState, Redundancy};

use super::rig::{Rig, finished, spec};

#[tokio::test]
async fn a_drained_node_gets_no_new_pieces_until_it_is_resumed_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let fake = super::fake_nodes::FakeNodes::new(&super::rig::NODES);
    let nodes = ["n3".to_owned()];
    let rig = Rig::start(folder.path(), &fake);
    rig.pools.drain(&nodes, Some("new disks")).await.unwrap();
    drop(rig);
    let rig = Rig::start_again(folder.path(), &fake).await;
    let refused = rig.pools.up(&spec()).await.map(drop).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::NotNow);
    assert!(refused.said.contains("n3 is drained: new disks"), "{refused}");
    let free = PoolSpec { donors: String::new(), ..spec() };
    let placement = rig.pools.plan(&free).await.unwrap();
    assert!(placement.pieces.iter().all(|piece| piece.donor != "n3"));
    rig.pools.drain(&nodes, None).await.unwrap();
    finished(&rig.up(&spec()).await);
}

#[tokio::test]
async fn a_lease_is_kept_unless_its_end_was_to_release_and_is_told_of_once() {
    for at_expiry in [AtExpiry::Keep, AtExpiry::Release] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::new(folder.path());
        let spec = PoolSpec { lease_seconds: 1, at_expiry: at_expiry.into(), ..spec() };
        finished(&rig.up(&spec).await);
        let told = async || {
            let events = rig.pools.events("demo").await.unwrap();
            events.iter().filter(|event| event.text.contains("the lease ended")).count()
        };
        while told().await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            // The reconciler looks by itself too, less often.
            rig.pools.look_at_leases().await;
        }
        if at_expiry == AtExpiry::Release {
            rig.until(PoolState::Released).await;
            rig.nothing_held();
        } else {
            rig.pools.look_at_leases().await;
            assert_eq!(rig.state().await, PoolState::Ready);
            let alerts = rig.pools.status("demo").await.unwrap().alerts;
            assert!(alerts[0].contains("the lease ended"), "{alerts:?}");
            let renewed = rig.pools.renew("demo", 3600).await.unwrap();
            assert!(renewed.alerts.is_empty() && renewed.expires_ms > renewed.ready_ms + 3_599_000);
        }
        assert_eq!(told().await, 1);
    }
}

#[tokio::test]
async fn only_a_pool_in_use_can_be_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    assert_eq!(rig.pools.renew("demo", 1).await.unwrap_err().kind(), FailureKind::NotFound);
    finished(&rig.up(&spec()).await);
    let without = rig.pools.renew("demo", 0).await.unwrap_err();
    assert!(without.said.contains("has no lease"), "{without}");
    assert!(rig.pools.renew("demo", u64::MAX).await.is_err());
    rig.down(false).await;
    assert_eq!(rig.pools.renew("demo", 1).await.unwrap_err().kind(), FailureKind::NotNow);
}

#[tokio::test]
async fn what_nobody_knows_is_shown_and_removed_only_when_somebody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    finished(&rig.up(&spec()).await);
    rig.fake.plant_export("n3", "stranger.4");
    let shown = rig.pools.reap("n3", &[], false).await.unwrap();
    assert_eq!(shown.len(), 2, "memory and its target, of the stranger alone: {shown:?}");
    assert!(rig.fake.held().contains("n3 stranger.4"));
    let known = rig.pools.reap("n3", &["demo.1".into()], true).await.unwrap_err();
    assert_eq!(known.kind(), FailureKind::NotFound);
    rig.pools.reap("n3", &["stranger.4".into()], true).await.unwrap();
    assert!(!rig.fake.held().contains("n3 stranger.4"));
    assert!(rig.fake.held().contains("n3 demo.1"));
    assert!(rig.pools.reap("n3", &[], false).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_empty_controller_takes_over_what_nodes_hold_and_can_end_it() {
    let mirror = PoolSpec { redundancy: Redundancy::Mirror.into(), spares: Some(1), ..spec() };
    for spec in [spec(), mirror] {
        let (lost, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = Rig::new(lost.path());
        finished(&first.up(&spec).await);
        let before = first.pools.record("demo").unwrap();
        let rig = Rig::start(empty.path(), &first.fake);
        drop(first);
        let calls = rig.fake.calls().len();
        let (shown, refused) = rig.pools.recover(&[], false).await.unwrap();
        assert_eq!((shown.len(), refused), (1, vec![]));
        assert!(rig.pools.list(|_| true).await.is_empty(), "shown, not recorded");
        let (taken, _) = rig.pools.recover(&["demo".into()], true).await.unwrap();
        assert_eq!(taken[0].state(), PoolState::Ready);
        assert_eq!(rig.fake.calls().len(), calls, "nothing was asked of any node");
        let record = rig.pools.record("demo").unwrap();
        assert_eq!((&record.assembly, &record.serials), (&before.assembly, &before.serials));
        assert_eq!(record.boot_ids, before.boot_ids);
        let places = |record: &crate::pool::record::PoolRecord| {
            let all = record.placement.pieces.iter().chain(&record.placement.spares);
            all.map(|piece| (piece.donor.clone(), piece.bytes, piece.local)).collect::<Vec<_>>()
        };
        assert_eq!(places(&record), places(&before));
        let (again, refused) = rig.pools.recover(&[], true).await.unwrap();
        assert!(again.is_empty() && refused.is_empty(), "it is known now");
        finished(&rig.down(false).await);
        rig.nothing_held();
        let events = rig.up(&spec).await;
        assert_eq!(finished(&events).pool.as_ref().unwrap().generation, 2);
    }
}
