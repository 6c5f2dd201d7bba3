//! Where Slurm's cgroup plugins (22.05) keep the memory limits of jobs: with version 2 below a scope
//! of slurmd's or its node's name, with version 1 below a folder of its own or its node's name, and
//! there by user.

use std::path::{Path, PathBuf};

use rampool_proto::v1::FailureKind;

use crate::configfs;
use crate::node::Node;
use crate::outcome::{Outcome, failure};

/// Both trees: the folder in which it begins, which folders of it are Slurm's, and the file of a
/// job's folder.
struct Tree {
    top: PathBuf,
    is_slurms: fn(&str) -> bool,
    has_users: bool,
    limit: &'static str,
}

fn trees(node: &Node) -> [Tree; 2] {
    let root = root(node);
    [
        Tree {
            top: root.join("system.slice"),
            is_slurms: |name| name.ends_with("slurmstepd.scope"),
            has_users: false,
            limit: "memory.max",
        },
        Tree {
            top: root.join("memory"),
            is_slurms: |name| name == "slurm" || name.starts_with("slurm_"),
            has_users: true,
            limit: "memory.limit_in_bytes",
        },
    ]
}

fn root(node: &Node) -> PathBuf {
    node.roots.sys.join("fs/cgroup")
}

/// The limits of all jobs, by their number. Folders in which jobs may appear are named to `passing`
/// before anybody looks into them.
fn walk(node: &Node, mut passing: impl FnMut(&Path)) -> Vec<(u32, PathBuf)> {
    passing(&root(node));
    let mut found = Vec::new();
    for tree in trees(node) {
        let below = |folder: &Path, is: fn(&str) -> bool| {
            let names = configfs::folders(folder).into_iter().filter(move |name| is(name));
            names.map(|name| folder.join(name)).collect::<Vec<_>>()
        };
        passing(&tree.top);
        let mut parents = below(&tree.top, tree.is_slurms);
        if tree.has_users {
            parents.iter().for_each(|folder| passing(folder));
            let users = |folder: &PathBuf| below(folder, |name| name.starts_with("uid_"));
            parents = parents.iter().flat_map(users).collect();
        }
        for parent in parents {
            passing(&parent);
            for job in below(&parent, |name| name.starts_with("job_")) {
                let name = job.file_name().and_then(|name| name.to_str());
                let id = name.and_then(|name| name.strip_prefix("job_")?.parse().ok());
                let limit = job.join(tree.limit);
                found.extend(id.filter(|_| limit.exists()).map(|id| (id, limit)));
            }
        }
    }
    found
}

/// The limits of all jobs on this node, by their number.
pub(super) fn limits(node: &Node) -> Vec<(u32, PathBuf)> {
    walk(node, |_| {})
}

/// The file that holds a job's limit, if Slurm made it one.
pub(super) fn limit_of(node: &Node, job: u32) -> Outcome<Option<PathBuf>> {
    let mut found = limits(node).into_iter().filter(|(id, _)| *id == job).map(|(_, file)| file);
    match (found.next(), found.next()) {
        (only, None) => Ok(only),
        (one, Some(other)) => {
            let one = one.unwrap_or_default();
            let said = format!("{} and {} are both the job's", one.display(), other.display());
            let advice = "several slurmd on one host cannot lend memory to one job";
            Err(failure(FailureKind::Conflict, said).advising(advice).into())
        }
    }
}

/// Names to `watch` each folder in which a job's cgroup may appear, and the limits of these jobs,
/// so that whatever happens from then on is noticed or seen now.
pub(super) fn watched(node: &Node, jobs: &[u32], mut watch: impl FnMut(&Path)) {
    for (id, limit) in walk(node, &mut watch) {
        if jobs.contains(&id) {
            watch(&limit);
        }
    }
}
