//! Named sets of defaults for pools: an admin defines them, a user picks a name.

use std::time::Duration;

use rampool_proto::hostlist::HostList;
use rampool_proto::size::Size;
use rampool_proto::v1::{AtExpiry, Backend, FilesystemKind, Redundancy, VolumeLayout};
use rampool_slurm::facts::Lend;
use serde::{Deserialize, Deserializer};

use crate::spec::check_chunk;

/// What a pool is like where its spec does not say. A field that a profile leaves out has the
/// built-in value.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Whose memory a job's pool is made of. Built in: jobs may not name the profile.
    pub lend: Option<Lend>,
    /// What holds the donors' memory. Built in: `rd_mcp`.
    pub backend: Option<BackendName>,
    /// How the head makes one volume of many disks. Built in: `md`.
    pub layout: Option<LayoutName>,
    /// The file system. Built in: `xfs`.
    #[serde(rename = "fs")]
    pub filesystem: Option<FilesystemName>,
    /// The stripe's chunk. Built in: 64 KiB.
    #[serde(default, deserialize_with = "size")]
    pub chunk: Option<u64>,
    /// What the pool bears the loss of. Built in: `none`.
    pub redundancy: Option<RedundancyName>,
    /// Pieces reserved beyond those in use; only with redundancy. Built in: 0.
    pub spares: Option<u32>,
    /// Whether any eligible node may take a lost donor's place. Built in: yes where there is
    /// redundancy.
    pub auto_replace: Option<bool>,
    /// How long I/O to a silent donor is held before it fails. Built in: 60 s, with redundancy
    /// 7 s.
    #[serde(default, deserialize_with = "duration")]
    pub patience: Option<Duration>,
    /// How long a pool may live. Built in: until `down`.
    #[serde(default, deserialize_with = "duration")]
    pub lease: Option<Duration>,
    /// What happens when a lease ends. Built in: `keep`.
    pub at_expiry: Option<AtExpiryName>,
    /// Whether a donor whose available memory falls under its floor is evacuated by itself,
    /// where the pool can be. Built in: no.
    #[serde(default)]
    pub evacuate_under_pressure: bool,
    /// The head, where the spec names none.
    pub head: Option<String>,
    /// Whether the head may lend a piece of its own memory.
    pub head_may_lend: Option<bool>,
    /// The donors, where the spec names none.
    pub donors: Option<HostList>,
    /// How many donors to pick, where neither spec nor profile names them.
    pub donor_count: Option<u32>,
    /// The usable size, where the spec names none.
    #[serde(default, deserialize_with = "size")]
    pub size: Option<u64>,
    /// The size of each donor's piece, where the spec names none.
    #[serde(default, deserialize_with = "size")]
    pub size_per_donor: Option<u64>,
}

/// A backend as profiles write it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum BackendName {
    RdMcp,
    Tmpfs,
    Brd,
}

/// A layout as profiles write it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum LayoutName {
    Md,
    Lvm,
}

/// A redundancy as profiles write it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum RedundancyName {
    None,
    Mirror,
    Parity,
    DoubleParity,
}

/// What happens at a lease's end, as profiles write it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum AtExpiryName {
    Keep,
    Release,
}

/// A file system as profiles write it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum FilesystemName {
    Xfs,
    Ext4,
    None,
}

impl From<BackendName> for Backend {
    fn from(name: BackendName) -> Self {
        match name {
            BackendName::RdMcp => Self::RdMcp,
            BackendName::Tmpfs => Self::Tmpfs,
            BackendName::Brd => Self::Brd,
        }
    }
}

impl From<LayoutName> for VolumeLayout {
    fn from(name: LayoutName) -> Self {
        match name {
            LayoutName::Md => Self::Md,
            LayoutName::Lvm => Self::Lvm,
        }
    }
}

impl From<RedundancyName> for Redundancy {
    fn from(name: RedundancyName) -> Self {
        match name {
            RedundancyName::None => Self::None,
            RedundancyName::Mirror => Self::Mirror,
            RedundancyName::Parity => Self::Parity,
            RedundancyName::DoubleParity => Self::DoubleParity,
        }
    }
}

impl From<AtExpiryName> for AtExpiry {
    fn from(name: AtExpiryName) -> Self {
        match name {
            AtExpiryName::Keep => Self::Keep,
            AtExpiryName::Release => Self::Release,
        }
    }
}

impl From<FilesystemName> for FilesystemKind {
    fn from(name: FilesystemName) -> Self {
        match name {
            FilesystemName::Xfs => Self::Xfs,
            FilesystemName::Ext4 => Self::Ext4,
            FilesystemName::None => Self::None,
        }
    }
}

impl Profile {
    /// Says what in it cannot be meant.
    pub(crate) fn check(&self, nodes: &HostList) -> Result<(), String> {
        if let Some(bytes) = self.chunk {
            check_chunk(bytes)?;
        }
        if self.size.is_some() && self.size_per_donor.is_some() {
            return Err("size and size_per_donor exclude each other".into());
        }
        if self.lend == Some(Lend::Pool) {
            self.check_pool()?;
        }
        let named = self.head.iter().map(String::as_str);
        let donors = self.donors.iter().flat_map(HostList::iter);
        match named.chain(donors).find(|name| !nodes.contains(name)) {
            Some(stranger) => Err(format!("{stranger} is not in nodes")),
            None => Ok(()),
        }
    }

    /// What jobs of donors outside take must be known before they start: they wait for it.
    fn check_pool(&self) -> Result<(), String> {
        if self.donors.is_none() {
            return Err("lend: pool needs `donors`: the nodes that lend to jobs".into());
        }
        if self.size.is_none() {
            return Err("lend: pool needs `size`: what a job gets that gives none".into());
        }
        if self.spares.is_some_and(|spares| spares > 0) {
            return Err(
                "lend: pool has no spares: any of the donors takes a lost one's place".into()
            );
        }
        Ok(())
    }
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse::<Size>().map(|size| Some(size.0)).map_err(serde::de::Error::custom)
}

pub(crate) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text)
        .map(Some)
        .map_err(|error| serde::de::Error::custom(format!("{text:?} is no duration: {error}")))
}
