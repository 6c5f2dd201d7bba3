//! Redundant volumes on real kernels: donors die, come back and are replaced while data is
//! written and read.

use std::time::{Duration, Instant};

use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{
    self, Backend, Export, FailureKind, FilesystemKind, MemberState, Redundancy, VolumeHealth,
    VolumeLayout,
};

use crate::cases::{Case, cases, in_turn};
use crate::cluster::{Agent, Answer, Cluster, HEAD, MIB, demo, export_request};
use crate::load::Load;

const POINT: &str = "/rampool/demo";

/// What each donor lends, in MiB.
const PIECE: u64 = 192;

/// Seconds that a redundant pool waits for a silent donor.
const PATIENCE: u32 = 7;

/// The patience, and the time to do what was held again on the other copy. Users are promised
/// 10 s; the rest is for a lab whose two cores serve six kernels, and maybe another lab.
const LONGEST_STALL: Duration = Duration::from_secs(14);

#[test]
fn redundant_volumes_outlive_their_donors() {
    let cluster = Cluster::boot("agent-redundancy", 6, 640);
    each_with_fresh_exports(
        &cluster,
        cases![
            a_pair_that_cannot_be_is_refused_beforehand,
            parity_over_three_bears_one_loss,
            double_parity_over_four_bears_two_losses,
            a_mirror_goes_on_without_a_donor_and_takes_another,
            a_donor_that_was_cut_off_resynchronises_by_the_bitmap,
            a_donor_that_lost_its_memory_begins_anew_in_its_own_place,
            a_spare_takes_over_by_itself,
            a_spare_that_is_let_go_leaves_the_volume_first,
            a_healthy_member_is_moved_under_load_and_kill_9_of_the_agent,
            a_new_disk_that_dies_leaves_the_volume_as_it_was,
            parity_groups_each_bear_a_loss,
            a_redundant_volume_is_put_together_again_without_a_member,
            a_volume_whose_head_was_lost_just_after_a_copy_takes_the_new_disk_for_the_old,
            parity_that_was_written_to_is_not_forced_without_a_member,
            a_logical_volume_is_moved_under_load_and_kill_9_of_the_agent,
            a_logical_volume_is_stopped_and_put_together_in_the_middle_of_a_move,
            a_logical_volume_whose_new_disk_dies_is_as_it_was,
            a_logical_volume_is_put_together_without_the_new_disk_of_a_move,
            a_logical_volume_is_moved_though_an_empty_disk_is_gone,
            a_logical_volume_is_put_together_though_an_empty_disk_is_gone,
            an_empty_disk_of_a_logical_volume_leaves_its_group_before_its_session_ends,
        ],
    );
}

const DONORS: [&str; 5] = ["n2", "n3", "n4", "n5", "n6"];

/// `n1` as the head; the others lend it memory that was zeroed for this case.
struct Ring<'a> {
    cluster: &'a Cluster,
    head: Agent,
    donors: Vec<Agent>,
    exports: Vec<Export>,
}

fn each_with_fresh_exports<'a>(cluster: &'a Cluster, cases: &[Case<Ring<'a>>]) {
    in_turn(cases, |case| {
        let ring = Ring::lend(cluster);
        case(&ring);
        for name in DONORS {
            let request = v1::DestroyExportRequest {
                pool: demo(),
                // A donor that was cut off may still count a session that has ended.
                force: true,
                ..Default::default()
            };
            // By a connection of its own: that to a donor that was cut off may be about to end.
            cluster.agent(name).destroy_export(request).unwrap();
        }
        cluster.assert_as_at_boot();
    });
}

impl<'a> Ring<'a> {
    fn lend(cluster: &'a Cluster) -> Self {
        let donors: Vec<_> = DONORS.iter().map(|name| cluster.agent(name)).collect();
        let exports = std::thread::scope(|scope| {
            let lend = |donor| scope.spawn(move || Agent::export(donor, Backend::RdMcp, PIECE));
            let lent: Vec<_> = donors.iter().map(lend).collect();
            lent.into_iter().map(|export| export.join().unwrap().unwrap()).collect()
        });
        Self { cluster, head: cluster.agent("n1"), donors, exports }
    }

    fn attach(&self, exports: &[Export]) {
        self.head
            .attach(v1::AttachRequest {
                pool: demo(),
                initiator: HEAD.to_owned(),
                exports: exports.to_vec(),
                patience_seconds: PATIENCE,
            })
            .unwrap();
    }

