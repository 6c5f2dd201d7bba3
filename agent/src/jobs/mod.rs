//! Slurm's jobs that may use a pool on this node.
//!
//! | module | idea |
//! | --- | --- |
//! | `note` | what the agent knows of a job: a file, so that it knows it after a crash too |
//! | `limit` | what a node lends to a job is taken off the job's memory limit |
//! | `keeper` | it stays so, whatever Slurm or the job's user does |
//! | `cgroups` | where Slurm keeps those limits |
//! | `socket` | where the hooks of this node ask |
//!
//! The controller admits a job when its pool is mounted, and dismisses it. In between, each of the
//! job's tasks asks before it starts: no line of a user's program runs without its mount.

mod cgroups;
mod keeper;
mod limit;
mod note;
mod socket;

use std::collections::BTreeSet;
use std::path::Path;

use rampool_proto::job_socket::Task;
use rampool_proto::pool_name::{Assembly, PoolName};
use rampool_proto::v1::{FailureKind, Holding, HoldingKind, PoolId};

use crate::holdings;
use crate::mount::{self, table};
use crate::node::Node;
use crate::outcome::{Change, Outcome, failure};
use crate::share;
use crate::volume;
pub use keeper::keep;
pub use note::{Job, prepare};
pub use socket::{listen, serve};

/// Notes that the job may use its pool here, which must be mounted.
pub fn admit(node: &Node, job: &Job) -> Outcome<Change> {
    require_mounted(node, job)?;
    match note::read(node, job.id)? {
        Some(there) if there.job == *job => Ok(Change::Already),
        // What is known of its other nodes is known for good.
        Some(there) if there.job == (Job { everywhere: !job.everywhere, ..job.clone() }) => {
            if there.job.everywhere {
                return Ok(Change::Already);
            }
            let note = note::Note { job: job.clone(), ..there };
            note::write(node, &note).map(|()| Change::Made)
        }
        Some(there) => {
            let said = format!(
                "job {} was admitted already, to {} at {}",
                job.id, there.job.pool, there.job.path
            );
            Err(failure(FailureKind::Conflict, said).advising("dismiss it first").into())
        }
        None => note::write(node, &note::Note::new(job.clone())).map(|()| Change::Made),
    }
}

/// No further task of the job gets an answer.
pub fn dismiss(node: &Node, id: u32) -> Outcome<Change> {
    note::remove(node, id)
}

/// The same for whichever job was admitted to a pool that is not mounted here any more.
pub fn dismiss_all_of(node: &Node, pool: &Assembly) -> Outcome<()> {
    let of_pool = note::all(node).into_iter().filter(|note| note.job.pool == *pool);
    of_pool.into_iter().try_for_each(|note| note::remove(node, note.job.id).map(drop))
}

/// A task of the job is about to start: what it may use. Refused unless the pool is there, and the
/// job's memory limit is less what this node lends to it.
fn begin_task(node: &Node, id: u32, uid: u32) -> Outcome<Task> {
    let mut note = require_own(node, id, uid)?;
    let begun = begin(node, &mut note);
    if let Err(why) = &begun {
        let words = [why.program.as_str(), &why.said].into_iter().filter(|word| !word.is_empty());
        note_refusal(node, note, words.collect::<Vec<_>>().join(": "));
    }
    begun
}

/// So that the controller can say why the job failed. It is no reason to refuse another task.
fn note_refusal(node: &Node, mut note: note::Note, why: String) {
    if note.refused.as_ref() == Some(&why) {
        return;
    }
    note.refused = Some(why);
    if let Err(failure) = note::write(node, &note) {
        tracing::warn!(job = note.job.id, %failure, "why a task was refused is not kept");
    }
}

fn begin(node: &Node, note: &mut note::Note) -> Outcome<Task> {
    require_mounted(node, &note.job)?;
    require_everywhere(&note.job)?;
    let remark = limit::lower_for_task(node, note)?;
    let mut lines = Vec::new();
    if note.job.is_head && !note.has_told {
        // First, so that an agent that is killed meanwhile never tells them twice.
        note.has_told = true;
        note::write(node, note)?;
        lines.clone_from(&note.job.lines);
    }
    Ok(Task { path: note.job.path.clone(), lines, remarks: remark.into_iter().collect() })
}

