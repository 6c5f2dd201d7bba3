//! The pools that are compared: the same donors, the same bytes, made in different ways.

use anyhow::{Result, bail};
use rampool_e2e::cluster::Cluster;

use crate::by_hand;

/// The mebibytes that each donor lends.
pub(crate) const MIB_PER_DONOR: u64 = 256;
/// The donors.
pub(crate) const DONORS: [&str; 4] = ["n2", "n3", "n4", "n5"];
/// The head.
pub(crate) const HEAD: &str = "n1";

/// A way to make the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// By rampool, with these flags beside the defaults.
    Rampool { name: &'static str, flags: &'static [&'static str] },
    /// By hand: targetcli, discovery, iscsiadm, mdadm, mkfs.xfs, everything else default.
    ByHand,
}

/// rampool with nothing said: what everything else is compared with.
pub(crate) const DEFAULTS: Contender = Contender::Rampool { name: "rampool", flags: &[] };

const OTHERS: [Contender; 6] = [
    Contender::ByHand,
    Contender::Rampool { name: "rd_mcp", flags: &["--backend", "rd_mcp"] },
    Contender::Rampool { name: "tmpfs", flags: &["--backend", "tmpfs"] },
    Contender::Rampool { name: "brd", flags: &["--backend", "brd"] },
    Contender::Rampool { name: "lvm", flags: &["--layout", "lvm"] },
    Contender::Rampool { name: "ext4", flags: &["--fs", "ext4"] },
];

impl Contender {
    /// The one of that name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match OTHERS.into_iter().find(|contender| contender.name() == name) {
            Some(contender) => Ok(contender),
            None => {
                let known: Vec<_> = OTHERS.iter().map(Self::name).collect();
                bail!("there is no contender {name:?}; there are {}", known.join(", "))
            }
        }
    }

    /// As printed.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Rampool { name, .. } => name,
            Self::ByHand => "by-hand",
        }
    }

    /// Makes the pool; returns where it is mounted.
    pub(crate) fn up(&self, cluster: &Cluster) -> Result<String> {
        match self {
            Self::ByHand => by_hand::up(cluster),
            Self::Rampool { flags, .. } => {
                let size = format!("{MIB_PER_DONOR}MiB");
                let wanted = ["up", "bench", "--size-per-donor", &size, "--head", HEAD];
                let donors = ["--donors", "n[2-5]"];
                cluster.rampool(&[&wanted[..], &donors, flags].concat())?.ok()?;
                Ok("/rampool/bench".into())
            }
        }
    }

    /// Takes it down.
    pub(crate) fn down(&self, cluster: &Cluster) -> Result<()> {
        match self {
            Self::ByHand => by_hand::down(cluster),
            Self::Rampool { .. } => cluster.rampool(&["down", "bench"])?.ok().map(drop),
        }
    }
}