    /// A volume of the first `width` donors, with XFS, mounted; spares are those after them.
    fn up(&self, redundancy: Redundancy, width: usize, spares: usize) {
        self.attach(&self.exports[..width + spares]);
        let request =
            volume(redundancy, &self.exports[..width], &self.exports[width..width + spares]);
        assert!(!self.head.assemble_volume(request.clone()).unwrap().already);
        assert!(self.head.assemble_volume(request).unwrap().already);
        let data = match redundancy {
            Redundancy::Mirror => width / 2,
            Redundancy::Parity => width - 1,
            Redundancy::DoubleParity => width - 2,
            _ => width,
        };
        self.head.mkfs(FilesystemKind::Xfs, data).unwrap();
        self.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    }

    fn down(&self) {
        self.head.unmount_demo(true).unwrap();
        self.head.stop().unwrap();
        self.head.detach_demo().unwrap();
    }

    fn cut(&self, donor: usize) {
        self.donors[donor].node.cut().unwrap();
    }

    fn heal(&self, donor: usize) {
        self.donors[donor].node.heal().unwrap();
    }

    fn health(&self) -> VolumeHealth {
        self.head.health()
    }

    /// Waits until the volume is as it should be.
    #[track_caller]
    fn until(&self, what: &str, patience: Duration, is_so: impl Fn(&VolumeHealth) -> bool) {
        let end = Instant::now() + patience;
        loop {
            let health = self.health();
            if is_so(&health) {
                return;
            }
            assert!(Instant::now() < end, "not {what}: {health:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn replace(&self, old: usize, new: usize) -> Answer<Vec<v1::ReplaceMemberProgress>> {
        self.head.replace_member(self.replacement(old, new))
    }

    fn replacement(&self, old: usize, new: usize) -> v1::ReplaceMemberRequest {
        v1::ReplaceMemberRequest {
            pool: demo(),
            old_serial: self.exports[old].serial.clone(),
            new_serial: self.exports[new].serial.clone(),
        }
    }

    /// How the member on that donor's disk is; missing if it is none.
    fn state(&self, health: &VolumeHealth, donor: usize) -> MemberState {
        let serial = &self.exports[donor].serial;
        let member = health.members.iter().find(|member| member.serial == *serial);
        member.map_or(MemberState::Missing, v1::Member::state)
    }
}

fn volume(
    redundancy: Redundancy,
    members: &[Export],
    spares: &[Export],
) -> v1::AssembleVolumeRequest {
    let serials = |exports: &[Export]| exports.iter().map(|e| e.serial.clone()).collect();
    v1::AssembleVolumeRequest {
        pool: demo(),
        layout: VolumeLayout::Md.into(),
        redundancy: redundancy.into(),
        chunk_kib: 64,
        serials: serials(members),
        spares: serials(spares),
        ..Default::default()
    }
}

fn a_pair_that_cannot_be_is_refused_beforehand(ring: &Ring<'_>) {
    let check = |layout: VolumeLayout, redundancy: Redundancy| {
        ring.head.check_head(v1::CheckHeadRequest {
            pool: demo(),
            layout: layout.into(),
            redundancy: redundancy.into(),
            filesystem: FilesystemKind::Xfs.into(),
            mount_point: String::new(),
        })
    };
    for redundancy in [Redundancy::Mirror, Redundancy::Parity, Redundancy::DoubleParity] {
        check(VolumeLayout::Md, redundancy).unwrap();
        let refused = check(VolumeLayout::Lvm, redundancy).unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Invalid, "{refused}");
        assert!(refused.said.contains("redundancy is md's work"), "{refused}");
    }
    check(VolumeLayout::Lvm, Redundancy::None).unwrap();
    ring.attach(&ring.exports);
    for (redundancy, width) in
        [(Redundancy::Mirror, 1), (Redundancy::Parity, 2), (Redundancy::DoubleParity, 3)]
    {
        let request = volume(redundancy, &ring.exports[..width], &[]);
        let refused = ring.head.assemble_volume(request).unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Invalid, "{refused}");
    }
    ring.head.detach_demo().unwrap();
}

