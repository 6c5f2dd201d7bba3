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
            let (assembly, _) = names::parse_target(&node.config.authority, &target)?;
            if read("ifacename")? != names::object(&assembly) {
                return None;
            }
            Some(Session {
                assembly,
                id: name.strip_prefix("session")?.parse().ok()?,
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
    pub(super) fn disk(&self, roots: &Roots) -> Option<OurDisk> {
        let host = self.host()?;
        let unit = self.folder.join(format!("target{host}:0:0/{host}:0:0:{LUN}/block"));
        disks::by_name(roots, configfs::names(&unit).into_iter().next()?)
    }
}
