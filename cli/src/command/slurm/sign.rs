//! The sign that a node's Prolog leaves for the tasks of a job, one small file a job: whether it let
//! the job in. Where a Prolog failed, or never ran, Slurm may start tasks all the same.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rampool_proto::job_socket::SIGNS;
use rampool_proto::v1::{Failure, FailureKind};

/// What a sign says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// The job is not let in, yet.
    Closed,
    /// It has its scratch here.
    Open,
    /// It asked for none.
    Without,
}

/// The longest word of them, and more than any.
const LONGEST: usize = 16;

impl Sign {
    fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed\n",
            Self::Open => "open\n",
            Self::Without => "without\n",
        }
    }

    fn parse(text: &[u8]) -> Self {
        let all = [Self::Open, Self::Without];
        // Half a word is one that was not written to its end.
        all.into_iter().find(|sign| sign.word().as_bytes() == text).unwrap_or(Self::Closed)
    }
}

/// The signs on a node.
pub(super) struct Signs(PathBuf);

impl Signs {
    /// Those in the folder of the node's agent.
    pub(super) fn of(agent: &Path) -> Self {
        Self(agent.join(SIGNS))
    }

    fn path(&self, job: u32) -> PathBuf {
        self.0.join(job.to_string())
    }

    /// Leaves a sign that anybody may read, in the place of what was there.
    pub(super) fn set(&self, job: u32, sign: Sign) -> Result<(), Failure> {
        let path = self.path(job);
        let write = || {
            for folder in self.0.parent().into_iter().chain([self.0.as_path()]) {
                if !folder.exists() {
                    fs::create_dir_all(folder)?;
                    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
                }
            }
            fs::write(&path, sign.word())?;
            fs::set_permissions(&path, Permissions::from_mode(0o644))
        };
        write().map_err(|error| failed("leave a sign for the job's tasks", &path, &error))
    }

    /// What the Prolog of a job left here; nothing where it never ran.
    pub(super) fn get(&self, job: u32) -> Result<Option<Sign>, Failure> {
        use std::io::Read as _;
        let path = self.path(job);
        let read = || {
            let mut text = Vec::with_capacity(LONGEST);
            fs::File::open(&path)?.take(LONGEST as u64).read_to_end(&mut text)?;
            Ok(Sign::parse(&text))
        };
        match read() {
            Ok(sign) => Ok(Some(sign)),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(failed("look for the sign of the node's Prolog", &path, &error)),
        }
    }

    /// Takes it away with the job.
    pub(super) fn remove(&self, job: u32) -> Result<(), Failure> {
        let path = self.path(job);
        match fs::remove_file(&path) {
            Err(error) if !absent(&error) => {
                Err(failed("remove the sign for the job's tasks", &path, &error))
            }
            _ => Ok(()),
        }
    }
}

fn absent(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

fn failed(step: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Failed, step).by(path.display().to_string()).saying(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sign_stands_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let signs = Signs::of(&folder.path().join("rampool"));
        assert_eq!(signs.get(7).unwrap(), None);
        for sign in [Sign::Closed, Sign::Open, Sign::Without, Sign::Closed] {
            signs.set(7, sign).unwrap();
            assert_eq!(signs.get(7).unwrap(), Some(sign));
        }
        let mode = fs::metadata(signs.path(7)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        signs.remove(7).unwrap();
        signs.remove(7).unwrap();
        assert_eq!(signs.get(7).unwrap(), None);
    }

    #[test]
    fn a_sign_that_cannot_be_had_is_no_missing_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("prolog"), "").unwrap();
        let signs = Signs::of(folder.path());
        assert!(signs.get(7).is_err() && signs.set(7, Sign::Open).is_err());
    }

    proptest! {
        #[test]
        fn only_a_whole_word_opens(text in proptest::collection::vec(any::<u8>(), 0..20)) {
            let opens = text == b"open\n" || text == b"without\n";
            prop_assert_eq!(Sign::parse(&text) != Sign::Closed, opens);
        }

        #[test]
        fn a_word_that_was_cut_closes(cut in 0_usize..5, without: bool) {
            let sign = if without { Sign::Without } else { Sign::Open };
            prop_assert_eq!(Sign::parse(&sign.word().as_bytes()[..cut.min(4)]), Sign::Closed);
        }
    }
}
