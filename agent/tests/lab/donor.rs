//! Memory and its way out, on one real kernel.

use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{self, Backend, FailureKind, LocalWay, ReservedWay};

use crate::cases::{cases, in_turn};
use crate::cluster::{
    Agent, Cluster, HEAD, MIB, assert_as_before, demo, export_request, export_request_of, traces,
};
use crate::{cage, serving, shape, slurm};

#[test]
fn a_donor_lends_memory_and_gets_all_of_it_back() {
    let cluster = Cluster::boot("agent-donor", 1, 1024);
    let cases = cases![
        what_the_floor_keeps_is_not_lent_and_the_refusal_leaves_nothing,
        every_backend_reserves_in_full_and_gives_all_back,
        a_taken_port_is_named_and_nothing_stays,
        brd_serves_one_pool_and_never_beside_another_user,
        a_local_piece_is_a_disk_of_the_node_itself,
        a_reserved_piece_is_kept_and_opened_to_its_head,
        after_kill_9_the_agent_knows_again_and_ends_what_was_begun,
        cage::the_controller_gets_nothing_that_is_not_rampools,
        serving::watchers_hear_of_changes_at_once_and_of_nothing_at_each_heartbeat,
        serving::nobody_but_the_controller_is_obeyed,
        serving::a_caller_who_leaves_finds_the_export_made,
        serving::many_pools_at_a_time_never_get_more_than_there_is,
        slurm::a_node_under_slurm_lends_to_jobs_elsewhere_what_slurm_gives_to_nobody,
        shape::mkfs_takes_every_size_from_the_smallest_to_exbibytes,
    ];
    in_turn(cases, |case| {
        case(&cluster);
        cluster.assert_as_at_boot();
    });
    // Last: what is the site's own stays.
    a_sites_own_target_is_as_it_was(&cluster);
}

/// Slack for what a kernel takes and gives at its own pace.
const SLACK: u64 = 24 * MIB;

fn lends_and_takes_back(agent: &Agent, backend: Backend) {
    let before = (traces(&agent.node), agent.available());
    let export = agent.export(backend, 200).unwrap();
    assert_eq!((export.bytes, export.already), (200 * MIB, false), "{backend:?}");
    let target = export.target.clone().unwrap();
    assert_eq!((target.lun, target.port), (1, 3260));
    let chap = target.chap.unwrap();
    assert!(chap.password.len() >= 32 && chap.password != chap.mutual_password);
    let taken = before.1.saturating_sub(agent.available());
    assert!(taken + SLACK >= 200 * MIB, "{backend:?} reserved only {} MiB", taken / MIB);

    let again = agent.export(backend, 200).unwrap();
    assert!(again.already);
    assert_eq!((again.serial, again.target), (export.serial, export.target), "{backend:?}");
    let other = agent.export(backend, 100).unwrap_err();
    assert_eq!(other.kind(), FailureKind::Conflict, "{other}");
    let memory = agent.inventory().unwrap().memory.unwrap();
    assert_eq!(memory.lent_bytes, 200 * MIB);

    let destroyed = agent.destroy().unwrap();
    assert_eq!((destroyed.already, destroyed.freed_bytes), (false, 200 * MIB), "{backend:?}");
    assert!(agent.destroy().unwrap().already);
    assert_eq!(agent.holdings(), Vec::<String>::new());
    let kept = before.1.saturating_sub(agent.available());
    assert!(kept <= SLACK, "{backend:?} kept {} MiB", kept / MIB);
    assert_as_before(&agent.node, &before.0);
}

fn every_backend_reserves_in_full_and_gives_all_back(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    // The first export loads modules, which stay.
    agent.export(Backend::RdMcp, 8).unwrap();
    agent.destroy().unwrap();
    agent.export(Backend::Tmpfs, 8).unwrap();
    agent.destroy().unwrap();
    for backend in [Backend::RdMcp, Backend::Tmpfs, Backend::Brd] {
        lends_and_takes_back(&agent, backend);
    }
}

