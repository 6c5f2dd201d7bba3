//! Unmounting: plainly, never lazily. A mount in use is refused with the names of those who use
//! it, or, by force, they are ended first.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind, Holder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::holders::{self, Held};
use super::{table, usual_places};
use crate::node::Node;
use crate::outcome::{Change, Outcome, refused};
use crate::volume::{self, Volume};

/// How long processes may take to end when asked, and when killed.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// One that waits for a silent donor dies when the donor is known to be silent, after two probes
/// of five seconds at most.
const KILL_GRACE: Duration = Duration::from_secs(12);

/// New processes may come while old ones are ended; for ever they are not chased.
const ROUNDS: usize = 3;

/// A process that has just ended, or another's attempt to unmount, holds a mount for moments.
const UNEXPLAINED_GRACE: Duration = Duration::from_secs(2);

/// As many holders as a person reads.
const NAMED: usize = 20;

/// Ending what uses a dead server's mount, which may take as long as [`end`] does.
const DEAD_PATIENCE: Duration = Duration::from_secs(25);

/// New requests come as long as there is something to write.
const GIVE_UP_PAUSE: Duration = Duration::from_millis(100);

/// udev looks into a device for some moments after it changed.
const PROBE_GRACE: Duration = Duration::from_secs(2);

/// Unmounts the pool, wherever it is mounted; answers whom it had to end.
pub fn unmount(node: &Node, assembly: &Assembly, force: bool) -> Outcome<(Change, Vec<Holder>)> {
    let mut ended = Vec::new();
    let mut change = Change::Already;
    if let Some(volume) = volume::find(node, assembly) {
        let held = Held { number: volume.number, devices: device_names(&volume) };
        while let Some(point) = next_point(node, &volume, force)? {
            release(node, &held, &point, force, &mut ended)?;
            change = Change::Made;
        }
        let bare = change == Change::Already;
        leave_device(node, &volume, &held, bare, force, &mut ended)?;
    }
    if remove_usual_places(node, assembly) == Change::Made {
        change = Change::Made;
    }
    Ok((change, ended))
}

/// Removes the folders that may have been made to mount on.
pub(crate) fn remove_usual_places(node: &Node, assembly: &Assembly) -> Change {
    let mut change = Change::Already;
    for place in usual_places(node, assembly) {
        match fs::remove_dir(&place) {
            Ok(()) => change = Change::Made,
            // Not there, not empty, or another generation is mounted on it: not ours to remove.
            Err(error) => tracing::debug!(path = %place.display(), %error, "the folder stays"),
        }
    }
    change
}

/// Unmounts what is mounted there and no volume of ours.
pub(crate) fn release_mount(
    node: &Node,
    mount: &table::Mount,
    force: bool,
    ended: &mut Vec<Holder>,
) -> Outcome<()> {
    let held = Held { number: mount.device, devices: Vec::new() };
    release(node, &held, &mount.point, force, ended)
}

fn device_names(volume: &Volume) -> Vec<PathBuf> {
    vec![volume.device.clone(), Path::new("/dev").join(&volume.name)]
}

/// The mount to undo next: the one made last. Where others than the pool's own show the same
/// file system (bind mounts), only force undoes them.
fn next_point(node: &Node, volume: &Volume, force: bool) -> Outcome<Option<PathBuf>> {
    let mounts = table::read(&node.roots.proc)?;
    let points: Vec<_> =
        mounts.into_iter().filter(|m| m.device == volume.number).map(|m| m.point).collect();
    if let ([_, others @ ..], false) = (points.as_slice(), force)
        && let Some(other) = others.first()
    {
        let said = format!("it is also mounted on {}", other.display());
        return Err(busy(&volume.device, &said).into());
    }
    Ok(points.into_iter().next_back())
}

