//! What a pool's volume is made as, and which losses it bears.

use rampool_proto::size::Size;

use crate::output::{PlanReport, PoolReport};

/// What of a pool or a plan says how its volume is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Volume<'a> {
    layout: &'a str,
    redundancy: &'a str,
    width: usize,
    group_width: Option<u32>,
    chunk_bytes: u64,
}

impl<'a> From<&'a PoolReport> for Volume<'a> {
    fn from(pool: &'a PoolReport) -> Self {
        Self {
            layout: &pool.layout,
            redundancy: &pool.redundancy,
            width: pool.width,
            group_width: pool.group_width,
            chunk_bytes: pool.chunk_bytes,
        }
    }
}

impl<'a> From<&'a PlanReport> for Volume<'a> {
    fn from(plan: &'a PlanReport) -> Self {
        Self {
            layout: &plan.layout,
            redundancy: &plan.redundancy,
            width: plan.width,
            group_width: plan.group_width,
            chunk_bytes: plan.chunk_bytes,
        }
    }
}

impl Volume<'_> {
    /// `md raid0, 4 wide, chunk 64 KiB`.
    pub(super) fn words(self) -> String {
        let kind = match (self.layout, self.redundancy) {
            ("md", "none") => "md raid0",
            ("md", "mirror") => "md raid10",
            ("md", "parity") => "md raid5",
            ("md", "double-parity") => "md raid6",
            ("lvm", _) => "striped LVM volume",
            (other, _) => other,
        };
        let groups = self.groups().map(|width| format!(" in groups of {width}"));
        let (width, chunk) = (self.width, Size(self.chunk_bytes));
        format!("{kind}{}, {width} wide, chunk {chunk}", groups.unwrap_or_default())
    }

    /// Which losses it bears, as the rest of a sentence.
    pub(super) fn bears(self) -> String {
        let group = if self.groups().is_some() { " of each group" } else { "" };
        match self.redundancy {
            "none" => "losing any one donor loses all of it".into(),
            "mirror" => {
                "it bears the loss of any one donor, and of more that hold no block in common"
                    .into()
            }
            "parity" => format!("it bears the loss of one donor{group}"),
            "double-parity" => format!("it bears the loss of two donors{group}"),
            other => format!("which losses its redundancy {other:?} bears is not known here"),
        }
    }

    /// What stands behind VOLATILE.
    pub(super) fn volatile(self) -> String {
        format!("it lives in memory: {}", self.bears())
    }

    /// The width of a group, where there are several.
    fn groups(self) -> Option<u32> {
        self.group_width.filter(|width| usize::try_from(*width).is_ok_and(|w| w < self.width))
    }
}

/// `511 MiB (40 % of what is lent)`.
pub(super) fn usable(bytes: u64, share: Option<f64>) -> String {
    let size = Size(bytes);
    match share {
        None => size.to_string(),
        Some(share) => format!("{size} ({:.0} % of what is lent)", share * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(redundancy: &'static str, group_width: Option<u32>) -> Volume<'static> {
        Volume { layout: "md", redundancy, width: 20, group_width, chunk_bytes: 65_536 }
    }

    #[test]
    fn each_redundancy_says_what_it_is_and_bears() {
        for (redundancy, group_width, words, bears) in [
            ("none", None, "md raid0, 20 wide, chunk 64 KiB", "any one donor loses all"),
            (
                "mirror",
                None,
                "md raid10, 20 wide, chunk 64 KiB",
                "more that hold no block in common",
            ),
            ("parity", Some(20), "md raid5, 20 wide, chunk 64 KiB", "one donor"),
            ("parity", Some(10), "md raid5 in groups of 10, 20 wide, chunk 64 KiB", "each group"),
            ("double-parity", None, "md raid6, 20 wide, chunk 64 KiB", "two donors"),
            ("unknown", None, "md, 20 wide, chunk 64 KiB", "not known here"),
        ] {
            let volume = volume(redundancy, group_width);
            assert_eq!(volume.words(), words);
            assert!(volume.bears().contains(bears), "{}", volume.bears());
        }
    }
}