fn parity_over_three_bears_one_loss(ring: &Ring<'_>) {
    ring.up(Redundancy::Parity, 3, 0);
    let health = ring.health();
    assert_eq!((health.redundancy(), health.lacking), (Redundancy::Parity, 0), "{health:?}");
    let donors: Vec<_> = health.members.iter().map(|member| member.donor.as_str()).collect();
    assert_eq!(donors, ["n2", "n3", "n4"]);
    bears(ring, &[1]);
    ring.down();
    ring.heal(1);
}

fn double_parity_over_four_bears_two_losses(ring: &Ring<'_>) {
    ring.up(Redundancy::DoubleParity, 4, 0);
    bears(ring, &[0, 2]);
    ring.down();
    ring.heal(0);
    ring.heal(2);
}

/// Cuts donors off for good, one after another, under load: no error, no wrong byte.
fn bears(ring: &Ring<'_>, losses: &[usize]) {
    let load = Load::start(&ring.head.node, POINT);
    for (index, donor) in losses.iter().enumerate() {
        load.let_it_write();
        ring.cut(*donor);
        let lacking = u32::try_from(index + 1).unwrap();
        ring.until("degraded", Duration::from_secs(30), |health| health.lacking == lacking);
    }
    load.let_it_write();
    let stall = load.end();
    eprintln!("longest write with {} donors lost: {:.1} s", losses.len(), stall.as_secs_f64());
    assert!(stall < LONGEST_STALL, "{stall:?}");
}

fn a_mirror_goes_on_without_a_donor_and_takes_another(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    let load = Load::start(&ring.head.node, POINT);
    load.let_it_write();
    ring.cut(1);
    ring.until("degraded", Duration::from_secs(30), |health| health.lacking == 1);
    let stall = load.end();
    eprintln!("longest write with a mirror's donor lost: {:.1} s", stall.as_secs_f64());
    assert!(stall < LONGEST_STALL, "{stall:?}");
    assert_eq!(ring.state(&ring.health(), 1), MemberState::Faulty);

    let load = Load::start(&ring.head.node, POINT);
    ring.attach(&ring.exports[4..]);
    let began = Instant::now();
    let seen = ring.replace(1, 4).unwrap();
    eprintln!("a dead mirror member replaced in {:.1} s", began.elapsed().as_secs_f64());
    assert!(seen.iter().all(|step| step.done_bytes <= step.total_bytes), "{seen:?}");
    load.end();
    let health = ring.health();
    assert_eq!((health.lacking, health.members.len()), (0, 4), "{health:?}");
    assert_eq!(ring.state(&health, 4), MemberState::InSync, "{health:?}");
    // The same again joins in what is done.
    ring.replace(1, 4).unwrap();
    ring.down();
    ring.heal(1);
}

fn a_donor_that_was_cut_off_resynchronises_by_the_bitmap(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    let node = &ring.head.node;
    node.sh("dd if=/dev/urandom of=/rampool/demo/before bs=1M count=160 conv=fsync 2>&1").unwrap();
    ring.cut(2);
    node.sh("dd if=/dev/urandom of=/rampool/demo/after bs=1M count=8 conv=fsync 2>&1").unwrap();
    ring.until("degraded", Duration::from_secs(30), |health| health.lacking == 1);
    node.sh("cd /rampool/demo; md5sum before after > /tmp/sums").unwrap();
    let still_out = ring.head.readd_members(readd(&[&ring.exports[2]])).unwrap();
    assert!(still_out.refused[0].contains("its session is not up"), "{still_out:?}");
    let written = sectors_written(ring);
    ring.heal(2);
    await_session(ring, "n4");
    let back = ring.head.readd_members(readd(&[])).unwrap();
    assert_eq!(back.readded, [ring.exports[2].serial.clone()], "{back:?}");
    ring.until("whole", Duration::from_secs(30), |health| health.lacking == 0);
    let copied = (sectors_written(ring) - written) * 512 / MIB;
    eprintln!("{copied} MiB of {PIECE} copied to a member that was cut off");
    assert!(copied < PIECE / 2, "{copied} MiB");
    assert_eq!(ring.head.readd_members(readd(&[])).unwrap(), v1::ReaddMembersResponse::default());
    // What it holds is right: the other half of its pair goes.
    ring.cut(3);
    node.sh("echo 3 > /proc/sys/vm/drop_caches; cd /rampool/demo; md5sum -c /tmp/sums").unwrap();
    ring.down();
    ring.heal(3);
}

