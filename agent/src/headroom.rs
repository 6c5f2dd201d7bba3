//! Memory that keeps a node moving which lends to a pool and uses it too.
//!
//! Such a node writes its users' data out through the network to make room, while the network
//! brings data for which its own export needs room. With nothing to spare each waits for the
//! other: writers stand still for many seconds, and sessions break. So while a node does both
//!
//! - the kernel keeps more free for those who cannot wait (`vm.min_free_kbytes`);
//! - less may wait to be written out (`vm.dirty_bytes`, `vm.dirty_background_bytes`);
//! - a job's own memory limit leaves the node its floor (`jobs::limit`);
//! - few commands are under way to each donor (`attach::records`).
//!
//! What was there before is noted in a file, first, and put back when the last such pool has left:
//! also by the agent that follows one that was killed. What a site wrote meanwhile stays.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::{Failure, FailureKind};
use serde::{Deserialize, Serialize};

use crate::configfs;
use crate::memory::MIB;
use crate::mount;
use crate::node::Node;
use crate::outcome::{During, Outcome, failure};
use crate::ramdisk;
use crate::share;
use crate::volume;
use crate::whole_file;

/// What is kept free beyond what the kernel keeps by itself: one part in so many of all memory.
/// The kernel's own share shrinks with the root of the memory, down to 0.1 % of 256 GiB.
const FREE_PART: u64 = 64;
const FREE: std::ops::RangeInclusive<u64> = 8 * MIB..=256 * MIB;

/// What may wait to be written out: one part in so many. (The usual fifth, or a site's 80 %, took
/// a donor's last memory: writers then stood still for 15 s, and a session broke.)
const DIRTY_PART: u64 = 32;
const DIRTY: std::ops::RangeInclusive<u64> = 16 * MIB..=256 * MIB;

/// Writing begins well before writers are held up.
const BACKGROUND_PART: u64 = 4;

/// What a donor takes for commands under way: as many as a sparing head allows
/// (`attach::records`), of a mebibyte at most.
const COMMANDS: u64 = 64 * MIB;

/// What a node with `total` bytes must keep for itself to lend to a pool that it uses.
fn needed(total: u64) -> u64 {
    part(total, FREE_PART, &FREE) + part(total, DIRTY_PART, &DIRTY) + COMMANDS
}

fn part(total: u64, part: u64, bounds: &std::ops::RangeInclusive<u64>) -> u64 {
    (total / part).clamp(*bounds.start(), *bounds.end())
}

/// Refuses a node that keeps too little for itself to lend to a pool that it uses. Changes nothing.
pub(crate) fn check(node: &Node) -> Outcome<()> {
    let memory = ramdisk::memory(node, 0)?;
    let needed = needed(memory.total_bytes);
    if memory.floor_bytes >= needed {
        return Ok(());
    }
    let said = format!(
        "this node keeps {} MiB of its memory for itself; to lend to a pool that it uses too, it \
         would need {} MiB",
        memory.floor_bytes / MIB,
        needed / MIB
    );
    let advice = "raise memory.floor in its agent.yaml, or take donors outside the job";
    Err(Failure::new(FailureKind::NotNow, "check the headroom")
        .saying(said)
        .advising(advice)
        .into())
}

/// One of the kernel's settings, as it was found and as it is meant to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Setting {
    /// Below /proc/sys/vm.
    file: String,
    found: u64,
    ours: u64,
    /// What brings back what was found: of the dirty limits, bytes and ratios exclude each other.
    back: (String, u64),
}

/// What of the kernel's settings counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    min_free_kbytes: u64,
    /// Bytes, or 0; and percent, or 0.
    dirty: (u64, u64),
    background: (u64, u64),
}

const MIN_FREE: &str = "min_free_kbytes";
const DIRTY_FILES: (&str, &str) = ("dirty_bytes", "dirty_ratio");
const BACKGROUND_FILES: (&str, &str) = ("dirty_background_bytes", "dirty_background_ratio");

/// What to change on a node with `total` bytes. What is stricter already stays.
fn plan(total: u64, found: Found) -> Vec<Setting> {
    let dirty = part(total, DIRTY_PART, &DIRTY);
    let raised = found.min_free_kbytes + part(total, FREE_PART, &FREE) / 1024;
    let min_free = Setting {
        file: MIN_FREE.to_owned(),
        found: found.min_free_kbytes,
        ours: raised,
        back: (MIN_FREE.to_owned(), found.min_free_kbytes),
    };
    let limits = [
        cap(total, DIRTY_FILES, found.dirty, dirty),
        cap(total, BACKGROUND_FILES, found.background, dirty / BACKGROUND_PART),
    ];
    std::iter::once(min_free).chain(limits.into_iter().flatten()).collect()
}

