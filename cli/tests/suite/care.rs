//! The commands that keep pools and nodes well: what each asks, what it tells, how it ends.

use rampool_proto::v1::*;

use crate::cluster::Cluster;
use crate::fake_controller::{Asked, FakeController, Next};
use crate::samples;

const MIB: u64 = 1 << 20;

fn event(kind: EventKind, operation: &str, step: &str) -> Event {
    Event { operation: operation.into(), ..samples::event(kind, step, "n1", "") }
}

fn rebuild(operation: &str, done: u64) -> Next {
    let progress = event(EventKind::Progress, operation, "rebuild");
    // Ten seconds a MiB.
    let time_ms = samples::CREATED_MS + done * 10_000;
    Next::Send(Box::new(Event { time_ms, done: done * MIB, total: 4 * MIB, ..progress }))
}

fn finished(operation: &str, result: Option<Pool>) -> Next {
    let last = Event { node: String::new(), ..event(EventKind::Finished, operation, "") };
    let time_ms = samples::CREATED_MS + 40_000;
    Next::Send(Box::new(Event { time_ms, text: "finished".into(), result, ..last }))
}

#[tokio::test]
async fn operations_on_a_pool_ask_follow_and_tell_what_came_of_it() {
    let (demo, n2, n4) = ("demo".to_owned(), "n2".to_owned(), "n4".to_owned());
    for (line, operation, asked) in [
        ("wait demo", "up", Asked::Wait(demo.clone())),
        (
            "replace demo n2",
            "replace",
            Asked::Replace(ReplaceRequest {
                pool: demo.clone(),
                old: n2.clone(),
                new: String::new(),
            }),
        ),
        (
            "replace demo n2 n4",
            "replace",
            Asked::Replace(ReplaceRequest { pool: demo.clone(), old: n2, new: n4.clone() }),
        ),
        (
            "failover demo --head n4",
            "failover",
            Asked::Failover(FailoverRequest { pool: demo.clone(), head: n4.clone(), force: false }),
        ),
        (
            "failover demo --head n4 --force",
            "failover",
            Asked::Failover(FailoverRequest { pool: demo.clone(), head: n4, force: true }),
        ),
        ("fail demo", "fail", Asked::Fail(demo.clone())),
    ] {
        let script = vec![
            rebuild(operation, 0),
            rebuild(operation, 1),
            finished(operation, Some(samples::pool())),
        ];
        let cluster = Cluster::with(FakeController::playing(script)).await;
        let said = cluster.run(line).await;
        assert_eq!(said.code, 0, "{line}: {said:?}");
        let told = format!(
            "[  0.00s] rebuild n1: 0 B of 4 MiB\n\
             [ 10.00s] rebuild n1: 1 MiB of 4 MiB, about 30s left\n\
             [ 40.00s] {operation}: finished\n"
        );
        assert_eq!(said.stderr, told, "{line}");
        let first =
            "pool demo (generation 3) is ready: 511 MiB on n1 at /mnt/rampool/demo\nALERT: ";
        assert!(said.stdout.starts_with(first), "{line}: {said:?}");
        assert_eq!(cluster.fake.asked(), [asked], "{line}");
        let json = cluster.run(&format!("{line} -o json")).await.stdout;
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(object["alerts"][0], "n2 is cut off: I/O is held for up to 30 s", "{line}");
    }
}