fn release(
    node: &Node,
    held: &Held,
    point: &Path,
    force: bool,
    ended: &mut Vec<Holder>,
) -> Outcome<()> {
    let patience = Instant::now() + UNEXPLAINED_GRACE;
    let mut rounds = 0;
    loop {
        match umount2(point, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => return Ok(()),
            Err(Errno::EBUSY) => {}
            // Somebody else was faster.
            Err(Errno::EINVAL) if !is_mounted(node, held, point)? => return Ok(()),
            Err(errno) => return Err(refused(point, "unmount it", errno)),
        }
        let holders = holders::processes(&node.roots, held);
        let unexplained = holders.is_empty() && holders::others(&node.roots, point).is_empty();
        if unexplained && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        if !force || holders.is_empty() || rounds == ROUNDS {
            return Err(in_use(node, point, &holders).into());
        }
        ended.extend(end(holders)?);
        rounds += 1;
    }
}

/// Unmounts what is mounted there while its server is dead, and ends whoever uses it. Requests
/// that wait for the server are ended again and again, so that those who wait for their answers
/// can die: `MNT_FORCE` does so before it looks whether the mount is in use.
pub(crate) fn release_dead(
    node: &Node,
    mount: &table::Mount,
    ended: &mut Vec<Holder>,
) -> Outcome<()> {
    let held = Held { number: mount.device, devices: Vec::new() };
    let over = Arc::new(AtomicBool::new(false));
    give_up(mount.point.clone(), Arc::clone(&over));
    let patience = Instant::now() + DEAD_PATIENCE;
    let outcome = loop {
        match is_mounted(node, &held, &mount.point) {
            Ok(false) if !is_nfs_volume(node, held.number) => break Ok(()),
            Err(failure) => break Err(failure),
            Ok(_) => {}
        }
        let holders = holders::processes(&node.roots, &held);
        if Instant::now() > patience {
            break Err(in_use(node, &mount.point, &holders).into());
        }
        if !holders.is_empty() {
            match end(holders) {
                Ok(gone) => ended.extend(gone),
                Err(failure) => break Err(failure),
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    over.store(true, Ordering::Relaxed);
    outcome
}

/// On a thread that nobody waits for: after the file system is gone, the kernel says goodbye to
/// the server, and the last unmount ends when it has given that up.
fn give_up(point: PathBuf, over: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            match umount2(&point, MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW) {
                Err(Errno::EBUSY) => std::thread::sleep(GIVE_UP_PAUSE),
                // Gone, or refused: the mount table says which.
                _ => return,
            }
        }
    });
}

/// Whether the kernel still has that NFS file system: unmounted, it may have to be written out.
fn is_nfs_volume(node: &Node, (major, minor): table::DeviceNumber) -> bool {
    let volumes = fs::read_to_string(node.roots.proc.join("fs/nfsfs/volumes"));
    let device = format!("{major}:{minor}");
    let has = |line: &str| line.split_whitespace().nth(3) == Some(&device);
    volumes.is_ok_and(|volumes| volumes.lines().any(has))
}

fn is_mounted(node: &Node, held: &Held, point: &Path) -> Outcome<bool> {
    let mounts = table::read(&node.roots.proc)?;
    Ok(mounts.iter().any(|mount| mount.device == held.number && mount.point == point))
}

/// After the last unmount nobody may have the device: not by its own name (`bare`, where users
/// work on it without a file system), and not by a mount in a namespace that we do not see.
fn leave_device(
    node: &Node,
    volume: &Volume,
    held: &Held,
    bare: bool,
    force: bool,
    ended: &mut Vec<Holder>,
) -> Outcome<()> {
    if volume.bytes == 0 {
        return Ok(());
    }
    let free = is_free(&volume.device)?;
    if free && !bare {
        return Ok(());
    }
    let mut holders = holders::processes(&node.roots, held);
    if force && !holders.is_empty() {
        ended.extend(end(holders)?);
        holders = holders::processes(&node.roots, held);
    }
    if holders.is_empty() && (free || is_free(&volume.device)?) {
        return Ok(());
    }
    let mut said = holders::elsewhere(&node.roots, held);
    said.extend(holders.iter().map(describe));
    if said.is_empty() {
        said.push("something that no process shows".to_owned());
    }
    Err(busy(&volume.device, &format!("it is held by {}", said.join("; "))).into())
}

