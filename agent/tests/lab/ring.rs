//! A head and five donors with an export each, for volumes that outlive some of them.

use std::time::{Duration, Instant};

use rampool_proto::v1::{
    self, Backend, Export, FilesystemKind, MemberState, Redundancy, VolumeHealth, VolumeLayout,
};

use crate::cases::{Case, in_turn};
use crate::cluster::{Agent, Answer, Cluster, HEAD, demo};
use crate::load::Load;

pub(crate) const POINT: &str = "/rampool/demo";

/// What each donor lends, in MiB.
pub(crate) const PIECE: u64 = 192;

/// Seconds that a redundant pool waits for a silent donor.
const PATIENCE: u32 = 7;

/// The patience, and the time to do what was held again on the other copy. Users are promised
/// 10 s; the rest is for a lab whose two cores serve six kernels, and maybe another lab.
pub(crate) const LONGEST_STALL: Duration = Duration::from_secs(14);

const DONORS: [&str; 5] = ["n2", "n3", "n4", "n5", "n6"];

/// `n1` as the head; the others lend it memory that was zeroed for this case.
pub(crate) struct Ring<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) head: Agent,
    pub(crate) donors: Vec<Agent>,
    pub(crate) exports: Vec<Export>,
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

    pub(crate) fn attach(&self, exports: &[Export]) {
        self.head
            .attach(v1::AttachRequest {
                pool: demo(),
                initiator: HEAD.to_owned(),
                exports: exports.to_vec(),
                patience_seconds: PATIENCE,
                ..Default::default()
            })
            .unwrap();
    }

    /// A volume of the first `width` donors, with XFS, mounted; spares are those after them.
    pub(crate) fn up(&self, redundancy: Redundancy, width: usize, spares: usize) {
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

    pub(crate) fn down(&self) {
        self.head.unmount_demo(true).unwrap();
        self.head.stop().unwrap();
        self.head.detach_demo().unwrap();
    }

    pub(crate) fn cut(&self, donor: usize) {
        self.donors[donor].node.cut().unwrap();
    }

    pub(crate) fn heal(&self, donor: usize) {
        self.donors[donor].node.heal().unwrap();
    }

    pub(crate) fn health(&self) -> VolumeHealth {
        self.head.health()
    }

    /// Waits until the volume is as it should be.
    #[track_caller]
    pub(crate) fn until(
        &self,
        what: &str,
        patience: Duration,
        is_so: impl Fn(&VolumeHealth) -> bool,
    ) {
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

    pub(crate) fn replace(&self, old: usize, new: usize) -> Answer<Vec<v1::ReplaceMemberProgress>> {
        self.head.replace_member(self.replacement(old, new))
    }

    pub(crate) fn replacement(&self, old: usize, new: usize) -> v1::ReplaceMemberRequest {
        v1::ReplaceMemberRequest {
            pool: demo(),
            old_serial: self.exports[old].serial.clone(),
            new_serial: self.exports[new].serial.clone(),
        }
    }

    /// How the member on that donor's disk is; missing if it is none.
    pub(crate) fn state(&self, health: &VolumeHealth, donor: usize) -> MemberState {
        let serial = &self.exports[donor].serial;
        let member = health.members.iter().find(|member| member.serial == *serial);
        member.map_or(MemberState::Missing, v1::Member::state)
    }

    /// Cuts donors off for good, one after another, under load: no error, no wrong byte.
    pub(crate) fn bears(&self, losses: &[usize]) {
        let load = Load::start(&self.head.node, POINT);
        for (index, donor) in losses.iter().enumerate() {
            load.let_it_write();
            self.cut(*donor);
            let lacking = u32::try_from(index + 1).unwrap();
            self.until("degraded", Duration::from_secs(30), |health| health.lacking == lacking);
        }
        load.let_it_write();
        let stall = load.end();
        eprintln!("longest write with {} donors lost: {:.1} s", losses.len(), stall.as_secs_f64());
        assert!(stall < LONGEST_STALL, "{stall:?}");
    }

    /// Until the head's session with the donor is up, or known not to be.
    pub(crate) fn until_session(&self, donor: &str, up: bool) {
        let end = Instant::now() + Duration::from_secs(30);
        let is_up = || {
            let holdings = self.head.inventory().unwrap().holdings;
            holdings.iter().any(|held| held.donor == donor && held.detail == "LOGGED_IN")
        };
        while is_up() != up {
            assert!(Instant::now() < end, "{donor}: the session is not as it should be, up: {up}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A file of 64 MiB with its sum, which [`Ring::is_as_written`] compares.
    pub(crate) fn write_a_file(&self) {
        let write = "dd if=/dev/urandom of=/rampool/demo/f bs=1M count=64 conv=fsync 2>&1";
        self.head.node.sh(&format!("{write}; md5sum /rampool/demo/f > /tmp/sum")).unwrap();
    }

    /// What [`Ring::write_a_file`] wrote is read back from the disks.
    pub(crate) fn is_as_written(&self) {
        self.head.node.sh("echo 3 > /proc/sys/vm/drop_caches; md5sum -c /tmp/sum").unwrap();
    }
}

/// Runs cases on a cluster of six; each finds fresh exports, and must leave every node as it was
/// when it had booted, but for those.
pub(crate) fn each_with_fresh_exports<'a>(cluster: &'a Cluster, cases: &[Case<Ring<'a>>]) {
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
            cluster.await_agent(name).destroy_export(request).unwrap();
        }
        cluster.assert_as_at_boot();
    });
}

pub(crate) fn volume(
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
