//! Donors that lend to jobs which run elsewhere: only those that may, and no more than they may.

use std::collections::BTreeMap;

use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::{Failure, Job, JobId, Placement, PoolSpec, PoolState};

use super::model::GIB;
use super::rig::{Rig, all, finished};
use crate::planner;

/// A job on n1, to which some of n2 to n4 may lend so much.
fn outside(job: u32, among: &str, bytes: u64) -> PoolSpec {
    PoolSpec {
        name: format!("job-{job}-1"),
        head: "n1".into(),
        among: among.into(),
        capacity: Some(Capacity::SizePerDonorBytes(bytes)),
        donor_count: 1,
        mount_point: format!("/rampool/{job}"),
        job: Some(Job {
            id: Some(JobId { cluster: "spike".into(), job }),
            run: 1,
            nodes: "n1".into(),
            outside: true,
        }),
        ..PoolSpec::default()
    }
}

fn donors(placement: &Placement) -> Vec<&str> {
    placement.pieces.iter().map(|piece| piece.donor.as_str()).collect()
}

async fn refusal(rig: &Rig, spec: &PoolSpec) -> Failure {
    rig.pools.up(spec).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn donors_are_chosen_among_those_that_may_lend() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let placement = rig.pools.plan(&outside(7, "n[3-4]", GIB)).await.unwrap();
    assert_eq!(donors(&placement), ["n3"]);
    let both = PoolSpec { donor_count: 0, ..outside(7, "n[3-4]", GIB) };
    assert_eq!(donors(&rig.pools.plan(&both).await.unwrap()), ["n3", "n4"]);
    let three = PoolSpec { donor_count: 3, ..both };
    let told = refusal(&rig, &three).await;
    assert!(planner::is_lack_of_memory(&told) && told.said.contains("3 donors"), "{told}");
}

#[tokio::test]
async fn nobody_else_takes_a_lost_donors_place_unless_a_person_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let lvm = rampool_proto::v1::VolumeLayout::Lvm.into();
    let spec = PoolSpec { layout: lvm, ..outside(7, "n3", GIB) };
    finished(&rig.up(&spec).await);
    let told = rig.pools.replace("job-7-1", "n3", "").await.map(drop).unwrap_err();
    assert!(told.said.contains("no other reachable node"), "{told}");
    rig.pools.replace("job-7-1", "n3", "n2").await.map(drop).unwrap();
}

#[tokio::test]
async fn a_donor_under_slurm_lends_no_more_than_slurm_keeps_from_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let allow = |gib| {
        let bytes = |node: &str| (node.to_owned(), gib * GIB);
        rig.pools.allow(BTreeMap::from([bytes("n2"), bytes("n3")]));
    };
    allow(2);
    let told = refusal(&rig, &outside(7, "n[2-3]", 3 * GIB)).await;
    assert!(planner::is_lack_of_memory(&told), "{told}");
    assert!(told.said.contains("MemSpecLimit: n2 may lend 2 GiB of 4 GiB, n3"), "{told}");
    // One that Slurm does not know lends what it can.
    assert_eq!(donors(&rig.pools.plan(&outside(7, "n[2-4]", 3 * GIB)).await.unwrap()), ["n4"]);

    // What admins have of it counts; what its own jobs have is theirs anyway.
    let of = |name: &str, gib: u64| PoolSpec {
        name: name.into(),
        donors: "n2".into(),
        among: String::new(),
        donor_count: 0,
        capacity: Some(Capacity::SizePerDonorBytes(gib * GIB)),
        mount_point: format!("/rampool/{name}"),
        job: None,
        ..outside(1, "", 0)
    };
    let events = rig.up(&of("admins", 1)).await;
    finished(&events);
    assert!(!events.iter().any(|event| event.text.contains("Slurm")), "{events:?}");
    let own = Job { nodes: "n[1-2]".into(), outside: false, ..outside(8, "", 0).job.unwrap() };
    finished(&rig.up(&PoolSpec { job: Some(own), ..of("job-8-1", 1) }).await);
    finished(&rig.up(&outside(7, "n2", GIB)).await);
    let told = refusal(&rig, &outside(9, "n2", GIB)).await;
    assert!(told.said.contains("n2 may lend 0 B of 1 GiB"), "{told}");
    // Admins may take more, and are told.
    let disaster = of("disaster", 1);
    let said = "Slurm may give memory of n2 to jobs too";
    let planned = rig.pools.plan(&disaster).await.unwrap();
    assert!(planned.notes.iter().any(|note| note.starts_with(said)), "{:?}", planned.notes);
    let events = rig.up(&disaster).await;
    finished(&events);
    assert!(events.iter().any(|event| event.text.starts_with(said)), "{events:?}");
}

/// The same job before it has nodes.
fn waiting(job: u32, among: &str, bytes: u64) -> PoolSpec {
    let spec = outside(job, among, bytes);
    let job = Job { nodes: String::new(), ..spec.job.unwrap() };
    PoolSpec { head: String::new(), job: Some(job), ..spec }
}

#[tokio::test]
async fn what_is_reserved_for_a_job_is_nobody_elses_and_becomes_its_pool() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let donors = ["n2", "n3"].map(str::to_owned).into();
    let reserved = waiting(7, "n2", 3 * GIB);
    assert_eq!(rig.pools.taken_elsewhere(&donors), 0);
    finished(&rig.up(&reserved).await);
    rig.nodes.refresh(&["n2".to_owned(), "n3".to_owned()]).await;
    assert_eq!(rig.pools.taken_elsewhere(&donors), 3 * GIB);
    assert_eq!(rig.pools.free_elsewhere(&donors), 5 * GIB);
    assert_eq!(rig.pools.status("job-7-1").await.unwrap().state(), PoolState::Reserved);
    assert_eq!(rig.fake.held(), ["n2 job-7-1.1".to_owned()].into());
    finished(&rig.up(&reserved).await);
    let told = refusal(&rig, &waiting(8, "n2", 2 * GIB)).await;
    assert!(planner::is_lack_of_memory(&told), "{told}");
    assert!(!rig.pools.would_fit(&waiting(8, "n2", 2 * GIB)));
    let given = rig.pools.give(&outside(7, "n2", 3 * GIB)).await.unwrap();
    finished(&all(given).await);
    let pool = rig.pools.status("job-7-1").await.unwrap();
    assert_eq!((pool.state(), pool.placement.unwrap().head.as_str()), (PoolState::Ready, "n1"));
    finished(&all(rig.pools.down("job-7-1", false).unwrap()).await);
    rig.nothing_held();
}

#[tokio::test]
async fn a_reservation_outlives_the_controller_and_goes_when_it_is_taken_down() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    finished(&rig.up(&waiting(7, "n[2-3]", GIB)).await);
    let fake = std::sync::Arc::clone(&rig.fake);
    drop(rig);
    let rig = Rig::start_again(folder.path(), &fake).await;
    assert_eq!(rig.pools.status("job-7-1").await.unwrap().state(), PoolState::Reserved);
    finished(&all(rig.pools.down("job-7-1", false).unwrap()).await);
    rig.nothing_held();
}
