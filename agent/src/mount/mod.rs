//! A pool's place in the file tree.

pub(crate) mod holders;
mod place;
mod release;
pub mod table;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::MsFlags;
use nix::sys::stat::Mode;
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{
    Failure, FailureKind, FilesystemKind, Holding, HoldingKind, PoolId, Usage,
};

use crate::configfs;
use crate::filesystem;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure, refused};
use crate::share;
use crate::usage;
use crate::volume::{self, Volume};
pub(crate) use place::{check as check_place, refuse_odd};
pub use release::unmount;
pub(crate) use release::{release_dead, release_mount, remove_usual_places};
use table::Mount;

/// What says at the mount's root what it is.
const README: &str = "README";

/// What a head is asked to mount.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whose volume.
    pub assembly: Assembly,
    /// Whose file system: this assembly's, or an earlier one's.
    pub formed: Assembly,
    /// What is on it.
    pub kind: FilesystemKind,
    /// Where; empty for the usual place.
    pub point: PathBuf,
    /// The text of the README at its root.
    pub readme: String,
    /// Who owns its root.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// Nobody else may enter, also where it is root's.
    pub is_private: bool,
}

/// The folders that are made for a pool and go with its mount: of its own name, where it is
/// mounted if no place is named; and of a job's pool, of the job's number.
fn usual_places(node: &Node, assembly: &Assembly) -> Vec<PathBuf> {
    let mut names = vec![assembly.name.to_string()];
    names.extend(assembly.name.job().map(|(job, _)| job.to_string()));
    names.into_iter().map(|name| node.config.mount_root.join(name)).collect()
}

/// Where a pool is to be mounted, and whether that folder is made for it.
pub(crate) fn place(node: &Node, assembly: &Assembly, asked: &Path) -> (PathBuf, bool) {
    let usual = usual_places(node, assembly);
    match asked.as_os_str().is_empty() {
        true => (usual.into_iter().next().expect("a pool has a name"), true),
        false => (asked.to_owned(), usual.iter().any(|place| place == asked)),
    }
}

/// Where a volume is mounted: the mount of its whole file system that was made first.
pub fn of_volume(node: &Node, volume: &Volume) -> Outcome<Option<Mount>> {
    let mounts = table::read(&node.roots.proc)?;
    let is_it = |m: &Mount| is_whole(m, volume) && !share::is_own_view(node, &m.point);
    Ok(mounts.into_iter().find(is_it))
}

/// Whether a mount shows all of the volume's file system.
pub(crate) fn is_whole(mount: &Mount, volume: &Volume) -> bool {
    mount.device == volume.number && mount.root == Path::new("/")
}

/// Mounts the pool's file system, says at its root what it is, and gives it to its owner. A
/// bare block device is given to its owner as it is.
pub fn mount(node: &Node, wanted: &Wanted) -> Outcome<(Change, Usage)> {
    let volume = volume::require(node, &wanted.assembly)?;
    if wanted.kind == FilesystemKind::None {
        let change = give_device(&volume, wanted).during("give the device to its owner")?;
        return Ok((change, usage::bare(&volume)));
    }
    let (point, is_usual) = place(node, &wanted.assembly, &wanted.point);
    let change = match of_volume(node, &volume)? {
        Some(there) if there.point == point => Change::Already,
        Some(other) => {
            let said = format!("is mounted on {} already", other.point.display());
            return Err(failure(FailureKind::Conflict, said)
                .by(volume.device.display().to_string())
                .advising("unmount it first")
                .into());
        }
        None => {
            filesystem::require(&volume, wanted.kind, &wanted.formed)?;
            mount_at(node, &volume, wanted.kind, &point, is_usual)?;
            Change::Made
        }
    };
    introduce(&volume, &point, wanted).during("say at the mount's root what it is")?;
    Ok((change, usage::require_mounted(node, &volume)?))
}

/// Nothing that could do harm to the node, and no write for a read.
const FLAGS: MsFlags = MsFlags::MS_NODEV.union(MsFlags::MS_NOSUID).union(MsFlags::MS_NOATIME);

fn mount_at(
    node: &Node,
    volume: &Volume,
    kind: FilesystemKind,
    point: &Path,
    usual: bool,
) -> Outcome<()> {
    let options = match kind {
        // Eight log buffers of the greatest size: metadata waits less for the log.
        FilesystemKind::Xfs => "logbufs=8,logbsize=256k",
        // The inode tables lie on memory that is zero already.
        FilesystemKind::Ext4 => "noinit_itable",
        FilesystemKind::None | FilesystemKind::Unspecified => {
            return Err(failure(FailureKind::Invalid, "no file system is named").into());
        }
    };
    let source = volume.device.display().to_string();
    mount_on(node, point, usual, &source, filesystem::label(kind), options)?;
    if kind == FilesystemKind::Xfs {
        fail_soon(node, volume);
    }
    Ok(())
}