#[tokio::test]
async fn an_operation_on_a_pool_that_ends_without_it_is_no_success() {
    for line in ["wait demo", "replace demo n2", "failover demo --head n4", "fail demo"] {
        let cluster = Cluster::with(FakeController::playing(vec![finished("x", None)])).await;
        let said = cluster.run(line).await;
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{line}: {said:?}");
        assert!(said.stderr.contains("not what came of it"), "{line}: {said:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_its_exit_code() {
    let refusal = Failure::new(FailureKind::NotNow, "evacuate n2").saying("demo cannot be moved");
    for line in [
        "wait demo",
        "replace demo n2",
        "failover demo --head n4",
        "fail demo",
        "evacuate n2",
        "drain n2",
        "resume n2",
        "renew demo",
        "reap n2",
        "recover",
    ] {
        let cluster = Cluster::with(FakeController::refusing(refusal.clone())).await;
        let said = cluster.run(line).await;
        assert_eq!((said.code, said.stdout.as_str()), (4, ""), "{line}: {said:?}");
        assert_eq!(said.stderr, "rampool: evacuate n2: demo cannot be moved\n", "{line}");
    }
}

#[tokio::test]
async fn evacuate_names_the_pools_and_shows_the_node_afterwards() {
    let script = vec![rebuild("evacuate", 0), finished("evacuate", None)];
    let cluster = Cluster::with(FakeController::playing(script)).await;
    let said = cluster.run("evacuate n3").await;
    assert_eq!(said.code, 0, "{said:?}");
    let told = "[  0.00s] demo rebuild n1: 0 B of 4 MiB\n[ 40.00s] evacuate: finished\n";
    assert_eq!(said.stderr, told);
    assert!(said.stdout.starts_with("NODE  REACHABLE"), "{said:?}");
    let asked = [Asked::Evacuate("n3".into()), Asked::Nodes("n3".into())];
    assert_eq!(cluster.fake.asked(), asked);
}

#[tokio::test]
async fn an_evacuation_is_believed_only_if_no_pool_has_a_piece_there() {
    let script = vec![finished("evacuate", None)];
    let cluster = Cluster::with(FakeController::playing(script)).await;
    let said = cluster.run("evacuate n2").await;
    assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{said:?}");
    assert!(said.stderr.contains("n2 still lends to demo"), "{said:?}");
}

#[tokio::test]
async fn drain_and_resume_are_one_call_and_show_the_nodes() {
    let cluster = Cluster::with(FakeController::default()).await;
    let said = cluster.run_args(&["drain", "n1,n2", "--reason", "memory errors"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("drained: memory errors"), "{said:?}");
    assert_eq!(cluster.run("resume n[1-2]").await.code, 0);
    let nodes = || "n[1-2]".to_owned();
    let asked = [
        Asked::Drain(DrainRequest { nodes: nodes(), drain: true, reason: "memory errors".into() }),
        Asked::Nodes(nodes()),
        Asked::Drain(DrainRequest { nodes: nodes(), drain: false, reason: String::new() }),
        Asked::Nodes(nodes()),
    ];
    assert_eq!(cluster.fake.asked(), asked);
}

#[tokio::test]
async fn renew_asks_for_a_lease_or_for_the_same_again() {
    let cluster = Cluster::with(FakeController::default()).await;
    let said = cluster.run("renew demo --lease 12h").await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.starts_with("pool demo lives until 2026-11-18T23:06:40Z"), "{said:?}");
    assert_eq!(cluster.run("renew demo -o json").await.code, 0);
    let renewal = |lease_seconds| Asked::Renew(RenewRequest { pool: "demo".into(), lease_seconds });
    assert_eq!(cluster.fake.asked(), [renewal(43_200), renewal(0)]);
}

#[tokio::test]
async fn reap_and_recover_change_nothing_unless_told_to() {
    let cluster = Cluster::with(FakeController::default()).await;
    for (line, code, words) in [
        ("reap n1", 0, "nothing was removed"),
        ("reap n1 --apply old.7 demo.3", 0, "removed from n1"),
        ("recover", 0, "nothing was changed"),
        // What was to be taken over and could not be is a failure.
        ("recover --apply demo old", 1, "refused: old.7"),
    ] {
        let said = cluster.run(line).await;
        assert_eq!((said.code, said.stderr.as_str()), (code, ""), "{line}: {said:?}");
        assert!(said.stdout.contains(words), "{line}: {said:?}");
    }
    let reap = |apply, assemblies: &[&str]| {
        let assemblies = assemblies.iter().map(ToString::to_string).collect();
        Asked::Reap(ReapRequest { node: "n1".into(), apply, assemblies })
    };
    let recover = |apply, pools: &[&str]| {
        let pools = pools.iter().map(ToString::to_string).collect();
        Asked::Recover(RecoverRequest { apply, pools })
    };
    let asked = [
        reap(false, &[]),
        reap(true, &["old.7", "demo.3"]),
        recover(false, &[]),
        recover(true, &["demo", "old"]),
    ];
    assert_eq!(cluster.fake.asked(), asked);
}

#[tokio::test]
async fn up_passes_on_what_is_to_be_borne() {
    let cluster =
        Cluster::with(FakeController::playing(vec![finished("up", Some(samples::mirror()))])).await;
    let line = "up demo --size 1G --redundancy double-parity --spares 2 --auto-replace=false \
                --lease 12h --at-expiry release";
    let said = cluster.run(line).await;
    assert_eq!(said.code, 0, "{said:?}");
    let [Asked::Up(spec)] = &cluster.fake.asked()[..] else { panic!("{:?}", cluster.fake.asked()) };
    assert_eq!((spec.redundancy(), spec.spares), (Redundancy::DoubleParity, Some(2)));
    assert_eq!((spec.auto_replace, spec.at_expiry()), (Some(false), AtExpiry::Release));
}