fn a_donor_that_lost_its_memory_begins_anew_in_its_own_place(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    let (head, donor) = (&ring.head, &ring.donors[1]);
    let fill = "dd if=/dev/urandom of=/rampool/demo/f bs=1M count=160 conv=fsync 2>&1; \
                md5sum /rampool/demo/f > /tmp/sum";
    head.node.sh(fill).unwrap();
    donor.node.kill().unwrap();
    let detach = v1::DetachRequest { pool: demo(), donors: vec!["n3".to_owned()] };
    let early = head.detach(detach.clone()).unwrap_err();
    assert_eq!(early.kind(), FailureKind::Busy, "it is waited for: {early}");
    donor.node.boot().unwrap();
    let donor = ring.cluster.start("n3");
    ring.until("degraded", Duration::from_secs(30), |health| health.lacking == 1);
    let serving = v1::DetachRequest { pool: demo(), donors: vec!["n2".to_owned()] };
    assert_eq!(head.detach(serving).unwrap_err().kind(), FailureKind::Busy);
    assert!(!head.detach(detach.clone()).unwrap().already);
    assert!(head.detach(detach.clone()).unwrap().already);
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
    assert_eq!(head.detach(detach).unwrap_err().kind(), FailureKind::Busy);
    let held = donor.holdings();
    assert!(held.len() == 2 && held.iter().any(|held| held.ends_with("/rp.demo.2")), "{held:?}");

    // The other half of the pair goes: what was copied serves alone.
    ring.cut(0);
    head.node.sh("echo 3 > /proc/sys/vm/drop_caches; md5sum -c /tmp/sum").unwrap();
    ring.down();
    ring.heal(0);
    assert_eq!(donor.destroy_export(destroy(2)).unwrap().freed_bytes, PIECE * MIB);
}

fn readd(exports: &[&Export]) -> v1::ReaddMembersRequest {
    let serials = exports.iter().map(|export| export.serial.clone()).collect();
    v1::ReaddMembersRequest { pool: demo(), serials }
}

/// To the disk of the third donor, as the head counts.
fn sectors_written(ring: &Ring<'_>) -> u64 {
    let serial = &ring.exports[2].serial;
    let count = format!(
        "for d in /sys/block/sd*; do grep -qa {serial} $d/device/vpd_pg80 && cat $d/stat; done; true"
    );
    let stat = ring.head.node.sh(&count).unwrap();
    stat.split_whitespace().nth(6).unwrap().parse().unwrap()
}

fn await_session(ring: &Ring<'_>, donor: &str) {
    until_session(ring, donor, true);
}