fn cap(total: u64, files: (&str, &str), found: (u64, u64), most: u64) -> Option<Setting> {
    let (bytes, ratio) = found;
    let (may_be, back) = match bytes {
        0 => (total / 100 * ratio, (files.1.to_owned(), ratio)),
        bytes => (bytes, (files.0.to_owned(), bytes)),
    };
    (may_be > most).then(|| Setting { file: files.0.to_owned(), found: bytes, ours: most, back })
}

/// Makes the kernel's settings what they must be now: ours while a pool is here to which this node
/// lends and which it uses, the site's otherwise.
pub(crate) fn settle(node: &Node) -> Outcome<()> {
    let _turn = node.headroom_turn();
    let noted: Option<Vec<Setting>> = whole_file::read(&note(node))?;
    let outcome = match (lends_and_uses(node)?, noted) {
        (true, Some(noted)) => apply(node, &noted),
        (true, None) => {
            let planned = plan(ramdisk::memory(node, 0)?.total_bytes, read_all(node)?);
            let text = serde_json::to_vec_pretty(&planned).expect("numbers and names are JSON");
            whole_file::write(&note(node), &text, 0o644)?;
            apply(node, &planned)
        }
        (false, Some(noted)) => {
            restore(node, &noted).and_then(|()| whole_file::remove(&note(node)).map(drop))
        }
        (false, None) => Ok(()),
    };
    outcome.during("settle the node's headroom")
}

/// Whether a pool is here to which this node lends and which it has mounted.
fn lends_and_uses(node: &Node) -> Outcome<bool> {
    let lent: BTreeSet<PoolName> =
        ramdisk::list(node)?.into_iter().map(|ramdisk| ramdisk.assembly.name).collect();
    if lent.is_empty() {
        return Ok(false);
    }
    let mounted = mount::list(node, &volume::list(node))?;
    let headed = mounted.into_iter().filter_map(|holding| holding.pool?.name.parse().ok());
    let shared = share::mounted_pools(node)?.into_iter().map(|assembly| assembly.name);
    Ok(headed.chain(shared).any(|pool| lent.contains(&pool)))
}

fn apply(node: &Node, settings: &[Setting]) -> Outcome<()> {
    for setting in settings {
        let now = read(node, &setting.file)?;
        if now == setting.found {
            write(node, &setting.file, setting.ours)?;
        } else if now != setting.ours {
            tracing::warn!(setting = setting.file, now, "was changed meanwhile, and is left so");
        }
    }
    Ok(())
}

fn restore(node: &Node, settings: &[Setting]) -> Outcome<()> {
    for setting in settings {
        if read(node, &setting.file)? == setting.ours {
            write(node, &setting.back.0, setting.back.1)?;
        }
    }
    Ok(())
}

fn folder(node: &Node) -> PathBuf {
    node.roots.proc.join("sys/vm")
}

fn write(node: &Node, file: &str, value: u64) -> Outcome<()> {
    configfs::set(&folder(node).join(file), &value.to_string())
}

fn read(node: &Node, file: &str) -> Outcome<u64> {
    let path = folder(node).join(file);
    let text = configfs::read(&path)?;
    text.parse().map_err(|_| {
        let said = format!("says {text:?}, which is no number");
        failure(FailureKind::Failed, said).by(path.display().to_string()).into()
    })
}

fn read_all(node: &Node) -> Outcome<Found> {
    let both = |(bytes, ratio): (&str, &str)| {
        Ok::<_, Box<Failure>>((read(node, bytes)?, read(node, ratio)?))
    };
    Ok(Found {
        min_free_kbytes: read(node, MIN_FREE)?,
        dirty: both(DIRTY_FILES)?,
        background: both(BACKGROUND_FILES)?,
    })
}

