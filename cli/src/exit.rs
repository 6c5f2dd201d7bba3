//! Exit codes: part of the documented contract (cli/README.md).

use rampool_proto::v1::{Failure, FailureKind};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Done,
    /// It was tried and did not work; also: a time-out, a mount in use, a controller that does
    /// not answer, an ERROR found by `doctor`.
    Failed,
    /// The request makes no sense.
    Usage,
    /// No such pool or node.
    NotFound,
    /// Right, but not possible now: capacity, a name in use, a node away, a program missing.
    NotNow,
    /// It is not the caller's to ask.
    Denied,
    /// Left by Ctrl-C; the operation goes on in the controller.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::NotNow => 4,
            Self::Denied => 5,
            // As shells report a process that SIGINT ended: 128 + 2.
            Self::Interrupted => 130,
        }
    }
}

impl From<&Failure> for Exit {
    /// BUSY is a failure: what was asked is possible and was tried. CONFLICT is a name in use
    /// by something else: right, but not now.
    fn from(failure: &Failure) -> Self {
        match failure.kind() {
            FailureKind::Invalid => Self::Usage,
            FailureKind::NotFound => Self::NotFound,
            FailureKind::NotNow | FailureKind::Conflict => Self::NotNow,
            FailureKind::Denied => Self::Denied,
            FailureKind::Failed
            | FailureKind::Busy
            | FailureKind::TimedOut
            | FailureKind::Unspecified => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_documented_exit_code() {
        for (kind, code) in [
            (FailureKind::Failed, 1),
            (FailureKind::Invalid, 2),
            (FailureKind::NotFound, 3),
            (FailureKind::NotNow, 4),
            (FailureKind::Busy, 1),
            (FailureKind::Conflict, 4),
            (FailureKind::TimedOut, 1),
            (FailureKind::Denied, 5),
            (FailureKind::Unspecified, 1),
        ] {
            assert_eq!(Exit::from(&Failure::new(kind, "")).code(), code, "{kind:?}");
        }
        assert_eq!((Exit::Done.code(), Exit::Interrupted.code()), (0, 130));
    }
}
