//! A head shares the pool that it has mounted, and stops.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind, Holding, HoldingKind, PoolId};

use super::exports::{self, Entry, Export};
use super::root::{self, Root};
use super::{clients, server};
use crate::configfs;
use crate::mount::{self, table};
use crate::names;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure};
use crate::volume;

/// Written through as clients ask for it; root of a client is nobody here; what is below the
/// mount point when nothing is mounted there is never shown. Clients call from ports that only
/// their root may use, which is exportfs' default: no ordinary user there can speak for another.
const OPTIONS: &str = "rw,sync,root_squash,no_subtree_check,mountpoint";

/// What a head is asked to share.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which pool.
    pub assembly: Assembly,
    /// With whom, and nobody else.
    pub clients: BTreeSet<IpAddr>,
}

fn export<'a>(assembly: &Assembly, path: &'a Path) -> Export<'a> {
    Export {
        path,
        mark: mark(assembly),
        is_unique: true,
        options: OPTIONS,
        file: names::exports_file(assembly),
    }
}

fn mark(assembly: &Assembly) -> String {
    format!("fsid={}", names::share_uuid(assembly))
}

/// Shares the pool with the clients, and with nobody else. Answers under which path they find it.
pub fn share(node: &Node, wanted: &Wanted) -> Outcome<(Change, String)> {
    let Wanted { assembly, clients } = wanted;
    server::require(node)?;
    let volume = volume::require(node, assembly)?;
    let Some(mounted) = mount::of_volume(node, &volume)? else {
        let said = format!("{assembly} is not mounted on this node");
        return Err(failure(FailureKind::NotFound, said).advising("mount it first").into());
    };
    let _turn = node.share_turn();
    let root = root::of(node, clients)?;
    let view = root::view(node, assembly);
    let path = root::place(&root, &mounted.point, &view)?;
    let mut changes = Vec::new();
    let exported = match root {
        Root::Ours => {
            changes.push(root::show(node, assembly, &mounted.point)?);
            view
        }
        Root::Node | Root::Site(_) => mounted.point.clone(),
    };
    changes.push(exports::settle(node, &export(assembly, &exported), clients)?);
    if root == Root::Ours {
        changes.push(root::settle(node)?);
    }
    clients::expire(&node.roots, mounted.device, clients)?;
    let change = if changes.contains(&Change::Made) { Change::Made } else { Change::Already };
    Ok((change, path.display().to_string()))
}

/// Ends the share: nobody may mount it, and nobody holds it, from then on.
pub fn unshare(node: &Node, assembly: &Assembly) -> Outcome<Change> {
    let _turn = node.share_turn();
    let shares = shares(node)?;
    if !shares.contains_key(assembly) {
        return Ok(Change::Already);
    }
    let view = root::view(node, assembly);
    let mut change = exports::settle(node, &export(assembly, &view), &BTreeSet::new())
        .during("unexport the pool")?;
    if root::settle(node).during("unexport the root of all pools")? == Change::Made {
        change = Change::Made;
    }
    let volume = volume::find(node, assembly).map(|volume| volume.number);
    let mounts = table::read(&node.roots.proc)?;
    let shown = mounts.iter().find(|mount| mount.point == view).map(|mount| mount.device);
    let devices: BTreeSet<_> = [volume, shown].into_iter().flatten().collect();
    let of_pool = mounts.iter().filter(|mount| devices.contains(&mount.device));
    let paths = of_pool.map(|mount| mount.point.clone()).collect();
    // A request that was under way may have opened something since the last time.
    let expire = || {
        let nobody = BTreeSet::new();
        devices.iter().try_for_each(|device| clients::expire(&node.roots, *device, &nobody))
    };
    exports::await_forgotten(&node.roots, &paths, expire).during("end what clients have open")?;
    if root::hide(node, assembly).during("unmount the clients' view")? == Change::Made {
        change = Change::Made;
    }
    root::remove_empty(node).during("unmount the root of all pools")?;
    Ok(change)
}

/// Refuses while nodes are connected that may use the share: they may be in the midst of it.
pub(super) fn refuse_in_use(node: &Node, assembly: &Assembly) -> Outcome<()> {
    let Some(share) = shares(node)?.remove(assembly) else { return Ok(()) };
    let connected = clients::connected(&node.roots);
    let users: Vec<_> = share.clients.iter().filter(|who| connected.contains(who)).collect();
    if users.is_empty() {
        return Ok(());
    }
    let users: Vec<_> = users.into_iter().map(ToString::to_string).collect();
    let said = format!("it is shared by NFS, and connected are {}", users.join(", "));
    Err(Failure::new(FailureKind::Busy, "unmount the pool")
        .by(share.path.display().to_string())
        .saying(said)
        .advising("unmount it there first, or use --force, which ends their access")
        .into())
}

