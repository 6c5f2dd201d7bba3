//! A job's memory limit, less what its node lends to the job's own pool: that memory is the
//! kernel's, and no cgroup is charged for it. A job that fills its scratch and its limit then meets
//! its own limit, not the node's end.
//!
//! Slurm's task/cgroup writes the job's limit when it makes the job's cgroup, and again at the
//! start of each step. So it is lowered again and again (`keeper`, and each task that starts), and
//! what was written last is noted: a limit that reads as noted is lowered already, any other is
//! Slurm's.

use std::path::PathBuf;

use rampool_proto::v1::FailureKind;

use super::cgroups;
use super::note::{self, Limit, Note};
use crate::configfs;
use crate::memory::{self, MIB};
use crate::node::Node;
use crate::outcome::{Outcome, failure};
use crate::protect;
use crate::ramdisk;

/// A program needs something to run in: with this or less, no task starts. A job that has less of
/// its own keeps this much of what its node keeps for itself, so that its tasks can be told why.
const LEAST: u64 = 64 * MIB;

/// Version 1 of cgroups shows no limit as the greatest number of whole pages; nobody has half that
/// much memory.
const NO_LIMIT: u64 = 1 << 62;

/// Lowers the job's limit, unless it is lowered; then the note says how. Where there is none to
/// lower, it says why.
pub(super) fn lower(node: &Node, note: &mut Note) -> Outcome<Option<String>> {
    let taken = memory::taken_by(note.job.lent_bytes);
    if taken == 0 {
        return Ok(None);
    }
    let none = |why: &str| {
        format!(
            "job {} has no memory limit on this node{why}: nothing keeps it from the {} MiB that \
             its scratch takes (cgroup.conf: ConstrainRAMSpace=yes sets one)",
            note.job.id,
            taken / MIB
        )
    };
    let Some(file) = cgroups::limit_of(node, note.job.id)? else { return Ok(Some(none(""))) };
    let text = configfs::read(&file)?;
    let Some(now) = bytes(&text) else {
        return Ok(Some(none(&format!(", {} says {text:?}", file.display()))));
    };
    if note.limit.as_ref().is_some_and(|noted| noted.file == file && noted.ours == now) {
        return Ok(None);
    }
    let left = left(now, taken, room(node, note.job.id)?);
    // Noted first: lowered and not noted, it would be taken for Slurm's own.
    note.limit = Some(Limit { file, slurms: now, left, ours: left.max(LEAST.min(now)) });
    note::write(node, note)?;
    write(note).map(|()| None)
}

/// What is left of `slurms` when `taken` of it is lent. No job gets more than the `room` that its
/// node has: Slurm may not know of what that keeps for itself. In whole mebibytes, as Slurm gives
/// memory: of less than a page the kernel makes none.
fn left(slurms: u64, taken: u64, room: u64) -> u64 {
    slurms.min(room).saturating_sub(taken) / MIB * MIB
}

/// The same for a task that is to start: refuses where too little is left. Answers what an
/// administrator should know.
pub(super) fn lower_for_task(node: &Node, note: &mut Note) -> Outcome<Option<String>> {
    let remark = lower(node, note)?;
    if remark.is_some() {
        return Ok(remark);
    }
    let Some(Limit { slurms, left, ours, .. }) = note.limit else { return Ok(None) };
    let (job, taken) = (note.job.id, memory::taken_by(note.job.lent_bytes));
    if ours <= LEAST {
        let said = format!(
            "job {job} may use {} MiB of memory on this node, of which its own scratch takes {} \
             MiB: the {} MiB left are too few to run in",
            slurms / MIB,
            taken / MIB,
            left / MIB
        );
        let advice = "ask for more memory (--mem) or for a smaller scratch";
        return Err(failure(FailureKind::NotNow, said).advising(advice).into());
    }
    let short = slurms.saturating_sub(taken).saturating_sub(ours) / MIB;
    Ok((short > 0).then(|| {
        format!(
            "job {job} has {short} MiB less than Slurm gave it: Slurm gives jobs more of this \
             node's memory than there is beside what it keeps for itself (memory.floor in \
             agent.yaml); RealMemory in slurm.conf should say so"
        )
    }))
}