/// Until the head's session with the donor is up, or known not to be.
fn until_session(ring: &Ring<'_>, donor: &str, up: bool) {
    let end = Instant::now() + Duration::from_secs(30);
    let is_up = || {
        let holdings = ring.head.inventory().unwrap().holdings;
        holdings.iter().any(|held| held.donor == donor && held.detail == "LOGGED_IN")
    };
    while is_up() != up {
        assert!(Instant::now() < end, "{donor}: the session is not as it should be, up: {up}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn a_spare_takes_over_by_itself(ring: &Ring<'_>) {
    ring.up(Redundancy::Parity, 3, 1);
    assert_eq!(ring.state(&ring.health(), 3), MemberState::Spare);
    let load = Load::start(&ring.head.node, POINT);
    load.let_it_write();
    ring.cut(0);
    ring.until("whole again", Duration::from_secs(60), |health| {
        health.lacking == 0 && ring.state(health, 3) == MemberState::InSync
    });
    load.end();
    // Who asks for the same joins: the dead member leaves the list.
    ring.replace(0, 3).unwrap();
    let health = ring.health();
    assert_eq!((health.lacking, health.members.len()), (0, 3), "{health:?}");
    ring.down();
    ring.heal(0);
}

fn a_spare_that_is_let_go_leaves_the_volume_first(ring: &Ring<'_>) {
    ring.up(Redundancy::Parity, 3, 1);
    let detach = |donor: &str| v1::DetachRequest { pool: demo(), donors: vec![donor.to_owned()] };
    let busy = ring.head.detach(detach("n4")).unwrap_err();
    assert_eq!(busy.kind(), FailureKind::Busy, "a member: {busy}");
    ring.head.detach(detach("n5")).unwrap();
    assert!(ring.head.detach(detach("n5")).unwrap().already);
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
    ring.head.node.sh(&format!("echo 8000 > {speed}_min; echo 8000 > {speed}_max")).unwrap();
    let load = Load::start(&ring.head.node, POINT);
    ring.head.begin_to_replace(ring.replacement(0, 4));
    ring.until("moving", Duration::from_secs(20), |health| health.done_bytes > 0);
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
    ring.until("copying again", Duration::from_secs(20), |health| health.action == "recover");
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
    let detach = v1::DetachRequest { pool: demo(), donors: vec!["n2".to_owned()] };
    ring.head.detach(detach).unwrap();
    ring.down();
}

fn a_new_disk_that_dies_leaves_the_volume_as_it_was(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    ring.attach(&ring.exports[4..]);
    let speed = "/sys/block/md_rp.demo.1/md/sync_speed";
    ring.head.node.sh(&format!("echo 4000 > {speed}_min; echo 4000 > {speed}_max")).unwrap();
    let refused = std::thread::scope(|scope| {
        let call = scope.spawn(|| ring.replace(2, 4).unwrap_err());
        ring.until("moving", Duration::from_secs(20), |health| health.done_bytes > 0);
        ring.cut(4);
        call.join().unwrap()
    });
    assert_eq!(refused.kind(), FailureKind::Failed, "{refused}");
    assert!(refused.said.contains("failed while it was being filled"), "{refused}");
    let health = ring.health();
    assert_eq!((health.lacking, health.members.len()), (0, 4), "{health:?}");
    assert_eq!(ring.state(&health, 2), MemberState::InSync, "{health:?}");
    let detach = v1::DetachRequest { pool: demo(), donors: vec!["n6".to_owned()] };
    ring.head.detach(detach).unwrap();
    ring.down();
    ring.heal(4);
}

fn parity_groups_each_bear_a_loss(ring: &Ring<'_>) {
    // The head lends the sixth piece itself.
    let own = v1::CreateExportRequest {
        way: Some(Way::Local(v1::LocalWay {})),
        ..export_request(Backend::RdMcp, PIECE)
    };
    let own = ring.head.create_export(own).unwrap();
    let mut exports = ring.exports.clone();
    exports.push(own);
    ring.attach(&exports);
    let grouped = |exports: &[Export]| v1::AssembleVolumeRequest {
        group_width: 3,
        ..volume(Redundancy::Parity, exports, &[])
    };
    let made = ring.head.assemble_volume(grouped(&exports)).unwrap();
    assert!(made.bytes > 4 * (PIECE - 3) * MIB, "{made:?}");
    assert!(ring.head.assemble_volume(grouped(&exports)).unwrap().already);
    ring.head.mkfs(FilesystemKind::Xfs, 4).unwrap();
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    let health = ring.health();
    let donors: Vec<_> = health.members.iter().map(|member| member.donor.as_str()).collect();
    assert_eq!(donors, ["n2", "n3", "n4", "n5", "n6", "n1"]);
    bears(ring, &[1, 4]);
    ring.head.node.sh("cd /rampool/demo; md5sum $PWD/load > /tmp/sum").unwrap();
    ring.down();
    // Put together again from what is left of each group.
    let left: Vec<_> = [0, 2, 3, 5].map(|index| exports[index].clone()).into();
    ring.attach(&left);
    let formed = v1::AssembleVolumeRequest { formed: 1, ..grouped(&left) };
    ring.head.assemble_volume(formed).unwrap();
    assert_eq!(ring.health().lacking, 2);
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    ring.head.node.sh("md5sum -c /tmp/sum").unwrap();
    // A place is filled again, in the group that lacks it.
    ring.heal(4);
    ring.attach(&exports[4..5]);
    ring.replace(1, 4).unwrap();
    assert_eq!(ring.health().lacking, 1);
    ring.head.node.sh("echo 3 > /proc/sys/vm/drop_caches; md5sum -c /tmp/sum").unwrap();
    ring.down();
    ring.heal(1);
    ring.head.destroy().unwrap();
}

fn a_redundant_volume_is_put_together_again_without_a_member(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    let node = &ring.head.node;
    node.sh("dd if=/dev/urandom of=/rampool/demo/f bs=1M count=64 conv=fsync 2>&1; \
             md5sum /rampool/demo/f > /tmp/sum")
        .unwrap();
    ring.down();
    let formed = |exports: &[Export]| v1::AssembleVolumeRequest {
        formed: 1,
        ..volume(Redundancy::Mirror, exports, &[])
    };
    let [one, two, three, four, five] = [0, 1, 2, 3, 4].map(|index| ring.exports[index].clone());
    // A whole pair is missing.
    ring.attach(&[one.clone(), two]);
    ring.head.assemble_volume(formed(&[one.clone(), ring.exports[1].clone()])).unwrap_err();
    assert!(!ring.head.holdings().iter().any(|held| held.contains("VOLUME")));
    // A disk that never belonged to it is not taken for one, and not cleared.
    ring.attach(&[three.clone(), four, five.clone()]);
    let refused = ring.head.assemble_volume(formed(&[one.clone(), three.clone(), five]));
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Conflict, "{refused}");
    assert!(refused.said.contains("carries no array, not \"rp.demo.1\""), "{refused}");
    // Nor is it made anew while one of its members is there.
    let anew = volume(Redundancy::Mirror, &[one.clone(), ring.exports[4].clone()], &[]);
    let refused = ring.head.assemble_volume(anew).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Conflict, "{refused}");
    // One of each pair will do.
    ring.head.assemble_volume(formed(&[one.clone(), three.clone()])).unwrap();
    assert!(ring.head.assemble_volume(formed(&[one, three])).unwrap().already);
    assert_eq!(ring.health().lacking, 2);
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    node.sh("md5sum -c /tmp/sum").unwrap();
    ring.down();
}