/// What is left of a share, or all of it.
#[derive(Default)]
struct Share {
    path: PathBuf,
    /// Those who may mount it, as exportfs' table says.
    clients: BTreeSet<IpAddr>,
    /// Whether it was meant to be: its file is there.
    has_file: bool,
}

/// By our files, by our views, and by the entries of volumes that are here: whichever of them an
/// agent that was killed had made or left.
fn shares(node: &Node) -> Outcome<BTreeMap<Assembly, Share>> {
    let mut found: BTreeMap<Assembly, Share> = BTreeMap::new();
    for name in configfs::names(&node.roots.exports) {
        let Some(assembly) = names::parse_exports_file(&name) else { continue };
        let text = fs::read(node.roots.exports.join(&name)).unwrap_or_default();
        let path = exports::path_in(&text).unwrap_or_default();
        found.insert(assembly, Share { path, has_file: true, ..Share::default() });
    }
    for mount in table::read(&node.roots.proc)? {
        if let Some(assembly) = root::parse_view(node, &mount.point) {
            found.entry(assembly).or_default().path = mount.point;
        }
    }
    let mut table = exports::table(&node.roots)?;
    let volumes = volume::list(node);
    let known: BTreeSet<Assembly> =
        volumes.into_iter().map(|v| v.assembly).chain(found.keys().cloned()).collect();
    for assembly in known {
        let mark = mark(&assembly);
        let (ours, others): (Vec<Entry>, Vec<Entry>) =
            table.into_iter().partition(|entry| entry.has(&mark));
        table = others;
        if let Some(entry) = ours.first() {
            let share = found.entry(assembly).or_default();
            share.path.clone_from(&entry.path);
            share.clients = ours.iter().filter_map(Entry::address).collect();
        }
    }
    Ok(found)
}

/// What this node shares.
pub(super) fn list(node: &Node) -> Outcome<Vec<Holding>> {
    let holding = |(assembly, share): (Assembly, Share)| Holding {
        pool: Some(PoolId::from(&assembly)),
        kind: HoldingKind::Share.into(),
        name: share.path.display().to_string(),
        detail: describe(&share),
        ..Holding::default()
    };
    Ok(shares(node)?.into_iter().map(holding).collect())
}

fn describe(share: &Share) -> String {
    if share.clients.is_empty() {
        return match share.has_file {
            true => "not exported any more; `exportfs -ra` exports it again".to_owned(),
            false => "half made".to_owned(),
        };
    }
    share.clients.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Removes the files of shares whose path is no mount: a reboot ended them, and left /etc.
pub(super) fn forget_ended(node: &Node) -> Outcome<()> {
    let mounts = table::read(&node.roots.proc)?;
    for name in configfs::names(&node.roots.exports) {
        if names::parse_exports_file(&name).is_none() && name != root::FILE {
            continue;
        }
        let file = node.roots.exports.join(&name);
        let path = exports::path_in(&fs::read(&file).unwrap_or_default()).unwrap_or_default();
        if !mounts.iter().any(|mount| mount.point == path) {
            tracing::info!(file = %file.display(), "is of a share that has ended: removed");
            exports::forget(&file)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;
    use crate::node::tests::fake;

    #[test]
    fn a_reboot_leaves_no_file_of_ours_and_every_one_of_the_site() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        fs::create_dir_all(node.roots.proc.join("self")).unwrap();
        fs::create_dir_all(&node.roots.exports).unwrap();
        let mounts = "77 20 254:3 / /rampool/demo rw - xfs /dev/md_rp.demo.3 rw\n";
        fs::write(node.roots.proc.join("self/mountinfo"), mounts).unwrap();
        let write = |name: &str, text: &str| {
            fs::write(node.roots.exports.join(name), text).unwrap();
        };
        write(&names::exports_file(&assembly("demo.3")), "# x\n/rampool/demo 10.0.0.2(rw)\n");
        write(&names::exports_file(&assembly("old.1")), "# x\n/rampool/old 10.0.0.2(rw)\n");
        write("rampool.exports", "/run/rampool/share/root 10.0.0.2(ro)\n");
        write("site.exports", "/nowhere *(ro)\n");
        forget_ended(&node).unwrap();
        let left = configfs::names(&node.roots.exports);
        assert_eq!(left, ["rp.demo.3.exports", "site.exports"]);
        // Its table lost, as by `exportfs -ua`: it is seen, and said.
        let held = list(&node).unwrap();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].name, "/rampool/demo");
        assert!(held[0].detail.contains("exportfs -ra"), "{held:?}");
    }
}