fn write(note: &Note) -> Outcome<()> {
    let Some(Limit { file, slurms, ours, .. }) = &note.limit else { return Ok(()) };
    // The job may have more in use: the kernel makes room for it as it would for anybody.
    protect::not_at_all(|| configfs::write(file, &ours.to_string()))?;
    let now = configfs::read(file)?;
    // Slurm's again: a step starts this moment, and is heard of.
    if now == ours.to_string() || now == slurms.to_string() {
        return Ok(());
    }
    let said = format!("took {ours} and holds {now:?}");
    Err(failure(FailureKind::Failed, said).by(file.display().to_string()).into())
}

/// None is "max" in version 2, and a very large number in version 1.
fn bytes(limit: &str) -> Option<u64> {
    limit.parse().ok().filter(|bytes| *bytes < NO_LIMIT)
}

/// What this node has for a job beside what it keeps for itself, and what other jobs have: their
/// limits, and what those of them lend whose limit is lowered.
fn room(node: &Node, job: u32) -> Outcome<u64> {
    let memory = ramdisk::memory(node, 0)?;
    let of_other = |(id, file): (u32, PathBuf)| {
        // It may be ending this moment.
        let now = bytes(&configfs::read(&file).ok()?)?;
        let lends = note::read(node, id).ok().flatten().filter(|other| {
            other.limit.as_ref().is_some_and(|noted| noted.file == file && noted.ours == now)
        });
        let lent = lends.map_or(0, |other| memory::taken_by(other.job.lent_bytes));
        Some(now.saturating_add(lent))
    };
    let others = cgroups::limits(node).into_iter().filter(|(id, _)| *id != job);
    let others = others.filter_map(of_other).fold(0, u64::saturating_add);
    Ok(memory.total_bytes.saturating_sub(memory.floor_bytes).saturating_sub(others))
}

#[cfg(test)]
mod tests {
    use super::super::note::Job;
    use super::*;
    use crate::names::tests::assembly;
    use crate::node::tests::{fake, remember};
    use proptest::prelude::*;
    use std::fs;

    fn note_of(id: u32, lent_mib: u64) -> Note {
        Note::new(Job {
            id,
            uid: 1000,
            pool: assembly("job-17-2.1"),
            path: "/rampool/17".into(),
            lent_bytes: lent_mib * MIB,
            is_head: false,
            lines: Vec::new(),
            everywhere: true,
        })
    }

    fn note(lent_mib: u64) -> Note {
        note_of(17, lent_mib)
    }

    const TWO: &str = "fs/cgroup/system.slice/n1_slurmstepd.scope/job_17/memory.max";
    const OTHER: &str = "fs/cgroup/system.slice/n1_slurmstepd.scope/job_18/memory.max";
    const ONE: &str = "fs/cgroup/memory/slurm_n1/uid_1000/job_17/memory.limit_in_bytes";

