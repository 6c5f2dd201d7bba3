//! LIO's iSCSI targets: `iscsi/<authority>:<pool>.<gen>.<donor>/tpgt_1`, one target an export,
//! open to one initiator with CHAP both ways, enabled last. Before its head is known, a target has
//! neither initiator nor secrets, and is not enabled.

use std::path::{Path, PathBuf};

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind, Target};

use super::{LUN, chap};
use crate::configfs;
use crate::names;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure};

const PORTAL_GROUP: u32 = 1;

/// The name of our links; LIO does not care.
const LINK: &str = "ramdisk";

/// What a target must be, or it is not enabled: nobody but the head, and never without CHAP.
const ATTRIBUTES: [(&str, &str); 8] = [
    ("authentication", "1"),
    ("generate_node_acls", "0"),
    ("cache_dynamic_acls", "0"),
    ("demo_mode_write_protect", "1"),
    ("demo_mode_discovery", "0"),
    ("prod_mode_write_protect", "0"),
    // Commands in flight for a session; 512 is the kernel's greatest, 64 its default.
    ("default_cmdsn_depth", "512"),
    // Seconds that half a login may hold the portal (the kernel's default: 15).
    ("login_timeout", "5"),
];

/// What makes a target quick: small writes travel with their command, large transfers in large
/// pieces. Negotiated with the initiator, whose record says the same.
const PARAMETERS: [(&str, &str); 9] = [
    ("AuthMethod", "CHAP"),
    ("InitialR2T", "No"),
    ("ImmediateData", "Yes"),
    ("MaxRecvDataSegmentLength", "262144"),
    ("FirstBurstLength", "262144"),
    ("MaxBurstLength", "1048576"),
    ("MaxOutstandingR2T", "16"),
    ("HeaderDigest", "None"),
    ("DataDigest", "None"),
];

fn iqn(node: &Node, assembly: &Assembly) -> String {
    names::target(&node.config.authority, assembly, &node.config.node)
}

/// The folders of `fabric` whose names are our exports'.
pub(super) fn named_as_ours(node: &Node, fabric: &Path) -> Vec<(Assembly, String)> {
    configfs::folders(fabric)
        .into_iter()
        .filter_map(|name| {
            let (assembly, _) = names::parse_target(&node.config.authority, &name)?;
            Some((assembly, name))
        })
        .collect()
}

/// The storage objects that the units of a target link to, as paths within LIO's tree.
pub(super) fn objects(target: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for group in configfs::folders(target) {
        let units = target.join(group).join("lun");
        for unit in configfs::folders(&units).iter().map(|unit| units.join(unit)) {
            let names = configfs::names(&unit);
            let links = names.iter().map(|name| unit.join(name)).filter(|path| path.is_symlink());
            found.extend(links.filter_map(|link| std::fs::canonicalize(link).ok()));
        }
    }
    found
}

fn group_of(node: &Node, assembly: &Assembly) -> PathBuf {
    node.roots.targets().join(iqn(node, assembly)).join(format!("tpgt_{PORTAL_GROUP}"))
}

fn unit_of(group: &Path) -> PathBuf {
    group.join("lun").join(format!("lun_{LUN}"))
}

fn is_enabled(group: &Path) -> Outcome<bool> {
    Ok(configfs::read(&group.join("enable"))? == "1")
}

/// A target of `object` that nobody may log in to yet; one that somebody may stays as it is.
/// The portal is the last step: without it nothing was prepared.
pub(super) fn prepare(node: &Node, assembly: &Assembly, object: &Path) -> Outcome<Change> {
    let group = group_of(node, assembly);
    configfs::make(&node.roots.targets())?;
    configfs::make(&node.roots.targets().join(iqn(node, assembly)))?;
    configfs::make(&group)?;
    if !is_enabled(&group)? {
        tune(&group)?;
    }
    let unit = unit_of(&group);
    configfs::make(&unit)?;
    configfs::link(object, &unit.join(LINK))?;
    open_portal(node, &group)
}

/// Exports `object` to `initiator`: makes what is missing, compares what is there.
pub(super) fn make(
    node: &Node,
    assembly: &Assembly,
    object: &Path,
    initiator: &str,
) -> Outcome<(Change, Target)> {
    let group = group_of(node, assembly);
    only_for(&group, initiator)?;
    prepare(node, assembly, object)?;
    let enabled = is_enabled(&group)?;
    let acl = group.join("acls").join(initiator);
    configfs::make(&acl)?;
    let (_, chap) = chap::ensure(&acl.join("auth"), assembly).during("write CHAP secrets")?;
    let mapped = acl.join(format!("lun_{LUN}"));
    configfs::make(&mapped)?;
    configfs::link(&unit_of(&group), &mapped.join(LINK))?;
    configfs::set(&group.join("enable"), "1").during("enable the target")?;
    let target = Target {
        iqn: iqn(node, assembly),
        address: node.config.data.ip().to_string(),
        port: node.config.data.port().into(),
        portal_group: PORTAL_GROUP,
        lun: LUN,
        chap: Some(chap),
    };
    // Enabling is the last step: an enabled target is a whole one.
    Ok((if enabled { Change::Already } else { Change::Made }, target))
}