/// Mounts `source` on a folder that is fit for it, and made first where it is the usual one.
pub(crate) fn mount_on(
    node: &Node,
    point: &Path,
    usual: bool,
    source: &str,
    kind: &str,
    options: &str,
) -> Outcome<()> {
    if usual {
        place::make_usual(point)?;
    }
    let folder = place::open(node, point)?;
    // By the open folder, so that what was checked is what is mounted on.
    let on = place::by_descriptor(&folder);
    let done = nix::mount::mount(Some(source), &on, Some(kind), FLAGS, Some(options));
    drop(folder);
    if let Err(errno) = done {
        if usual {
            let _ = fs::remove_dir(point);
        }
        return Err(refused(point, &format!("mount {source} on it"), errno));
    }
    Ok(())
}

/// A stripe that lost a disk never gets it back: XFS shuts down at the first metadata write
/// that fails, instead of trying again for ever while files seem well.
fn fail_soon(node: &Node, volume: &Volume) {
    let errors = node.roots.sys.join("fs/xfs").join(&volume.name).join("error/metadata");
    for kind in ["EIO", "ENODEV", "default"] {
        if let Err(failure) = configfs::write(&errors.join(kind).join("max_retries"), "0") {
            tracing::warn!(%failure, "XFS will retry failed metadata writes for ever");
        }
    }
}

/// Whether a volume's device was itself given to a user: of root's own nobody can tell.
#[must_use]
pub fn is_given(volume: &Volume) -> bool {
    fs::metadata(&volume.device).is_ok_and(|device| device.uid() != 0)
}

/// The README, and the owner of the root. Both by the open root, and without following what its
/// owner may have put there since.
fn introduce(volume: &Volume, point: &Path, wanted: &Wanted) -> Outcome<()> {
    let root = place::open_mounted(point, volume.number)?;
    let readme = point.join(README);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    match openat(&root, README, flags, Mode::from_bits_truncate(0o444)) {
        Ok(made) => {
            let mut file = File::from(made);
            let mode = fs::Permissions::from_mode(0o444);
            // On the disks, too: the next head finds what this one wrote.
            file.write_all(wanted.readme.as_bytes())
                .and_then(|()| file.set_permissions(mode))
                .and_then(|()| file.sync_all())
                .map_err(|error| refused(&readme, "write it", error))?;
        }
        Err(Errno::EEXIST) => {}
        Err(errno) => return Err(refused(&readme, "make it", errno)),
    }
    own(&root, wanted, root_mode(wanted)).map(drop).map_err(|error| not_given(point, error))
}

fn give_device(volume: &Volume, wanted: &Wanted) -> Outcome<Change> {
    let given = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(&volume.device)
        .and_then(|device| own(&device, wanted, 0o600));
    given.map_err(|error| not_given(&volume.device, error))
}

fn not_given(what: &Path, error: std::io::Error) -> Box<Failure> {
    refused(what, "give it to its owner", error)
}

/// Of the mount's root: whatever a user's pool holds is the user's, root's is everybody's to read.
fn root_mode(wanted: &Wanted) -> u32 {
    if wanted.is_private || wanted.uid != 0 { 0o700 } else { 0o755 }
}

/// Gives what is open to the pool's owner, once: modes that the owner changed since are kept.
fn own(file: &File, wanted: &Wanted, mode: u32) -> std::io::Result<Change> {
    let now = file.metadata()?;
    if (now.uid(), now.gid()) == (wanted.uid, wanted.gid) && (wanted.uid != 0 || bits(&now) == mode)
    {
        return Ok(Change::Already);
    }
    change_owner(file, wanted, mode)?;
    Ok(Change::Made)
}

/// The mode first: once it is the owner's, it is the owner's to change.
fn change_owner(file: &File, wanted: &Wanted, mode: u32) -> std::io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    std::os::unix::fs::fchown(file, Some(wanted.uid), Some(wanted.gid))
}

fn bits(metadata: &fs::Metadata) -> u32 {
    metadata.mode() & 0o7777
}

/// The mounts of every pool's volume.
pub fn list(node: &Node, volumes: &[Volume]) -> Outcome<Vec<Holding>> {
    let mounts = table::read(&node.roots.proc)?;
    let of = |mount: Mount| {
        if share::is_own_view(node, &mount.point) {
            return None;
        }
        let volume = volumes.iter().find(|volume| volume.number == mount.device)?;
        Some(Holding {
            pool: Some(PoolId::from(&volume.assembly)),
            kind: HoldingKind::Mount.into(),
            name: volume.device.display().to_string(),
            bytes: volume.bytes,
            detail: mount.point.display().to_string(),
            filesystem: filesystem::of_label(&mount.kind).into(),
            ..Holding::default()
        })
    };
    Ok(mounts.into_iter().filter_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;
    use crate::node::tests::fake;

    #[test]
    fn a_jobs_pool_may_be_at_its_jobs_number() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        let root = &node.config.mount_root;
        let job = assembly("job-17-2.1");
        assert_eq!(place(&node, &job, Path::new("")), (root.join("job-17-2"), true));
        assert_eq!(place(&node, &job, &root.join("17")), (root.join("17"), true));
        assert_eq!(place(&node, &job, &root.join("18")), (root.join("18"), false));
        assert_eq!(place(&node, &assembly("demo.1"), &root.join("17")), (root.join("17"), false));
    }
}
