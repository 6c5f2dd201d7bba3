//! Users over the wire, with stand-ins for MUNGE's programs: what each of them may ask, and how much
//! of it. The real programs, with what they refuse, are tried in `tests/slurm/users.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rampool_proto::munge::Link;
use rampool_proto::tls::TlsFiles;
use rampool_proto::v1::controller_client::ControllerClient;
use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::*;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use super::fake_nodes::Fault;
use super::grpc::{Cluster, cluster_with, events};
use super::rig::Rig;
use crate::service::ControllerService;
use crate::users::UsersConfig;

/// Users whom every Debian knows: `daemon` is the first rule's by name, `bin` the second's by group,
/// and `sys` nobody's.
const DAEMON: u32 = 1;
const BIN: u32 = 2;
const SYS: u32 = 3;

const RULES: &str = "
rules:
- {users: [daemon], heads: 'n[1-2]', donors: 'n[2-4]', at_most: 3GiB, pools: 2, longest: 1h}
- {groups: [bin], heads: n1, at_most: 2GiB, pools: 1, longest: 2h}
accounts:
  work: {group: bin, at_most: 1GiB}
";

/// A program that a test writes cannot always be run at once; this one can, and does what is
/// written beside it.
const FAKE_COMMAND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../slurm/tests/fake-command");

