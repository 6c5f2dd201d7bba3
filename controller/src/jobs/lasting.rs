//! What has been so for a while: what is so for a moment may be on its way to something else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Since when something has been so, of each.
#[derive(Default)]
pub(super) struct Lasting<K>(BTreeMap<K, Instant>);

impl<K: Ord + Clone> Lasting<K> {
    /// Of those of which it is so now, the ones of which it has been so for as long as `grace`.
    pub(super) fn for_long(
        &mut self,
        now_so: BTreeSet<K>,
        grace: Duration,
        now: Instant,
    ) -> BTreeSet<K> {
        self.0.retain(|one, _| now_so.contains(one));
        let long = |one: &K| now.duration_since(*self.0.entry(one.clone()).or_insert(now)) >= grace;
        now_so.into_iter().filter(long).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_so_for_a_moment_does_not_count() {
        let (mut since, begin) = (Lasting::default(), Instant::now());
        let mut lasts = |so: &[u32], seconds| {
            let at = begin + Duration::from_secs(seconds);
            since.for_long(so.iter().copied().collect(), Duration::from_secs(60), at).len()
        };
        assert_eq!(lasts(&[7], 0), 0);
        assert_eq!(lasts(&[], 50), 0);
        assert_eq!(lasts(&[7], 61), 0);
        assert_eq!(lasts(&[7], 121), 1);
    }
}
