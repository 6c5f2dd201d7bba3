//! Where NFS clients find a pool. Version 4 has one tree of files for each client, and a pool must
//! be in it:
//!
//! - below the folder that the site exports to that client with `fsid=0`, if it does;
//! - else in the node's own tree, as mountd shows it, if the kernel can export its root;
//! - else (an overlay as `/`, as on nodes that boot from an image) in a tree of our own: a tmpfs
//!   with nothing in it but one folder for each pool, the pool mounted on it once more.
//!
//! Ours is never made where the first two are possible: whoever mounts the site's exports by their
//! paths would not find them any more.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, umount2};
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::FailureKind;

use super::exports::{self, Entry, Export};
use crate::mount::table;
use crate::node::Node;
use crate::outcome::{Change, Outcome, failure, refused};

/// Of the tree of our own.
pub(super) const FILE: &str = "rampool.exports";
const MARK: &str = "fsid=0";
const OPTIONS: &str = "ro,sync,root_squash,no_subtree_check";

/// Some folders; nobody writes to it.
const TMPFS: &str = "size=256k,mode=755";

/// What nfsd was doing when a share ended holds it for moments.
const RELEASE_GRACE: Duration = Duration::from_secs(3);

/// The tree of which a share is a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// The node's own.
    Node,
    /// What the site exports as the root.
    Site(PathBuf),
    /// Ours.
    Ours,
}

/// Below a folder that only root enters: who may use a pool on this node uses its own mount. A
/// user's open file in our tree would keep a share from ending.
fn folder(node: &Node) -> PathBuf {
    closed(node).join("root")
}

fn closed(node: &Node) -> PathBuf {
    node.roots.run.join("share")
}

/// Makes the folder that only root enters.
pub(crate) fn prepare(node: &Node) -> Outcome<()> {
    let folder = closed(node);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| refused(&folder, "make it", error))
}

/// Where a pool is mounted once more, for clients to find.
pub(super) fn view(node: &Node, assembly: &Assembly) -> PathBuf {
    folder(node).join(assembly.to_string())
}

/// The assembly of which this mount point is our own view.
pub(super) fn parse_view(node: &Node, point: &Path) -> Option<Assembly> {
    point.strip_prefix(folder(node)).ok()?.to_str()?.parse().ok()
}

/// Whether a mount at `point` is there for NFS alone.
pub(crate) fn is_own_view(node: &Node, point: &Path) -> bool {
    parse_view(node, point).is_some()
}

/// Whether a pool mounted on `point` could be shared, as far as it can be told before.
pub(super) fn check(node: &Node, assembly: &Assembly, point: &Path) -> Outcome<()> {
    let table = exports::table(&node.roots)?;
    // Of every client: who they will be is not known yet.
    let root = choose(&folder(node), &table, |_| true, can_be_exported(Path::new("/")));
    place(&root, point, &view(node, assembly)).map(drop)
}

/// The tree in which these clients look.
pub(super) fn of(node: &Node, clients: &BTreeSet<IpAddr>) -> Outcome<Root> {
    let table = exports::table(&node.roots)?;
    // What is no plain address may well mean one of them.
    let concerns = |entry: &Entry| entry.address().is_none_or(|address| clients.contains(&address));
    Ok(choose(&folder(node), &table, concerns, can_be_exported(Path::new("/"))))
}

fn choose(ours: &Path, table: &[Entry], concerns: impl Fn(&Entry) -> bool, node: bool) -> Root {
    let sites = table.iter().find(|entry| entry.has(MARK) && entry.path != ours && concerns(entry));
    match sites {
        Some(entry) => Root::Site(entry.path.clone()),
        None if node => Root::Node,
        None => Root::Ours,
    }
}