/// Stand-ins for one user's programs: a credential says who and what for in Base64.
fn programs(folder: &Path, uid: u32) -> PathBuf {
    let own = folder.join(format!("munge-of-{uid}"));
    std::fs::create_dir_all(&own).unwrap();
    let munge = format!("echo \"MUNGE:$( (echo {uid}; cat) | base64 -w0):\"\n");
    let unmunge = r#"said=$(sed 's/^MUNGE://; s/:$//' | base64 -d)
payload=${said#*
}
printf 'STATUS: 0\nENCODE_HOST: 10.0.0.3\nUID: %s\nLENGTH: %s\n\n%s' \
  "$(echo "$said" | head -n1)" ${#payload} "$payload"
"#;
    for (name, text) in [("munge", munge.as_str()), ("unmunge", unmunge)] {
        if !own.join(name).is_symlink() {
            std::fs::write(own.join(format!("{name}.does")), text).unwrap();
            std::os::unix::fs::symlink(FAKE_COMMAND, own.join(name)).unwrap();
        }
    }
    own
}

async fn with_rules() -> Cluster {
    cluster_with(|config, folder| {
        let mut rules: UsersConfig = serde_yaml::from_str(RULES).unwrap();
        rules.commands = programs(folder, DAEMON);
        config.users = Some(rules);
    })
    .await
}

fn client(cluster: &Cluster, uid: u32) -> ControllerClient<Link> {
    cluster.by_munge(&programs(cluster.folder.path(), uid))
}

/// The inside of a controller without a wire, and the folder of its store.
pub(super) fn inside() -> (tempfile::TempDir, Arc<ControllerService>) {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let tls = TlsFiles { ca: "/a".into(), cert: "/b".into(), key: "/c".into() };
    let (pools, nodes) = (Arc::clone(&rig.pools), Arc::clone(&rig.nodes));
    (folder, Arc::new(ControllerService::new(pools, nodes, None, tls, CancellationToken::new())))
}

/// A pool of this much, made of one donor.
fn wish(name: &str, mib: u64) -> PoolSpec {
    PoolSpec {
        name: name.into(),
        head: "n1".into(),
        donor_count: 1,
        capacity: Some(Capacity::SizeBytes(mib << 20)),
        filesystem: FilesystemKind::Ext4.into(),
        owner: "somebody".into(),
        uid: 4711,
        ..PoolSpec::default()
    }
}

async fn up(client: &mut ControllerClient<Link>, spec: PoolSpec) -> Result<Pool, Status> {
    let stream = client.up(UpRequest { spec: Some(spec) }).await?.into_inner();
    let last = events(stream).await.pop().unwrap().unwrap();
    assert_eq!(last.kind(), EventKind::Finished, "{last:?}");
    Ok(last.result.unwrap())
}

async fn down(client: &mut ControllerClient<Link>, name: &str) -> Result<(), Status> {
    let asked = DownRequest { pool: name.into(), force: false };
    let last = events(client.down(asked).await?.into_inner()).await.pop().unwrap().unwrap();
    assert_eq!(last.kind(), EventKind::Finished, "{last:?}");
    Ok(())
}

fn denied<T: std::fmt::Debug>(answer: Result<T, Status>, words: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert!(status.message().contains(words), "does not say {words:?}: {status}");
}

fn names(answer: tonic::Response<ListPoolsResponse>) -> Vec<String> {
    answer.into_inner().pools.into_iter().map(|pool| pool.spec.unwrap().name).collect()
}

#[tokio::test]
async fn a_users_pool_is_his_as_the_rule_has_it_whatever_his_program_says() {
    let cluster = with_rules().await;
    let mut daemon = client(&cluster, DAEMON);
    let asked = PoolSpec { private: false, at_expiry: AtExpiry::Keep.into(), ..wish("mine", 100) };
    let pool = up(&mut daemon, asked.clone()).await.unwrap();
    let spec = pool.spec.clone().unwrap();
    assert_eq!((spec.owner.as_str(), spec.uid, spec.gid), ("daemon", 1, 1));
    assert!(spec.private && spec.by_user);
    assert_eq!((spec.lease_seconds, spec.at_expiry()), (3600, AtExpiry::Release));
    assert_eq!((spec.mount_point.as_str(), spec.among.as_str()), ("/rampool/mine", "n[2-4]"));
    assert_eq!(pool.expires_ms, pool.ready_ms + 3_600_000);
    // Asked again it is the same one.
    up(&mut daemon, asked).await.unwrap();
    down(&mut daemon, "mine").await.unwrap();
    assert!(cluster.fake.held().is_empty());
}

#[tokio::test]
async fn a_user_sees_and_releases_his_own_and_nobody_elses() {
    let cluster = with_rules().await;
    let (mut daemon, mut bin) = (client(&cluster, DAEMON), client(&cluster, BIN));
    up(&mut daemon, wish("theirs", 100)).await.unwrap();
    up(&mut bin, wish("mine", 100)).await.unwrap();
    let mut admin = cluster.client();
    let of_root = PoolSpec { uid: 0, owner: "root".into(), ..wish("roots", 100) };
    events(admin.up(UpRequest { spec: Some(of_root) }).await.unwrap().into_inner()).await;
    assert_eq!(names(bin.list_pools(ListPoolsRequest {}).await.unwrap()), ["mine"]);
    assert_eq!(names(admin.list_pools(ListPoolsRequest {}).await.unwrap()).len(), 3);
    for other in ["theirs", "roots"] {
        let pool = || other.to_owned();
        denied(bin.get_pool(GetPoolRequest { pool: pool() }).await, "not yours");
        denied(bin.list_events(ListEventsRequest { pool: pool() }).await, "not yours");
        denied(bin.wait(WaitRequest { pool: pool() }).await, "not yours");
        denied(bin.down(DownRequest { pool: pool(), force: true }).await, "not yours");
        // Of a name he learns that it is taken.
        let taken = up(&mut bin, wish(other, 50)).await.unwrap_err();
        assert_eq!(
            (taken.code(), taken.message().contains("in use")),
            (Code::FailedPrecondition, true)
        );
        assert!(!taken.message().contains("ready"), "{taken}");
    }
    bin.get_pool(GetPoolRequest { pool: "mine".into() }).await.unwrap();
    events(bin.wait(WaitRequest { pool: "mine".into() }).await.unwrap().into_inner()).await;
    down(&mut bin, "mine").await.unwrap();
    let none = bin.get_pool(GetPoolRequest { pool: "none".into() }).await.unwrap_err();
    assert_eq!(none.code(), Code::NotFound);
}

#[tokio::test]
async fn of_a_name_that_was_anothers_a_user_reads_his_own_history_alone() {
    let cluster = with_rules().await;
    let (mut daemon, mut bin) = (client(&cluster, DAEMON), client(&cluster, BIN));
    up(&mut daemon, wish("scratch", 100)).await.unwrap();
    down(&mut daemon, "scratch").await.unwrap();
    up(&mut bin, wish("scratch", 100)).await.unwrap();
    denied(daemon.list_events(ListEventsRequest { pool: "scratch".into() }).await, "not yours");
    let asked = ListEventsRequest { pool: "scratch".into() };
    let own = bin.list_events(asked).await.unwrap().into_inner().events;
    assert!(!own.is_empty());
    assert!(own.iter().all(|event| event.pool.as_ref().unwrap().generation == 2), "{own:?}");
    // Whoever was its owner once cannot release it any more.
    denied(daemon.down(DownRequest { pool: "scratch".into(), force: true }).await, "not yours");
}

#[tokio::test]
async fn every_other_call_is_for_operators() {
    let cluster = with_rules().await;
    let mut client = client(&cluster, DAEMON);
    up(&mut client, wish("mine", 100)).await.unwrap();
    let words = "for the cluster's operators: the caller is user daemon (uid 1)";
    let pool = || "mine".to_owned();
    denied(client.plan(PlanRequest { spec: Some(wish("a", 100)) }).await, words);
    denied(client.list_nodes(ListNodesRequest::default()).await, words);
    denied(client.doctor(DoctorRequest::default()).await, words);
    denied(client.list_jobs(ListJobsRequest::default()).await, words);
    denied(client.replace(ReplaceRequest { pool: pool(), ..Default::default() }).await, words);
    denied(client.evacuate(EvacuateRequest { node: "n2".into() }).await, words);
    denied(client.drain(DrainRequest { nodes: "n2".into(), ..Default::default() }).await, words);
    denied(client.failover(FailoverRequest { pool: pool(), ..Default::default() }).await, words);
    denied(client.fail(FailRequest { pool: pool() }).await, words);
    denied(client.renew(RenewRequest { pool: pool(), lease_seconds: 60 }).await, words);
    denied(client.reap(ReapRequest { node: "n2".into(), ..Default::default() }).await, words);
    denied(client.recover(RecoverRequest::default()).await, words);
}

#[tokio::test]
async fn who_cannot_be_known_or_has_no_rule_gets_nothing() {
    let cluster = with_rules().await;
    let asked = || ListPoolsRequest {};
    denied(cluster.by_nothing().list_pools(asked()).await, "no credential");
    denied(client(&cluster, 0).list_pools(asked()).await, "root of 10.0.0.3 is no user here");
    denied(client(&cluster, u32::MAX - 1).list_pools(asked()).await, "not in the user database");
    let mut sys = client(&cluster, SYS);
    denied(up(&mut sys, wish("a", 100)).await, "no rule lets sys (uid 3) have pools");
    assert!(names(sys.list_pools(asked()).await.unwrap()).is_empty());
    // The jobs' calls are not there at all.
    let mut jobs = rampool_proto::v1::jobs_client::JobsClient::new(cluster.by_nothing_channel());
    let told = jobs.end_job(EndJobRequest::default()).await.unwrap_err();
    assert_eq!(told.code(), Code::Unimplemented, "{told}");
}

#[tokio::test]
async fn more_than_the_rule_has_is_refused_with_what_it_has() {
    let cluster = with_rules().await;
    let (mut daemon, mut bin) = (client(&cluster, DAEMON), client(&cluster, BIN));
    denied(up(&mut daemon, wish("job-7-1", 100)).await, "for the pools of jobs");
    let asked = PoolSpec { mount_point: "/etc/x".into(), ..wish("a", 100) };
    denied(up(&mut daemon, asked).await, "not to be chosen");
    let asked = PoolSpec { lease_seconds: 3601, ..wish("a", 100) };
    denied(up(&mut daemon, asked).await, "may live 1h at most: 1h 1s is more");
    let asked = PoolSpec { head: "n3".into(), ..wish("a", 100) };
    denied(up(&mut daemon, asked).await, "mounted on n[1-2], and not on n3");
    let asked = PoolSpec { filesystem: FilesystemKind::None.into(), ..wish("a", 100) };
    denied(up(&mut daemon, asked).await, "has a file system");
    let asked =
        PoolSpec { donors: "n1".into(), head: "n2".into(), donor_count: 0, ..wish("a", 100) };
    let told = up(&mut daemon, asked).await.unwrap_err();
    assert!(told.message().contains("n1"), "{told}");
    denied(up(&mut daemon, wish("a", 4000)).await, "may take 3 GiB of donors' memory together");
    let mirror = Redundancy::Mirror.into();
    let asked = PoolSpec { redundancy: mirror, donor_count: 2, ..wish("a", 2000) };
    denied(up(&mut daemon, asked).await, "this one would take");
    up(&mut daemon, wish("a", 2000)).await.unwrap();
    denied(up(&mut daemon, wish("b", 2000)).await, "in 1 pool (a)");
    up(&mut daemon, wish("b", 500)).await.unwrap();
    denied(up(&mut daemon, wish("c", 100)).await, "you may have 2 pools at a time");
    down(&mut daemon, "a").await.unwrap();
    up(&mut daemon, wish("c", 500)).await.unwrap();
    let asked = PoolSpec { account: "work".into(), ..wish("d", 100) };
    denied(up(&mut daemon, asked).await, "no member of an account");
    denied(up(&mut bin, wish("e", 1200)).await, "account work may take 1 GiB");
    let pool = up(&mut bin, wish("e", 900)).await.unwrap();
    assert_eq!(pool.spec.unwrap().account, "work");
}

#[tokio::test]
async fn two_at_once_do_not_both_pass_a_limit_that_has_room_for_one() {
    let cluster = with_rules().await;
    let mut tries = Vec::new();
    // All of them are on their way before the first is made.
    cluster.fake.inject("n1", "Mount", Fault::Wait(Arc::new(tokio::sync::Notify::new())));
    for number in 0..8 {
        let mut bin = client(&cluster, BIN);
        tries.push(tokio::spawn(async move {
            let spec = wish(&format!("p{number}"), 100);
            bin.up(Request::new(UpRequest { spec: Some(spec) })).await.map(drop)
        }));
    }
    let mut passed = 0;
    for one in tries {
        match one.await.unwrap() {
            Ok(()) => passed += 1,
            refused => denied(refused, "you may have 1 pool at a time"),
        }
    }
    assert_eq!(passed, 1);
}
