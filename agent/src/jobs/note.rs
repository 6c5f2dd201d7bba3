//! What the agent knows of a job: a file for each, which its hooks look for. It is on a file system
//! that a reboot empties, as it empties the job's pool.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;

use rampool_proto::by_text::ByText;
use rampool_proto::job_socket::SIGNS;
use rampool_proto::pool_name::Assembly;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::configfs;
use crate::node::Node;
use crate::outcome::{Change, Outcome, refused};
use crate::whole_file::{self, DRAFT, remove_file};

/// A job as the controller admits it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Slurm's number for it.
    pub id: u32,
    /// Its user.
    pub uid: u32,
    /// Its pool.
    #[serde(serialize_with = "write_text", deserialize_with = "read_text")]
    pub pool: Assembly,
    /// Where that is mounted on this node.
    pub path: String,
    /// What this node lends to the pool.
    pub lent_bytes: u64,
    /// Whether its first task here is told the lines.
    pub is_head: bool,
    /// For its output.
    pub lines: Vec<String>,
    /// Whether it was let in on each of its nodes.
    pub everywhere: bool,
}

fn write_text<S: Serializer>(pool: &Assembly, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(pool)
}

fn read_text<'de, D: Deserializer<'de>>(from: D) -> Result<Assembly, D::Error> {
    ByText::deserialize(from).map(|text| text.0)
}

/// A job's memory limit, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limit {
    /// Its cgroup's file.
    pub(super) file: PathBuf,
    /// What Slurm wrote there.
    pub(super) slurms: u64,
    /// What of that is left for the job's programs.
    #[serde(default)]
    pub(super) left: u64,
    /// What we wrote there, or are about to.
    pub(super) ours: u64,
}

/// What is known of a job here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    #[serde(flatten)]
    pub(super) job: Job,
    /// Whether a task was told the lines.
    pub(super) has_told: bool,
    /// The limit as it was lowered last.
    pub(super) limit: Option<Limit>,
    /// Why a task was refused, the last one where there were more.
    #[serde(default)]
    pub(super) refused: Option<String>,
}

impl Note {
    pub(super) fn new(job: Job) -> Self {
        Self { job, has_told: false, limit: None, refused: None }
    }
}

fn folder(node: &Node) -> PathBuf {
    node.roots.run.join("jobs")
}

fn path(node: &Node, id: u32) -> PathBuf {
    folder(node).join(id.to_string())
}

/// Makes the folder of the notes, and that of the Prolog's signs, which everybody may read, and
/// removes drafts that an agent which was killed left of notes.
pub fn prepare(node: &Node) -> Outcome<()> {
    let folder = folder(node);
    for folder in [&folder, &node.roots.run.join(SIGNS)] {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o755)));
        made.map_err(|error| refused(folder, "make it", error))?;
    }
    let drafts = configfs::names(&folder).into_iter().filter(|name| name.starts_with(DRAFT));
    drafts.map(|name| folder.join(name)).try_for_each(|draft| remove_file(&draft).map(drop))
}

/// The note of a job, if it has one.
pub(super) fn read(node: &Node, id: u32) -> Outcome<Option<Note>> {
    whole_file::read(&path(node, id))
}

/// Writes a note, whole: whoever reads meanwhile reads the last one.
pub(super) fn write(node: &Node, note: &Note) -> Outcome<()> {
    let text = serde_json::to_vec_pretty(note).expect("numbers and texts are JSON");
    whole_file::write(&path(node, note.job.id), &text, 0o644)
}

/// Removes the note of a job.
pub(super) fn remove(node: &Node, id: u32) -> Outcome<Change> {
    whole_file::remove(&path(node, id))
}

/// All notes. Files that are none are nobody's of ours.
pub(super) fn all(node: &Node) -> Vec<Note> {
    let names = configfs::names(&folder(node));
    let ids = names.iter().filter_map(|name| name.parse::<u32>().ok());
    ids.filter_map(|id| read(node, id).ok().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;
    use crate::node::tests::fake;
    use proptest::prelude::*;

    fn note(id: u32, lent_bytes: u64, line: &str) -> Note {
        let limit = Limit { file: "/sys/fs/x".into(), slurms: lent_bytes, left: 2, ours: 1 };
        let job = Job {
            id,
            uid: 7,
            pool: assembly("job-17-2.1"),
            path: "/rampool/17".into(),
            lent_bytes,
            is_head: false,
            lines: vec![line.to_owned()],
            everywhere: true,
        };
        Note { limit: Some(limit), ..Note::new(job) }
    }

    #[test]
    fn everybody_reads_a_note_and_what_is_none_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        prepare(&node).unwrap();
        write(&node, &note(17, 5, "a")).unwrap();
        for odd in ["README", ".draft.18", ".draft.20", "19"] {
            fs::write(super::folder(&node).join(odd), "{").unwrap();
        }
        let mode = fs::metadata(path(&node, 17)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(all(&node), [note(17, 5, "a")]);
        assert!(read(&node, 19).is_err(), "what cannot be read is no missing note");
        assert_eq!(remove(&node, 18).unwrap(), Change::Already);
        prepare(&node).unwrap();
        assert_eq!(configfs::names(&super::folder(&node)), ["17", "19", "README"]);
    }

    proptest! {
        #[test]
        fn any_note_reads_back(id in 1..u32::MAX, lent in any::<u64>(), line in "[^\\p{Cc}]{0,40}") {
            let folder = tempfile::tempdir().unwrap();
            let node = fake(folder.path());
            prepare(&node).unwrap();
            let note = note(id, lent, &line);
            write(&node, &note).unwrap();
            prop_assert_eq!(read(&node, id).unwrap(), Some(note));
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let folder = tempfile::tempdir().unwrap();
            let node = fake(folder.path());
            prepare(&node).unwrap();
            fs::write(path(&node, 5), bytes).unwrap();
            prop_assert!(read(&node, 5).is_err());
        }
    }
}
