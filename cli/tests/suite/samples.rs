//! Messages as a controller might send them. The README's examples are these.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rampool_proto::v1::*;

const MIB: u64 = 1 << 20;

/// 2026-11-18T11:06:40Z.
pub(crate) const CREATED_MS: u64 = 1_795_000_000_000;

/// Three hours and a bit after the pool was created.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(CREATED_MS + 3 * 3_600_000 + 125_000)
}

pub(crate) fn id() -> PoolId {
    PoolId { name: "demo".into(), generation: 3 }
}

pub(crate) fn placement() -> Placement {
    let piece = |donor: &str, local| Piece {
        donor: donor.into(),
        bytes: 256 * MIB,
        local,
        lendable_bytes: 700 * MIB,
        ..Piece::default()
    };
    Placement {
        head: "n1".into(),
        pieces: vec![piece("n2", false), piece("n1", true)],
        backend: Backend::RdMcp.into(),
        layout: VolumeLayout::Md.into(),
        filesystem: FilesystemKind::Xfs.into(),
        chunk_kib: 64,
        mount_point: "/mnt/rampool/demo".into(),
        usable_bytes: 511 * MIB,
        patience_seconds: 30,
        notes: vec!["losing any one donor loses the pool".into()],
        redundancy: Redundancy::None.into(),
        usable_share: 1.0,
        ..Placement::default()
    }
}

pub(crate) fn pool() -> Pool {
    let donor = |node: &str, state: &str, detail: &str| DonorStatus {
        node: node.into(),
        bytes: 256 * MIB,
        state: state.into(),
        detail: detail.into(),
    };
    Pool {
        id: Some(id()),
        state: PoolState::Ready.into(),
        spec: Some(PoolSpec {
            name: "demo".into(),
            owner: "alice".into(),
            uid: 1000,
            gid: 100,
            ..PoolSpec::default()
        }),
        placement: Some(placement()),
        donors: vec![donor("n2", "unreachable", "no heartbeat for 12 s"), donor("n1", "ok", "")],
        usage: Some(Usage {
            device: "/dev/md/rp.demo.3".into(),
            mount_point: "/mnt/rampool/demo".into(),
            bytes_total: 500 * MIB,
            bytes_free: 400 * MIB,
            inodes_total: 250_000,
            inodes_free: 249_997,
        }),
        created_ms: CREATED_MS,
        ready_ms: CREATED_MS + 2_130,
        expires_ms: CREATED_MS + 12 * 3_600_000,
        remarks: vec!["n2 has not been heard for 12 s".into()],
        volatile_memory: true,
        health: Some(VolumeHealth {
            layout: VolumeLayout::Md.into(),
            redundancy: Redundancy::None.into(),
            chunk_kib: 64,
            members: vec![member("n2", MemberState::Faulty), member("n1", MemberState::InSync)],
            ..VolumeHealth::default()
        }),
        alerts: vec!["n2 is cut off: I/O is held for up to 30 s".into()],
    }
}

fn member(donor: &str, state: MemberState) -> Member {
    // A UUID; which one matters to nobody here.
    let serial = format!("5f1c0000-0000-4000-8000-{:0>12}", donor.trim_start_matches('n'));
    Member { serial, donor: donor.into(), state: state.into() }
}

/// A mirror of four, with racks and a spare, that lost a donor and is rebuilt.
pub(crate) fn mirror() -> Pool {
    let piece = |donor: &str, rack: &str| Piece {
        donor: donor.into(),
        bytes: 256 * MIB,
        lendable_bytes: 700 * MIB,
        rack: rack.into(),
        ..Piece::default()
    };
    let mut pool = pool();
    pool.set_state(PoolState::Degraded);
    pool.placement = Some(Placement {
        pieces: vec![piece("n2", "r1"), piece("n3", "r2"), piece("n4", "r1"), piece("n5", "r2")],
        spares: vec![piece("n6", "r1")],
        redundancy: Redundancy::Mirror.into(),
        usable_share: 0.4,
        notes: vec!["n4 and n6 share the rack r1".into()],
        ..placement()
    });
    let status = |node: &str, state: &str| DonorStatus {
        node: node.into(),
        bytes: 256 * MIB,
        state: state.into(),
        detail: String::new(),
    };
    pool.donors = vec![
        status("n2", "ok"),
        status("n3", "lost its memory"),
        status("n4", "ok"),
        status("n5", "ok"),
        status("n6", "rebuilding"),
    ];
    pool.spec = pool.spec.map(|spec| PoolSpec {
        auto_replace: Some(true),
        at_expiry: AtExpiry::Release.into(),
        ..spec
    });
    pool.health = Some(VolumeHealth {
        redundancy: Redundancy::Mirror.into(),
        members: vec![
            member("n2", MemberState::InSync),
            member("n6", MemberState::Rebuilding),
            member("n4", MemberState::InSync),
            member("n5", MemberState::InSync),
        ],
        lacking: 1,
        action: "recover".into(),
        done_bytes: 96 * MIB,
        total_bytes: 256 * MIB,
        bytes_per_second: 2 * MIB,
        ..VolumeHealth::default()
    });
    pool.alerts = vec!["n3 was booted anew and lost its memory; n6 takes its place".into()];
    pool.remarks.clear();
    pool
}

