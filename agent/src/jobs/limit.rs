//! A job's memory limit, less what its node lends to the job's own pool: that memory is the
//! kernel's, and no cgroup is charged for it. A job that fills its scratch and its limit then meets
//! its own limit, not the node's end.
//!
//! Slurm's task/cgroup writes the job's limit when it makes the job's cgroup, and again at the
//! start of each step. So each task that starts has it lowered again, and what was written last is
//! noted: a limit that reads as noted is lowered already, any other is Slurm's.

use std::path::PathBuf;

use rampool_proto::v1::FailureKind;

use super::note::{self, Limit, Note};
use crate::configfs;
use crate::memory::MIB;
use crate::node::Node;
use crate::outcome::{Outcome, failure};
use crate::protect;
use crate::ramdisk;

/// A program needs something to run in: with less, the job's own limit would kill it at once.
const LEAST: u64 = 64 * MIB;

/// Version 1 of cgroups shows no limit as the greatest number of whole pages; nobody has half that
/// much memory.
const NO_LIMIT: u64 = 1 << 62;

/// Lowers the job's limit, unless it is lowered. Answers a remark where there is none.
pub(super) fn lower(node: &Node, note: &mut Note) -> Outcome<Option<String>> {
    let lent = note.job.lent_bytes;
    if lent == 0 {
        return Ok(None);
    }
    let Some(file) = find(node, note)? else {
        return Ok(Some(format!(
            "job {} has no memory limit on this node (cgroup.conf: ConstrainRAMSpace=yes sets one): \
             nothing keeps it from what its scratch of {} MiB takes",
            note.job.id,
            lent / MIB
        )));
    };
    let now = configfs::read(&file)?;
    let noted = note.limit.as_ref().filter(|noted| noted.file == file);
    let memory = ramdisk::memory(node, 0)?;
    let room = memory.total_bytes.saturating_sub(memory.floor_bytes);
    match decide(&now, noted.map(|noted| noted.ours), lent, room) {
        Decision::Lowered => Ok(None),
        Decision::Unlimited => Ok(Some(format!(
            "job {} has no memory limit on this node: {} says {now:?}",
            note.job.id,
            file.display()
        ))),
        Decision::Lower { slurms, ours } => {
            // Noted first: lowered and not noted, it would be taken for Slurm's own.
            note.limit = Some(Limit { file, slurms, ours });
            note::write(node, note)?;
            write(note)?;
            Ok((slurms > room).then(|| {
                format!(
                    "job {} has {} MiB less than Slurm gave it: this node keeps {} of its {} MiB \
                     for itself (memory.floor), and RealMemory in slurm.conf should say so",
                    note.job.id,
                    (slurms - room).div_ceil(MIB),
                    memory.floor_bytes / MIB,
                    memory.total_bytes / MIB
                )
            }))
        }
        Decision::TooLittle { limit } => {
            let left = limit.saturating_sub(lent);
            let said = format!(
                "job {} may use {} MiB of memory on this node, of which {} MiB are lent to its own \
                 scratch: the {} MiB left are too few to run in",
                note.job.id,
                limit / MIB,
                lent / MIB,
                left / MIB
            );
            let advice = "ask for more memory (--mem) or for a smaller scratch";
            Err(failure(FailureKind::NotNow, said).advising(advice).into())
        }
    }
}

fn write(note: &Note) -> Outcome<()> {
    let Some(Limit { file, slurms, ours }) = &note.limit else { return Ok(()) };
    // The job may have more in use: the kernel makes room for it as it would for anybody.
    protect::not_at_all(|| configfs::write(file, &ours.to_string()))?;
    let now = configfs::read(file)?;
    // Slurm's again: a step starts this moment, whose tasks will ask for themselves.
    if now == ours.to_string() || now == slurms.to_string() {
        return Ok(());
    }
    let said = format!("took {ours} and holds {now:?}");
    Err(failure(FailureKind::Failed, said).by(file.display().to_string()).into())
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// It is as we wrote it.
    Lowered,
    /// Slurm set none.
    Unlimited,
    Lower {
        slurms: u64,
        ours: u64,
    },
    TooLittle {
        limit: u64,
    },
}

/// What a limit that reads as `now` means, where `noted` is what we wrote last. No job gets more
/// than the `room` that its node has beside what it keeps for itself: Slurm may not know of that.
fn decide(now: &str, noted: Option<u64>, lent: u64, room: u64) -> Decision {
    // "max", in version 2.
    let Some(now) = now.parse::<u64>().ok().filter(|now| *now < NO_LIMIT) else {
        return Decision::Unlimited;
    };
    if noted == Some(now) {
        return Decision::Lowered;
    }
    let limit = now.min(room);
    match limit.checked_sub(lent) {
        Some(ours) if ours >= LEAST => Decision::Lower { slurms: now, ours },
        _ => Decision::TooLittle { limit },
    }
}

