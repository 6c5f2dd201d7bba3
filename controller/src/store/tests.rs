use rampool_proto::v1::{EventKind, Failure, FailureKind, PoolId};

use super::*;
use crate::lease::Stage;
use crate::pool::record::{Phase, samples};
use crate::pool::state::Cause;

fn record(assembly: &str, phase: Phase) -> PoolRecord {
    PoolRecord { phase, ready_ms: 0, ..samples::ready(assembly) }
}

fn event(name: &str, sequence: u64) -> Event {
    Event {
        sequence,
        pool: Some(PoolId { name: name.into(), generation: 1 }),
        kind: EventKind::Note.into(),
        failure: Some(Failure::new(FailureKind::Failed, "x")),
        ..Event::default()
    }
}

#[tokio::test]
async fn what_was_put_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(folder.path()).unwrap();
    assert!(loaded.records.is_empty());
    store.put(&record("demo.1", Phase::Released(Cause::Down))).await.unwrap();
    store.put(&record("demo.2", Phase::Creating)).await.unwrap();
    store.put(&record("other.7", Phase::Ready)).await.unwrap();
    store.append(&event("demo", 1));
    store.flush().await.unwrap();
    drop(store);
    let (store, loaded) = Store::open(folder.path()).unwrap();
    let names: Vec<String> = loaded.records.iter().map(|r| r.assembly.to_string()).collect();
    assert_eq!(names, ["demo.2", "other.7"]);
    assert_eq!(loaded.released, ["demo.1".parse().unwrap()]);
    assert_eq!(loaded.generations, [("demo".into(), 2), ("other".into(), 7)].into());
    assert_eq!(store.events("demo").await.unwrap(), [event("demo", 1)]);
    assert_eq!(
        (store.next_sequence("demo").unwrap(), store.next_sequence("none").unwrap()),
        (2, 1)
    );
}

#[tokio::test]
async fn an_evacuation_is_known_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(folder.path()).unwrap();
    assert!(loaded.evacuated.is_empty());
    store.evacuate("n2", true).await.unwrap();
    store.evacuate("n3", true).await.unwrap();
    store.evacuate("n2", false).await.unwrap();
    drop(store);
    assert_eq!(Store::open(folder.path()).unwrap().1.evacuated, ["n3".to_owned()].into());
}

#[tokio::test]
async fn a_jobs_failures_are_known_until_they_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(folder.path()).unwrap();
    assert!(loaded.failures.is_empty());
    let failures = |count| Failures { count, said: "x".to_owned(), ..Failures::default() };
    store.put_failures(7, Some(&failures(1))).await.unwrap();
    // Those that nobody waits for are written too, in their order.
    drop(store.put_failures(7, Some(&failures(2))));
    store.put_failures(8, Some(&failures(1))).await.unwrap();
    store.put_failures(8, None).await.unwrap();
    drop(store);
    assert_eq!(Store::open(folder.path()).unwrap().1.failures, [(7, failures(2))].into());
}

#[tokio::test]
async fn a_forgotten_name_leaves_its_generation_given() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    store.put(&record("demo.3", Phase::Released(Cause::Down))).await.unwrap();
    store.append(&event("demo", 1));
    store.forget("demo").await.unwrap();
    assert!(store.events("demo").await.unwrap().is_empty());
    drop(store);
    let loaded = Store::open(folder.path()).unwrap().1;
    assert!(loaded.records.is_empty());
    assert_eq!(loaded.generations, [("demo".into(), 3)].into());
}

#[tokio::test]
async fn a_name_used_often_keeps_its_last_assemblies() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    for generation in 1..=ASSEMBLIES_KEPT + 50 {
        store
            .put(&record(&format!("demo.{generation}"), Phase::Released(Cause::Down)))
            .await
            .unwrap();
    }
    drop(store);
    let loaded = Store::open(folder.path()).unwrap().1;
    assert_eq!(loaded.released.len(), ASSEMBLIES_KEPT as usize + 1);
    assert_eq!(loaded.records[0].assembly.generation, ASSEMBLIES_KEPT + 50);
}

#[tokio::test]
async fn the_event_log_is_bounded_and_each_name_has_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    for sequence in 1..=EVENTS_KEPT * 2 {
        store.append(&event("demo", sequence));
        if sequence % 100 == 0 {
            store.append(&event("demo-2", sequence / 100));
        }
    }
    let kept = store.events("demo").await.unwrap();
    assert!((EVENTS_KEPT..EVENTS_KEPT + 100).contains(&(kept.len() as u64)), "{}", kept.len());
    assert_eq!(kept.last().unwrap().sequence, EVENTS_KEPT * 2);
    assert_eq!(store.events("demo-2").await.unwrap().len(), 20);
}

