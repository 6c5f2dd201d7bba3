//! Takes the memory of a tmpfs file, in a process that has left the agent's control group. The
//! kernel charges a page to the group of whoever touches it first, and lent memory is not the
//! agent's: with a limit on its unit (`MemoryMax=`) it could lend no more than that, and would be
//! killed for it.
//!
//! The process is the agent's own program with an argument that makes it do this alone. It tells
//! how far it is, a line a step, and ends when nobody listens any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use rampool_proto::v1::{Failure, FailureKind};

use crate::memory::MIB;
use crate::outcome::{Outcome, refused};

/// The program's own file, also when another one was put in its place since it started.
const PROGRAM: &str = "/proc/self/exe";

/// What makes it a filler; the path and the number of bytes follow.
pub const ARGUMENT: &str = "--fill";

/// One step of the reservation, and so of its progress.
const STEP: u64 = 64 * MIB;

/// A step takes milliseconds, seconds where others must give up memory first.
const DEADLINE: Duration = Duration::from_secs(60);

/// The processes of the topmost control group, which has no limit: version 2, and version 1.
const TOP_GROUPS: [&str; 2] = ["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/cgroup.procs"];

/// Takes the memory of the file at `path`; `progress` is told the bytes taken.
pub(super) fn fill(path: &Path, bytes: u64, progress: &dyn Fn(u64)) -> Outcome<()> {
    let said = |error| refused(path, "start the process that reserves it", error);
    let mut filler = Command::new(PROGRAM)
        .arg(ARGUMENT)
        .arg(path)
        .arg(bytes.to_string())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(said)?;
    let outcome = listen(path, &mut filler, bytes, progress);
    if outcome.is_err() {
        // It may have ended by itself.
        let _ = filler.kill();
    }
    // One that waits in the kernel may never end: nobody waits for it here.
    std::thread::spawn(move || filler.wait());
    outcome
}

fn listen(path: &Path, filler: &mut Child, bytes: u64, progress: &dyn Fn(u64)) -> Outcome<()> {
    let pipe = filler.stdout.take().expect("its output was asked for");
    let (told, heard) = mpsc::channel();
    std::thread::spawn(move || {
        // Whoever listened may have given up.
        BufReader::new(pipe).lines().map_while(Result::ok).all(|line| told.send(line).is_ok())
    });
    let action = format!("reserve {bytes} bytes");
    loop {
        match heard.recv_timeout(DEADLINE) {
            Ok(line) => match line.parse() {
                Ok(done) => {
                    progress(done);
                    if done == bytes {
                        return Ok(());
                    }
                }
                Err(_) => return Err(refused(path, &action, line)),
            },
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let said = format!("no step of {STEP} bytes for {} s", DEADLINE.as_secs());
                return Err(Failure::new(FailureKind::TimedOut, "")
                    .by(path.display().to_string())
                    .saying(said)
                    .into());
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(refused(path, &action, "its process ended before it was done"));
            }
        }
    }
}

/// What the process does: takes the memory a step at a time, and tells. What an earlier attempt
/// took is kept.
#[must_use]
pub fn run(path: &Path, bytes: u64) -> ExitCode {
    leave_group();
    let mut out = io::stdout();
    let done = open(path).and_then(|file| take(&file, bytes, |done| writeln!(out, "{done}")));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody listens there is nobody to tell.
            let _ = writeln!(out, "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Where there are no control groups there is none to leave.
fn leave_group() {
    for group in TOP_GROUPS.iter().filter(|group| Path::new(group).exists()) {
        // 0 is whoever writes it.
        if let Err(error) = fs::write(group, "0") {
            eprintln!("memory that is lent is charged to this agent: {group}: {error}");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)
}

fn take(file: &File, bytes: u64, mut tell: impl FnMut(u64) -> io::Result<()>) -> io::Result<()> {
    let mut done = 0;
    while done < bytes {
        let step = STEP.min(bytes - done);
        match fallocate(file, FallocateFlags::empty(), signed(done), signed(step)) {
            Ok(()) => done += step,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        tell(done)?;
    }
    Ok(())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).expect("admitted bytes are less than a machine's memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn all_is_taken_in_steps_and_what_was_taken_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ramdisk");
        let mut told = Vec::new();
        let bytes = STEP + MIB;
        let mut tell = |done| {
            told.push(done);
            Ok(())
        };
        take(&open(&path).unwrap(), bytes, &mut tell).unwrap();
        take(&open(&path).unwrap(), bytes, &mut tell).unwrap();
        assert_eq!(told, [STEP, bytes, STEP, bytes]);
        let file = path.metadata().unwrap();
        assert_eq!((file.len(), file.mode() & 0o777), (bytes, 0o600));
        assert!(file.blocks() * 512 >= bytes);
    }

    #[test]
    fn it_ends_when_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(&folder.path().join("ramdisk")).unwrap();
        let gone = || Err(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(take(&file, 2 * STEP, |_| gone()).is_err());
        assert_eq!(file.metadata().unwrap().len(), STEP);
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("ramdisk");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(open(&link).is_err());
    }
}
