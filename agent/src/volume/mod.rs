//! One block device of many disks, by md or LVM, striped, and with md redundant too.
//!
//! Of each member the first mebibyte is the volume's own (md's superblock, LVM's label and
//! metadata): usable is what is left, in whole chunks.

pub(crate) mod array;
mod freeze;
pub(crate) mod group;
mod groups;
mod health;
mod leave;
mod lvm;
pub(crate) mod mapped;
mod md;
mod mdadm;
pub(crate) mod members;
mod plan;
mod pvmove;
mod readd;
mod rebuild;
mod replace;
mod shape;
mod undo;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind, Redundancy, VolumeHealth, VolumeLayout};

use crate::attach::disks::{self, OurDisk};
use crate::configfs;
use crate::mount::table::DeviceNumber;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure};
pub use leave::give_up;
pub use readd::{Readded, readd};
pub use replace::{Progress, Replacement, run as replace};
pub(crate) use shape::refuse_pair;

/// Device nodes and sysfs entries follow the kernel's work within moments.
const GRACE: Duration = Duration::from_secs(5);

/// What a head is asked to assemble.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// For which assembly.
    pub assembly: Assembly,
    /// How.
    pub layout: VolumeLayout,
    /// What it shall bear.
    pub redundancy: Redundancy,
    /// Of the stripe: a power of two.
    pub chunk_kib: u32,
    /// In the order of the stripe.
    pub serials: Vec<String>,
    /// Of the hot spares.
    pub spares: Vec<String>,
    /// The assembly for which it was made, where it is only to be put together again.
    pub formed: Option<Assembly>,
    /// Members of one parity group; 0 for one group of all.
    pub group_width: u32,
    /// What was under way when it was last in use.
    pub replacing: Option<Replacement>,
}

/// A volume that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Whose.
    pub assembly: Assembly,
    /// How it was made.
    pub layout: VolumeLayout,
    /// The kernel's name, e.g. "md_rp.demo.3" or "dm-0".
    pub name: String,
    /// The device node.
    pub device: PathBuf,
    /// Its number.
    pub number: DeviceNumber,
    /// Its size; 0 while it is half made.
    pub bytes: u64,
    /// For people: e.g. "md raid0 of 4".
    pub detail: String,
}

/// Writes the configuration under which md's tool is used, and ends what one that was killed with
/// an earlier agent left.
pub fn prepare(node: &Node) -> Outcome<()> {
    freeze::thaw_all(node);
    mdadm::write_configuration(node)
}

/// Every volume of every pool.
#[must_use]
pub fn list(node: &Node) -> Vec<Volume> {
    let roots = &node.roots;
    let mut found = Vec::new();
    for name in configfs::names(&roots.blocks()) {
        found.extend(md::describe(roots, &name).or_else(|| lvm::describe(roots, &name)));
    }
    found
}

/// The volume of `assembly`.
#[must_use]
pub fn find(node: &Node, assembly: &Assembly) -> Option<Volume> {
    list(node).into_iter().find(|volume| volume.assembly == *assembly)
}

/// The volume of `assembly`, or the advice to assemble it.
pub(crate) fn require(node: &Node, assembly: &Assembly) -> Outcome<Volume> {
    find(node, assembly).filter(|volume| volume.bytes > 0).ok_or_else(|| {
        let said = format!("{assembly} has no volume on this node");
        failure(FailureKind::NotFound, said).advising("assemble it first").into()
    })
}

/// How a volume is.
#[must_use]
pub fn health(node: &Node, volume: &Volume) -> VolumeHealth {
    health::of(node, volume)
}

