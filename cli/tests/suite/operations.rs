//! `up` and `down`: live progress, and every way they can end.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::*;
use tokio::io::AsyncReadExt;
use tokio::process::Child;

use crate::cluster::Cluster;
use crate::fake_controller::{Asked, FakeController, Next};
use crate::samples;

fn send(event: Event) -> Next {
    Next::Send(Box::new(event))
}

fn progress() -> Next {
    send(Event { done: 1, total: 4, ..samples::event(EventKind::Progress, "export", "n2", "") })
}

fn finished() -> Next {
    let last = samples::event(EventKind::Finished, "", "", "ready");
    send(Event { time_ms: samples::CREATED_MS + 2_130, result: Some(samples::pool()), ..last })
}

fn gave_up(failure: Failure) -> Next {
    send(Event { failure: Some(failure), ..samples::event(EventKind::GaveUp, "", "", "") })
}

#[tokio::test]
async fn up_tells_each_step_on_stderr_and_its_end_on_stdout() {
    let cluster = Cluster::with(FakeController::playing(vec![progress(), finished()])).await;
    let said = cluster.run("up demo --size 511M --head n1 --donors n[1-2] --head-may-lend").await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.stderr, "[  0.00s] export n2: 1 of 4\n[  2.13s] up: ready\n");
    assert!(said.stdout.starts_with("pool demo is ready: 511 MiB on n1"), "{said:?}");
    assert!(said.stdout.contains("VOLATILE"), "{said:?}");
    let [Asked::Up(spec)] = &cluster.fake.asked()[..] else { panic!("{:?}", cluster.fake.asked()) };
    assert_eq!(spec.capacity, Some(Capacity::SizeBytes(511 << 20)));
    assert_eq!((spec.head.as_str(), spec.donors.as_str()), ("n1", "n[1-2]"));
    assert!(spec.head_may_lend);
    assert_eq!(spec.uid, Uid::current().as_raw());
}

#[tokio::test]
async fn a_pool_file_and_flags_over_it_reach_the_controller() {
    let cluster = Cluster::with(FakeController::playing(vec![finished()])).await;
    let file = cluster.file("pool.yaml", "name: demo\nsize: 1T\nlease: 12h\nfs: ext4\n");
    let said = cluster.run(&format!("up -f {} --size-per-donor 64M", file.display())).await;
    assert_eq!(said.code, 0, "{said:?}");
    let [Asked::Up(spec)] = &cluster.fake.asked()[..] else { panic!("{:?}", cluster.fake.asked()) };
    assert_eq!(spec.capacity, Some(Capacity::SizePerDonorBytes(64 << 20)));
    assert_eq!((spec.name.as_str(), spec.lease_seconds), ("demo", 43_200));
    assert_eq!(spec.filesystem(), FilesystemKind::Ext4);
}

#[tokio::test]
async fn with_json_stdout_is_one_object_and_progress_stays_on_stderr() {
    let cluster = Cluster::with(FakeController::playing(vec![progress(), finished()])).await;
    let said = cluster.run("up demo -o json").await;
    let object: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(object["state"], "ready");
    assert!(said.stderr.contains("1 of 4"), "{said:?}");
}

#[tokio::test]
async fn giving_up_says_why_and_has_the_failures_exit_code() {
    let failure = samples::failure();
    let cluster =
        Cluster::with(FakeController::playing(vec![progress(), gave_up(failure.clone())])).await;
    let said = cluster.run("up demo").await;
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    let told = "rampool: n1: log in to n2's export: /usr/sbin/iscsiadm said: connection timed \
                out; retrying; is port 3260 of n2 open?\n";
    assert!(said.stderr.ends_with(told), "{said:?}");
    assert_eq!(said.stderr.matches("iscsiadm").count(), 1, "told twice: {said:?}");

    let capacity = Failure::new(FailureKind::NotNow, "place 9 TiB").saying("2 TiB can be lent");
    let cluster = Cluster::with(FakeController::playing(vec![gave_up(capacity)])).await;
    let said = cluster.run("up demo -o json").await;
    let object: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.code, &object["error"]["kind"]), (4, &"not_now".into()));
}

#[tokio::test]
async fn a_refusal_has_the_exit_code_of_its_kind() {
    for (kind, code) in [
        (FailureKind::Invalid, 2),
        (FailureKind::NotFound, 3),
        (FailureKind::NotNow, 4),
        (FailureKind::Conflict, 4),
        (FailureKind::Busy, 1),
        (FailureKind::TimedOut, 1),
    ] {
        let refusal = Failure::new(kind, "take down demo").saying("no");
        let refused = Cluster::with(FakeController::refusing(refusal.clone())).await;
        let said = refused.run("down demo").await;
        assert_eq!((said.code, said.stderr.as_str()), (code, "rampool: take down demo: no\n"));
        let in_stream = Cluster::with(FakeController::playing(vec![Next::Fail(refusal)])).await;
        assert_eq!(in_stream.run("down demo").await.code, code);
    }
}

#[tokio::test]
async fn down_passes_force_on_and_tells_the_end() {
    let mut pool = samples::pool();
    pool.set_state(PoolState::Released);
    pool.remarks.clear();
    pool.alerts.clear();
    let last = Event { result: Some(pool), ..samples::event(EventKind::Finished, "", "", "") };
    let cluster = Cluster::with(FakeController::playing(vec![send(last)])).await;
    let said = cluster.run("down demo --force").await;
    assert_eq!((said.code, said.stdout.as_str()), (0, "pool demo (generation 3) is released\n"));
    let request = DownRequest { pool: "demo".into(), force: true };
    assert_eq!(cluster.fake.asked(), [Asked::Down(request)]);
}

fn press_ctrl_c(child: &Child) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
}

#[tokio::test]
async fn ctrl_c_before_the_controller_answers_says_that_it_may_have_begun() {
    let cluster = Cluster::with(FakeController::silent()).await;
    let child = cluster.spawn("up demo");
    cluster.fake.hear().await;
    press_ctrl_c(&child);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("if it has begun there"), "{said}");
}

#[tokio::test]
async fn ctrl_c_leaves_the_operation_running_and_says_how_to_go_on() {
    let cluster = Cluster::with(FakeController::playing(vec![progress(), Next::Hang])).await;
    let (mut child, mut stderr) = cluster.start("up demo").await;
    press_ctrl_c(&child);
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    let mut said = String::new();
    stderr.read_to_string(&mut said).await.unwrap();
    for words in ["goes on in the controller", "rampool wait demo", "rampool down demo"] {
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_fails_and_says_that_the_operation_goes_on() {
    let cluster = Cluster::with(FakeController::playing(vec![progress(), Next::Hang])).await;
    let (way, task) = cluster.cuttable_way().await;
    let (mut child, mut stderr) = cluster.start(&format!("up demo --controller {way}")).await;
    task.abort();
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
    let mut said = String::new();
    stderr.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("lost the controller") && said.contains("goes on there"), "{said}");
}

#[tokio::test]
async fn a_stream_that_ends_early_is_no_success() {
    let cluster = Cluster::with(FakeController::playing(vec![progress()])).await;
    let said = cluster.run("up demo").await;
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    assert!(said.stderr.contains("ended early"), "{said:?}");
}
