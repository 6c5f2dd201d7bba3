//! The external programs an agent may run: looked for once, at start, by absolute path in
//! folders that only root can write. Nothing is ever searched along `$PATH`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rampool_proto::v1::{self, Duty, Failure, FailureKind};

use crate::outcome::Outcome;

/// Where Debian's and Fedora's packages put administration programs.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// One program, whether it is there or not.
#[derive(Clone, Debug)]
pub struct Program {
    name: &'static str,
    package: &'static str,
    duty: Duty,
    path: Option<PathBuf>,
}

impl Program {
    fn find(name: &'static str, package: &'static str, duty: Duty) -> Self {
        let runs = |path: &Path| {
            path.metadata()
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        let path =
            FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| runs(path));
        Self { name, package, duty, path }
    }

    /// Its absolute path, or which package brings it.
    pub fn path(&self) -> Outcome<&Path> {
        self.path.as_deref().ok_or_else(|| {
            Failure::new(FailureKind::NotNow, "find the programs")
                .by(self.name)
                .saying("this program is not installed")
                .advising(format!("apt-get install {}, then restart rampool-agent", self.package))
                .into()
        })
    }
}

/// Every program the agent knows how to use.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Loads kernel modules.
    pub modprobe: Program,
    /// Logs in to targets.
    pub iscsiadm: Program,
    /// Makes and stops arrays.
    pub mdadm: Program,
    /// Makes volume groups and logical volumes.
    pub lvm: Program,
    /// Stops logical volumes, whatever became of their disks.
    pub dmsetup: Program,
    /// Makes XFS.
    pub mkfs_xfs: Program,
    /// Makes ext4.
    pub mkfs_ext4: Program,
    /// Tells the kernel's NFS server who may mount what. Needed where a pool is shared alone: not
    /// reported.
    pub exportfs: Program,
    /// Knows whether the system is shutting down. Needed, and there, where systemd is the init:
    /// not reported.
    pub systemctl: Program,
    /// Speaks to udev. Needed, and there, where udev runs: not reported.
    pub udevadm: Program,
}

impl Programs {
    /// Looks for all of them.
    #[must_use]
    pub fn find() -> Self {
        Self {
            modprobe: Program::find("modprobe", "kmod", Duty::Donor),
            iscsiadm: Program::find("iscsiadm", "open-iscsi", Duty::Head),
            mdadm: Program::find("mdadm", "mdadm", Duty::Head),
            lvm: Program::find("lvm", "lvm2", Duty::Head),
            dmsetup: Program::find("dmsetup", "dmsetup", Duty::Head),
            mkfs_xfs: Program::find("mkfs.xfs", "xfsprogs", Duty::Head),
            mkfs_ext4: Program::find("mkfs.ext4", "e2fsprogs", Duty::Head),
            exportfs: Program::find("exportfs", "nfs-kernel-server", Duty::Head),
            systemctl: Program::find("systemctl", "systemd", Duty::Head),
            udevadm: Program::find("udevadm", "udev", Duty::Head),
        }
    }

    /// For the inventory.
    #[must_use]
    pub fn report(&self) -> Vec<v1::Program> {
        [
            &self.modprobe,
            &self.iscsiadm,
            &self.mdadm,
            &self.lvm,
            &self.dmsetup,
            &self.mkfs_xfs,
            &self.mkfs_ext4,
        ]
        .map(|program| v1::Program {
            name: program.name.to_owned(),
            path: program.path.as_deref().map(|p| p.display().to_string()).unwrap_or_default(),
            package: program.package.to_owned(),
            needed_for: program.duty.into(),
        })
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let program = Program::find("no-such-program", "its-package", Duty::Head);
        let told = program.path().unwrap_err();
        assert_eq!(told.kind(), FailureKind::NotNow);
        assert_eq!(told.program, "no-such-program");
        assert!(told.advice.contains("apt-get install its-package"), "{told}");
    }

    #[test]
    fn a_present_program_has_an_absolute_path() {
        let program = Program::find("sh", "dash", Duty::Head);
        assert!(program.path().unwrap().is_absolute());
    }
}
