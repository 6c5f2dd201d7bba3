//! The kernel's brd block device. Its size is a parameter of the module, and its memory comes
//! back only when the module goes: one pool a node at a time, and never beside another user.
//!
//! The device has no name of its own to carry the pool's, so a note beside it does:
//! `<run>/ramdisk/<pool>.<gen>.brd`, written before the module is loaded.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Backend, Failure, FailureKind};

use super::{Ramdisk, Wanted, backstore};
use crate::command;
use crate::configfs;
use crate::memory::MIB;
use crate::names;
use crate::node::Node;
use crate::outcome::{During, Outcome, refused};
use crate::roots::Roots;

/// The only device of the module, as we load it.
const DEVICE: &str = "ram0";

/// Loading and unloading take moments; unloading waits for the memory to be freed.
const DEADLINE: Duration = Duration::from_secs(60);

/// One write of the reservation.
const STEP: usize = 1 << 20;

/// Direct I/O wants memory aligned to a block.
const ALIGNMENT: usize = 4096;

fn note(node: &Node, assembly: &Assembly) -> PathBuf {
    node.ramdisk_folder().join(format!("{assembly}.brd"))
}

/// The device's size, 0 where there is none.
pub(super) fn bytes(roots: &Roots) -> u64 {
    // 512-byte sectors, whatever the device's own block size.
    let sectors = configfs::read(&roots.blocks().join(DEVICE).join("size"));
    sectors.ok().and_then(|text| text.parse::<u64>().ok()).map_or(0, |sectors| sectors * 512)
}

/// Whose note lies here: at most one pool's.
pub(super) fn list(node: &Node) -> Vec<Ramdisk> {
    configfs::names(&node.ramdisk_folder())
        .iter()
        .filter_map(|name| name.strip_suffix(".brd")?.parse().ok())
        .map(|assembly| Ramdisk {
            assembly,
            backend: Backend::Brd,
            bytes: bytes(&node.roots),
            object: None,
            ready: false,
        })
        .collect()
}

pub(super) fn reserve(node: &Node, wanted: &Wanted, progress: &dyn Fn(u64)) -> Outcome<PathBuf> {
    load(node, wanted).during("load brd")?;
    let device = node.roots.dev.join(DEVICE);
    fill(&device, wanted.bytes, progress).during("reserve the memory of brd")?;
    let control = format!("udev_path={}", device.display());
    let object = backstore::make(node, Backend::Brd, &wanted.assembly, &control)?;
    if configfs::read(&object.join("enable"))? != "1" {
        configfs::write(&object.join("enable"), "1").during("enable the backstore")?;
    }
    let serial = names::serial(&wanted.assembly, &node.config.node);
    backstore::identify(node, &object, Backend::Brd, &serial).during("name the disk")?;
    Ok(object)
}

fn load(node: &Node, wanted: &Wanted) -> Outcome<()> {
    let note = note(node, &wanted.assembly);
    let module = node.roots.sys.join("module/brd");
    if module.exists() {
        let ours = note.exists() && bytes(&node.roots) == wanted.bytes;
        return if ours { Ok(()) } else { Err(taken(node, &module).into()) };
    }
    if let Some(other) = list(node).into_iter().find(|other| other.assembly != wanted.assembly) {
        return Err(taken_by(&other.assembly).into());
    }
    write_note(&note)?;
    let modprobe = node.programs.modprobe.path()?;
    let size = format!("rd_size={}", wanted.bytes / 1024);
    command::succeed(modprobe, &["brd", "rd_nr=1", &size, "max_part=1"], DEADLINE)?;
    match bytes(&node.roots) {
        made if made == wanted.bytes => Ok(()),
        made => {
            let said = format!("brd was loaded with {made} bytes instead of {}", wanted.bytes);
            Err(Failure::new(FailureKind::Failed, "").by("brd").saying(said).into())
        }
    }
}

fn write_note(note: &Path) -> Outcome<()> {
    if let Some(folder) = note.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| refused(folder, "make it", error))?;
    }
    let text = "brd is loaded for this assembly\n";
    fs::write(note, text).map_err(|error| refused(note, "write it", error))
}

fn taken(node: &Node, module: &Path) -> Failure {
    if let Some(ours) = list(node).first() {
        return taken_by(&ours.assembly);
    }
    // A module that is part of the kernel has no state of being loaded.
    let said = if module.join("initstate").exists() {
        "brd is loaded, and not by rampool; its size is one for all its users"
    } else {
        "brd is built into this kernel: its memory could never be given back"
    };
    Failure::new(FailureKind::NotNow, "load brd")
        .by("brd")
        .saying(said)
        .advising("use the backend rd_mcp")
}

fn taken_by(assembly: &Assembly) -> Failure {
    Failure::new(FailureKind::NotNow, "load brd")
        .by("brd")
        .saying(format!("it holds {assembly}; brd serves one pool a node at a time"))
        .advising("use the backend rd_mcp, or another donor")
}

/// Writes every page once, past the page cache: brd takes a page when it is first written.
fn fill(device: &Path, bytes: u64, progress: &dyn Fn(u64)) -> Outcome<()> {
    let said = |error| refused(device, "write it", error);
    let mut file = OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_DIRECT | nix::libc::O_EXCL)
        .open(device)
        .map_err(|error| refused(device, "open it for nobody else", error))?;
    let room = vec![0u8; STEP + ALIGNMENT];
    let start = room.as_ptr().align_offset(ALIGNMENT);
    let zeros = &room[start..start + STEP];
    for done in 1..=bytes / MIB {
        file.write_all(zeros).map_err(said)?;
        if done % 64 == 0 {
            progress(done * MIB);
        }
    }
    Ok(())
}

/// Unloads the module, once LIO's object is gone, and takes the note away.
pub(super) fn free(node: &Node, assembly: &Assembly) -> Outcome<()> {
    let module = node.roots.sys.join("module/brd");
    if module.exists() {
        let modprobe = node.programs.modprobe.path()?;
        command::succeed(modprobe, &["-r", "brd"], DEADLINE).during("unload brd")?;
    }
    if module.exists() {
        let said = "it is still loaded";
        return Err(Failure::new(FailureKind::Failed, "unload brd").by("brd").saying(said).into());
    }
    let note = note(node, assembly);
    fs::remove_file(&note).map_err(|error| refused(&note, "remove it", error))
}
