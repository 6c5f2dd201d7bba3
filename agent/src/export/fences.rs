//! Heads that must not get at this node's memory any more, whatever is still on its way for them.
//!
//! A node that stood still may find, when it goes on, a request from before the change of heads
//! beside the fence that ended it. Such a request lives in a connection to this process, so that
//! this process's memory is enough to know it by.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::FailureKind;

use crate::outcome::{Outcome, failure};

/// The generations that were fenced, of pools whose memory is still here.
#[derive(Default)]
pub(crate) struct Fences(Mutex<BTreeSet<Assembly>>);

impl Fences {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Assembly>> {
        // Each change is one insertion or removal: a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing is exported to this head.
    pub(super) fn put_up(&self, assembly: &Assembly) {
        self.lock().insert(assembly.clone());
    }

    /// All memory of the pool is freed: nothing is left to keep the head of this generation, or
    /// that of an earlier one, away from.
    pub(super) fn forget(&self, assembly: &Assembly) {
        self.lock().retain(|fenced| {
            fenced.name != assembly.name || fenced.generation > assembly.generation
        });
    }

    /// Refuses an export to a head that was fenced.
    pub(super) fn refuse(&self, assembly: &Assembly) -> Outcome<()> {
        if !self.lock().contains(assembly) {
            return Ok(());
        }
        Err(failure(FailureKind::Conflict, format!("the head of {assembly} was fenced"))
            .advising("nothing: this request was overtaken by a change of heads")
            .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembly(shown: &str) -> Assembly {
        shown.parse().unwrap()
    }

    #[test]
    fn a_fenced_head_is_kept_away_until_the_memory_is_freed() {
        let fences = Fences::default();
        fences.put_up(&assembly("demo.1"));
        fences.put_up(&assembly("demo.2"));
        fences.put_up(&assembly("other.1"));
        assert!(fences.refuse(&assembly("demo.1")).is_err());
        assert!(fences.refuse(&assembly("demo.3")).is_ok(), "the new head");
        fences.forget(&assembly("demo.1"));
        assert!(fences.refuse(&assembly("demo.1")).is_ok());
        assert!(fences.refuse(&assembly("demo.2")).is_err(), "a later one stays");
        fences.forget(&assembly("demo.3"));
        assert!(fences.refuse(&assembly("demo.2")).is_ok());
        assert!(fences.refuse(&assembly("other.1")).is_err(), "another pool's stays");
    }
}