/// The note of a job, for its own user or root.
fn require_own(node: &Node, id: u32, uid: u32) -> Outcome<note::Note> {
    let Some(note) = note::read(node, id)? else {
        let said = format!("this node has no scratch of rampool for job {id}");
        return Err(failure(FailureKind::NotFound, said).into());
    };
    if uid != 0 && uid != note.job.uid {
        return Err(failure(FailureKind::Invalid, format!("job {id} is another user's")).into());
    }
    Ok(note)
}

/// Refuses unless what the job finds at its path is its pool: the volume itself, or its share.
fn require_mounted(node: &Node, job: &Job) -> Outcome<()> {
    let mounts = table::read(&node.roots.proc)?;
    // Of several on one folder the last is what is seen.
    let seen = mounts.iter().rfind(|mount| mount.point == Path::new(&job.path));
    let is_it = seen.is_some_and(|seen| {
        let volume = || volume::find(node, &job.pool);
        share::is_of(seen, &job.pool)
            || volume().is_some_and(|volume| mount::is_whole(seen, &volume))
    });
    if is_it {
        return Ok(());
    }
    let said = format!("the pool {} of job {} is not mounted", job.pool, job.id);
    Err(failure(FailureKind::NotFound, said).by(job.path.clone()).into())
}

/// Refuses the first node's tasks, among them the job's script, where another node did not let the
/// job in: Slurm takes such a job off its nodes, but starts its script where that node's Prolog is
/// the last one to fail.
fn require_everywhere(job: &Job) -> Outcome<()> {
    if job.everywhere || !job.is_head {
        return Ok(());
    }
    let said = format!("job {} has no scratch on another of its nodes", job.id);
    let advice = "sinfo -R names the node whose Prolog failed";
    Err(failure(FailureKind::NotNow, said).advising(advice).into())
}

/// The names of jobs' pools of which this node holds anything.
fn held(node: &Node) -> Outcome<Vec<String>> {
    let holdings = holdings::list(node)?;
    let pools = holdings.iter().filter_map(|holding| {
        let assembly = Assembly::try_from(holding.pool.as_ref()?).ok()?;
        assembly.name.job().map(|_| assembly.name.to_string())
    });
    Ok(pools.collect::<BTreeSet<_>>().into_iter().collect())
}

/// The pools of jobs that were let in here: what they have of this node is those jobs' in Slurm.
pub(crate) fn pools(node: &Node) -> BTreeSet<PoolName> {
    note::all(node).into_iter().map(|note| note.job.pool.name).collect()
}

