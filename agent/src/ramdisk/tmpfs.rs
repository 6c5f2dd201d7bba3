//! A preallocated file on a tmpfs mount of its own, at `<run>/ramdisk/<pool>.<gen>`; the mount's
//! source carries the name.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use procfs::FromRead;
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Backend, Failure, FailureKind};

use super::{Ramdisk, Wanted, backstore, filler};
use crate::configfs;
use crate::mount::table;
use crate::names;
use crate::node::Node;
use crate::outcome::{During, Outcome, failure, refused};

/// The file that LIO serves.
const FILE: &str = "ramdisk";

/// The root folder and the one file, with some to spare.
const INODES: u32 = 8;

/// LIO closes its file some moments after its object is gone; the kernel tells nobody when.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

fn point(node: &Node, assembly: &Assembly) -> PathBuf {
    node.ramdisk_folder().join(assembly.to_string())
}

/// Mounts of ours, and mount points left without their mount.
pub(super) fn list(node: &Node) -> Outcome<Vec<Ramdisk>> {
    let mounts = table::read(&node.roots.proc)?;
    let ramdisks = configfs::folders(&node.ramdisk_folder()).into_iter().filter_map(|name| {
        let assembly: Assembly = name.parse().ok()?;
        let point = point(node, &assembly);
        let mounted = mounts.iter().any(|m| m.point == point && is_ours(m, &assembly));
        // 512-byte blocks, whatever the file system's own (stat(2)).
        let allocated = || point.join(FILE).metadata().map_or(0, |file| file.blocks() * 512);
        let bytes = if mounted { allocated() } else { 0 };
        Some(Ramdisk { assembly, backend: Backend::Tmpfs, bytes, object: None, ready: false })
    });
    Ok(ramdisks.collect())
}

fn is_ours(mount: &table::Mount, assembly: &Assembly) -> bool {
    mount.kind == "tmpfs" && mount.source == names::object(assembly)
}

pub(super) fn reserve(node: &Node, wanted: &Wanted, progress: &dyn Fn(u64)) -> Outcome<PathBuf> {
    let point = point(node, &wanted.assembly);
    mount_tmpfs(node, wanted, &point)?;
    let path = point.join(FILE);
    filler::fill(&path, wanted.bytes, progress).during("reserve the file")?;
    let control =
        format!("fd_dev_name={},fd_dev_size={},fd_buffered_io=1", path.display(), wanted.bytes);
    let object = backstore::make(node, Backend::Tmpfs, &wanted.assembly, &control)?;
    if configfs::read(&object.join("enable"))? != "1" {
        configfs::write(&object.join("enable"), "1").during("enable the backstore")?;
    }
    let serial = names::serial(&wanted.assembly, &node.config.node);
    backstore::identify(node, &object, Backend::Tmpfs, &serial).during("name the disk")?;
    Ok(object)
}

fn mount_tmpfs(node: &Node, wanted: &Wanted, point: &Path) -> Outcome<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(point)
        .map_err(|error| refused(point, "make the mount point", error))?;
    let mounts = table::read(&node.roots.proc)?;
    // The last mount on a point is the one that is seen.
    match mounts.iter().rev().find(|mount| mount.point == point) {
        Some(mount) if is_ours(mount, &wanted.assembly) => return same_size(point, wanted.bytes),
        Some(mount) => {
            let said = format!("{} is mounted here", mount.source);
            return Err(failure(FailureKind::Conflict, said)
                .by(point.display().to_string())
                .into());
        }
        None => {}
    }
    let options = format!("size={},nr_inodes={INODES},mode=0700", wanted.bytes);
    match mount_with(wanted, point, &format!("{options},noswap")) {
        // Kernels before 6.4 do not know the option.
        Err(Errno::EINVAL) if wanted.allow_swap || !swaps(node)? => {
            mount_with(wanted, point, &options)
        }
        Err(Errno::EINVAL) => {
            let _ = fs::remove_dir(point);
            return Err(swap_refusal().into());
        }
        done => done,
    }
    .map_err(|errno| refused(point, "mount tmpfs", errno))
}

fn mount_with(wanted: &Wanted, point: &Path, options: &str) -> nix::Result<()> {
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
    let source = names::object(&wanted.assembly);
    mount(Some(source.as_str()), point, Some("tmpfs"), flags, Some(options))
}

fn same_size(point: &Path, bytes: u64) -> Outcome<()> {
    let size = nix::sys::statvfs::statvfs(point)
        .map(|fs| fs.blocks() * fs.fragment_size())
        .map_err(|errno| refused(point, "ask its size", errno))?;
    if size == bytes {
        return Ok(());
    }
    let said = format!("is mounted with {size} bytes instead of {bytes}");
    Err(failure(FailureKind::Conflict, said)
        .by(point.display().to_string())
        .advising("destroy this export first")
        .into())
}

fn swaps(node: &Node) -> Outcome<bool> {
    let path = node.roots.proc.join("meminfo");
    let info = procfs::Meminfo::from_file(&path).map_err(|e| refused(&path, "read it", e))?;
    Ok(info.swap_total > 0)
}

fn swap_refusal() -> Failure {
    Failure::new(FailureKind::NotNow, "mount tmpfs")
        .saying("this node has swap, and its kernel (before 6.4) cannot keep tmpfs out of it")
        .advising("use the backend rd_mcp, turn swap off, or allow swap in the profile")
}

/// Unmounts, once LIO's object is gone, and removes the mount point.
pub(super) fn free(node: &Node, assembly: &Assembly) -> Outcome<()> {
    let point = point(node, assembly);
    let patience = Instant::now() + CLOSE_GRACE;
    loop {
        let mounts = table::read(&node.roots.proc)?;
        match mounts.iter().rev().find(|mount| mount.point == point) {
            None => break,
            Some(mount) if !is_ours(mount, assembly) => {
                let said = format!("{} is mounted on it, which is not ours", mount.source);
                return Err(refused(&point, "unmount it", said));
            }
            Some(_) => {}
        }
        match umount2(&point, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EBUSY) if Instant::now() < patience => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(errno) => return Err(refused(&point, "unmount it", errno)),
        }
    }
    match fs::remove_dir(&point) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(refused(&point, "remove the mount point", error))
        }
        _ => Ok(()),
    }
}
