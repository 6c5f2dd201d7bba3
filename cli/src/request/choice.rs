//! What can be chosen among: the words of flags and pool files, and what they are on the wire.

use clap::ValueEnum;
use rampool_proto::v1;
use serde::Deserialize;

/// What holds a donor's piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Backend {
    /// LIO's own memory store.
    RdMcp,
    /// A preallocated file on a tmpfs mount of its own.
    Tmpfs,
    /// The kernel's brd block device; one pool a node at a time.
    Brd,
}

impl From<Backend> for v1::Backend {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::RdMcp => Self::RdMcp,
            Backend::Tmpfs => Self::Tmpfs,
            Backend::Brd => Self::Brd,
        }
    }
}

/// How the head makes one volume of many disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// md: raid0, or the level that the redundancy needs.
    Md,
    /// One striped LVM volume, without redundancy; its pieces can be moved while in use.
    Lvm,
}

impl From<Layout> for v1::VolumeLayout {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Md => Self::Md,
            Layout::Lvm => Self::Lvm,
        }
    }
}

/// Which losses the pool bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Redundancy {
    /// None: losing any one donor loses the pool.
    None,
    /// Any one donor, and more that hold no block in common: each block is on two donors.
    Mirror,
    /// One donor (of each group, in a wide pool); that much of the memory is not usable.
    Parity,
    /// Two donors (of each group, in a wide pool); that much of the memory is not usable.
    DoubleParity,
}

impl From<Redundancy> for v1::Redundancy {
    fn from(redundancy: Redundancy) -> Self {
        match redundancy {
            Redundancy::None => Self::None,
            Redundancy::Mirror => Self::Mirror,
            Redundancy::Parity => Self::Parity,
            Redundancy::DoubleParity => Self::DoubleParity,
        }
    }
}

/// What is made on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filesystem {
    /// XFS.
    Xfs,
    /// ext4.
    Ext4,
    /// Nothing: the bare block device.
    None,
}

impl From<Filesystem> for v1::FilesystemKind {
    fn from(filesystem: Filesystem) -> Self {
        match filesystem {
            Filesystem::Xfs => Self::Xfs,
            Filesystem::Ext4 => Self::Ext4,
            Filesystem::None => Self::None,
        }
    }
}

/// What happens when the lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtExpiry {
    /// The pool stays, and everybody is told so.
    Keep,
    /// It is taken down, as by `rampool down --force`: what is in it is lost.
    Release,
}

impl From<AtExpiry> for v1::AtExpiry {
    fn from(at_expiry: AtExpiry) -> Self {
        match at_expiry {
            AtExpiry::Keep => Self::Keep,
            AtExpiry::Release => Self::Release,
        }
    }
}