/// The path under which clients find a pool that is mounted on `point`.
pub(super) fn place(root: &Root, point: &Path, view: &Path) -> Outcome<PathBuf> {
    match root {
        Root::Ours => Ok(Path::new("/").join(view.file_name().unwrap_or_default())),
        Root::Site(site) => match point.strip_prefix(site) {
            Ok(below) => Ok(Path::new("/").join(below)),
            Err(_) => unreachable_by(
                point,
                &format!("the site's NFS root (fsid=0) is {}", site.display()),
                &format!("mount the pool below {}, or export no fsid=0", site.display()),
            ),
        },
        Root::Node => {
            let odd = point.ancestors().skip(1).find(|on| on.exists() && !can_be_exported(on));
            match odd {
                None => Ok(point.to_owned()),
                Some(odd) => unreachable_by(
                    point,
                    &format!("the file system at {} cannot be exported", odd.display()),
                    "mount the pool elsewhere, below folders of the root file system",
                ),
            }
        }
    }
}

fn unreachable_by<T>(point: &Path, said: &str, advice: &str) -> Outcome<T> {
    let failure = failure(FailureKind::NotNow, format!("NFS clients could not find it: {said}"));
    Err(failure.by(point.display().to_string()).advising(advice).into())
}

/// Whether the kernel knows handles for files there, which NFS is made of.
#[allow(unsafe_code)]
fn can_be_exported(path: &Path) -> bool {
    #[repr(C)]
    struct Handle {
        head: libc::file_handle,
        room: [u8; libc::MAX_HANDLE_SZ as usize],
    }
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: all zeroes are a valid value of these numbers.
    let mut handle: Handle = unsafe { std::mem::zeroed() };
    handle.head.handle_bytes = libc::MAX_HANDLE_SZ as u32;
    let mut mount = 0;
    // SAFETY: the path ends with a zero; the handle says how much room is behind it; the call
    // keeps neither.
    let told = unsafe {
        libc::name_to_handle_at(
            libc::AT_FDCWD,
            path.as_ptr(),
            std::ptr::from_mut(&mut handle).cast(),
            &raw mut mount,
            0,
        )
    };
    told == 0
}

/// Shows the pool that is mounted on `point` in our own tree.
pub(super) fn show(node: &Node, assembly: &Assembly, point: &Path) -> Outcome<Change> {
    let (root, view) = (folder(node), view(node, assembly));
    let mounts = table::read(&node.roots.proc)?;
    let is_mounted = |at: &Path| mounts.iter().any(|mount| mount.point == at);
    if is_mounted(&view) {
        return Ok(Change::Already);
    }
    let made =
        |at: &Path, done: nix::Result<()>| done.map_err(|errno| refused(at, "mount on it", errno));
    if !is_mounted(&root) {
        fs::create_dir_all(&root).map_err(|error| refused(&root, "make it", error))?;
        let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        made(&root, nix::mount::mount(Some("rampool"), &root, Some("tmpfs"), flags, Some(TMPFS)))?;
        // What users' namespaces have copies of could not be unmounted for good.
        made(&root, private(&root))?;
    }
    fs::create_dir_all(&view).map_err(|error| refused(&view, "make it", error))?;
    let bind = MsFlags::MS_BIND;
    made(&view, nix::mount::mount(Some(point), &view, None::<&str>, bind, None::<&str>))?;
    made(&view, private(&view))?;
    Ok(Change::Made)
}

fn private(at: &Path) -> nix::Result<()> {
    nix::mount::mount(None::<&str>, at, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>)
}

/// Takes the pool out of our own tree.
pub(super) fn hide(node: &Node, assembly: &Assembly) -> Outcome<Change> {
    let view = view(node, assembly);
    let mounts = table::read(&node.roots.proc)?;
    let mut change = Change::Already;
    for _ in mounts.iter().filter(|mount| mount.point == view) {
        release(&view)?;
        change = Change::Made;
    }
    if fs::remove_dir(&view).is_ok() {
        change = Change::Made;
    }
    Ok(change)
}

