//! XFS's and ext4's way to end at once: no write is waited for, every later call gets EIO.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use nix::libc;
use nix::sys::stat::{major, minor};
use rampool_proto::v1::{Failure, FailureKind};

use crate::mount::table::Mount;
use crate::outcome::{Change, Outcome, refused};

/// Opening the mount's root may have to wait for I/O that is still held back.
const GRACE: Duration = Duration::from_secs(2);

/// Shuts the file system of `mount` down. Where that does not end in time, it goes on by itself
/// as soon as the held I/O is let go.
pub(super) fn file_system(mount: &Mount) -> Outcome<Change> {
    let (ended, end) = mpsc::channel();
    let mount_there = mount.clone();
    std::thread::spawn(move || {
        // Nobody listens any more where it took too long.
        let _ = ended.send(shut(&mount_there));
    });
    end.recv_timeout(GRACE).unwrap_or_else(|_| {
        Err(Failure::new(FailureKind::TimedOut, "")
            .by(mount.point.display().to_string())
            .saying("the mount's root does not open: it waits for a silent donor")
            .advising("it goes on by itself when the donor is known to be silent; ask again")
            .into())
    })
}

fn shut(mount: &Mount) -> Outcome<Change> {
    let point = &mount.point;
    let root = match open(point) {
        Ok(root) => root,
        // XFS opens nothing any more once it is down.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(Change::Already),
        Err(error) => return Err(refused(point, "open it", error)),
    };
    let device = root.metadata().map_err(|error| refused(point, "ask its device", error))?.dev();
    if (major(device), minor(device)) != (mount.device.0.into(), mount.device.1.into()) {
        return Err(refused(point, "shut it down", "something else is mounted over it"));
    }
    let was_down = tells_nothing(&root);
    going_down(root.as_fd()).map_err(|errno| refused(point, "shut it down", errno))?;
    Ok(if was_down { Change::Already } else { Change::Made })
}

fn open(folder: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(folder)
}

/// ext4 that is down still opens folders, but tells no attribute of them. Of one that is up, the
/// root's are in memory.
fn tells_nothing(root: &File) -> bool {
    let asked = rustix::fs::fgetxattr(root, "user.rampool", &mut [0u8; 1][..]);
    asked.is_err_and(|errno| errno == rustix::io::Errno::IO)
}

/// `XFS_IOC_GOINGDOWN` (fs/xfs/libxfs/xfs_fs.h), which ext4 knows by the same number
/// (`EXT4_IOC_SHUTDOWN`), with `NOLOGFLUSH`: the log is not written out, which would wait.
#[allow(unsafe_code)]
fn going_down(root: BorrowedFd<'_>) -> rustix::io::Result<()> {
    use rustix::ioctl::{Setter, ioctl, opcode};
    const GOING_DOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
    const NO_LOG_FLUSH: u32 = 2;
    // SAFETY: the call takes a pointer to one 32-bit number, reads it, and keeps nothing.
    unsafe { ioctl(root, Setter::<GOING_DOWN, u32>::new(NO_LOG_FLUSH)) }
}