/// What a node holds of an assembly that the controller does not know.
pub(crate) fn unknown_holdings() -> Vec<Holding> {
    let holding = |kind: HoldingKind, name: &str, bytes| Holding {
        pool: Some(PoolId { name: "old".into(), generation: 7 }),
        kind: kind.into(),
        name: name.into(),
        bytes,
        ..Holding::default()
    };
    vec![
        holding(HoldingKind::Ramdisk, "rd_mcp_9/rp.old.7", 128 * MIB),
        holding(HoldingKind::Export, "iqn.2026-11.org.rampool:old.7.n1", 0),
    ]
}

pub(crate) fn recovery() -> RecoverResponse {
    let refused = "old.7: no node holds its volume; its ramdisk is on n1".into();
    RecoverResponse { pools: vec![pool()], refused: vec![refused] }
}

pub(crate) fn nodes() -> Vec<NodeStatus> {
    let heard = NodeStatus {
        node: "n1".into(),
        reachable: true,
        inventory: Some(Inventory {
            node: "n1".into(),
            boot_id: "5b0e2f6e-6f0c-4d0e-9a53-0c6d1d0f7a11".into(),
            agent_version: "0.1.0".into(),
            kernel_release: "6.1.0-42-amd64".into(),
            memory: Some(Memory {
                total_bytes: 2000 * MIB,
                available_bytes: 1500 * MIB,
                lendable_bytes: 700 * MIB,
                floor_bytes: 512 * MIB,
                lent_bytes: 256 * MIB,
            }),
            data_address: "10.0.0.1".into(),
            load: vec![0.5, 0.25, 0.125],
            holdings: vec![Holding {
                pool: Some(id()),
                kind: HoldingKind::Ramdisk.into(),
                name: "rd_mcp_7/demo.3".into(),
                bytes: 256 * MIB,
                ..Holding::default()
            }],
            ..Inventory::default()
        }),
        pools: vec!["demo".into()],
        last_seen_ms: CREATED_MS,
        drained: true,
        drain_reason: "memory errors".into(),
        unknown: unknown_holdings(),
        ..NodeStatus::default()
    };
    let away = NodeStatus {
        node: "n2".into(),
        detail: "connection refused".into(),
        ..NodeStatus::default()
    };
    vec![heard, away]
}

pub(crate) fn failure() -> Failure {
    Failure::new(FailureKind::Failed, "log in to n2's export")
        .on("n1")
        .by("/usr/sbin/iscsiadm")
        .saying("connection timed out\nretrying")
        .advising("is port 3260 of n2 open?")
}

pub(crate) fn event(kind: EventKind, step: &str, node: &str, text: &str) -> Event {
    Event {
        time_ms: CREATED_MS,
        pool: Some(id()),
        operation: "up".into(),
        step: step.into(),
        node: node.into(),
        kind: kind.into(),
        text: text.into(),
        ..Event::default()
    }
}

pub(crate) fn events() -> Vec<Event> {
    let done = Event {
        sequence: 1,
        done: 2,
        total: 2,
        took_ms: 425,
        ..event(EventKind::Done, "export", "n2", "256 MiB reserved")
    };
    let failed = Event {
        sequence: 2,
        time_ms: CREATED_MS + 1_500,
        failure: Some(failure()),
        ..event(EventKind::Failed, "attach", "n1", "")
    };
    vec![failed, done]
}

pub(crate) fn jobs() -> ListJobsResponse {
    let id = |job| Some(JobId { cluster: "lab".into(), job });
    let waits = JobStatus {
        id: id(17),
        user: "alice".into(),
        state: "PENDING".into(),
        reason: "BeginTime".into(),
        failures: 1,
        text: "its pool failed: n3: log in: refused; Slurm starts it when its time has come".into(),
        ..JobStatus::default()
    };
    let runs = JobStatus {
        id: id(18),
        user: "bob".into(),
        state: "RUNNING".into(),
        nodes: "n[2-3]".into(),
        pool: "job-18-1".into(),
        expires_ms: CREATED_MS + 4 * 3_600_000,
        text: "job-18-1.1 is mounted at /rampool/18 on n2".into(),
        ..JobStatus::default()
    };
    ListJobsResponse { jobs: vec![runs, waits], silence: None }
}

pub(crate) fn findings() -> Vec<Finding> {
    let finding = |node: &str, severity: Severity, text: &str, fix: &str| Finding {
        node: node.into(),
        severity: severity.into(),
        text: text.into(),
        fix: fix.into(),
    };
    vec![
        finding("n1", Severity::Ok, "can lend and be head", ""),
        finding("n2", Severity::Error, "mdadm is missing", "apt-get install mdadm"),
        finding("n3", Severity::Warning, "swap is on", "swapoff -a"),
    ]
}