/// Exports our own tree to whoever may mount anything in it; without anybody it goes.
pub(super) fn settle(node: &Node) -> Outcome<Change> {
    let root = folder(node);
    let inside = |entry: &Entry| entry.path != root && entry.path.starts_with(&root);
    let table = exports::table(&node.roots)?;
    let clients: BTreeSet<IpAddr> =
        table.iter().filter(|entry| inside(entry)).filter_map(Entry::address).collect();
    let ours = Export {
        path: &root,
        mark: MARK.to_owned(),
        is_unique: false,
        options: OPTIONS,
        file: FILE.to_owned(),
    };
    exports::settle(node, &ours, &clients)
}

/// Unmounts our own tree when no pool is in it.
pub(super) fn remove_empty(node: &Node) -> Outcome<()> {
    let root = folder(node);
    let mounts = table::read(&node.roots.proc)?;
    let mut of_root = mounts.iter().filter(|mount| mount.point.starts_with(&root));
    if of_root.any(|mount| mount.point != root) {
        return Ok(());
    }
    let none = BTreeSet::from([root.clone()]);
    exports::await_forgotten(&node.roots, &none, || Ok(()))?;
    for _ in mounts.iter().filter(|mount| mount.point == root) {
        release(&root)?;
    }
    // Not there, or not empty: not ours to remove.
    let _ = fs::remove_dir(&root);
    Ok(())
}

fn release(at: &Path) -> Outcome<()> {
    let patience = Instant::now() + RELEASE_GRACE;
    loop {
        match umount2(at, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => return Ok(()),
            Err(Errno::EBUSY) if Instant::now() < patience => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(errno) => return Err(refused(at, "unmount it", errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;
    use crate::node::tests::fake;

    fn entry(path: &str, client: &str, options: &str) -> Entry {
        exports::parse(format!("{path}\t{client}({options})").as_bytes()).unwrap()
    }

    #[test]
    fn a_root_of_our_own_is_the_last_choice() {
        let ours = Path::new("/run/rampool/share/root");
        let chosen = |table: &[Entry], node| choose(ours, table, |e| e.client != "other", node);
        assert_eq!(chosen(&[], true), Root::Node);
        assert_eq!(chosen(&[], false), Root::Ours);
        assert_eq!(
            chosen(&[entry("/run/rampool/share/root", "a", "ro,fsid=0")], false),
            Root::Ours
        );
        assert_eq!(chosen(&[entry("/srv", "other", "ro,fsid=0")], false), Root::Ours);
        assert_eq!(chosen(&[entry("/srv", "*", "ro,fsid=1")], true), Root::Node);
        assert_eq!(chosen(&[entry("/srv", "*", "ro,fsid=0")], true), Root::Site("/srv".into()));
    }

    #[test]
    fn clients_find_a_pool_by_its_path_in_their_tree() {
        let view = Path::new("/run/rampool/share/root/demo.3");
        let found = |root, point: &str| place(&root, Path::new(point), view);
        assert_eq!(found(Root::Ours, "/rampool/demo").unwrap(), Path::new("/demo.3"));
        let site = Root::Site("/srv/nfs".into());
        assert_eq!(found(site.clone(), "/srv/nfs/p/demo").unwrap(), Path::new("/p/demo"));
        let told = found(site, "/rampool/demo").unwrap_err();
        assert!(told.advice.contains("below /srv/nfs"), "{told}");
    }

    #[test]
    fn our_views_are_known_by_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        let demo = assembly("demo.3");
        assert_eq!(parse_view(&node, &view(&node, &demo)), Some(demo));
        assert!(!is_own_view(&node, Path::new("/rampool/demo.3")));
    }

    #[test]
    fn the_kernel_says_what_it_can_export() {
        assert!(!can_be_exported(Path::new("/proc/self")));
        assert!(!can_be_exported(Path::new("/no/such/folder")));
    }
}