    fn limit(node: &Node, file: &str, value: &str) -> PathBuf {
        let file = node.roots.sys.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, value).unwrap();
        file
    }

    fn told(node: &Node, note: &mut Note) -> Outcome<Option<String>> {
        lower_for_task(node, note)
    }

    // Of nine digits all: unlike a cgroup's, a plain file keeps what a shorter value leaves.
    const SLURMS: u64 = 900 * MIB;
    const OURS: u64 = 597 * MIB;

    fn node_with(folder: &std::path::Path, mib: u64) -> Node {
        let node = fake(folder);
        remember(&node, mib);
        note::prepare(&node).unwrap();
        node
    }

    #[test]
    fn a_limit_is_lowered_once_and_again_when_slurm_wrote_it_again() {
        for file in [TWO, ONE, "fs/cgroup/memory/slurm/uid_1000/job_17/memory.limit_in_bytes"] {
            let folder = tempfile::tempdir().unwrap();
            let node = node_with(folder.path(), 8 << 10);
            let file = limit(&node, file, &SLURMS.to_string());
            let mut note = note(300);
            for now in [SLURMS, OURS, OURS, SLURMS] {
                fs::write(&file, now.to_string()).unwrap();
                assert_eq!(told(&node, &mut note).unwrap(), None);
                assert_eq!(fs::read_to_string(&file).unwrap(), OURS.to_string());
            }
            // An agent that was killed, before or after it wrote.
            for now in [SLURMS, OURS] {
                fs::write(&file, now.to_string()).unwrap();
                let mut again = note::read(&node, 17).unwrap().unwrap();
                assert_eq!(told(&node, &mut again).unwrap(), None);
                assert_eq!(fs::read_to_string(&file).unwrap(), OURS.to_string());
            }
        }
    }

    #[test]
    fn where_there_is_no_limit_the_answer_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let node = node_with(folder.path(), 8 << 10);
        assert!(told(&node, &mut note(300)).unwrap().unwrap().contains("ConstrainRAMSpace"));
        assert_eq!(told(&node, &mut note(0)).unwrap(), None);
        limit(&node, TWO, "max\n");
        assert!(told(&node, &mut note(300)).unwrap().unwrap().contains("memory.max says \"max\""));
        limit(&node, ONE, "9223372036854771712\n");
        let told = lower(&node, &mut note(300)).unwrap_err();
        assert!(told.advice.contains("several slurmd"), "{told}");
    }

    #[test]
    fn too_little_left_is_refused_with_the_numbers_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let node = node_with(folder.path(), 8 << 10);
        // Of eight digits, as what its tasks are left.
        let file = limit(&node, TWO, &(95 * MIB).to_string());
        let mut note = note(50);
        for _task in 0..2 {
            let told = told(&node, &mut note).unwrap_err();
            for part in ["95 MiB", "51 MiB", "44 MiB", "--mem"] {
                assert!(told.to_string().contains(part), "{told}");
            }
            assert_eq!(fs::read_to_string(&file).unwrap(), (64 * MIB).to_string());
        }
    }

    #[test]
    fn a_job_leaves_its_node_what_that_keeps_for_itself() {
        let folder = tempfile::tempdir().unwrap();
        // Of which 2 GiB are the usual floor.
        let node = node_with(folder.path(), 2900);
        let file = limit(&node, TWO, &SLURMS.to_string());
        let remark = told(&node, &mut note(300)).unwrap().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), (549 * MIB).to_string());
        for part in ["48 MiB less", "memory.floor", "RealMemory"] {
            assert!(remark.contains(part), "{remark}");
        }
        // Whoever lowered it, and however long ago.
        let again = told(&node, &mut note::read(&node, 17).unwrap().unwrap()).unwrap();
        assert_eq!(again, Some(remark));
    }

    #[test]
    fn jobs_leave_it_to_their_node_together() {
        let folder = tempfile::tempdir().unwrap();
        // 1000 MiB beside the usual floor.
        let node = node_with(folder.path(), 3048);
        // Of 600 MiB, which are there, and of 500, of which 400 are left.
        let other = limit(&node, OTHER, &(600 * MIB).to_string());
        assert_eq!(told(&node, &mut note_of(18, 200)).unwrap(), None);
        assert_eq!(fs::read_to_string(&other).unwrap(), (398 * MIB).to_string());
        let file = limit(&node, TWO, &(500 * MIB).to_string());
        assert!(told(&node, &mut note(200)).unwrap().unwrap().contains("100 MiB less"));
        assert_eq!(fs::read_to_string(&file).unwrap(), (198 * MIB).to_string());
        // The limit of one that is there does not change when another comes or goes.
        assert_eq!(told(&node, &mut note::read(&node, 18).unwrap().unwrap()).unwrap(), None);
        fs::remove_dir_all(other.parent().unwrap()).unwrap();
        lower(&node, &mut note::read(&node, 17).unwrap().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), (198 * MIB).to_string());
    }

    proptest! {
        #[test]
        fn what_is_taken_off_is_what_is_lent(
            slurms in 0..=u64::MAX, taken in 1..=(1_u64 << 50), room in 0..=u64::MAX
        ) {
            let left = left(slurms, taken, room);
            let all = slurms.min(room);
            if left > 0 {
                prop_assert!(left + taken <= all && all - left - taken < MIB);
                prop_assert!(left.is_multiple_of(MIB));
            } else {
                prop_assert!(all < taken + MIB);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*", lent in any::<u64>()) {
            let _ = bytes(&text);
            let _ = memory::taken_by(lent);
        }
    }
}
