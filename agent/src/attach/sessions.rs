//! iSCSI sessions, as sysfs shows them: `class/iscsi_session/session<N>`.

use std::fs;
use std::path::PathBuf;

use rampool_proto::pool_name::Assembly;

use super::disks::{self, OurDisk};
use crate::configfs;
use crate::export::LUN;
use crate::names;
use crate::node::Node;
use crate::roots::Roots;

/// A session of ours, up or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub assembly: Assembly,
    /// The kernel's number for it.
    pub id: u32,
    /// The target's name.
    pub target: String,
    /// The donor at its other end.
    pub donor: String,
    /// The initiator name it was opened with.
    pub initiator: String,
    /// e.g. "LOGGED_IN", or "FAILED" while the donor is silent.
    pub state: String,
    /// The session's own folder, below its SCSI host.
    folder: PathBuf,
}

/// All sessions whose target and interface are named as ours, and agree.
#[must_use]
pub fn list(node: &Node) -> Vec<Session> {
    let class = node.roots.sys.join("class/iscsi_session");
    configfs::names(&class)
        .into_iter()
        .filter_map(|name| {
            let read = |file: &str| configfs::read(&class.join(&name).join(file)).ok();
            let target = read("targetname")?;
            let (assembly, donor) = names::parse_target(&node.config.authority, &target)?;
            if read("ifacename")? != names::object(&assembly) {
                return None;
            }
            Some(Session {
                assembly,
                id: name.strip_prefix("session")?.parse().ok()?,
                donor: donor.to_owned(),
                target,
                initiator: read("initiatorname").unwrap_or_default(),
                state: read("state").unwrap_or_default(),
                folder: fs::canonicalize(class.join(&name).join("device")).ok()?,
            })
        })
        .collect()
}

/// The sessions of `assembly`.
#[must_use]
pub fn of(node: &Node, assembly: &Assembly) -> Vec<Session> {
    list(node).into_iter().filter(|session| session.assembly == *assembly).collect()
}

impl Session {
    /// Whether commands reach the target now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == "LOGGED_IN"
    }

    /// The number of its SCSI host.
    fn host(&self) -> Option<u32> {
        let host = self.folder.parent()?.file_name()?.to_str()?;
        host.strip_prefix("host")?.parse().ok()
    }

    /// The file that makes the host look for units.
    pub(super) fn scan_file(&self, roots: &Roots) -> Option<PathBuf> {
        Some(roots.sys.join(format!("class/scsi_host/host{}/scan", self.host()?)))
    }

    /// The disk on the data unit of this session, if the kernel has made it.
    pub(crate) fn disk(&self, roots: &Roots) -> Option<OurDisk> {
        let host = self.host()?;
        let unit = self.folder.join(format!("target{host}:0:0/{host}:0:0:{LUN}/block"));
        disks::by_name(roots, configfs::names(&unit).into_iter().next()?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::attach::disks::tests::write_disk;
    use crate::names::tests::assembly;
    use crate::node::tests::fake;
    use crate::ramdisk::VENDOR;
    use std::os::unix::fs::symlink;

    /// A session as sysfs would show it, written by hand.
    pub(crate) fn write_session(node: &Node, id: u32, target: &str, interface: &str, state: &str) {
        let host = node.roots.sys.join(format!("devices/platform/host{id}/session{id}"));
        let unit = host.join(format!("target{id}:0:0/{id}:0:0:1/block/sd{id}"));
        fs::create_dir_all(unit).unwrap();
        let class = node.roots.sys.join(format!("class/iscsi_session/session{id}"));
        fs::create_dir_all(&class).unwrap();
        symlink(&host, class.join("device")).unwrap();
        for (file, value) in [("targetname", target), ("ifacename", interface)] {
            fs::write(class.join(file), format!("{value}\n")).unwrap();
        }
        set_state(node, id, state);
    }

    pub(crate) fn set_state(node: &Node, id: u32, state: &str) {
        let class = node.roots.sys.join(format!("class/iscsi_session/session{id}"));
        // At once, as the kernel shows it.
        fs::write(class.join("new"), format!("{state}\n")).unwrap();
        fs::rename(class.join("new"), class.join("state")).unwrap();
    }

    #[test]
    fn only_sessions_whose_target_and_interface_agree_are_ours() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        let ours = "iqn.2026-11.org.rampool:demo.3.n2";
        write_session(&node, 1, ours, "rp.demo.3", "LOGGED_IN");
        write_session(&node, 2, ours, "default", "LOGGED_IN");
        write_session(&node, 3, ours, "rp.demo.4", "LOGGED_IN");
        write_session(&node, 4, "iqn.2003-01.org.site:x", "rp.demo.3", "LOGGED_IN");
        write_session(&node, 5, "iqn.2026-11.org.rampool:demo.3.n3", "rp.demo.3", "FAILED");
        write_disk(&node.roots, "sd1", VENDOR, "its-serial", "8:0");
        let sessions = of(&node, &assembly("demo.3"));
        let seen: Vec<_> = sessions.iter().map(|s| (s.id, s.donor.as_str(), s.is_up())).collect();
        assert_eq!(seen, [(1, "n2", true), (5, "n3", false)]);
        assert_eq!(sessions[0].disk(&node.roots).unwrap().serial, "its-serial");
        assert_eq!(sessions[1].disk(&node.roots), None);
        let scan = sessions[0].scan_file(&node.roots).unwrap();
        assert!(scan.ends_with("class/scsi_host/host1/scan"), "{}", scan.display());
    }
}