fn note(node: &Node) -> PathBuf {
    node.roots.run.join("headroom")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::node::tests::{fake, remember};
    use proptest::prelude::*;

    /// A plain file keeps what a shorter value leaves: numbers of as many digits, where they shrink.
    const USUAL: [(&str, u64); 5] = [
        ("min_free_kbytes", 200_000),
        ("dirty_bytes", 0),
        ("dirty_ratio", 20),
        ("dirty_background_bytes", 0),
        ("dirty_background_ratio", 10),
    ];

    /// A node that lends to `demo` and has it mounted, with the kernel's usual settings.
    fn lending_and_using(folder: &std::path::Path) -> Node {
        let node = fake(folder);
        fs::create_dir_all(super::folder(&node)).unwrap();
        fs::create_dir_all(node.roots.proc.join("self")).unwrap();
        fs::create_dir_all(&node.roots.run).unwrap();
        remember(&node, 8 << 10);
        for (file, value) in USUAL {
            set(&node, file, value);
        }
        fs::create_dir_all(node.ramdisk_folder().join("demo.3")).unwrap();
        uses(&node, true);
        node
    }

    fn set(node: &Node, file: &str, value: u64) {
        fs::write(super::folder(node).join(file), value.to_string()).unwrap();
    }

    fn uses(node: &Node, uses: bool) {
        let share = "50 22 0:44 / /rampool/demo rw - nfs4 rp.demo.3:/demo.3 rw\n";
        let text = if uses { share } else { "" };
        fs::write(node.roots.proc.join("self/mountinfo"), text).unwrap();
    }

    fn values(node: &Node) -> Vec<u64> {
        ["min_free_kbytes", "dirty_bytes", "dirty_background_bytes"]
            .map(|file| read(node, file).unwrap())
            .into()
    }

    const OURS: [u64; 3] = [200_000 + 128 * 1024, 256 * MIB, 64 * MIB];

    #[test]
    fn settings_are_ours_while_a_pool_is_lent_to_and_used() {
        let folder = tempfile::tempdir().unwrap();
        let node = lending_and_using(folder.path());
        uses(&node, false);
        settle(&node).unwrap();
        assert_eq!(values(&node), [200_000, 0, 0]);
        uses(&node, true);
        for _again in 0..2 {
            settle(&node).unwrap();
            assert_eq!(values(&node), OURS);
        }
        // The agent was killed between its note and the kernel.
        set(&node, "dirty_bytes", 0);
        settle(&node).unwrap();
        assert_eq!(values(&node), OURS);
    }

    #[test]
    fn what_a_site_wrote_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let node = lending_and_using(folder.path());
        settle(&node).unwrap();
        set(&node, "dirty_bytes", 12_345_678);
        settle(&node).unwrap();
        assert_eq!(values(&node)[1], 12_345_678);
        uses(&node, false);
        settle(&node).unwrap();
        assert_eq!((values(&node)[0], values(&node)[1]), (200_000, 12_345_678));
        // A plain file does not know that the ratio clears the bytes: the kernel's does.
        assert_eq!(read(&node, "dirty_background_ratio").unwrap(), 10);
        assert!(!note(&node).exists());
    }

    #[test]
    fn a_node_that_keeps_too_little_is_refused_with_the_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let mut node = lending_and_using(folder.path());
        check(&node).unwrap();
        node.config.floor = crate::memory::Floor::Bytes(64 * MIB);
        let told = check(&node).unwrap_err();
        for part in ["64 MiB", "448 MiB", "memory.floor"] {
            assert!(told.to_string().contains(part), "{told}");
        }
    }

    proptest! {
        #[test]
        fn a_plan_only_tightens_and_can_be_taken_back(
            total in 0..=(1_u64 << 50),
            min_free_kbytes in 0..=(1_u64 << 30),
            dirty in prop_oneof![(Just(0), 0_u64..=100), (1_u64..=(1 << 40), Just(0))],
            background in prop_oneof![(Just(0), 0_u64..=100), (1_u64..=(1 << 40), Just(0))],
        ) {
            let found = Found { min_free_kbytes, dirty, background };
            for setting in plan(total, found) {
                let (file, back) = (setting.file.as_str(), setting.back.clone());
                match file {
                    MIN_FREE => prop_assert!(setting.ours > min_free_kbytes && back.1 == min_free_kbytes),
                    file => {
                        let (files, was) = if file == DIRTY_FILES.0 {
                            (DIRTY_FILES, dirty)
                        } else {
                            (BACKGROUND_FILES, background)
                        };
                        let (bytes, ratio) = was;
                        prop_assert!(setting.ours < bytes.max(total / 100 * ratio));
                        let way_back = if bytes == 0 { (files.1, ratio) } else { (files.0, bytes) };
                        prop_assert_eq!((back.0.as_str(), back.1), way_back);
                    }
                }
            }
        }
    }
}
