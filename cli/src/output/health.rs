//! How a pool's volume is.

use rampool_proto::v1::{Member, MemberState, VolumeHealth};
use serde::Serialize;

use super::pool::known;
use super::words::word;

/// The volume as its head sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct HealthReport {
    pub members: Vec<MemberReport>,
    pub lacking: u32,
    pub action: Option<String>,
    pub done_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    pub bytes_per_second: Option<u64>,
    pub left_ms: Option<u64>,
}

/// One disk of the volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct MemberReport {
    pub donor: Option<String>,
    pub serial: Option<String>,
    pub state: String,
}

impl HealthReport {
    /// How many members are in this state.
    #[must_use]
    pub fn count(&self, state: &str) -> usize {
        self.members.iter().filter(|member| member.state == state).count()
    }
}

impl From<VolumeHealth> for HealthReport {
    fn from(health: VolumeHealth) -> Self {
        let copying = !health.action.is_empty() && health.total_bytes > 0;
        let rate = health.bytes_per_second;
        let left = health.total_bytes.saturating_sub(health.done_bytes);
        Self {
            members: health.members.into_iter().map(Into::into).collect(),
            lacking: health.lacking,
            done_bytes: copying.then_some(health.done_bytes),
            total_bytes: copying.then_some(health.total_bytes),
            bytes_per_second: (copying && rate > 0).then_some(rate),
            left_ms: left.saturating_mul(1000).checked_div(rate).filter(|_| copying),
            action: known(health.action),
        }
    }
}

impl From<Member> for MemberReport {
    fn from(member: Member) -> Self {
        Self {
            donor: known(member.donor),
            serial: known(member.serial),
            state: word::<MemberState>(member.state),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_estimate_needs_something_to_be_copied_and_its_speed() {
        let health = |action: &str, done_bytes, bytes_per_second| {
            HealthReport::from(VolumeHealth {
                action: action.into(),
                done_bytes,
                total_bytes: 100,
                bytes_per_second,
                ..VolumeHealth::default()
            })
        };
        assert_eq!(health("recover", 40, 30).left_ms, Some(2_000));
        assert_eq!((health("recover", 40, 0).left_ms, health("", 40, 30).left_ms), (None, None));
        assert_eq!(health("", 40, 30).done_bytes, None);
    }

    proptest! {
        #[test]
        fn no_numbers_make_it_panic(
            done in any::<u64>(),
            total in any::<u64>(),
            rate in any::<u64>(),
        ) {
            let report = HealthReport::from(VolumeHealth {
                action: "recover".into(),
                done_bytes: done,
                total_bytes: total,
                bytes_per_second: rate,
                ..VolumeHealth::default()
            });
            prop_assert_eq!(report.left_ms.is_some(), total > 0 && rate > 0);
        }
    }
}
