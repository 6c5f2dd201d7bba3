//! One block device of many disks, by md or LVM.
//!
//! Of each member the first mebibyte is the volume's own (md's superblock, LVM's label and
//! metadata): usable is what is left, in whole chunks.

mod lvm;
mod md;
mod members;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind, VolumeLayout};

use crate::attach::disks::{self, OurDisk};
use crate::configfs;
use crate::mount::table::DeviceNumber;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure};

/// Device nodes and sysfs entries follow the kernel's work within moments.
const GRACE: Duration = Duration::from_secs(5);

/// What a head is asked to assemble.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// For which assembly.
    pub assembly: Assembly,
    /// How.
    pub layout: VolumeLayout,
    /// Of the stripe: a power of two.
    pub chunk_kib: u32,
    /// In the order of the stripe.
    pub serials: Vec<String>,
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

/// Writes the configuration under which md's tool is used.
pub fn prepare(node: &Node) -> Outcome<()> {
    md::write_configuration(node).map(drop)
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

/// Assembles the volume: a new one of fresh disks, or the old one again where every disk says
/// that it belongs to it (the head was restarted, the donors were not).
pub fn assemble(node: &Node, wanted: &Wanted) -> Outcome<(Change, Volume)> {
    check(wanted)?;
    let disks = disks_of(node, wanted)?;
    if let Some(present) = find(node, &wanted.assembly) {
        if present.layout != wanted.layout {
            let said = format!("is assembled as {}", present.detail);
            return Err(failure(FailureKind::Conflict, said)
                .by(present.device.display().to_string())
                .into());
        }
        if present.bytes > 0 {
            match wanted.layout {
                VolumeLayout::Lvm => lvm::compare(node, &present, wanted, &disks)?,
                _ => md::compare(node, &present, wanted, &disks)?,
            }
            return Ok((Change::Already, present));
        }
        stop(node, &wanted.assembly).during("stop a half-made volume")?;
    }
    match wanted.layout {
        VolumeLayout::Lvm => lvm::assemble(node, wanted, &disks)?,
        _ => md::assemble(node, wanted, &disks)?,
    }
    let made = appear(node, &wanted.assembly)?;
    match wanted.layout {
        VolumeLayout::Lvm => lvm::compare(node, &made, wanted, &disks)?,
        _ => md::compare(node, &made, wanted, &disks)?,
    }
    Ok((Change::Made, made))
}

/// The greatest number of disks that LVM stripes over (`lvcreate -i`).
const WIDEST_LVM: usize = 128;

/// The greatest number of disks that md's v1.2 superblock names in its first page.
const WIDEST_MD: usize = 1920;

fn check(wanted: &Wanted) -> Outcome<()> {
    let widest = match wanted.layout {
        VolumeLayout::Md => WIDEST_MD,
        VolumeLayout::Lvm => WIDEST_LVM,
        VolumeLayout::Unspecified => {
            return Err(failure(FailureKind::Invalid, "no volume layout is named").into());
        }
    };
    let width = wanted.serials.len();
    if !(1..=widest).contains(&width) {
        let said = format!("{width} disks: from 1 to {widest} can be striped in this layout");
        return Err(failure(FailureKind::Invalid, said).into());
    }
    Ok(())
}

/// The disks of the stripe, in its order, each found by its serial.
fn disks_of(node: &Node, wanted: &Wanted) -> Outcome<Vec<OurDisk>> {
    let all = disks::all(&node.roots);
    let find = |serial: &String| {
        all.iter().find(|disk| disk.serial == *serial).cloned().ok_or_else(|| {
            let said = format!("no disk of rampool here has the serial {serial}");
            failure(FailureKind::NotFound, said).advising("attach the pool's exports first").into()
        })
    };
    wanted.serials.iter().map(find).collect()
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
    let change = match find(node, assembly) {
        Some(volume) => stop_found(node, &volume)?,
        None => Change::Already,
    };
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
