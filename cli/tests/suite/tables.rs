//! What people see, to the letter.

use rampool::output::{
    Evacuated, Events, Findings, Jobs, Nodes, PlanReport, PoolReport, Pools, Raised, ReapReport,
    RecoverReport, Renewed, Report, Settled,
};
use rampool::render::look::Look;
use rampool_proto::v1::{
    DoctorResponse, ListEventsResponse, ListJobsResponse, ListNodesResponse, PoolState,
    ReapResponse, RecoverResponse,
};

use crate::samples;

fn shown(report: &impl Report) -> String {
    report.text(&Look { width: None, colour: false, now: samples::now() })
}

#[test]
fn status_shows_capacity_donors_and_that_it_is_volatile() {
    let expected = "\
pool          demo (generation 3)
state         ready
ALERT         n2 is cut off: I/O is held for up to 30 s
VOLATILE      it lives in memory: losing any one donor loses all of it
owner         alice
age           3h 2m, since 2026-11-18T11:06:40Z
until         2026-11-18T23:06:40Z (8h 57m left), then kept
head          n1
mount         /mnt/rampool/demo
device        /dev/md/rp.demo.3
volume        md raid0, 2 wide, chunk 64 KiB
redundancy    none
members       1 of 2 members in sync, 1 faulty
file system   xfs
backend       rd_mcp
usable        511 MiB (100 % of what is lent)
bytes         100 MiB used (20 %), 400 MiB free of 500 MiB
inodes        3 used (1 %), 249997 free of 250000
remark        n2 has not been heard for 12 s

DONOR     SIZE  STATE        DETAIL
n2     256 MiB  unreachable  no heartbeat for 12 s
n1     256 MiB  ok           the head's own piece
";
    assert_eq!(shown(&PoolReport::from(samples::pool())), expected);
}

#[test]
fn list_of_jobs_says_why_each_waits() {
    let expected = "\
JOB  USER   STATE    NODES   POOL         LEFT  WHY
17   alice  PENDING  -       -               -  its pool failed: n3: log in: refused; Slurm starts it when its time has come
18   bob    RUNNING  n[2-3]  job-18-1  57m 55s  job-18-1.1 is mounted at /rampool/18 on n2
";
    assert_eq!(shown(&Jobs::from(samples::jobs())), expected);
    let silent = ListJobsResponse { silence: Some(samples::failure()), jobs: Vec::new() };
    let expected = "\
Slurm does not answer: connection timed out; retrying; what is known without it:
no jobs that want a pool
";
    assert_eq!(shown(&Jobs::from(silent)), expected);
}

#[test]
fn status_of_a_degraded_pool_shows_alerts_members_and_how_far_the_rebuild_is() {
    let expected = "\
pool          demo (generation 3)
state         degraded
ALERT         n3 was booted anew and lost its memory; n6 takes its place
VOLATILE      it lives in memory: it bears the loss of any one donor, and of more that hold no block in common
owner         alice
age           3h 2m, since 2026-11-18T11:06:40Z
until         2026-11-18T23:06:40Z (8h 57m left), then released with all that is in it
head          n1
mount         /mnt/rampool/demo
device        /dev/md/rp.demo.3
volume        md raid10, 4 wide, chunk 64 KiB
redundancy    mirror; spare n6; any eligible node may take a lost donor's place
members       3 of 4 members in sync, 1 rebuilding
rebuild       [=======>            ] 37 %, 96 MiB of 256 MiB, 2 MiB/s, about 1m 20s left
file system   xfs
backend       rd_mcp
usable        511 MiB (40 % of what is lent)
bytes         100 MiB used (20 %), 400 MiB free of 500 MiB
inodes        3 used (1 %), 249997 free of 250000

DONOR  RACK     SIZE  STATE            MEMBER      DETAIL
n2     r1    256 MiB  ok               in sync
n3     r2    256 MiB  lost its memory  -
n4     r1    256 MiB  ok               in sync
n5     r2    256 MiB  ok               in sync
n6     r1    256 MiB  rebuilding       rebuilding
";
    assert_eq!(shown(&PoolReport::from(samples::mirror())), expected);
}

#[test]
fn a_lease_that_ended_says_what_comes_of_it() {
    let mut pool = samples::mirror();
    pool.expires_ms = samples::CREATED_MS + 3_600_000;
    let until = "until         2026-11-18T12:06:40Z, 2h 2m ago; to be released\n";
    let status = shown(&PoolReport::from(pool.clone()));
    assert!(status.contains(until), "{status}");
    let list = shown(&Pools::from(vec![pool.clone()]));
    assert!(list.contains("alice  3h 2m  ended\n"), "{list}");
    pool.spec = None;
    let until = "until         2026-11-18T12:06:40Z, 2h 2m ago; kept until `rampool down`\n";
    let status = shown(&PoolReport::from(pool));
    assert!(status.contains(until), "{status}");
}

