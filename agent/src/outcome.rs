//! How anything here ends: well, or in a [`Failure`] that can be shown to a person.

use std::fmt::Display;
use std::path::Path;

use rampool_proto::v1::{Failure, FailureKind};

/// The failure is boxed: it carries five texts, and most calls end well.
pub type Outcome<T> = Result<T, Box<Failure>>;

/// Whether a call had to change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was so already.
    Already,
    /// It is so now.
    Made,
}

impl Change {
    /// For the `already` field of answers.
    #[must_use]
    pub fn already(self) -> bool {
        self == Self::Already
    }
}

/// Names the step where the failing function could not know it.
pub trait During {
    /// `step` is what was being done, e.g. "mount the file system".
    #[must_use]
    fn during(self, step: impl Into<String>) -> Self;
}

impl During for Failure {
    fn during(mut self, step: impl Into<String>) -> Self {
        if self.step.is_empty() {
            self.step = step.into();
        }
        self
    }
}

impl<T> During for Outcome<T> {
    fn during(self, step: impl Into<String>) -> Self {
        self.map_err(|failure| Box::new(failure.during(step)))
    }
}

/// The kernel refused `action` on `path`.
pub(crate) fn refused(path: &Path, action: &str, error: impl Display) -> Box<Failure> {
    let said = format!("cannot {action}: {error}");
    Box::new(Failure::new(FailureKind::Failed, "").by(path.display().to_string()).saying(said))
}

/// A failure of the given kind with nothing but words.
pub(crate) fn failure(kind: FailureKind, said: impl Display) -> Failure {
    Failure::new(kind, "").saying(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_step_is_kept() {
        let inner: Outcome<()> = Err(refused(Path::new("/x"), "write 1", "no"));
        let told = inner.during("enable the target").during("create the export").unwrap_err();
        assert_eq!(told.step, "enable the target");
        assert_eq!(told.to_string(), "enable the target: /x said: cannot write 1: no");
    }
}
