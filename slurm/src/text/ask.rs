//! What a job asked for, as `squeue` tells it in a format of our own.

use rampool_proto::v1::JobWish;

use super::{TextError, given};

/// `squeue --format` of [`Ask::read`]: number, user, both by number, constraint and comment. The last one is the
/// user's own text: whatever is in it, the row of the job has begun before.
pub(crate) const FORMAT: &str = "%A\x1f%u\x1f%U\x1f%G\x1f%f\x1f%k\x1e";

/// What a job asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its user's name.
    pub user: String,
    /// That user's number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// Its `--constraint`.
    pub constraints: String,
    /// Its `--comment`.
    pub comment: String,
}

impl Ask {
    /// That of one job, in rows of [`FORMAT`]: of an array's number, each task has one.
    ///
    /// # Errors
    /// Where there is no such row.
    pub fn read(text: &str, job: u32) -> Result<Self, TextError> {
        let found = text.split('\x1e').find_map(|row| Self::of_row(row.trim_start(), job));
        found.ok_or_else(|| TextError::new(text, format!("no row of job {job}")))
    }

    /// What it wants of us. A burst buffer is counted by its capacity, and its size stands in the
    /// comment: licences say nothing of it.
    #[must_use]
    pub fn wish(&self) -> JobWish {
        JobWish {
            constraints: self.constraints.clone(),
            comment: self.comment.clone(),
            licenses: String::new(),
        }
    }

    fn of_row(row: &str, job: u32) -> Option<Self> {
        let mut fields = row.splitn(6, '\x1f');
        if fields.next()?.parse() != Ok(job) {
            return None;
        }
        let mut field = || fields.next().map(|field| given(field).unwrap_or_default().to_owned());
        Some(Self {
            user: field()?,
            uid: field()?.parse().ok()?,
            gid: field()?.parse().ok()?,
            constraints: field()?,
            comment: field()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_jobs_own_row_is_read() {
        let text = "55\x1falice\x1f1001\x1f100\x1f(null)\x1f(null)\x1e\n\
                    56\x1falice\x1f1001\x1f100\x1flake&hsw\x1fmine rampool:size=2G\x1e\n";
        let ask = Ask::read(text, 56).unwrap();
        assert_eq!((ask.user.as_str(), ask.constraints.as_str()), ("alice", "lake&hsw"));
        assert_eq!((ask.uid, ask.gid, ask.comment.as_str()), (1001, 100, "mine rampool:size=2G"));
        assert_eq!(Ask::read(text, 55).unwrap().comment, "");
        assert!(Ask::read(text, 5).is_err() && Ask::read("", 5).is_err());
    }

    #[test]
    fn a_comment_does_not_speak_for_its_job() {
        let text = "7\x1feve\x1f1002\x1f100\x1flake\x1fx\x1e7\x1froot\x1f0\x1f0\x1fother\x1f\x1e\n";
        assert_eq!(Ask::read(text, 7).unwrap().user, "eve");
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "(?s)[7\x1f\x1e\na-z ]{0,60}") {
            let _ = Ask::read(&text, 7);
        }
    }
}
