//! When a lease ends, and how to say so. Arithmetic only: the end of a lease deletes nothing.

use std::time::Duration;

/// When a pool that became ready at `ready_ms` expires, in milliseconds since the Unix epoch;
/// 0: not before `down`, or not known before it is ready.
#[must_use]
pub fn expires_ms(ready_ms: u64, lease_seconds: u64) -> u64 {
    if ready_ms == 0 || lease_seconds == 0 {
        return 0;
    }
    ready_ms.saturating_add(lease_seconds.saturating_mul(1000))
}

/// A sentence about the lease, once it is worth one: within its last tenth, or after its end.
#[must_use]
pub fn remark(ready_ms: u64, lease_seconds: u64, now_ms: u64) -> Option<String> {
    let end = expires_ms(ready_ms, lease_seconds);
    if end == 0 {
        return None;
    }
    if now_ms >= end {
        return Some(format!("the lease ended {} ago; the pool is kept", spoken(now_ms - end)));
    }
    let left = end - now_ms;
    (left / 100 < lease_seconds).then(|| format!("the lease ends in {}", spoken(left)))
}

fn spoken(ms: u64) -> String {
    humantime::format_duration(Duration::from_secs(ms / 1000)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lease_begins_when_the_pool_is_ready() {
        assert_eq!(expires_ms(0, 60), 0);
        assert_eq!(expires_ms(5000, 0), 0);
        assert_eq!(expires_ms(5000, 60), 65_000);
    }

    #[test]
    fn the_last_tenth_and_the_end_are_worth_a_word() {
        assert_eq!(remark(1000, 100, 80_000), None);
        assert_eq!(remark(1000, 100, 96_000).unwrap(), "the lease ends in 5s");
        assert_eq!(
            remark(1000, 100, 131_000).unwrap(),
            "the lease ended 30s ago; the pool is kept"
        );
    }

    proptest! {
        #[test]
        fn no_time_overflows(ready in any::<u64>(), lease in any::<u64>(), now in any::<u64>()) {
            let end = expires_ms(ready, lease);
            prop_assert!(end == 0 || end >= ready);
            let said = remark(ready, lease, now);
            prop_assert!(end == 0 || now < end || said.is_some());
        }
    }
}
