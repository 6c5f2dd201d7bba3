//! What Slurm's commands print, read.
//!
//! | module | idea |
//! | --- | --- |
//! | [`ask`] | what one job asked for, by `squeue` |
//! | [`job`] | a row of `squeue`, in a format of our own |
//! | [`node`] | a line of `scontrol -o show node` |
//! | [`partition`] | a line of `scontrol -o show partition` |
//! | [`config`] | `scontrol show config` |
//! | [`burst`] | `scontrol show burst` |
//! | [`time`] | `1-02:03:04`, `UNLIMITED` |
//!
//! Keys that nobody here knows may come and go with Slurm's releases: they are passed over. A line
//! of another kind is an error: it may be the only sign that Slurm could not answer.
//!
//! `scontrol show job` is not read. A job's user writes its name, comment and paths, which stand
//! there unquoted: a job named `x JobState=COMPLETED` would be over. What is decided on comes from
//! `squeue`, from fields that no user writes.

pub mod ask;
pub mod burst;
pub mod config;
pub mod job;
pub mod node;
pub mod partition;
pub mod time;

/// Longer than any line of Slurm's: the node list of a job on every node of the largest clusters.
const LONGEST_LINE: usize = 1 << 20;

/// How much of a line an error repeats, in characters.
const EXCERPT: usize = 160;

/// Why a text is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} in {excerpt:?}")]
pub struct TextError {
    problem: String,
    excerpt: String,
}

impl TextError {
    fn new(line: &str, problem: impl Into<String>) -> Self {
        let mut excerpt: String = line.chars().take(EXCERPT).collect();
        if excerpt.len() < line.len() {
            excerpt.push('…');
        }
        Self { problem: problem.into(), excerpt }
    }
}

/// A line of pairs `Key=value`, as `scontrol -o` prints them.
#[derive(Clone, Copy, Debug)]
struct Line<'a>(&'a str);

impl<'a> Line<'a> {
    /// A line that begins with this key, as all that tell of one kind of thing do.
    fn of(line: &'a str, first: &str) -> Result<Self, TextError> {
        if line.len() > LONGEST_LINE {
            return Err(TextError::new(line, format!("{} bytes: no line of Slurm's", line.len())));
        }
        match line.strip_prefix(first).is_some_and(|rest| rest.starts_with('=')) {
            true => Ok(Self(line)),
            false => Err(TextError::new(line, format!("no {first}= at the beginning"))),
        }
    }

    /// What stands after the first `key=` that is a word's beginning.
    fn after(self, key: &str) -> Option<&'a str> {
        let is_first = |at: usize| at == 0 || self.0.as_bytes()[at - 1].is_ascii_whitespace();
        let mut found = self.0.match_indices(key).filter(|(at, _)| is_first(*at));
        found.find_map(|(at, _)| self.0[at + key.len()..].strip_prefix('='))
    }

    /// A value of one word; none where Slurm says that it has none.
    fn word(self, key: &str) -> Option<&'a str> {
        given(self.after(key)?.split(|c: char| c.is_ascii_whitespace()).next()?)
    }

    /// A value of any words, which ends where one of these keys begins.
    fn text(self, key: &str, next: &[&str]) -> Option<&'a str> {
        let rest = self.after(key)?;
        let ends = next.iter().filter_map(|next| rest.find(&format!(" {next}=")));
        given(rest[..ends.min().unwrap_or(rest.len())].trim())
    }

    /// As [`word`](Self::word), of what every such line has.
    fn need(self, key: &str) -> Result<&'a str, TextError> {
        self.word(key).ok_or_else(|| TextError::new(self.0, format!("no {key}=")))
    }
}

/// A value, unless it is one of the ways in which Slurm writes that there is none.
fn given(value: &str) -> Option<&str> {
    Some(value).filter(|value| !matches!(*value, "" | "(null)" | "N/A" | "n/a"))
}

/// Lines that hold something.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_a_word_of_its_own() {
        let line =
            Line::of("NodeName=n2 XState=a State=IDLE Free=(null) Empty= T=cpu=2", "NodeName");
        let line = line.unwrap();
        assert_eq!(line.word("State"), Some("IDLE"));
        assert_eq!(line.word("T"), Some("cpu=2"));
        assert_eq!(line.text("State", &["Empty", "Free"]), Some("IDLE"));
        for none in ["Free", "Empty", "Node", "tate", "cpu"] {
            assert_eq!(line.word(none), None, "{none}");
        }
        assert!(line.need("Reason").unwrap_err().to_string().starts_with("no Reason= in"));
    }

    #[test]
    fn another_kind_of_line_is_an_error() {
        for line in ["", "No nodes in the system", "NodeNames=x", " NodeName=x"] {
            assert!(Line::of(line, "NodeName").is_err(), "{line}");
        }
        let long = format!("NodeName={}", "x".repeat(LONGEST_LINE));
        let told = Line::of(&long, "NodeName").unwrap_err().to_string();
        assert!(told.len() < 500, "{told}");
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in "NodeName=.{0,80}", key in "[A-Z][a-z]{0,3}") {
            let line = Line::of(&line, "NodeName").unwrap();
            let _ = (line.word(&key), line.text(&key, &["Reason", &key]));
        }
    }
}