/// The old disk carries nothing any more: whoever asks does not know that the copy ended.
fn a_volume_whose_head_was_lost_just_after_a_copy_takes_the_new_disk_for_the_old(ring: &Ring<'_>) {
    ring.up(Redundancy::Mirror, 4, 0);
    let node = &ring.head.node;
    node.sh("dd if=/dev/urandom of=/rampool/demo/f bs=1M count=64 conv=fsync 2>&1; \
             md5sum /rampool/demo/f > /tmp/sum")
        .unwrap();
    ring.attach(&ring.exports[4..5]);
    ring.replace(0, 4).unwrap();
    ring.down();
    ring.attach(&ring.exports[..5]);
    let formed = v1::AssembleVolumeRequest {
        formed: 1,
        replacing: Some(ring.replacement(0, 4)),
        ..volume(Redundancy::Mirror, &ring.exports[..4], &[])
    };
    ring.head.assemble_volume(formed.clone()).unwrap();
    assert!(ring.head.assemble_volume(formed).unwrap().already);
    assert_eq!(ring.health().lacking, 0);
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    node.sh("md5sum -c /tmp/sum").unwrap();
    ring.down();
}

fn parity_that_was_written_to_is_not_forced_without_a_member(ring: &Ring<'_>) {
    ring.up(Redundancy::Parity, 3, 0);
    let n1 = ring.cluster.lab.node("n1").unwrap();
    let fio = ["fio", "--name=f", "--filename=/rampool/demo/f", "--size=32M", "--rw=randwrite"];
    let on = ["--bs=16k", "--direct=1", "--time_based", "--runtime=60"];
    n1.daemon("writer", fio.into_iter().chain(on)).unwrap();
    let state = "/sys/block/md_rp.demo.1/md/array_state";
    n1.sh(&format!("until test -s {POINT}/f && grep -qx active {state}; do :; done")).unwrap();
    n1.kill().unwrap();
    n1.boot().unwrap();
    // Another client: the first one's connection ended with the node.
    let (cluster, head) = (ring.cluster, ring.cluster.start("n1"));
    let ring = &Ring { cluster, head, donors: Vec::new(), exports: ring.exports.clone() };
    let head = &ring.head;
    let two = &ring.exports[..2];
    ring.attach(two);
    let formed = v1::AssembleVolumeRequest { formed: 1, ..volume(Redundancy::Parity, two, &[]) };
    let refused = head.assemble_volume(formed).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Failed, "{refused}");
    assert!(refused.said.contains("acknowledged data may be inconsistent"), "{refused}");
    assert!(!head.holdings().iter().any(|held| held.contains("VOLUME")));
    // With all its members it starts, and repairs its parity.
    ring.attach(&ring.exports[..3]);
    let whole = volume(Redundancy::Parity, &ring.exports[..3], &[]);
    head.assemble_volume(v1::AssembleVolumeRequest { formed: 1, ..whole }).unwrap();
    head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    ring.down();
}