/// Assembles the volume: a new one of fresh disks, or the old one again where every disk says
/// that it belongs to it (the head was restarted, the donors were not).
pub fn assemble(node: &Node, wanted: &Wanted) -> Outcome<(Change, Volume)> {
    shape::check(wanted)?;
    if let Some(present) = find(node, &wanted.assembly) {
        if present.layout != wanted.layout {
            let said = format!("is assembled as {}", present.detail);
            return Err(failure(FailureKind::Conflict, said)
                .by(present.device.display().to_string())
                .into());
        }
        if present.bytes > 0 {
            compare(node, &present, wanted)?;
            return Ok((Change::Already, present));
        }
    }
    stop(node, &wanted.assembly).during("stop a half-made volume")?;
    let disks = disks_of(node, &wanted.serials)?;
    let made = match wanted.layout {
        VolumeLayout::Lvm => lvm::assemble(node, wanted, &disks),
        _ => md::assemble(node, wanted, &disks, &disks_of(node, &wanted.spares)?),
    };
    if let Err(failure) = made {
        stop_half_made(node, &wanted.assembly);
        return Err(failure);
    }
    let made = appear(node, &wanted.assembly)?;
    compare(node, &made, wanted)?;
    if wanted.redundancy != Redundancy::None {
        md::tune(node, &made);
    }
    Ok((Change::Made, made))
}

/// What did not come to be must not stay as an array without size, or as groups without their
/// stripe.
fn stop_half_made(node: &Node, assembly: &Assembly) {
    let whole = find(node, assembly).is_some_and(|volume| volume.bytes > 0);
    if !whole && let Err(failure) = stop(node, assembly) {
        tracing::warn!(%failure, "a half-made volume stays");
    }
}

/// Refuses if the volume that is there is another one than `wanted`.
fn compare(node: &Node, volume: &Volume, wanted: &Wanted) -> Outcome<()> {
    if wanted.redundancy != Redundancy::None {
        // Whose session is gone is missing, which a redundant volume may.
        let coming = wanted.replacing.as_ref().map(|replacing| &replacing.new);
        let named: Vec<_> = wanted.serials.iter().chain(&wanted.spares).chain(coming).collect();
        let mut disks = disks::all(&node.roots);
        disks.retain(|disk| named.contains(&&disk.serial));
        return md::compare(node, volume, wanted, &disks);
    }
    let disks = disks_of(node, &wanted.serials)?;
    match wanted.layout {
        VolumeLayout::Lvm => lvm::compare(node, volume, wanted, &disks),
        _ => md::compare(node, volume, wanted, &disks),
    }
}

/// The disks with these serials, in their order.
fn disks_of(node: &Node, serials: &[String]) -> Outcome<Vec<OurDisk>> {
    let all = disks::all(&node.roots);
    let find = |serial: &String| {
        all.iter().find(|disk| disk.serial == *serial).cloned().ok_or_else(|| {
            let said = format!("no disk of rampool here has the serial {serial}");
            failure(FailureKind::NotFound, said).advising("attach the pool's exports first").into()
        })
    };
    serials.iter().map(find).collect()
}

fn appear(node: &Node, assembly: &Assembly) -> Outcome<Volume> {
    let patience = Instant::now() + GRACE;
    loop {
        if let Some(volume) = find(node, assembly)
            && volume.bytes > 0
            && volume.device.exists()
        {
            return Ok(volume);
        }
        if Instant::now() > patience {
            let said = "it was made without an error, and does not appear";
            return Err(Failure::new(FailureKind::Failed, "find the volume").saying(said).into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Stops the volume; what is in use stays. Its disks may be dead.
pub fn stop(node: &Node, assembly: &Assembly) -> Outcome<Change> {
    let stopped = match find(node, assembly) {
        Some(volume) => stop_found(node, &volume)?,
        None => Change::Already,
    };
    let below = [lvm::stop_moving(node, assembly)?, md::stop_groups(node, assembly)?];
    let change = if below.contains(&Change::Made) { Change::Made } else { stopped };
    md::forget(&node.roots, assembly);
    lvm::forget(&node.roots, assembly);
    Ok(change)
}

fn stop_found(node: &Node, volume: &Volume) -> Outcome<Change> {
    disks::refuse_device_in_use(&node.roots, &volume.name)?;
    match volume.layout {
        VolumeLayout::Lvm => lvm::stop(node, volume)?,
        _ => md::stop(node, volume)?,
    }
    let patience = Instant::now() + GRACE;
    while find(node, &volume.assembly).is_some() {
        if Instant::now() > patience {
            let said = "it was stopped without an error, and is still there";
            return Err(failure(FailureKind::Failed, said)
                .by(volume.device.display().to_string())
                .into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Change::Made)
}
