//! What can be wished of a pool. One definition serves the flags of `up` and `plan` and the
//! keys of a pool file, so that `--mount-point` and `mount_point:` cannot drift apart.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use rampool_proto::by_text::ByText;
use rampool_proto::hostlist::{HostList, check_name};
use rampool_proto::pool_name::PoolName;
use rampool_proto::size::Size;
use serde::{Deserialize, Deserializer};

use super::choice::{AtExpiry, Backend, Filesystem, Layout, Redundancy};

/// What is wished of a pool. What is left out takes the profile's value, then the built-in one.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wish {
    /// The pool's name: lower-case letters, digits and hyphens, at most 16
    #[serde(deserialize_with = "by_text")]
    #[arg(required_unless_present = "file")]
    pub name: Option<PoolName>,
    /// The usable size, spread evenly over the donors, e.g. 3T
    #[arg(long, conflicts_with = "size_per_donor")]
    pub size: Option<Size>,
    /// What each donor lends, e.g. 64G
    #[arg(long, value_name = "SIZE")]
    pub size_per_donor: Option<Size>,
    /// The node that assembles and mounts the pool
    #[serde(deserialize_with = "by_text")]
    #[arg(long, value_name = "NODE")]
    pub head: Option<NodeName>,
    /// The nodes that lend, e.g. n[001-040]; left out, the controller picks
    #[arg(long, value_name = "NODES", conflicts_with = "donor_count")]
    pub donors: Option<HostList>,
    /// How many donors the controller shall pick
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub donor_count: Option<u32>,
    /// Nodes that mount the head's file system too, by NFS
    #[arg(long, value_name = "NODES")]
    pub clients: Option<HostList>,
    /// What holds a donor's piece of memory
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// How the head makes one volume of many disks
    #[arg(long, value_enum)]
    pub layout: Option<Layout>,
    /// Which losses of donors the pool bears
    #[arg(long, value_enum)]
    pub redundancy: Option<Redundancy>,
    /// How many spare donors to reserve now, that take the place of lost ones: the last of
    /// --donors, or more than --donor-count; needs redundancy
    #[arg(long, value_name = "COUNT")]
    pub spares: Option<u32>,
    /// Whether any eligible node may take a lost donor's place where no spare is left
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub auto_replace: Option<bool>,
    /// The file system; none: the bare block device
    #[arg(long, value_enum)]
    pub fs: Option<Filesystem>,
    /// How much goes to one donor before the next one's turn, e.g. 64K
    #[arg(long, value_name = "SIZE")]
    pub chunk: Option<Size>,
    /// Where the head mounts it: an absolute path
    #[arg(long, value_name = "PATH")]
    pub mount_point: Option<String>,
    /// How long it may live, e.g. 12h; left out, until `rampool down`
    #[serde(deserialize_with = "by_text")]
    #[arg(long, value_name = "DURATION")]
    pub lease: Option<Seconds>,
    /// What happens when the lease ends
    #[arg(long, value_enum)]
    pub at_expiry: Option<AtExpiry>,
    /// How long I/O to a silent donor is held before it fails, e.g. 30s
    #[serde(deserialize_with = "by_text")]
    #[arg(long, value_name = "DURATION")]
    pub patience: Option<Seconds>,
    /// The account that a user's pool counts for, where there is more than one to choose from
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// A named set of defaults from the controller's configuration
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Whether the head may lend memory too (reached without the network); false takes back
    /// the file's true, not a profile's
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub head_may_lend: Option<bool>,
}

/// Reads a value that has no `Deserialize` of its own.
fn by_text<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let read = Option::<ByText<T>>::deserialize(from)?;
    Ok(read.map(|read| read.0))
}

/// One node's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName(pub String);

impl FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_name(text).map(|()| Self(text.to_owned()))
    }
}

/// A duration in whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub u64);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let duration: Duration = humantime::parse_duration(text)
            .map_err(|error| format!("{text:?} is no duration such as 90m, 12h or 7d: {error}"))?;
        if duration.subsec_nanos() != 0 {
            return Err(format!("{text:?} is no whole number of seconds"));
        }
        if duration.is_zero() {
            return Err(format!("{text:?} is no time at all; leave it out for the default"));
        }
        Ok(Self(duration.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_seconds_and_not_nothing() {
        for (text, seconds) in
            [("12h", 43_200), ("90m", 5_400), ("7d", 604_800), ("1h 30m", 5_400), ("1.5h", 5_400)]
        {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
        for bad in ["", "12", "0s", "500ms", "-1h", "soon", "1.5s"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad}");
        }
    }

    fn refusal(yaml: &str) -> String {
        serde_yaml::from_str::<Wish>(yaml).unwrap_err().to_string()
    }

    #[test]
    fn a_pool_files_errors_name_line_and_column() {
        for (yaml, words, place) in [
            ("name: demo\nsise: 3T\n", "unknown field `sise`", "line 2 column 1"),
            ("name: demo\nsize: 3t\n", "write 3T", "line 2 column 7"),
            ("size: 1024\n", "of what?", "line 1 column 7"),
            ("name: Demo\n", "'D' is not allowed", "line 1"),
            ("donors: n[1-\n", "column 5: expected a number", "line 1 column 9"),
            ("lease: soon\n", "no duration", "line 1"),
            ("fs: zfs\n", "unknown variant `zfs`", "line 1 column 5"),
            ("redundancy: double_parity\n", "`double-parity`", "line 1 column 13"),
            ("spares: -1\n", "expected u32", "line 1 column 9"),
            ("name: a\nname: b\n", "duplicate field `name`", ""),
            ("name: [\n", "", "line"),
        ] {
            let said = refusal(yaml);
            assert!(said.contains(words) && said.contains(place), "{yaml}: {said}");
        }
    }
}
