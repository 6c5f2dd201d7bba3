//! A head and two donors with an export each.

use rampool_proto::v1::{Backend, Export, FilesystemKind, VolumeLayout};

use crate::cases::{Case, in_turn};
use crate::cluster::{Agent, Cluster};

pub(crate) const POINT: &str = "/rampool/demo";

/// What each donor lends, in MiB.
pub(crate) const PIECE: u64 = 256;

/// `n1` as the head; `n2` and `n3` lend it memory that was zeroed for this trio.
pub(crate) struct Trio<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) head: Agent,
    pub(crate) donors: [Agent; 2],
    pub(crate) exports: Vec<Export>,
}

impl<'a> Trio<'a> {
    pub(crate) fn lend(cluster: &'a Cluster) -> Self {
        let [head, donors @ ..] = ["n1", "n2", "n3"].map(|name| cluster.agent(name));
        let exports = std::thread::scope(|scope| {
            let lend = |donor| scope.spawn(move || Agent::export(donor, Backend::RdMcp, PIECE));
            let lent: Vec<_> = donors.iter().map(lend).collect();
            lent.into_iter().map(|export| export.join().unwrap().unwrap()).collect()
        });
        Self { cluster, head, donors, exports }
    }

    pub(crate) fn up(&self, layout: VolumeLayout, kind: FilesystemKind) {
        self.head.attach_to(&self.exports).unwrap();
        self.head.assemble(layout, &self.exports).unwrap();
        self.head.mkfs(kind, 2).unwrap();
        self.head.mount_at(kind, POINT).unwrap();
    }

    pub(crate) fn down(&self) {
        self.head.unmount_demo(false).unwrap();
        self.head.stop().unwrap();
        self.head.detach_demo().unwrap();
    }
}

/// Runs cases on a cluster of three; each finds fresh exports, and must leave every node as it
/// was when it had booted, but for those.
pub(crate) fn each_with_fresh_exports<'a>(cluster: &'a Cluster, cases: &[Case<Trio<'a>>]) {
    in_turn(cases, |case| {
        let trio = Trio::lend(cluster);
        case(&trio);
        for donor in &trio.donors {
            donor.destroy().unwrap();
        }
        cluster.assert_as_at_boot();
    });
}