#[test]
fn two_controllers_cannot_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = Store::open(folder.path()).unwrap();
    let error = Store::open(folder.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    drop(first);
    Store::open(folder.path()).unwrap();
}

#[test]
fn a_store_of_a_newer_controller_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path()).unwrap());
    let path = folder.path().join("controller.redb");
    let database = Database::open(&path).unwrap();
    let writing = database.begin_write().unwrap();
    writing.open_table(META).unwrap().insert("schema", SCHEMA + 1).unwrap();
    writing.commit().unwrap();
    drop(database);
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(folder.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found, .. } if found == SCHEMA + 1), "{error}");
    assert!(std::fs::read(&path).unwrap() == before, "the file was changed");
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_read_and_then_refused_by_older_controllers() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    store.put(&record("demo.1", Phase::Ready)).await.unwrap();
    drop(store);
    let path = folder.path().join("controller.redb");
    let set = |schema: u64| {
        let database = Database::open(&path).unwrap();
        let writing = database.begin_write().unwrap();
        let before = {
            let mut meta = writing.open_table(META).unwrap();
            meta.insert("schema", schema).unwrap().map(|before| before.value())
        };
        writing.commit().unwrap();
        before
    };
    set(1);
    let (store, loaded) = Store::open(folder.path()).unwrap();
    assert_eq!(loaded.records.len(), 1);
    drop(store);
    assert_eq!(set(SCHEMA), Some(SCHEMA));
}

#[test]
fn a_damaged_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path()).unwrap());
    let path = folder.path().join("controller.redb");
    let whole = std::fs::read(&path).unwrap();
    let cases: Vec<Vec<u8>> = vec![
        Vec::new(),
        whole[..whole.len() / 2].to_vec(),
        whole[..100].to_vec(),
        vec![0x55; whole.len()],
        b"not a store at all".to_vec(),
    ];
    for bytes in cases {
        std::fs::write(&path, &bytes).unwrap();
        let error = Store::open(folder.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{} bytes: {error}", bytes.len());
        assert!(std::fs::read(&path).unwrap() == bytes, "{} bytes were changed", bytes.len());
    }
}

#[tokio::test]
async fn a_store_half_made_by_a_crash_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("controller.redb.new"), b"half").unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    store.put(&record("demo.1", Phase::Ready)).await.unwrap();
}

#[tokio::test]
async fn a_copy_taken_at_any_moment_of_writing_opens_with_what_was_acknowledged() {
    // What a crash leaves is the file as it is on disk at that moment.
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    for generation in 1..=20u32 {
        store.put(&record(&format!("demo.{generation}"), Phase::Ready)).await.unwrap();
        let crashed = tempfile::tempdir().unwrap();
        let copy = crashed.path().join("controller.redb");
        std::fs::copy(folder.path().join("controller.redb"), copy).unwrap();
        let (_, loaded) = Store::open(crashed.path()).unwrap();
        assert_eq!(loaded.generations["demo"], generation);
    }
}

#[tokio::test]
async fn drained_nodes_are_remembered_until_they_are_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = ["n1".to_owned(), "n2".to_owned()];
    let (store, loaded) = Store::open(folder.path()).unwrap();
    assert!(loaded.drained.is_empty(), "a store that never had such a table is read too");
    store.drain(&nodes, Some("new disks")).await.unwrap();
    store.drain(&nodes[..1], None).await.unwrap();
    drop(store);
    let (_, loaded) = Store::open(folder.path()).unwrap();
    assert_eq!(loaded.drained, [("n2".to_owned(), "new disks".to_owned())].into());
}

#[tokio::test]
async fn leases_are_remembered_until_the_name_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let lease = Lease { formed: 3, from_ms: 7, seconds: 9, told: Stage::Ending };
    let (store, loaded) = Store::open(folder.path()).unwrap();
    assert!(loaded.leases.is_empty());
    store.put_lease("demo", lease).await.unwrap();
    store.put_lease("other", lease).await.unwrap();
    store.forget("other").await.unwrap();
    drop(store);
    let (_, loaded) = Store::open(folder.path()).unwrap();
    assert_eq!(loaded.leases, [("demo".to_owned(), lease)].into());
}
