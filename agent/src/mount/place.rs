//! Where a pool may be mounted: an empty folder that is what it says it is, below folders that root
//! alone can change. Somebody who can write one of the folders on the way could otherwise have root
//! mount over anything, or unmount it, or give it away.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, Mode, fstat, major, minor};
use rampool_proto::v1::{Failure, FailureKind};

use super::table::{self, DeviceNumber};
use crate::node::Node;
use crate::outcome::{Outcome, refused};

/// Longer paths the kernel does not take (`PATH_MAX`).
const LONGEST: usize = 4095;

/// Checks a mount point, changing nothing; the usual place need not exist yet.
pub(crate) fn check(node: &Node, point: &Path, usual: bool) -> Outcome<()> {
    if usual && !point.exists() && !point.is_symlink() {
        refuse_odd(point)?;
        let is_made = point.parent().is_some_and(Path::exists);
        return if is_made { refuse_others_way(point) } else { Ok(()) };
    }
    open(node, point).map(drop)
}

/// Opens the folder to mount on, having checked it.
pub(super) fn open(node: &Node, point: &Path) -> Outcome<OwnedFd> {
    refuse_odd(point)?;
    refuse_others_way(point)?;
    let folder = open_folder(point, OFlag::O_PATH).map_err(|errno| match errno {
        Errno::ENOENT => unfit(point, "it does not exist", "make an empty folder there"),
        errno => unfit_or_refused(point, errno),
    })?;
    if let Some(mount) = table::read(&node.roots.proc)?.iter().find(|m| m.point == point) {
        let said = format!("{} ({}) is mounted there", mount.source, mount.kind);
        return Err(unfit(point, &said, "choose another mount point").into());
    }
    let mut entries =
        fs::read_dir(by_descriptor(&folder)).map_err(|error| refused(point, "list it", error))?;
    match entries.next() {
        None => Ok(folder),
        Some(_) => {
            let advice = "choose an empty folder: what is in it would be hidden";
            Err(unfit(point, "it is not empty", advice).into())
        }
    }
}

/// Opens the folder of exactly this path, following no link.
fn open_folder(path: &Path, how: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(how | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(AT_FDCWD, path, how)
}

fn unfit_or_refused(point: &Path, errno: Errno) -> Failure {
    match errno {
        Errno::ELOOP => unfit(
            point,
            "a symbolic link is on the way to it",
            "name the folder by its own path (`realpath`)",
        ),
        Errno::ENOTDIR => unfit(point, "it is no folder", "name an empty folder"),
        errno => *refused(point, "open it", errno),
    }
}

/// Refuses where somebody else than root can change a folder on the way to `point`, and so put
/// another thing in its place at any time. From the root down: what was looked at stays as it is.
fn refuse_others_way(point: &Path) -> Outcome<()> {
    let mut way: Vec<_> = point.ancestors().skip(1).collect();
    way.reverse();
    for folder in way {
        let open = open_folder(folder, OFlag::O_PATH).map_err(|errno| match errno {
            Errno::ENOENT => {
                let said = format!("{} does not exist", folder.display());
                unfit(point, &said, "make an empty folder there")
            }
            errno => unfit_or_refused(point, errno),
        })?;
        let about = fstat(&open).map_err(|errno| refused(folder, "ask whose it is", errno))?;
        if !is_roots_alone(&about) {
            let said = format!("others than root can change {}", folder.display());
            return Err(unfit(point, &said, "choose a folder that is root's all the way").into());
        }
    }
    Ok(())
}

fn is_roots_alone(folder: &FileStat) -> bool {
    let others = Mode::S_IWGRP.bits() | Mode::S_IWOTH.bits();
    folder.st_uid == 0 && folder.st_mode & others == 0
}

/// Opens the root of the file system that is mounted on `point`, and of no other.
pub(super) fn open_mounted(point: &Path, number: DeviceNumber) -> Outcome<File> {
    let said = |errno| refused(point, "open it", errno);
    let root = open_folder(point, OFlag::O_RDONLY).map_err(said)?;
    let device = fstat(&root).map_err(said)?.st_dev;
    if (major(device), minor(device)) != (u64::from(number.0), u64::from(number.1)) {
        return Err(refused(point, "open it", "another file system is there"));
    }
    Ok(root.into())
}

/// The path under which an open folder, and nothing else, is found.
pub(super) fn by_descriptor(folder: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", folder.as_raw_fd()).into()
}

/// Makes the usual place, and the folder that holds all usual places.
pub(super) fn make_usual(point: &Path) -> Outcome<()> {
    if let Some(root) = point.parent() {
        make_folder(root)?;
    }
    refuse_others_way(point)?;
    make_folder(point)
}

/// Makes a folder, and those on the way to it, for everybody to pass: the agent's unit has a umask
/// that lets nobody.
fn make_folder(path: &Path) -> Outcome<()> {
    if path.is_dir() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), make_folder)?;
    let said = |error| refused(path, "make it", error);
    match fs::create_dir(path) {
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(said),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(said(error)),
    }
}

/// Refuses a path that is not written plainly, whatever is there.
pub(crate) fn refuse_odd(point: &Path) -> Outcome<()> {
    let said = if !point.is_absolute() {
        "it is not absolute"
    } else if point == Path::new("/") {
        "it is the root of all"
    } else if point.as_os_str().len() > LONGEST {
        "it is too long"
    } else if !is_plain(point) {
        "it has `..`, doubled or ending slashes, or characters that do not print"
    } else {
        return Ok(());
    };
    Err(unfit(point, said, "give a plain absolute path, like /scratch/demo").into())
}

/// Written as the mount table will write it, so that the two can be compared.
fn is_plain(point: &Path) -> bool {
    let rebuilt: PathBuf = point.components().collect();
    let text = point.to_str();
    rebuilt.as_os_str() == point.as_os_str()
        && point.components().all(|part| part != Component::ParentDir)
        && text.is_some_and(|text| !text.chars().any(char::is_control))
}

fn unfit(point: &Path, said: &str, advice: &str) -> Failure {
    Failure::new(FailureKind::Invalid, "check the mount point")
        .by(point.display().to_string())
        .saying(said)
        .advising(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_refused_with_the_reason() {
        for (path, reason) in [
            ("scratch", "not absolute"),
            ("/", "root"),
            ("/a/../b", ".."),
            ("/a//b", "slashes"),
            ("/a/", "slashes"),
            ("/a\nb", "print"),
        ] {
            let told = refuse_odd(Path::new(path)).unwrap_err();
            assert!(told.said.contains(reason), "{path}: {told}");
            assert_eq!(told.kind(), FailureKind::Invalid);
        }
        assert!(refuse_odd(Path::new("/scratch/my pool")).is_ok());
    }
}