fn what_the_floor_keeps_is_not_lent_and_the_refusal_leaves_nothing(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    let before = traces(&agent.node);
    let refused = agent.export(Backend::RdMcp, 4096).unwrap_err();
    assert_eq!((refused.kind(), refused.node.as_str()), (FailureKind::NotNow, "n1"), "{refused}");
    assert!(refused.said.contains("4096 MiB") && refused.said.contains("128 MiB"), "{refused}");
    let odd = agent.create_export(rampool_proto::v1::CreateExportRequest {
        bytes: 1000,
        ..export_request(Backend::RdMcp, 1)
    });
    assert_eq!(odd.unwrap_err().kind(), FailureKind::Invalid);
    assert_as_before(&agent.node, &before);
}

fn a_taken_port_is_named_and_nothing_stays(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    let squat = "use Socket; socket(S,PF_INET,SOCK_STREAM,6); \
                 bind(S,sockaddr_in(3260,INADDR_ANY)) or die; listen(S,1); sleep 600";
    agent.node.daemon("squatter", ["perl", "-e", squat]).unwrap();
    agent.node.sh("until ss -ltn | grep -q :3260; do sleep 0.05; done").unwrap();
    let before = traces(&agent.node);
    let refused = agent.export(Backend::RdMcp, 16).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::NotNow, "{refused}");
    assert!(refused.to_string().contains("10.77.0.11:3260"), "{refused}");
    assert_as_before(&agent.node, &before);
    agent.node.sh("kill $(pidof perl); while pidof perl; do sleep 0.05; done").unwrap();
}

fn brd_serves_one_pool_and_never_beside_another_user(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    agent.node.sh("modprobe brd rd_nr=2 rd_size=1024").unwrap();
    let refused = agent.export(Backend::Brd, 16).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::NotNow, "{refused}");
    assert!(agent.destroy().unwrap().already);
    agent.node.sh("test -b /dev/ram1 && modprobe -r brd").unwrap();
    agent.export(Backend::Brd, 16).unwrap();
    let second = export_request_of(("other", 1), Backend::Brd, 16);
    let refused = agent.create_export(second).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::NotNow, "{refused}");
    assert!(refused.said.contains("demo.1"), "{refused}");
    agent.destroy().unwrap();
    agent.node.sh("! test -e /sys/module/brd").unwrap();
}

fn a_local_piece_is_a_disk_of_the_node_itself(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    let mut request = export_request(Backend::RdMcp, 32);
    request.way = Some(Way::Local(LocalWay {}));
    let export = agent.create_export(request.clone()).unwrap();
    assert!(export.target.is_none());
    assert!(agent.create_export(request).unwrap().already);
    let attached = agent.attach_to(&[export]).unwrap();
    assert_eq!(attached.disks[0].bytes, 32 * MIB);
    agent
        .node
        .sh(&format!("dd if=/dev/zero of={} bs=1M count=32 oflag=direct", attached.disks[0].device))
        .unwrap();
    let conflict = agent.export(Backend::RdMcp, 32).unwrap_err();
    assert_eq!(conflict.kind(), FailureKind::Conflict, "{conflict}");
    assert_eq!(agent.destroy().unwrap().freed_bytes, 32 * MIB);
    agent.node.sh("! ls /sys/class/scsi_disk/* 2>/dev/null").unwrap();
    assert!(agent.holdings().is_empty());
}

fn a_reserved_piece_is_kept_and_opened_to_its_head(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    let reserve = || {
        let way = Some(Way::Reserved(ReservedWay {}));
        v1::CreateExportRequest { way, ..export_request(Backend::RdMcp, 16) }
    };
    let reserved = agent.create_export(reserve()).unwrap();
    assert!(reserved.target.is_none() && !reserved.already);
    assert_eq!(agent.inventory().unwrap().memory.unwrap().lent_bytes, 16 * MIB);
    cluster.kill_agent("n1");
    let agent = cluster.start("n1");
    assert!(agent.create_export(reserve()).unwrap().already, "it knows again");
    let opened = agent.export(Backend::RdMcp, 16).unwrap();
    assert!(!opened.already && opened.target.is_some());
    assert_eq!(opened.serial, reserved.serial);
    // One that came late changes nothing.
    assert!(agent.create_export(reserve()).unwrap().already);
    assert_eq!(agent.export(Backend::RdMcp, 16).unwrap().target, opened.target);
    assert_eq!(agent.destroy().unwrap().freed_bytes, 16 * MIB);
    agent.create_export(reserve()).unwrap();
    assert_eq!(agent.destroy().unwrap().freed_bytes, 16 * MIB);
    assert!(agent.holdings().is_empty());
}

