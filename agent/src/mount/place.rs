//! Where a pool may be mounted: an empty folder that is what it says it is. Somebody who can
//! write one of the folders on the way could otherwise have root mount over anything.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use rampool_proto::v1::{Failure, FailureKind};

use super::table;
use crate::node::Node;
use crate::outcome::{Outcome, refused};

/// Longer paths the kernel does not take (`PATH_MAX`).
const LONGEST: usize = 4095;

/// Checks a mount point, changing nothing; the usual place need not exist yet.
pub(crate) fn check(node: &Node, point: &Path, usual: bool) -> Outcome<()> {
    if usual && !point.exists() && !point.is_symlink() {
        return refuse_odd(point);
    }
    open(node, point).map(drop)
}

/// Opens the folder to mount on, having checked it.
pub(super) fn open(node: &Node, point: &Path) -> Outcome<OwnedFd> {
    refuse_odd(point)?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let folder = openat2(AT_FDCWD, point, how).map_err(|errno| match errno {
        Errno::ENOENT => unfit(point, "it does not exist", "make an empty folder there"),
        Errno::ELOOP => unfit(
            point,
            "a symbolic link is on the way to it",
            "name the folder by its own path (`realpath`)",
        ),
        Errno::ENOTDIR => unfit(point, "it is no folder", "name an empty folder"),
        errno => *refused(point, "open it", errno),
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

/// The path under which an open folder, and nothing else, is found.
pub(super) fn by_descriptor(folder: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", folder.as_raw_fd()).into()
}

/// Makes the usual place, and the folder that holds all usual places.
pub(super) fn make_usual(point: &Path) -> Outcome<()> {
    if let Some(root) = point.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(root)
            .map_err(|error| refused(root, "make it", error))?;
    }
    match fs::DirBuilder::new().mode(0o755).create(point) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(refused(point, "make it", error))
        }
        _ => Ok(()),
    }
}

fn refuse_odd(point: &Path) -> Outcome<()> {
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