fn only_for(group: &Path, initiator: &str) -> Outcome<()> {
    let others = configfs::folders(&group.join("acls"));
    match others.iter().find(|other| *other != initiator) {
        None => Ok(()),
        Some(other) => {
            let said = format!("is exported to {other}, not to {initiator}");
            Err(failure(FailureKind::Conflict, said)
                .by(group.display().to_string())
                .advising("destroy this export first")
                .into())
        }
    }
}

fn tune(group: &Path) -> Outcome<()> {
    for (name, value) in ATTRIBUTES {
        configfs::set(&group.join("attrib").join(name), value)?;
    }
    for (name, value) in PARAMETERS {
        configfs::set(&group.join("param").join(name), value)?;
    }
    Ok(())
}

fn open_portal(node: &Node, group: &Path) -> Outcome<Change> {
    let data = node.config.data;
    let portal = group.join("np").join(data.to_string());
    configfs::make(&portal).map_err(|refusal| {
        // The kernel's words do not name the port, and the folder's name is not for everyone.
        Failure::new(FailureKind::NotNow, format!("listen on {data}"))
            .by(refusal.program)
            .saying(refusal.said)
            .advising(format!(
                "`ss -ltnp 'sport = :{}'` shows who has the port; choose another data_port, or \
                 set data_address to an address of this node, in /etc/rampool/agent.yaml",
                data.port()
            ))
            .into()
    })
}

/// Who is logged in to a target: its own record is the kernel's.
fn sessions(target: &Path) -> Vec<String> {
    let mut initiators = Vec::new();
    for group in configfs::folders(target) {
        let acls = target.join(group).join("acls");
        for initiator in configfs::folders(&acls) {
            let info = configfs::read(&acls.join(&initiator).join("info")).unwrap_or_default();
            if info.contains("TARG_SESS_STATE_LOGGED_IN") || info.starts_with("InitiatorName:") {
                initiators.push(initiator);
            }
        }
    }
    initiators
}

/// For the inventory: in which state a target is.
pub(super) fn describe(target: &Path) -> String {
    let enable = target.join(format!("tpgt_{PORTAL_GROUP}/enable"));
    let enabled = configfs::read(&enable).is_ok_and(|value| value == "1");
    match (enabled, sessions(target).as_slice()) {
        (false, _) => "not enabled".to_owned(),
        (true, []) => "enabled, no session".to_owned(),
        (true, who) => format!("session of {}", who.join(", ")),
    }
}

/// The kernel would let a target go under its session, and the user's data with it.
pub(super) fn refuse_in_use(target: &Path) -> Outcome<()> {
    match sessions(target).first() {
        None => Ok(()),
        Some(initiator) => Err(Failure::new(FailureKind::Busy, "remove the export")
            .by(target.display().to_string())
            .saying(format!("{initiator} is logged in"))
            .advising("detach the pool's head first")
            .into()),
    }
}

/// Takes a target apart in the reverse of its making.
pub(super) fn remove(target: &Path) -> Outcome<()> {
    for group in configfs::folders(target).iter().filter(|group| group.starts_with("tpgt_")) {
        remove_group(&target.join(group))?;
    }
    configfs::remove(target).map(drop)
}

fn remove_group(group: &Path) -> Outcome<()> {
    // Ends the sessions, each when its last command has ended; the portal keeps listening for
    // other targets.
    configfs::set(&group.join("enable"), "0")?;
    let acls = group.join("acls");
    for initiator in configfs::folders(&acls) {
        remove_units(&acls.join(&initiator))?;
        configfs::remove(&acls.join(initiator))?;
    }
    remove_units(&group.join("lun"))?;
    let portals = group.join("np");
    for portal in configfs::folders(&portals) {
        configfs::remove(&portals.join(portal))?;
    }
    configfs::remove(group)?;
    Ok(())
}

/// Removes every `lun_N` within `folder`, its link first.
pub(super) fn remove_units(folder: &Path) -> Outcome<()> {
    for unit in configfs::folders(folder).iter().filter(|name| name.starts_with("lun_")) {
        configfs::unlink_all(&folder.join(unit))?;
        configfs::remove(&folder.join(unit))?;
    }
    Ok(())
}
