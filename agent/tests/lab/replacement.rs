//! Members of redundant volumes change places: moved in use, begun anew, given up.

use std::time::Duration;

use rampool_proto::v1::{self, Backend, FailureKind, MemberState, Redundancy};

use crate::cases::cases;
use crate::cluster::{Cluster, MIB, demo, export_request};
use crate::load::Load;
use crate::ring::{PIECE, POINT, Ring, each_with_fresh_exports};

#[test]
fn members_of_redundant_volumes_change_places() {
    let cluster = Cluster::boot("agent-replacement", 6, 640);
    each_with_fresh_exports(
        &cluster,
        cases![
            a_donor_that_lost_its_memory_begins_anew_in_its_own_place,
            a_spare_that_is_let_go_leaves_the_volume_first,
            a_healthy_member_is_moved_under_load_and_kill_9_of_the_agent,
            a_new_disk_that_dies_leaves_the_volume_as_it_was,
        ],
    );
}

fn a_donor_that_lost_its_memory_begins_anew_in_its_own_place(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    let (head, donor) = (&ring.head, &ring.donors[1]);
    let fill = "dd if=/dev/urandom of=/rampool/demo/f bs=1M count=160 conv=fsync 2>&1; \
                md5sum /rampool/demo/f > /tmp/sum";
    head.node.sh(fill).unwrap();
    donor.node.kill().unwrap();
    let early = head.detach_donor("n3").unwrap_err();
    assert_eq!(early.kind(), FailureKind::Busy, "it is waited for: {early}");
    donor.node.boot().unwrap();
    let donor = ring.cluster.start("n3");
    ring.until("degraded", Duration::from_secs(90), |health| health.lacking == 1);
    assert_eq!(head.detach_donor("n2").unwrap_err().kind(), FailureKind::Busy);
    assert!(!head.detach_donor("n3").unwrap().already);
    assert!(head.detach_donor("n3").unwrap().already);
    let health = ring.health();
    assert_eq!((health.members.len(), health.lacking), (4, 1), "{health:?}");

    let request =
        |carved| v1::CreateExportRequest { carved, ..export_request(Backend::RdMcp, PIECE) };
    let new = donor.create_export(request(2)).unwrap();
    assert!(!new.already && new.carved == 2 && new.serial != ring.exports[1].serial, "{new:?}");
    assert!(donor.create_export(request(2)).unwrap().already);
    ring.attach(std::slice::from_ref(&new));
    let join = v1::ReplaceMemberRequest {
        pool: demo(),
        old_serial: String::new(),
        new_serial: new.serial.clone(),
    };
    head.replace_member(join.clone()).unwrap();
    head.replace_member(join).unwrap();
    let health = ring.health();
    assert_eq!((health.members.len(), health.lacking), (4, 0), "{health:?}");

    // What comes late, and was meant for the old memory.
    let destroy = |carved| v1::DestroyExportRequest { pool: demo(), force: true, carved };
    assert!(donor.destroy_export(destroy(0)).unwrap().already);
    assert_eq!(donor.create_export(request(0)).unwrap_err().kind(), FailureKind::Conflict);
    assert_eq!(head.detach_donor("n3").unwrap_err().kind(), FailureKind::Busy);
    let held = donor.holdings();
    assert!(held.len() == 2 && held.iter().any(|held| held.ends_with("/rp.demo.2")), "{held:?}");

    // The other half of the pair goes: what was copied serves alone.
    ring.cut(0);
    head.node.sh("echo 3 > /proc/sys/vm/drop_caches; md5sum -c /tmp/sum").unwrap();
    ring.down();
    ring.heal(0);
    assert_eq!(donor.destroy_export(destroy(2)).unwrap().freed_bytes, PIECE * MIB);
}

fn a_spare_that_is_let_go_leaves_the_volume_first(ring: &Ring<'_>) {
    ring.up(Redundancy::Parity, 3, 1);
    let busy = ring.head.detach_donor("n4").unwrap_err();
    assert_eq!(busy.kind(), FailureKind::Busy, "a member: {busy}");
    ring.head.detach_donor("n5").unwrap();
    assert!(ring.head.detach_donor("n5").unwrap().already);
    let health = ring.health();
    assert_eq!((health.lacking, health.members.len()), (0, 3), "{health:?}");
    assert_eq!(ring.state(&health, 3), MemberState::Missing, "{health:?}");
    ring.down();
}

fn a_healthy_member_is_moved_under_load_and_kill_9_of_the_agent(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    ring.attach(&ring.exports[4..]);
    // Slow enough to be caught in the middle.
    let speed = "/sys/block/md_rp.demo.1/md/sync_speed";
    ring.head.node.sh(&format!("echo 4000 > {speed}_min; echo 4000 > {speed}_max")).unwrap();
    let load = Load::start(&ring.head.node, POINT);
    ring.head.begin_to_replace(ring.replacement(0, 4));
    ring.until("moving", Duration::from_secs(90), |health| health.done_bytes > 0);
    let health = ring.health();
    assert_eq!((health.lacking, health.action.as_str()), (0, "recover"), "{health:?}");
    assert_eq!(ring.state(&health, 4), MemberState::Rebuilding, "{health:?}");
    assert_eq!(ring.state(&health, 0), MemberState::InSync, "{health:?}");
    ring.cluster.kill_agent("n1");
    // As an mdadm that is killed with its agent leaves it.
    let action = "/sys/block/md_rp.demo.1/md/sync_action";
    let freeze = format!("echo frozen > {action}; grep -qx frozen {action}");
    ring.head.node.sh(&freeze).unwrap();
    ring.cluster.start_agent("n1");
    ring.until("copying again", Duration::from_secs(90), |health| health.action == "recover");
    let done = ring.health().done_bytes;
    // By itself, too: whoever asks again has it copy on.
    ring.head.node.sh(&freeze).unwrap();
    ring.head.node.sh(&format!("echo 400000 > {speed}_max; echo 400000 > {speed}_min")).unwrap();
    let seen = ring.replace(0, 4).unwrap();
    assert!(seen.iter().all(|step| step.done_bytes >= done), "begun anew: {done} {seen:?}");
    load.end();
    let health = ring.health();
    assert_eq!(ring.state(&health, 0), MemberState::Missing, "{health:?}");
    assert_eq!((health.lacking, health.members.len()), (0, 4), "{health:?}");
    // Nothing of the old one is used any more.
    ring.head.detach_donor("n2").unwrap();
    ring.down();
}

fn a_new_disk_that_dies_leaves_the_volume_as_it_was(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    ring.attach(&ring.exports[4..]);
    let speed = "/sys/block/md_rp.demo.1/md/sync_speed";
    ring.head.node.sh(&format!("echo 4000 > {speed}_min; echo 4000 > {speed}_max")).unwrap();
    let refused = std::thread::scope(|scope| {
        let call = scope.spawn(|| ring.replace(2, 4).unwrap_err());
        ring.until("moving", Duration::from_secs(90), |health| health.done_bytes > 0);
        ring.cut(4);
        call.join().unwrap()
    });
    assert_eq!(refused.kind(), FailureKind::Failed, "{refused}");
    assert!(refused.said.contains("failed while it was being filled"), "{refused}");
    let health = ring.health();
    assert_eq!((health.lacking, health.members.len()), (0, 4), "{health:?}");
    assert_eq!(ring.state(&health, 2), MemberState::InSync, "{health:?}");
    ring.head.detach_donor("n6").unwrap();
    ring.down();
    ring.heal(4);
}