/// The file that holds the job's limit, if Slurm made it one (its cgroup/v2 and cgroup/v1 plugins,
/// 22.05): with version 2 below a scope of slurmd's or its node's name, with version 1 below a
/// folder of its own or its node's name.
fn find(node: &Node, note: &Note) -> Outcome<Option<PathBuf>> {
    let (job, uid) = (format!("job_{}", note.job.id), format!("uid_{}", note.job.uid));
    let root = node.roots.sys.join("fs/cgroup");
    let (two, one) = (root.join("system.slice"), root.join("memory"));
    let scopes =
        configfs::folders(&two).into_iter().filter(|name| name.ends_with("slurmstepd.scope"));
    let of_two = scopes.map(|scope| two.join(scope).join(&job).join("memory.max"));
    let folders = configfs::folders(&one)
        .into_iter()
        .filter(|name| name == "slurm" || name.starts_with("slurm_"));
    let of_one =
        folders.map(|name| one.join(name).join(&uid).join(&job).join("memory.limit_in_bytes"));
    let found: Vec<_> = of_two.chain(of_one).filter(|file| file.exists()).collect();
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        [one, other, ..] => {
            let said = format!("{} and {} are both the job's", one.display(), other.display());
            let advice = "several slurmd on one host cannot lend memory to one job";
            Err(failure(FailureKind::Conflict, said).advising(advice).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::note::Job;
    use super::*;
    use crate::names::tests::assembly;
    use crate::node::tests::{fake, remember};
    use proptest::prelude::*;
    use std::fs;

    fn note(lent_mib: u64) -> Note {
        Note::new(Job {
            id: 17,
            uid: 1000,
            pool: assembly("job-17-2.1"),
            path: "/rampool/17".into(),
            lent_bytes: lent_mib * MIB,
            is_head: false,
            lines: Vec::new(),
        })
    }

    const TWO: &str = "fs/cgroup/system.slice/n1_slurmstepd.scope/job_17/memory.max";
    const ONE: &str = "fs/cgroup/memory/slurm_n1/uid_1000/job_17/memory.limit_in_bytes";

    fn limit(node: &Node, file: &str, value: &str) -> PathBuf {
        let file = node.roots.sys.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, value).unwrap();
        file
    }

    // Of nine digits all: unlike a cgroup's, a plain file keeps what a shorter value leaves.
    const SLURMS: u64 = 900 * MIB;
    const OURS: u64 = 600 * MIB;

    #[test]
    fn a_limit_is_lowered_once_and_again_when_slurm_wrote_it_again() {
        for file in [TWO, ONE, "fs/cgroup/memory/slurm/uid_1000/job_17/memory.limit_in_bytes"] {
            let folder = tempfile::tempdir().unwrap();
            let node = fake(folder.path());
            remember(&node, 8 << 10);
            note::prepare(&node).unwrap();
            let file = limit(&node, file, &SLURMS.to_string());
            let mut note = note(300);
            for now in [SLURMS, OURS, OURS, SLURMS] {
                fs::write(&file, now.to_string()).unwrap();
                assert_eq!(lower(&node, &mut note).unwrap(), None);
                assert_eq!(fs::read_to_string(&file).unwrap(), OURS.to_string());
            }
            // An agent that was killed, before or after it wrote.
            for now in [SLURMS, OURS] {
                fs::write(&file, now.to_string()).unwrap();
                let mut again = note::read(&node, 17).unwrap().unwrap();
                assert_eq!(lower(&node, &mut again).unwrap(), None);
                assert_eq!(fs::read_to_string(&file).unwrap(), OURS.to_string());
            }
        }
    }

    #[test]
    fn where_there_is_no_limit_the_answer_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        remember(&node, 8 << 10);
        note::prepare(&node).unwrap();
        assert!(lower(&node, &mut note(300)).unwrap().unwrap().contains("ConstrainRAMSpace"));
        assert_eq!(lower(&node, &mut note(0)).unwrap(), None);
        limit(&node, TWO, "max\n");
        assert!(lower(&node, &mut note(300)).unwrap().unwrap().contains("max"));
        limit(&node, ONE, "9223372036854771712\n");
        let told = lower(&node, &mut note(300)).unwrap_err();
        assert!(told.advice.contains("several slurmd"), "{told}");
    }

    #[test]
    fn too_little_left_is_refused_with_the_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        remember(&node, 8 << 10);
        note::prepare(&node).unwrap();
        limit(&node, TWO, &format!("{}\n", 300 * MIB));
        let told = lower(&node, &mut note(256)).unwrap_err();
        for part in ["300 MiB", "256 MiB", "44 MiB", "--mem"] {
            assert!(told.to_string().contains(part), "{told}");
        }
    }

    #[test]
    fn a_job_leaves_its_node_what_that_keeps_for_itself() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        // Of which 2 GiB are the usual floor.
        remember(&node, 2900);
        note::prepare(&node).unwrap();
        let file = limit(&node, TWO, &SLURMS.to_string());
        let remark = lower(&node, &mut note(300)).unwrap().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), (552 * MIB).to_string());
        for part in ["48 MiB less", "2048 of its 2900 MiB", "RealMemory"] {
            assert!(remark.contains(part), "{remark}");
        }
        assert_eq!(lower(&node, &mut note::read(&node, 17).unwrap().unwrap()).unwrap(), None);
    }

    proptest! {
        #[test]
        fn what_is_taken_off_is_what_is_lent_however_often(
            slurms in 0..=u64::MAX, lent in 1..=(1_u64 << 50), room in 0..=u64::MAX
        ) {
            match decide(&slurms.to_string(), None, lent, room) {
                Decision::Lower { slurms: from, ours } => {
                    prop_assert_eq!((from, ours + lent), (slurms, slurms.min(room)));
                    prop_assert!(ours >= LEAST);
                    let again = decide(&ours.to_string(), Some(ours), lent, room);
                    prop_assert_eq!(again, Decision::Lowered);
                    let step = decide(&slurms.to_string(), Some(ours), lent, room);
                    prop_assert_eq!(step, Decision::Lower { slurms, ours });
                }
                Decision::TooLittle { limit } => prop_assert!(limit < LEAST + lent),
                Decision::Unlimited => prop_assert!(slurms >= NO_LIMIT),
                Decision::Lowered => prop_assert!(false, "nothing was noted"),
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*", noted in any::<Option<u64>>(), lent in any::<u64>()) {
            let _ = decide(&text, noted, lent, u64::MAX);
        }
    }
}
