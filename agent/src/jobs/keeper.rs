//! Keeps jobs' memory limits lowered, whatever their users do with the program that asks for each
//! task (it runs as the user), and whenever Slurm writes them anew. The kernel tells of both.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use inotify::{EventStream, Inotify, WatchMask, Watches};
use tokio_stream::StreamExt;

use super::{cgroups, limit, note};
use crate::node::Node;
use crate::outcome::Outcome;

/// Keeps them until the agent ends.
pub async fn keep(node: Arc<Node>) {
    let mut changes = node.changes();
    let mut news: Option<News> = None;
    loop {
        changes.borrow_and_update();
        let jobs = lending(&node).await;
        if jobs.is_empty() {
            news = None;
        } else if news.is_none() {
            news = News::open();
        }
        if let Some(news) = &mut news {
            // First, so that what happens while limits are looked at is told of too.
            cgroups::watched(&node, &jobs, |path| news.watch(path));
        }
        lower_all(&node, &jobs).await;
        tokio::select! {
            () = node.stopped() => return,
            // A job is admitted by a call of ours.
            _ = changes.changed() => {}
            () = hear(news.as_mut()) => {}
        }
    }
}

/// The jobs to whose pools this node lends.
async fn lending(node: &Arc<Node>) -> Vec<u32> {
    let look = |node: &Node| {
        let lending = note::all(node).into_iter().filter(|note| note.job.lent_bytes > 0);
        Ok(lending.map(|note| note.job.id).collect())
    };
    node.read("look which jobs this node lends to", look).await.unwrap_or_default()
}

/// Each in its own turn: one whose memory the kernel must write out first holds up no other's.
async fn lower_all(node: &Arc<Node>, jobs: &[u32]) {
    let tasks: Vec<_> = jobs
        .iter()
        .map(|&job| {
            let node = Arc::clone(node);
            tokio::spawn(async move {
                // What fails is logged there, and asked for again by the job's next task.
                let _ =
                    node.of_job(job, "keep the job's limit", move |node| lower(node, job)).await;
            })
        })
        .collect();
    for task in tasks {
        let _ = task.await;
    }
}

/// Too little for a task is for the task to hear.
fn lower(node: &Node, job: u32) -> Outcome<()> {
    match note::read(node, job)? {
        Some(mut note) => limit::lower(node, &mut note).map(drop),
        // It was dismissed meanwhile.
        None => Ok(()),
    }
}

/// What the kernel tells of folders and files: that there is something new, which is all that
/// counts here.
struct News {
    watches: Watches,
    events: EventStream<[u8; 4096]>,
}

impl News {
    fn open() -> Option<Self> {
        let opened = Inotify::init().and_then(|inotify| {
            Ok(Self { watches: inotify.watches(), events: inotify.into_event_stream([0; 4096])? })
        });
        opened
            .inspect_err(|error| {
                tracing::warn!(%error, "jobs' memory limits are kept by their tasks alone");
            })
            .ok()
    }

    fn watch(&mut self, path: &Path) {
        let mask = if path.is_dir() { WatchMask::CREATE } else { WatchMask::MODIFY };
        match self.watches.add(path, mask) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "is not watched");
            }
            // Of two versions of cgroups a node has one; and a job may end this moment.
            _ => {}
        }
    }
}

/// Returns when there was something; never where nobody tells.
async fn hear(news: Option<&mut News>) {
    if let Some(news) = news
        && let Some(Ok(_)) = news.events.next().await
    {
        return;
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::note::{Job, Note};
    use crate::memory::MIB;
    use crate::names::tests::assembly;
    use crate::node::tests::{fake, remember};
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    const SLURMS: u64 = 900 * MIB;
    const OURS: u64 = 597 * MIB;

    fn admit(node: &Node) {
        let job = Job {
            id: 17,
            uid: 1000,
            pool: assembly("job-17-2.1"),
            path: "/rampool/17".into(),
            lent_bytes: 300 * MIB,
            is_head: false,
            lines: Vec::new(),
            everywhere: true,
        };
        note::write(node, &Note::new(job)).unwrap();
        node.tell_change();
    }

    async fn until_lowered(file: &Path) {
        let lowered = async {
            while fs::read_to_string(file).unwrap() != OURS.to_string() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), lowered).await.expect("it is not lowered");
    }

    fn slurm_makes(node: &Node, folders: &[&str]) -> PathBuf {
        let mut folder = node.roots.sys.join("fs/cgroup");
        for name in folders {
            folder.push(name);
            fs::create_dir_all(&folder).unwrap();
        }
        folder
    }

    #[tokio::test]
    async fn a_limit_is_lowered_when_slurm_makes_it_and_when_it_writes_it_again() {
        let two = (["system.slice", "n1_slurmstepd.scope"], "memory.max");
        let one = (["memory/slurm", "uid_1000"], "memory.limit_in_bytes");
        for (folders, limit) in [two, one] {
            let folder = tempfile::tempdir().unwrap();
            let node = Arc::new(fake(folder.path()));
            remember(&node, 8 << 10);
            note::prepare(&node).unwrap();
            slurm_makes(&node, &[]);
            let keeping = tokio::spawn(keep(Arc::clone(&node)));
            admit(&node);
            // Another job of the node's first.
            slurm_makes(&node, &[&folders[..], &["job_16"]].concat());
            tokio::time::sleep(Duration::from_millis(50)).await;
            // A folder of cgroups has its files when it appears.
            let draft = slurm_makes(&node, &["draft"]);
            fs::write(draft.join(limit), SLURMS.to_string()).unwrap();
            let job = slurm_makes(&node, &folders).join("job_17");
            fs::rename(&draft, &job).unwrap();
            // A plain one tells of its appearance in another way than by its making.
            slurm_makes(&node, &[&folders[..], &["job_18"]].concat());
            let file = job.join(limit);
            until_lowered(&file).await;
            for _step in 0..3 {
                fs::write(&file, SLURMS.to_string()).unwrap();
                until_lowered(&file).await;
            }
            node.stop();
            keeping.await.unwrap();
        }
    }
}
