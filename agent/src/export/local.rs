//! The head's own piece: LIO's tcm_loop offers it to this node as a local SCSI disk, so that it
//! never travels through a session of the node with itself.
//!
//! tcm_loop takes any iSCSI name for a target: ours carries pool and generation as elsewhere.

use std::path::{Path, PathBuf};

use rampool_proto::pool_name::Assembly;

use super::{LUN, target};
use crate::attach::disks;
use crate::configfs;
use crate::modules;
use crate::names;
use crate::node::Node;
use crate::outcome::{Change, Outcome};
use crate::ramdisk;

const PORTAL_GROUP: &str = "tpgt_1";
const LINK: &str = "ramdisk";

/// Offers `object` to this node. The link is the last step: with it the disk appears.
pub(super) fn make(node: &Node, assembly: &Assembly, object: &Path) -> Outcome<Change> {
    modules::ensure(node, &["tcm_loop", "sd_mod"])?;
    let iqn = names::target(&node.config.authority, assembly, &node.config.node);
    let group = node.roots.loopbacks().join(&iqn).join(PORTAL_GROUP);
    configfs::make(&node.roots.loopbacks())?;
    configfs::make(&node.roots.loopbacks().join(&iqn))?;
    configfs::make(&group)?;
    // Reading it is refused while there is none.
    let nexus = group.join("nexus");
    if configfs::read(&nexus).is_ok_and(|name| name.is_empty()) || configfs::read(&nexus).is_err() {
        configfs::write(&nexus, &format!("{iqn}.nexus"))?;
    }
    let unit = group.join("lun").join(format!("lun_{LUN}"));
    configfs::make(&unit)?;
    configfs::link(object, &unit.join(LINK))
}

/// The kernel would let the disk go under an array that uses it.
pub(super) fn refuse_in_use(node: &Node, objects: &[PathBuf]) -> Outcome<()> {
    let disks = objects
        .iter()
        .filter_map(|object| disks::by_serial(&node.roots, &ramdisk::serial_of_object(object)?));
    disks.into_iter().try_for_each(|disk| disks::refuse_in_use(&node.roots, &disk))
}

/// Takes the target of a local disk apart in the reverse of its making.
pub(super) fn remove(target: &Path) -> Outcome<()> {
    let group = target.join(PORTAL_GROUP);
    if group.exists() {
        target::remove_units(&group.join("lun"))?;
        if configfs::read(&group.join("nexus")).is_ok_and(|name| !name.is_empty()) {
            configfs::write(&group.join("nexus"), "NULL")?;
        }
        configfs::remove(&group)?;
    }
    configfs::remove(target).map(drop)
}