/// The jobs that may use a pool here.
pub fn list(node: &Node) -> Vec<Holding> {
    let holding = |note: note::Note| Holding {
        pool: Some(PoolId::from(&note.job.pool)),
        kind: HoldingKind::Job.into(),
        name: note.job.id.to_string(),
        bytes: note.job.lent_bytes,
        detail: note.job.path,
        refused: note.refused.unwrap_or_default(),
        ..Holding::default()
    };
    note::all(node).into_iter().map(holding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;
    use crate::node::tests::fake;
    use std::fs;

    const SHARE: &str = "50 22 0:44 / /rampool/17 rw - nfs4 rp.job-17-2.1:/job-17-2.1 rw\n";

    fn mounted(node: &Node, mountinfo: &str) {
        fs::create_dir_all(node.roots.proc.join("self")).unwrap();
        fs::write(node.roots.proc.join("self/mountinfo"), mountinfo).unwrap();
    }

    fn job() -> Job {
        Job {
            id: 17,
            uid: 1000,
            pool: assembly("job-17-2.1"),
            path: "/rampool/17".into(),
            lent_bytes: 0,
            is_head: true,
            lines: vec!["3 GiB".into(), "volatile".into()],
            everywhere: true,
        }
    }

    #[test]
    fn a_job_is_admitted_where_its_pool_is_seen_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        prepare(&node).unwrap();
        mounted(&node, "");
        assert_eq!(admit(&node, &job()).unwrap_err().kind(), FailureKind::NotFound);
        // Something else over it.
        mounted(&node, &format!("{SHARE}51 50 0:45 / /rampool/17 rw - tmpfs x rw\n"));
        assert!(admit(&node, &job()).is_err());
        mounted(&node, &SHARE.replace("job-17-2.1", "job-17-1.1"));
        assert!(admit(&node, &job()).is_err());
        assert!(list(&node).is_empty());

        mounted(&node, SHARE);
        assert_eq!(admit(&node, &job()).unwrap(), Change::Made);
        assert_eq!(admit(&node, &job()).unwrap(), Change::Already);
        let other = Job { uid: 1001, ..job() };
        assert_eq!(admit(&node, &other).unwrap_err().kind(), FailureKind::Conflict);
        let held = list(&node);
        assert_eq!((held[0].name.as_str(), held[0].detail.as_str()), ("17", "/rampool/17"));
        assert_eq!(dismiss(&node, 17).unwrap(), Change::Made);
        assert_eq!(dismiss(&node, 17).unwrap(), Change::Already);
        assert!(list(&node).is_empty());
    }

    #[test]
    fn a_job_goes_with_the_mount_of_its_pool() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        prepare(&node).unwrap();
        mounted(&node, SHARE);
        admit(&node, &job()).unwrap();
        dismiss_all_of(&node, &assembly("job-17-1.1")).unwrap();
        assert_eq!(list(&node).len(), 1);
        dismiss_all_of(&node, &assembly("job-17-2.1")).unwrap();
        assert!(list(&node).is_empty());
    }

    #[test]
    fn tasks_hear_the_path_and_the_first_of_them_the_lines() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        prepare(&node).unwrap();
        mounted(&node, SHARE);
        assert!(begin_task(&node, 17, 1000).is_err());
        admit(&node, &job()).unwrap();
        assert!(begin_task(&node, 17, 1001).unwrap_err().said.contains("another user"));
        let first = begin_task(&node, 17, 1000).unwrap();
        assert_eq!((first.path.as_str(), first.lines.len()), ("/rampool/17", 2));
        assert!(begin_task(&node, 17, 1000).unwrap().lines.is_empty());
        assert!(begin_task(&node, 17, 0).unwrap().lines.is_empty());
        mounted(&node, "");
        assert!(list(&node)[0].refused.is_empty());
        assert!(begin_task(&node, 17, 1000).unwrap_err().said.contains("not mounted"));
        assert!(list(&node)[0].refused.contains("not mounted"), "{:?}", list(&node));
    }

    #[test]
    fn the_first_node_waits_for_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        prepare(&node).unwrap();
        mounted(&node, SHARE);
        let alone = Job { everywhere: false, ..job() };
        assert_eq!(admit(&node, &alone).unwrap(), Change::Made);
        assert!(begin_task(&node, 17, 1000).unwrap_err().said.contains("another of its nodes"));
        assert_eq!(admit(&node, &job()).unwrap(), Change::Made);
        assert_eq!(begin_task(&node, 17, 1000).unwrap().lines.len(), 2);
        // Said again by whoever does not know it yet; and what was told stays told.
        for again in [job(), alone] {
            assert_eq!(admit(&node, &again).unwrap(), Change::Already);
            assert_eq!(begin_task(&node, 17, 1000).unwrap().lines.len(), 0);
        }
        // Others need not wait.
        dismiss(&node, 17).unwrap();
        admit(&node, &Job { everywhere: false, is_head: false, ..job() }).unwrap();
        begin_task(&node, 17, 1000).unwrap();
    }

    #[test]
    fn only_the_head_tells() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        prepare(&node).unwrap();
        mounted(&node, SHARE);
        admit(&node, &Job { is_head: false, ..job() }).unwrap();
        assert!(begin_task(&node, 17, 1000).unwrap().lines.is_empty());
    }
}