fn lvm_up(ring: &Ring<'_>) {
    ring.attach(&ring.exports[..3]);
    ring.head.assemble(VolumeLayout::Lvm, &ring.exports[..3]).unwrap();
    ring.head.mkfs(FilesystemKind::Xfs, 3).unwrap();
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    ring.attach(&ring.exports[3..4]);
}

fn a_logical_volume_is_moved_under_load_and_kill_9_of_the_agent(ring: &Ring<'_>) {
    lvm_up(ring);
    let load = Load::start(&ring.head.node, POINT);
    ring.head.begin_to_replace(ring.replacement(1, 3));
    ring.until("moving", Duration::from_secs(30), |health| health.action == "move");
    let health = ring.health();
    assert_eq!(ring.state(&health, 3), MemberState::Rebuilding, "{health:?}");
    ring.cluster.kill_agent("n1");
    // Whoever watched for LVM is gone too.
    ring.head.node.sh("pkill -9 -f pvmov[e] || true").unwrap();
    ring.cluster.start_agent("n1");
    let began = Instant::now();
    ring.replace(1, 3).unwrap();
    eprintln!("a logical volume's disk moved in {:.1} s", began.elapsed().as_secs_f64());
    load.end();
    let health = ring.health();
    assert_eq!((health.lacking, health.members.len(), health.action.as_str()), (0, 3, ""));
    assert_eq!(ring.state(&health, 3), MemberState::InSync, "{health:?}");
    assert_eq!(ring.state(&health, 1), MemberState::Missing, "{health:?}");
    ring.replace(1, 3).unwrap();
    let detach = v1::DetachRequest { pool: demo(), donors: vec!["n3".to_owned()] };
    ring.head.detach(detach).unwrap();
    ring.down();
}

fn a_logical_volume_is_stopped_and_put_together_in_the_middle_of_a_move(ring: &Ring<'_>) {
    lvm_up(ring);
    let node = &ring.head.node;
    node.sh("dd if=/dev/urandom of=/rampool/demo/f bs=1M count=64 conv=fsync 2>&1; \
             md5sum /rampool/demo/f > /tmp/sum")
        .unwrap();
    ring.head.begin_to_replace(ring.replacement(1, 3));
    ring.until("moving", Duration::from_secs(30), |health| health.action == "move");
    ring.head.unmount_demo(false).unwrap();
    ring.head.stop().unwrap();
    let three = &ring.exports[..3];
    ring.head.assemble(VolumeLayout::Lvm, three).unwrap();
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    ring.replace(1, 3).unwrap();
    node.sh("echo 3 > /proc/sys/vm/drop_caches; md5sum -c /tmp/sum").unwrap();
    ring.down();
}

/// A file with its sum, which [`is_as_written`] compares.
fn write_a_file(ring: &Ring<'_>) {
    let write = "dd if=/dev/urandom of=/rampool/demo/f bs=1M count=64 conv=fsync 2>&1";
    ring.head.node.sh(&format!("{write}; md5sum /rampool/demo/f > /tmp/sum")).unwrap();
}

fn is_as_written(ring: &Ring<'_>) {
    ring.head.node.sh("echo 3 > /proc/sys/vm/drop_caches; md5sum -c /tmp/sum").unwrap();
}