fn after_kill_9_the_agent_knows_again_and_ends_what_was_begun(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    let before = traces(&agent.node);
    let export = agent.export(Backend::RdMcp, 16).unwrap();
    cluster.kill_agent("n1");
    let agent = cluster.start("n1");
    let again = agent.export(Backend::RdMcp, 16).unwrap();
    assert!(again.already);
    assert_eq!(again.target, export.target, "the secrets are the same");
    // Each state that a crash can leave, from the first step to the last.
    let target = "/sys/kernel/config/target";
    let iqn = "iqn.2026-11.org.rampool:demo.1.n1";
    agent.destroy().unwrap();
    let states = [
        format!("mkdir {target}/core/rd_mcp_7702000"),
        format!("mkdir -p {target}/core/rd_mcp_7702000/rp.demo.1"),
        format!("printf rd_pages=4096 > {target}/core/rd_mcp_7702000/rp.demo.1/control"),
        format!("printf 1 > {target}/core/rd_mcp_7702000/rp.demo.1/enable"),
        format!("mkdir -p {target}/iscsi/{iqn}"),
        format!("mkdir -p {target}/iscsi/{iqn}/tpgt_1"),
        format!("mkdir {target}/iscsi/{iqn}/tpgt_1/lun/lun_1"),
        format!(
            "ln -s {target}/core/rd_mcp_7702000/rp.demo.1 \
                 {target}/iscsi/{iqn}/tpgt_1/lun/lun_1/ramdisk"
        ),
        format!("mkdir {target}/iscsi/{iqn}/tpgt_1/np/10.77.0.11:3260"),
        format!("mkdir {target}/iscsi/{iqn}/tpgt_1/acls/{HEAD}"),
    ];
    for last in 1..=states.len() {
        let build = states[..last].join(" && ");
        agent.node.sh(&build).unwrap();
        // A first step is not ours by name yet: destroying finds nothing, and sweeps it.
        agent.destroy().unwrap();
        assert_as_before(&agent.node, &before);
        // The last four need what identify() sets before the link: they are made by hand only
        // to be taken apart.
        if last <= 6 {
            agent.node.sh(&build).unwrap();
            let made = agent.export(Backend::RdMcp, 16).unwrap();
            assert!(!made.already, "after {build}");
            agent.destroy().unwrap();
            assert_as_before(&agent.node, &before);
        }
    }
}

fn a_sites_own_target_is_as_it_was(cluster: &Cluster) {
    let agent = cluster.agent("n1");
    agent
        .node
        .sh("cd /sys/kernel/config/target; mkdir -p core/rd_mcp_0/site iscsi/iqn.2003-01.org.site:x/tpgt_1; \
             printf rd_pages=256 > core/rd_mcp_0/site/control; printf 1 > core/rd_mcp_0/site/enable; \
             mkdir iscsi/iqn.2003-01.org.site:x/tpgt_1/lun/lun_0; \
             ln -s /sys/kernel/config/target/core/rd_mcp_0/site iscsi/iqn.2003-01.org.site:x/tpgt_1/lun/lun_0/s; \
             mkdir iscsi/iqn.2003-01.org.site:x/tpgt_1/np/10.77.0.11:3260; \
             printf 1 > iscsi/iqn.2003-01.org.site:x/tpgt_1/enable; \
             mkdir -p /run/site; mount -t tmpfs -o size=1m rp.demo.1 /run/site")
        .unwrap();
    let before = traces(&agent.node);
    for backend in [Backend::RdMcp, Backend::Tmpfs, Backend::Brd] {
        agent.export(backend, 16).unwrap();
        agent.destroy().unwrap();
    }
    assert_as_before(&agent.node, &before);
    assert!(agent.holdings().is_empty());
    assert!(
        agent
            .destroy_export(rampool_proto::v1::DestroyExportRequest {
                pool: demo(),
                force: true,
                ..Default::default()
            })
            .unwrap()
            .already
    );
}