#[test]
fn list_has_a_line_a_pool() {
    let expected = "\
POOL  STATE     SIZE  USED  HEAD  MOUNT              DONORS  JOB  OWNER  AGE    LEFT
demo  ready  511 MiB  20 %  n1    /mnt/rampool/demo       2  -    alice  3h 2m  8h 57m
";
    assert_eq!(shown(&Pools::from(vec![samples::pool()])), expected);
    assert_eq!(shown(&Pools::from(vec![])), "no pools\n");
    for (state, word) in [
        (PoolState::Degraded, "demo  degraded "),
        (PoolState::Failed, "demo  failed "),
        (PoolState::Replacing, "demo  replacing "),
        (PoolState::FailingOver, "demo  failing over "),
    ] {
        let mut pool = samples::pool();
        pool.set_state(state);
        let list = shown(&Pools::from(vec![pool]));
        assert!(list.contains(word), "{list}");
    }
}

#[test]
fn nodes_show_what_they_can_lend_or_why_nothing_is_known() {
    let expected = "\
NODE  REACHABLE    MEMORY  AVAILABLE  LENDABLE     LENT  LOAD  POOLS  DETAIL
n1    yes        2000 MiB   1500 MiB   700 MiB  256 MiB  0.50  demo   drained: memory errors; \
2 unknown objects: `rampool reap n1`
n2    no                -          -         -        -     -  -      connection refused
";
    assert_eq!(shown(&Nodes::from(ListNodesResponse { nodes: samples::nodes() })), expected);
}

#[test]
fn racks_are_shown_where_nodes_are_labelled() {
    let mut nodes = samples::nodes();
    nodes[1].rack = "r2".into();
    let text = shown(&Nodes::from(ListNodesResponse { nodes }));
    let [head, first, second] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(head.starts_with("NODE  RACK  REACHABLE"), "{text}");
    assert!(first.starts_with("n1    -     yes"), "{text}");
    assert!(second.starts_with("n2    r2    no"), "{text}");
}

#[test]
fn after_an_evacuation_the_node_is_shown_with_what_is_still_there() {
    let mut nodes = samples::nodes();
    let evacuated =
        |nodes: &Vec<_>| shown(&Evacuated(Nodes::from(ListNodesResponse { nodes: nodes.clone() })));
    assert!(evacuated(&nodes).ends_with(
        "\nn1 lends nothing; it is still the head of demo\n\n`rampool drain n2` keeps new \
                                         pools off it\n"
    ));
    nodes.truncate(1);
    nodes[0].pools.clear();
    assert_eq!(evacuated(&nodes).lines().count(), 2, "{}", evacuated(&nodes));
}

#[test]
fn a_plan_shows_pieces_and_what_comes_of_them() {
    let expected = "\
DONOR    PIECE  LENDABLE  WAY
n2     256 MiB   700 MiB  network
n1     256 MiB   700 MiB  local

pool          demo
usable        511 MiB (100 % of what is lent) before the file system's own structures
head          n1
mount         /mnt/rampool/demo
volume        md raid0, 2 wide, chunk 64 KiB
redundancy    none: losing any one donor loses all of it
file system   xfs
backend       rd_mcp
patience      30 s for a silent donor
note          losing any one donor loses the pool
";
    assert_eq!(shown(&PlanReport::new("demo".into(), samples::placement())), expected);
}

#[test]
fn a_plan_with_redundancy_shows_racks_spares_and_what_it_bears() {
    let expected = "\
DONOR  RACK    PIECE  LENDABLE  WAY
n2     r1    256 MiB   700 MiB  network
n3     r2    256 MiB   700 MiB  network
n4     r1    256 MiB   700 MiB  network
n5     r2    256 MiB   700 MiB  network
n6     r1    256 MiB   700 MiB  network, spare

pool          demo
usable        511 MiB (40 % of what is lent) before the file system's own structures
head          n1
mount         /mnt/rampool/demo
volume        md raid10, 4 wide, chunk 64 KiB
redundancy    mirror: it bears the loss of any one donor, and of more that hold no block in common
file system   xfs
backend       rd_mcp
patience      30 s for a silent donor
note          n4 and n6 share the rack r1
";
    let placement = samples::mirror().placement.unwrap();
    assert_eq!(shown(&PlanReport::new("demo".into(), placement)), expected);
}

