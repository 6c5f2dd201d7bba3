//! How much of a node's memory may be lent. Pure: the caller reads the numbers.

use std::str::FromStr;

use rampool_proto::size::{LENT_OVERHEAD_PART, Size};
use rampool_proto::v1::{Failure, FailureKind, Memory};
use serde::Deserialize;

use crate::outcome::{Outcome, failure};

/// One mebibyte: pieces are whole multiples of it.
pub const MIB: u64 = 1 << 20;

/// The smallest floor where none is configured.
const LEAST_FLOOR: u64 = 2 << 30;

/// The share of all memory kept where no floor is configured, in percent.
const FLOOR_PERCENT: u64 = 10;

/// What a donor always keeps for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Floor {
    /// The larger of 10 % and 2 GiB.
    #[default]
    Usual,
    /// So many bytes.
    Bytes(u64),
    /// So many percent of all memory.
    Percent(u8),
}

/// Why a text is no floor.
#[derive(Debug, thiserror::Error)]
#[error("memory floor {0:?}: write a size like 2GiB or a share like 10%")]
pub struct FloorError(String);

impl FromStr for Floor {
    type Err = FloorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || FloorError(text.to_owned());
        if let Some(number) = text.strip_suffix('%') {
            let percent = number.trim_end().parse::<u8>().map_err(|_| error())?;
            return if percent <= 100 { Ok(Self::Percent(percent)) } else { Err(error()) };
        }
        text.parse::<Size>().map(|size| Self::Bytes(size.0)).map_err(|_| error())
    }
}

impl TryFrom<String> for Floor {
    type Error = FloorError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl Floor {
    /// The floor of a node with `total` bytes of memory.
    #[must_use]
    pub fn bytes(self, total: u64) -> u64 {
        let share = |percent: u64| total / 100 * percent + total % 100 * percent / 100;
        match self {
            Self::Usual => share(FLOOR_PERCENT).max(LEAST_FLOOR),
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => share(u64::from(percent)),
        }
    }
}

/// The node's memory as others may count on it; `lent` is what ramdisks hold now.
#[must_use]
pub fn account(total: u64, available: u64, floor: Floor, lent: u64) -> Memory {
    let floor_bytes = floor.bytes(total);
    Memory {
        total_bytes: total,
        available_bytes: available,
        lendable_bytes: lendable(available, floor_bytes),
        floor_bytes,
        lent_bytes: lent,
    }
}

/// The largest piece that [`admit`] lets through.
fn lendable(available: u64, floor: u64) -> u64 {
    let above = available.saturating_sub(floor);
    let overhead = above.div_ceil(LENT_OVERHEAD_PART + 1);
    (above - overhead) / MIB * MIB
}

/// What `lent` bytes take of a node's memory, in whole mebibytes of which the kernel has its own.
#[must_use]
pub fn taken_by(lent: u64) -> u64 {
    lent.saturating_add(lent.div_ceil(LENT_OVERHEAD_PART).next_multiple_of(MIB))
}

/// Whether `bytes` more may be lent, where `held` of them are reserved already by an earlier
/// attempt; the refusal names all the numbers.
pub fn admit(bytes: u64, held: u64, memory: &Memory) -> Outcome<()> {
    if bytes == 0 || !bytes.is_multiple_of(MIB) {
        let said = format!("{bytes} bytes: a piece is a multiple of 1 MiB, and at least that");
        return Err(failure(FailureKind::Invalid, said).into());
    }
    let wanted = bytes.saturating_sub(held);
    if wanted <= memory.lendable_bytes {
        return Ok(());
    }
    let mib = |bytes: u64| bytes / MIB;
    let said = format!(
        "{} MiB more are wanted; the node has {} MiB, of which {} MiB are available and {} MiB \
         are its floor: {} MiB can be lent",
        mib(wanted),
        mib(memory.total_bytes),
        mib(memory.available_bytes),
        mib(memory.floor_bytes),
        mib(memory.lendable_bytes),
    );
    let advice = "ask for less, free memory on this node, or use more donors";
    Err(Failure::new(FailureKind::NotNow, "admit the ramdisk").saying(said).advising(advice).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_floor_is_a_size_a_share_or_the_usual() {
        assert_eq!("10%".parse::<Floor>().unwrap(), Floor::Percent(10));
        assert_eq!("1GiB".parse::<Floor>().unwrap(), Floor::Bytes(1 << 30));
        for bad in ["", "101%", "-1%", "%", "x"] {
            assert!(bad.parse::<Floor>().is_err(), "{bad}");
        }
        assert_eq!(Floor::Usual.bytes(8 << 30), 2 << 30);
        assert_eq!(Floor::Usual.bytes(100 << 30), 10 << 30);
        assert_eq!(Floor::Percent(50).bytes(7), 3);
    }

    #[test]
    fn a_refusal_names_all_the_numbers() {
        let memory = account(1 << 30, 600 * MIB, Floor::Bytes(200 * MIB), 0);
        let refusal = admit(512 * MIB, 0, &memory).unwrap_err();
        assert_eq!(refusal.kind(), FailureKind::NotNow);
        for number in ["512 MiB", "1024 MiB", "600 MiB", "200 MiB", "396 MiB"] {
            assert!(refusal.said.contains(number), "{number}: {}", refusal.said);
        }
    }

    proptest! {
        #[test]
        fn what_is_lendable_is_admitted_and_a_mebibyte_more_is_not(
            available in 0..=u64::MAX, floor in 0..=u64::MAX
        ) {
            let memory = account(u64::MAX, available, Floor::Bytes(floor), 0);
            let lendable = memory.lendable_bytes;
            if lendable > 0 {
                prop_assert!(admit(lendable, 0, &memory).is_ok());
                // The floor stays whole, overhead included.
                prop_assert!(lendable + lendable / LENT_OVERHEAD_PART <= available - floor);
            }
            if let Some(more) = lendable.checked_add(MIB) {
                prop_assert!(admit(more, 0, &memory).is_err());
                prop_assert!(admit(more, MIB, &memory).is_ok());
            }
        }

        #[test]
        fn no_total_overflows(total in 0..=u64::MAX, percent in 0u8..=100) {
            prop_assert!(Floor::Percent(percent).bytes(total) <= total);
            prop_assert!(Floor::Usual.bytes(total) >= LEAST_FLOOR);
        }
    }
}