/// What LVM itself says of the volume group's disks: each with whether it is missing.
fn group(ring: &Ring<'_>) -> Vec<String> {
    let columns = "pv_used,pv_missing --units m --noheadings --nosuffix";
    let listed =
        ring.head.node.sh(&format!("{LVM} pvs -o {columns} -S vg_name=rp.demo.1")).unwrap();
    listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// LVM by hand. It sees all disks, and keeps no copy of what it wrote.
const LVM: &str = "LVM_SUPPRESS_FD_WARNINGS=1 lvm";
const NO_COPY: &str = "--config 'backup { backup=0 archive=0 }'";

fn a_logical_volume_whose_new_disk_dies_is_as_it_was(ring: &Ring<'_>) {
    lvm_up(ring);
    write_a_file(ring);
    let load = Load::start(&ring.head.node, POINT);
    let refused = std::thread::scope(|scope| {
        let call = scope.spawn(|| ring.replace(1, 3).unwrap_err());
        ring.until("moving", Duration::from_secs(20), |health| health.action == "move");
        ring.cut(3);
        call.join().unwrap()
    });
    assert_eq!(refused.kind(), FailureKind::Failed, "{refused}");
    assert!(refused.said.contains("failed while it was being filled"), "{refused}");
    is_as_written(ring);
    let detach = v1::DetachRequest { pool: demo(), donors: vec!["n5".to_owned()] };
    ring.head.detach(detach).unwrap();
    assert_eq!(group(ring).len(), 3);
    ring.attach(&ring.exports[4..]);
    ring.replace(1, 4).unwrap();
    is_as_written(ring);
    load.end();
    ring.down();
    ring.heal(3);
}

fn a_logical_volume_is_put_together_without_the_new_disk_of_a_move(ring: &Ring<'_>) {
    lvm_up(ring);
    write_a_file(ring);
    ring.head.begin_to_replace(ring.replacement(1, 3));
    ring.until("moving", Duration::from_secs(30), |health| health.action == "move");
    ring.head.unmount_demo(false).unwrap();
    ring.head.stop().unwrap();
    ring.cut(3);
    let detach = v1::DetachRequest { pool: demo(), donors: vec!["n5".to_owned()] };
    ring.head.detach(detach).unwrap();
    ring.head.assemble(VolumeLayout::Lvm, &ring.exports[..3]).unwrap();
    assert_eq!(group(ring).len(), 3);
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    is_as_written(ring);
    ring.attach(&ring.exports[4..]);
    ring.replace(1, 4).unwrap();
    is_as_written(ring);
    ring.down();
    ring.heal(3);
}

/// The fourth disk becomes one of the group, as `vgextend` of a move makes it, and no more.
fn with_an_empty_disk(ring: &Ring<'_>) {
    lvm_up(ring);
    write_a_file(ring);
    let find = format!(
        "for d in /sys/block/sd*; do grep -qa {} $d/device/vpd_pg80 && echo ${{d##*/}}; done; true",
        ring.exports[3].serial
    );
    let disk = ring.head.node.sh(&find).unwrap();
    let extend = format!("{LVM} vgextend {NO_COPY} --dataalignment 1m rp.demo.1 /dev/{disk}");
    ring.head.node.sh(&extend).unwrap();
    assert_eq!(group(ring).len(), 4);
}

/// The donor of that disk dies, and the head lets it go.
fn with_an_empty_disk_that_is_gone(ring: &Ring<'_>) {
    with_an_empty_disk(ring);
    ring.cut(3);
    until_session(ring, "n5", false);
    let detach = v1::DetachRequest { pool: demo(), donors: vec!["n5".to_owned()] };
    ring.head.detach(detach).unwrap();
    assert!(group(ring).contains(&"0 missing".to_owned()), "{:?}", group(ring));
}

fn a_logical_volume_is_moved_though_an_empty_disk_is_gone(ring: &Ring<'_>) {
    with_an_empty_disk_that_is_gone(ring);
    ring.attach(&ring.exports[4..]);
    ring.replace(1, 4).unwrap();
    assert_eq!(group(ring).len(), 3);
    is_as_written(ring);
    ring.down();
    ring.heal(3);
}

fn a_logical_volume_is_put_together_though_an_empty_disk_is_gone(ring: &Ring<'_>) {
    with_an_empty_disk_that_is_gone(ring);
    ring.head.unmount_demo(false).unwrap();
    ring.head.stop().unwrap();
    ring.head.assemble(VolumeLayout::Lvm, &ring.exports[..3]).unwrap();
    assert_eq!(group(ring).len(), 3);
    ring.head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    is_as_written(ring);
    ring.down();
    ring.heal(3);
}

fn an_empty_disk_of_a_logical_volume_leaves_its_group_before_its_session_ends(ring: &Ring<'_>) {
    with_an_empty_disk(ring);
    let detach = v1::DetachRequest { pool: demo(), donors: vec!["n5".to_owned()] };
    ring.head.detach(detach).unwrap();
    assert_eq!(group(ring).len(), 3);
    is_as_written(ring);
    ring.down();
}
