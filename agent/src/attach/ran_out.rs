//! Sessions whose patience ran out, also those that are open again.
//!
//! From then until the session is open again, I/O to its donor fails. sysfs shows that only as
//! long as it lasts, which may be no time at all. The kernel's log keeps it, also for an agent
//! that was not there (`session_recovery_timedout`, drivers/scsi/scsi_transport_iscsi.c).

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nix::libc;

use super::disks;
use super::sessions::{self, Session};
use crate::node::Node;

/// The kernel gives one record at a time, and none is longer (`PRINTKRB_RECORD_MAX`).
const LONGEST_RECORD: usize = 8192;

/// The log takes lines of programs too. Those of the kernel's own begin with a lesser number.
const FACILITIES: u32 = 8;

/// What the log has told so far.
#[derive(Default)]
pub(crate) struct RanOut(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    /// None inside: it cannot be read.
    log: OnceCell<Option<File>>,
    /// The kernel's numbers of the sessions. It gives none twice.
    sessions: BTreeSet<u32>,
}

/// A line that says something of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The session of this number was waited for long enough.
    RanOut(u32),
    /// Sessions are counted from the beginning again.
    Loaded,
}

impl RanOut {
    /// The numbers of those whose disks were part of a volume when their patience ran out.
    pub(crate) fn sessions(&self, node: &Node) -> BTreeSet<u32> {
        // What is heard is added line by line: a panic elsewhere leaves it whole.
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in heard.unread(&node.roots.dev.join("kmsg")).lines().filter_map(parse) {
            match line {
                Line::Loaded => heard.sessions.clear(),
                Line::RanOut(id) => {
                    if let Some(Session { assembly, donor, .. }) = in_use(node, id) {
                        tracing::warn!(%assembly, donor, "the patience with a donor ran out");
                        heard.sessions.insert(id);
                    }
                }
            }
        }
        heard.sessions.clone()
    }

    /// Whether the session of the disk `name` is one of them.
    pub(crate) fn includes(&self, node: &Node, name: &str) -> bool {
        let of_disk =
            |session: &Session| session.disk(&node.roots).is_some_and(|disk| disk.name == name);
        let session = sessions::list(node).into_iter().find(of_disk);
        session.is_some_and(|session| self.sessions(node).contains(&session.id))
    }
}

impl Heard {
    /// What the log has got since the last time, or at all.
    fn unread(&self, path: &Path) -> String {
        let mut text = String::new();
        let Some(mut log) = self.log.get_or_init(|| open(path)).as_ref() else { return text };
        let mut record = [0; LONGEST_RECORD];
        loop {
            match log.read(&mut record) {
                Ok(0) => return text,
                Ok(length) => text.push_str(&String::from_utf8_lossy(&record[..length])),
                // What was written over before it was read is skipped (EPIPE).
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    if error.kind() != ErrorKind::WouldBlock {
                        tracing::warn!(%error, "{} cannot be read on", path.display());
                    }
                    return text;
                }
            }
        }
    }
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted)
}

fn open(path: &Path) -> Option<File> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    opened
        .map_err(|error| {
            let blind = "a stripe whose donor is back after its patience ran out looks whole";
            tracing::warn!(%error, "{} cannot be read: {blind}", path.display());
        })
        .ok()
}

/// The session of this number, if its disk is part of a volume: else nobody has got errors.
fn in_use(node: &Node, id: u32) -> Option<Session> {
    let session = sessions::list(node).into_iter().find(|session| session.id == id)?;
    let disk = session.disk(&node.roots)?;
    (!disks::holders(&node.roots, &disk.name).is_empty()).then_some(session)
}

/// A record is `number,sequence,time,flags;text` (Documentation/ABI/testing/dev-kmsg).
pub(crate) fn parse(line: &str) -> Option<Line> {
    let (head, text) = line.split_once(';')?;
    let number: u32 = head.split(',').next()?.parse().ok()?;
    if number >= FACILITIES {
        return None;
    }
    if text.starts_with("Loading iSCSI transport class") {
        return Some(Line::Loaded);
    }
    let (device, said) = text.split_once(": ")?;
    let session = device.rsplit(' ').next()?.strip_prefix("session")?.parse().ok()?;
    said.starts_with("session recovery timed out").then_some(Line::RanOut(session))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::attach::disks::tests::write_disk;
    use crate::attach::sessions::tests::write_session;
    use crate::node::tests::fake;
    use crate::ramdisk::VENDOR;
    use crate::roots::Roots;
    use std::fs;
    use std::io::Write;

    /// The log as the kernel would show it, written by hand.
    pub(crate) fn log(roots: &Roots, lines: &[&str]) {
        fs::create_dir_all(&roots.dev).unwrap();
        let mut log =
            OpenOptions::new().create(true).append(true).open(roots.dev.join("kmsg")).unwrap();
        lines.iter().for_each(|line| writeln!(log, "{line}").unwrap());
    }

    pub(crate) fn timed_out(id: u32) -> String {
        format!("6,339,5140900,-;session{id}: session recovery timed out after 5 secs")
    }

    #[test]
    fn the_kernels_own_words_alone_count() {
        assert_eq!(parse(&timed_out(12)), Some(Line::RanOut(12)));
        for said in [
            "6,1,2,-,caller=T9; session12: session recovery timed out after 120 secs",
            "6,1,2,c;iscsi_session session12: session recovery timed out after 0 secs",
        ] {
            assert_eq!(parse(said), Some(Line::RanOut(12)), "{said}");
        }
        let loaded = "6,1,2,-;Loading iSCSI transport class v2.0-870.";
        assert_eq!(parse(loaded), Some(Line::Loaded));
        for other in [
            "",
            " SUBSYSTEM=scsi",
            "6,1,2,-; connection1:0: detected conn error (1022)",
            "6,1,2,-; connection1:0: session recovery timed out after 5 secs",
            "6,1,2,-; session1: blocked",
            // A program wrote it.
            "14,1,2,-;session1: session recovery timed out after 5 secs",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_session_whose_disk_was_in_use_is_remembered_until_they_are_counted_anew() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        for id in [1, 2] {
            let iqn = format!("iqn.2026-11.org.rampool:demo.3.n{id}");
            write_session(&node, id, &iqn, "rp.demo.3", "LOGGED_IN");
            write_disk(&node.roots, &format!("sd{id}"), VENDOR, &iqn, "8:0");
        }
        fs::create_dir(node.roots.blocks().join("sd2/holders/md_rp.demo.3")).unwrap();
        log(&node.roots, &[&timed_out(1), &timed_out(2), &timed_out(3)]);
        let remembered = |node: &Node| node.ran_out.sessions(node).into_iter().collect::<Vec<_>>();
        assert_eq!(remembered(&node), [2]);
        assert_eq!(remembered(&node), [2]);
        assert!(node.ran_out.includes(&node, "sd2") && !node.ran_out.includes(&node, "sd1"));
        // An agent that was not there finds it in the log.
        assert_eq!(remembered(&fake(folder.path())), [2]);
        fs::create_dir(node.roots.blocks().join("sd1/holders/dm-0")).unwrap();
        log(&node.roots, &[&timed_out(1)]);
        assert_eq!(remembered(&node), [1, 2]);
        log(&node.roots, &["6,1,2,-;Loading iSCSI transport class v2.0-870."]);
        assert!(remembered(&node).is_empty());
        assert!(remembered(&fake(folder.path())).is_empty());
    }

    #[test]
    fn without_a_log_nothing_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        assert!(node.ran_out.sessions(&node).is_empty());
    }
}
