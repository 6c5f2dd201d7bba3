//! Where the kernel shows itself. The programs use [`Roots::real`]; tests read trees that they
//! wrote themselves.

use std::path::{Path, PathBuf};

/// The folders everything is read from and written to.
#[derive(Clone, Debug)]
pub struct Roots {
    /// LIO's configfs: `/sys/kernel/config/target`.
    pub target: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
    /// The agent's own folder: `/run/rampool`.
    pub run: PathBuf,
    /// open-iscsi's records: `/etc/iscsi`, or `/var/lib/iscsi` on Fedora's family.
    pub iscsi: PathBuf,
    /// Files that exportfs reads beside /etc/exports: `/etc/exports.d`.
    pub exports: PathBuf,
    /// What exportfs told mountd: `/var/lib/nfs/etab`.
    pub etab: PathBuf,
}

impl Roots {
    /// The kernel's own folders, with the two that configuration decides.
    #[must_use]
    pub fn real(run: &Path, iscsi: &Path) -> Self {
        Self {
            target: "/sys/kernel/config/target".into(),
            sys: "/sys".into(),
            proc: "/proc".into(),
            dev: "/dev".into(),
            run: run.to_owned(),
            iscsi: iscsi.to_owned(),
            exports: "/etc/exports.d".into(),
            etab: "/var/lib/nfs/etab".into(),
        }
    }

    /// Folders of the same names under `folder`, for tests that write a tree by hand.
    #[cfg(test)]
    pub(crate) fn fake(folder: &Path) -> Self {
        let at = |name: &str| folder.join(name);
        Self {
            target: at("target"),
            sys: at("sys"),
            proc: at("proc"),
            dev: at("dev"),
            run: at("run"),
            iscsi: at("iscsi"),
            exports: at("exports.d"),
            etab: at("etab"),
        }
    }

    /// LIO's backstores.
    pub(crate) fn backstores(&self) -> PathBuf {
        self.target.join("core")
    }

    /// LIO's iSCSI targets.
    pub(crate) fn targets(&self) -> PathBuf {
        self.target.join("iscsi")
    }

    /// LIO's local SCSI disks (tcm_loop).
    pub(crate) fn loopbacks(&self) -> PathBuf {
        self.target.join("loopback")
    }

    /// The kernel's NFS server.
    pub(crate) fn nfsd(&self) -> PathBuf {
        self.proc.join("fs/nfsd")
    }

    /// All block devices, by the kernel's name.
    pub(crate) fn blocks(&self) -> PathBuf {
        self.sys.join("block")
    }

    /// Whether udev runs on this node.
    pub(crate) fn udev_runs(&self) -> bool {
        Path::new("/run/udev/control").exists()
    }
}
