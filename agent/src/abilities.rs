//! What the kernel can do for a pool, found without loading anything: a feature is there if it
//! is loaded, built in, or lies on disk as a module.

use std::fs;
use std::path::{Path, PathBuf};

use rampool_proto::v1::{
    self, Backend, Duty, FailureKind, FilesystemKind, Redundancy, VolumeLayout,
};

use crate::attach;
use crate::node::Node;
use crate::outcome::{Outcome, failure};
use crate::roots::Roots;

/// A feature that one kernel module brings.
struct Feature {
    name: &'static str,
    module: &'static str,
    duty: Duty,
}

const fn feature(name: &'static str, module: &'static str, duty: Duty) -> Feature {
    Feature { name, module, duty }
}

/// By modules, as `modprobe` knows them.
const FEATURES: [Feature; 13] = [
    feature("iscsi target", "iscsi_target_mod", Duty::Donor),
    feature("backend rd_mcp", "target_core_mod", Duty::Donor),
    feature("backend tmpfs", "target_core_file", Duty::Donor),
    feature("backend brd", "target_core_iblock", Duty::Donor),
    feature("brd module", "brd", Duty::Donor),
    feature("local disk", "tcm_loop", Duty::Head),
    feature("iscsi initiator", "iscsi_tcp", Duty::Head),
    feature("md raid0", "raid0", Duty::Head),
    feature("md raid10", "raid10", Duty::Head),
    feature("md raid456", "raid456", Duty::Head),
    feature("dm striped", "dm_mod", Duty::Head),
    feature("xfs", "xfs", Duty::Head),
    feature("ext4", "ext4", Duty::Head),
];

/// The modules that are installed for the running kernel.
pub(crate) struct Modules {
    /// `modules.dep` and `modules.builtin`, one path a line.
    listed: String,
}

impl Modules {
    /// Reads them: some megabytes of text, so once.
    pub(crate) fn read(roots: &Roots) -> Self {
        let folder = PathBuf::from("/lib/modules").join(release(roots));
        let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
        let listed = format!("{}\n{}", read("modules.builtin"), read("modules.dep"));
        Self { listed }
    }

    /// Loaded, built in with something to show, or installed.
    fn have(&self, roots: &Roots, module: &str) -> bool {
        roots.sys.join("module").join(module).exists() || lists(&self.listed, module)
    }
}

/// Whether a list of paths, each ended by a colon or its line, has this module; in file names,
/// hyphens and underscores are the same.
fn lists(paths: &str, module: &str) -> bool {
    paths.lines().any(|line| {
        let path = line.split(':').next().unwrap_or(line);
        let file = path.rsplit('/').next().unwrap_or(path);
        let name = file.split(".ko").next().unwrap_or(file);
        file.contains(".ko") && name.replace('-', "_") == module
    })
}

/// The running kernel's release.
pub(crate) fn release(roots: &Roots) -> String {
    let path = roots.proc.join("sys/kernel/osrelease");
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// Whether tmpfs can be told to keep its pages out of swap (since 6.4).
fn tmpfs_knows_noswap(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 4),
        _ => false,
    }
}

/// Everything, for the inventory.
pub fn list(node: &Node) -> Vec<v1::Ability> {
    let have = |module| node.modules.have(&node.roots, module);
    let mut abilities: Vec<_> = FEATURES
        .iter()
        .map(|feature| {
            let detail = format!(
                "the kernel module {} is neither loaded nor installed for {}",
                feature.module,
                release(&node.roots)
            );
            ability(feature.name, feature.duty, have(feature.module), &detail)
        })
        .collect();
    abilities.push(ability(
        "configfs",
        Duty::Donor,
        node.roots.target.parent().is_some_and(Path::exists),
        "mount -t configfs configfs /sys/kernel/config",
    ));
    abilities.push(ability(
        "tmpfs noswap",
        Duty::Donor,
        tmpfs_knows_noswap(&release(&node.roots)),
        "Linux 6.4 brings it; without, tmpfs is refused on a node that swaps",
    ));
    abilities.push(ability(
        "iscsid",
        Duty::Head,
        attach::iscsid_listens(&node.roots.proc).unwrap_or(false),
        "systemctl enable --now iscsid.socket",
    ));
    abilities
}