#[test]
fn events_are_in_order_and_failures_in_full() {
    let expected = "\
TIME                      POOL    OPERATION  STEP    NODE  EVENT    TOOK  TEXT
2026-11-18T11:06:40.000Z  demo.3  up         export  n2    done    0.42s  256 MiB reserved
2026-11-18T11:06:41.500Z  demo.3  up         attach  n1    failed         log in to n2's export: \
/usr/sbin/iscsiadm: connection timed out; retrying: is port 3260 of n2 open?
";
    assert_eq!(shown(&Events::from(ListEventsResponse { events: samples::events() })), expected);
}

#[test]
fn doctor_tells_the_worst_first_with_lines_to_copy() {
    let expected = "\
ERROR    n2: mdadm is missing
           fix: apt-get install mdadm
WARNING  n3: swap is on
           fix: swapoff -a
ok       n1: can lend and be head
1 to mend, 1 to look at, 1 as it should be
";
    assert_eq!(shown(&Findings::from(DoctorResponse { findings: samples::findings() })), expected);
}

#[test]
fn the_end_of_up_and_of_down_is_a_few_lines() {
    let mut pool = samples::pool();
    let expected = "\
pool demo is ready: 511 MiB on n1 at /mnt/rampool/demo, from 2 donors, in 2.13s
VOLATILE: it lives in memory: losing any one donor loses all of it
ALERT: n2 is cut off: I/O is held for up to 30 s
remark: n2 has not been heard for 12 s
";
    assert_eq!(shown(&Raised(pool.clone().into())), expected);
    let expected = "\
pool demo (generation 3) is ready: 511 MiB on n1 at /mnt/rampool/demo
ALERT: n2 is cut off: I/O is held for up to 30 s
remark: n2 has not been heard for 12 s
";
    assert_eq!(shown(&Settled(pool.clone().into())), expected);
    let renewed = "pool demo lives until 2026-11-18T23:06:40Z (8h 57m left), then kept\n";
    assert_eq!(shown(&Renewed(pool.clone().into())), renewed);
    pool.remarks.clear();
    pool.alerts.clear();
    pool.set_state(PoolState::Released);
    assert_eq!(shown(&Settled(pool.into())), "pool demo (generation 3) is released\n");
}

#[test]
fn reap_shows_what_it_would_remove_and_says_that_it_did_not() {
    let answer = |holdings| ReapResponse { holdings };
    let expected = "\
POOL   KIND        SIZE  NAME                              DETAIL
old.7  ramdisk  128 MiB  rd_mcp_9/rp.old.7
old.7  export         -  iqn.2026-11.org.rampool:old.7.n1

nothing was removed: `rampool reap n1 --apply` removes these for good
";
    let found = answer(samples::unknown_holdings());
    assert_eq!(shown(&ReapReport::new("n1".into(), false, found.clone())), expected);
    let removed = shown(&ReapReport::new("n1".into(), true, found));
    assert!(removed.ends_with("\nremoved from n1\n"), "{removed}");
    let none = shown(&ReapReport::new("n1".into(), true, answer(vec![])));
    assert_eq!(none, "n1 holds nothing that the controller does not know\n");
}

#[test]
fn recover_shows_pools_and_refusals_and_whether_anything_was_done() {
    let expected = "\
POOL  STATE     SIZE  USED  HEAD  MOUNT              DONORS  JOB  OWNER  AGE    LEFT
demo  ready  511 MiB  20 %  n1    /mnt/rampool/demo       2  -    alice  3h 2m  8h 57m

refused: old.7: no node holds its volume; its ramdisk is on n1
nothing was changed: `rampool recover --apply` takes these over
";
    assert_eq!(shown(&RecoverReport::new(false, samples::recovery())), expected);
    let done = shown(&RecoverReport::new(true, samples::recovery()));
    assert!(done.ends_with("\ntaken over\n"), "{done}");
    let none = shown(&RecoverReport::new(true, RecoverResponse::default()));
    assert_eq!(none, "there is no pool to take over\n");
}

#[test]
fn colour_is_there_when_asked_for_and_a_narrow_terminal_breaks_lines() {
    let look = Look { width: Some(60), colour: true, now: samples::now() };
    let text = Pools::from(vec![samples::pool()]).text(&look);
    assert!(text.contains('\x1b'), "{text}");
    let nodes = Nodes::from(ListNodesResponse { nodes: samples::nodes() });
    let narrow = nodes.text(&Look { colour: false, ..look });
    assert!(narrow.lines().all(|line| line.len() <= 60), "{narrow}");
}
