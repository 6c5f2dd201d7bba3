//! What people see, to the letter.

use rampool::output::{
    Events, Findings, Nodes, PlanReport, PoolReport, Pools, Raised, Released, Report,
};
use rampool::render::look::Look;
use rampool_proto::v1::{DoctorResponse, ListEventsResponse, ListNodesResponse, PoolState};

use crate::samples;

fn shown(report: &impl Report) -> String {
    report.text(&Look { width: None, colour: false, now: samples::now() })
}

#[test]
fn status_shows_capacity_donors_and_that_it_is_volatile() {
    let expected = "\
pool          demo (generation 3)
state         ready
VOLATILE      it lives in memory: if a donor or the head fails, all of it is lost
owner         alice
age           3h 2m, since 2026-11-18T11:06:40Z
until         2026-11-18T23:06:40Z (8h 57m left)
head          n1
mount         /mnt/rampool/demo
device        /dev/md/rp.demo.3
volume        md raid0, 2 wide, chunk 64 KiB
file system   xfs
backend       rd_mcp
usable        511 MiB
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
fn list_has_a_line_a_pool() {
    let expected = "\
POOL  STATE     SIZE  USED  HEAD  MOUNT              DONORS  OWNER  AGE    LEFT
demo  ready  511 MiB  20 %  n1    /mnt/rampool/demo       2  alice  3h 2m  8h 57m
";
    assert_eq!(shown(&Pools::from(vec![samples::pool()])), expected);
    assert_eq!(shown(&Pools::from(vec![])), "no pools\n");
}

#[test]
fn nodes_show_what_they_can_lend_or_why_nothing_is_known() {
    let expected = "\
NODE  REACHABLE    MEMORY  AVAILABLE  LENDABLE     LENT  LOAD  POOLS  DETAIL
n1    yes        2000 MiB   1500 MiB   700 MiB  256 MiB  0.50  demo
n2    no                -          -         -        -     -  -      connection refused
";
    assert_eq!(shown(&Nodes::from(ListNodesResponse { nodes: samples::nodes() })), expected);
}

#[test]
fn a_plan_shows_pieces_and_what_comes_of_them() {
    let expected = "\
DONOR    PIECE  LENDABLE  WAY
n2     256 MiB   700 MiB  network
n1     256 MiB   700 MiB  local

pool          demo
usable        511 MiB before the file system's own structures
head          n1
mount         /mnt/rampool/demo
volume        md raid0, 2 wide, chunk 64 KiB
file system   xfs
backend       rd_mcp
patience      30 s for a silent donor
note          losing any one donor loses the pool
";
    assert_eq!(shown(&PlanReport::new("demo".into(), samples::placement())), expected);
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
VOLATILE: it lives in memory; if a donor or the head fails, all of it is lost
remark: n2 has not been heard for 12 s
";
    assert_eq!(shown(&Raised(pool.clone().into())), expected);
    pool.remarks.clear();
    pool.set_state(PoolState::Released);
    assert_eq!(shown(&Released(pool.into())), "pool demo (generation 3) is released\n");
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