/// Whether nobody has the device for themselves.
fn is_free(device: &Path) -> Outcome<bool> {
    let patience = Instant::now() + PROBE_GRACE;
    loop {
        match OpenOptions::new().read(true).custom_flags(nix::libc::O_EXCL).open(device) {
            Ok(_) => return Ok(true),
            Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => {
                if Instant::now() > patience {
                    return Ok(false);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(refused(device, "open it", error)),
        }
    }
}

fn in_use(node: &Node, point: &Path, holders: &[Holder]) -> Failure {
    let mut said: Vec<_> = holders.iter().map(describe).collect();
    said.extend(holders::others(&node.roots, point));
    let more = said.len().saturating_sub(NAMED);
    said.truncate(NAMED);
    if more > 0 {
        said.push(format!("and {more} more"));
    }
    if said.is_empty() {
        said.push("the kernel says that it is in use; no process shows it".to_owned());
    }
    busy(point, &said.join("; "))
}

fn describe(holder: &Holder) -> String {
    format!("pid {} ({}, user {}): {}", holder.pid, holder.command, holder.user, holder.holds)
}

fn busy(what: &Path, said: &str) -> Failure {
    Failure::new(FailureKind::Busy, "unmount the pool")
        .by(what.display().to_string())
        .saying(said)
        .advising("end them, or use --force, which ends the processes")
}

/// Asks the holders to end, then makes them.
fn end(holders: Vec<Holder>) -> Outcome<Vec<Holder>> {
    // A descriptor means this very process, however soon its number is another's.
    let open: Vec<_> = holders.iter().filter_map(|holder| open_process(holder.pid)).collect();
    for (signal, grace) in [(Signal::TERM, TERM_GRACE), (Signal::KILL, KILL_GRACE)] {
        for process in &open {
            // One that has ended already cannot be signalled: so much the better.
            let _ = pidfd_send_signal(process, signal);
        }
        if await_ends(&open, grace) {
            return Ok(holders);
        }
    }
    let said = holders.iter().map(describe).collect::<Vec<_>>().join("; ");
    Err(Failure::new(FailureKind::Busy, "end the processes that use the pool")
        .saying(format!("some of these do not die: {said}"))
        .advising("they wait in the kernel, perhaps for a silent donor; try again in a while")
        .into())
}

/// Never the init of this system.
fn open_process(pid: u32) -> Option<std::os::fd::OwnedFd> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// A process's descriptor becomes readable when it has ended.
fn await_ends(open: &[std::os::fd::OwnedFd], grace: Duration) -> bool {
    let deadline = Instant::now() + grace;
    let mut waiting: Vec<_> = open.iter().collect();
    while !waiting.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut polled: Vec<_> =
            waiting.iter().map(|process| PollFd::new(*process, PollFlags::IN)).collect();
        let timeout = Timespec::try_from(left).ok();
        let ready = poll(&mut polled, timeout.as_ref());
        let ended: Vec<bool> =
            polled.iter().map(|fd| fd.revents().contains(PollFlags::IN)).collect();
        let mut ended = ended.into_iter();
        waiting.retain(|_| !ended.next().unwrap_or(false));
        if ready.is_err() || (left.is_zero() && !waiting.is_empty()) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn holder(pid: u32) -> Holder {
        Holder { pid, command: "sleep".into(), user: "root".into(), holds: "/x".into() }
    }

    #[test]
    fn processes_end_when_asked_and_when_they_will_not() {
        let mut meek = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let mut stubborn = Command::new("/bin/sh")
            .args(["-c", "trap '' TERM; while :; do /bin/sleep 1; done"])
            .spawn()
            .unwrap();
        let ended = end(vec![holder(meek.id()), holder(stubborn.id())]).unwrap();
        assert_eq!(ended.len(), 2);
        assert!(!meek.wait().unwrap().success());
        assert!(!stubborn.wait().unwrap().success());
    }

    #[test]
    fn init_is_never_ended() {
        assert!(open_process(1).is_none() && open_process(0).is_none());
    }
}
