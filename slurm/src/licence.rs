//! The licence by which jobs wait for the memory of donors outside: whether Slurm has as many as
//! there is memory. Pure.

use rampool_proto::size::{GIB, Size};
use rampool_proto::v1::{Finding, Severity};

use crate::wish::LICENCE;

/// What donors of jobs have, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// What they can lend, with what they lend now.
    pub all: u64,
    /// What of it pools have that are no jobs'.
    pub of_admins: u64,
}

impl Capacity {
    /// For how many licences there is memory, at a GiB each.
    #[must_use]
    pub fn licences(self) -> u64 {
        self.all.saturating_sub(self.of_admins) / GIB
    }
}

/// What is wrong with the number of licences in slurm.conf, if anything is: fewer than there is
/// memory are a reserve.
#[must_use]
pub fn examine(configured: Option<u64>, capacity: Capacity) -> Option<Finding> {
    let fits = capacity.licences();
    let fix = format!("slurm.conf: Licenses={LICENCE}:{fits}; scontrol reconfigure");
    let (severity, text) = match configured {
        None => (
            Severity::Error,
            format!(
                "Slurm: there is no licence {LICENCE}: jobs do not wait for the donors' memory, \
                 but are queued again every two minutes"
            ),
        ),
        Some(licences) if licences > fits => (
            Severity::Warning,
            format!(
                "Slurm: {licences} licences {LICENCE}, but of the {} that the donors of jobs can \
                 lend pools of admins have {}: jobs beyond {fits} GiB are queued again every two \
                 minutes",
                Size(capacity.all),
                Size(capacity.of_admins),
            ),
        ),
        Some(_) => return None,
    };
    Some(Finding { severity: severity.into(), text, fix, ..Finding::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(configured: Option<u64>, all: u64, of_admins: u64) -> Option<Finding> {
        examine(configured, Capacity { all: all * GIB, of_admins: of_admins * GIB })
    }

    #[test]
    fn licences_are_no_more_than_the_memory_that_jobs_can_have() {
        assert_eq!(found(Some(300), 300, 0), None);
        assert_eq!(found(Some(200), 300, 100), None);
        let many = found(Some(300), 300, 100).unwrap();
        assert_eq!(many.severity(), Severity::Warning);
        assert!(many.text.contains("jobs beyond 200 GiB"), "{many:?}");
        assert!(many.fix.contains("Licenses=rampool:200;"), "{many:?}");
        assert!(found(Some(1), 100, 200).unwrap().fix.contains("rampool:0;"));
    }

    #[test]
    fn without_the_licence_nobody_waits() {
        let none = found(None, 300, 0).unwrap();
        assert_eq!(none.severity(), Severity::Error);
        assert!(none.fix.contains("Licenses=rampool:300;"), "{none:?}");
    }
}