fn ability(name: &str, duty: Duty, present: bool, detail: &str) -> v1::Ability {
    v1::Ability {
        name: name.to_owned(),
        present,
        detail: if present { String::new() } else { detail.to_owned() },
        needed_for: duty.into(),
    }
}

/// Refuses if the node lacks what a donor needs for `backend`.
pub fn require_donor(node: &Node, backend: Backend) -> Outcome<()> {
    let backend = match backend {
        Backend::RdMcp => "backend rd_mcp",
        Backend::Tmpfs => "backend tmpfs",
        Backend::Brd => "backend brd",
        Backend::Unspecified => {
            return Err(failure(FailureKind::Invalid, "no backend is named").into());
        }
    };
    require(node, &[backend])
}

/// Refuses if the node lacks what a head needs; programs are checked too, by their paths.
pub fn require_head(
    node: &Node,
    layout: VolumeLayout,
    redundancy: Redundancy,
    filesystem: FilesystemKind,
) -> Outcome<()> {
    let programs = &node.programs;
    programs.iscsiadm.path()?;
    let mut needed = vec!["iscsi initiator", "iscsid"];
    match layout {
        VolumeLayout::Md => {
            programs.mdadm.path()?;
            needed.push(match redundancy {
                Redundancy::Mirror => "md raid10",
                Redundancy::Parity | Redundancy::DoubleParity => "md raid456",
                Redundancy::None | Redundancy::Unspecified => "md raid0",
            });
        }
        VolumeLayout::Lvm => {
            programs.lvm.path()?;
            programs.dmsetup.path()?;
            needed.push("dm striped");
        }
        VolumeLayout::Unspecified => {
            return Err(failure(FailureKind::Invalid, "no volume layout is named").into());
        }
    }
    match filesystem {
        FilesystemKind::Xfs => {
            programs.mkfs_xfs.path()?;
            needed.push("xfs");
        }
        FilesystemKind::Ext4 => {
            programs.mkfs_ext4.path()?;
            needed.push("ext4");
        }
        FilesystemKind::None => {}
        FilesystemKind::Unspecified => {
            return Err(failure(FailureKind::Invalid, "no file system is named").into());
        }
    }
    require(node, &needed)
}

fn require(node: &Node, needed: &[&str]) -> Outcome<()> {
    let abilities = list(node);
    for name in needed {
        let absent = abilities.iter().find(|ability| ability.name == *name && !ability.present);
        if let Some(absent) = absent {
            return Err(failure(FailureKind::NotNow, format!("this node has no {name}"))
                .advising(absent.detail.clone())
                .into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_by_file_name_compressed_or_not() {
        let paths = "kernel/drivers/target/iscsi/iscsi_target_mod.ko: kernel/crypto/x.ko\n\
            kernel/drivers/scsi/iscsi-tcp.ko.xz:\nkernel/fs/xfs/xfs.ko\n";
        for module in ["iscsi_target_mod", "iscsi_tcp", "xfs"] {
            assert!(lists(paths, module), "{module}");
        }
        for module in ["x", "iscsi", "ext4", ""] {
            assert!(!lists(paths, module), "{module}");
        }
    }

    #[test]
    fn noswap_came_with_six_four() {
        for (release, knows) in [
            ("6.1.0-18-amd64", false),
            ("6.4.0", true),
            ("5.14.0-570.el9", false),
            ("7.0-rc1", true),
            ("", false),
        ] {
            assert_eq!(tmpfs_knows_noswap(release), knows, "{release}");
        }
    }
}
