//! A donor's piece of memory, and the LIO backstore that serves it.
//!
//! | backend | memory is taken | and comes back |
//! | --- | --- | --- |
//! | `rd_mcp` | whole, when the backstore is enabled | when it is removed |
//! | `tmpfs` | by `fallocate`, piece by piece, in a process of its own | when the mount goes |
//! | `brd` | by writing every page | when the module is unloaded |

mod backstore;
mod brd;
pub mod filler;
mod rd_mcp;
mod tmpfs;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use procfs::FromRead;
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Backend, Failure, FailureKind, Memory};

use crate::memory;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure, refused};
use crate::protect;
use crate::slurm;

pub(crate) use backstore::{VENDOR, of_object, serial_of_object};

/// What a donor is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// For which assembly.
    pub assembly: Assembly,
    /// What holds the memory.
    pub backend: Backend,
    /// A multiple of 1 MiB.
    pub bytes: u64,
    /// Allow tmpfs though its pages could be swapped out.
    pub allow_swap: bool,
    /// For a job that runs on other nodes.
    pub for_job_elsewhere: bool,
}

/// What a donor has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ramdisk {
    /// Whose.
    pub assembly: Assembly,
    /// What holds the memory.
    pub backend: Backend,
    /// Reserved so far; all of it where `ready`.
    pub bytes: u64,
    /// The LIO object that serves it, if there is one yet.
    pub object: Option<PathBuf>,
    /// Whether it is whole, and its object can be exported.
    pub ready: bool,
}

/// Makes the folder below which ramdisks with a mount of their own have it.
pub fn prepare(node: &Node) -> Outcome<()> {
    let folder = node.ramdisk_folder();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| refused(&folder, "make it", error))
}

/// All ramdisks of all pools.
pub fn list(node: &Node) -> Outcome<Vec<Ramdisk>> {
    let mut found = backstore::list(&node.roots);
    let held = tmpfs::list(node)?.into_iter().chain(brd::list(node));
    for ramdisk in held {
        // Memory whose object is listed is listed already; an object that is not enabled yet
        // does not know how much it is.
        match found.iter_mut().find(|other| other.assembly == ramdisk.assembly) {
            Some(object) if !object.ready => object.bytes = ramdisk.bytes,
            Some(_) => {}
            None => found.push(ramdisk),
        }
    }
    Ok(found)
}

/// The ramdisk of `assembly`.
pub fn find(node: &Node, assembly: &Assembly) -> Outcome<Option<Ramdisk>> {
    Ok(list(node)?.into_iter().find(|ramdisk| ramdisk.assembly == *assembly))
}

/// The object of the ramdisk that `wanted` describes, which must be there, whole and alike.
pub fn require(node: &Node, wanted: &Wanted) -> Outcome<PathBuf> {
    let step = "find the memory of an earlier generation";
    let Some(found) = find(node, &wanted.assembly)? else {
        let said = format!("this node holds no memory of {}", wanted.assembly);
        return Err(failure(FailureKind::NotFound, said).during(step).into());
    };
    compare(&found, wanted).during(step)?;
    match found.object {
        Some(object) if found.ready => Ok(object),
        _ => {
            let said = format!("the memory of {} is half made, or half freed", wanted.assembly);
            Err(failure(FailureKind::NotFound, said).during(step).into())
        }
    }
}

/// The node's memory, and what of it can be lent now.
pub fn memory(node: &Node, lent: u64) -> Outcome<Memory> {
    let path = node.roots.proc.join("meminfo");
    let info = procfs::Meminfo::from_file(&path).map_err(|e| refused(&path, "read it", e))?;
    // Kernels before 3.14 do not say what is available; none of them knows our targets either.
    let available = info.mem_available.unwrap_or(info.mem_free);
    Ok(memory::account(info.mem_total, available, node.config.floor, lent))
}

/// Reserves the memory in full and makes the backstore; `progress` is told the bytes reserved.
pub fn reserve(node: &Node, wanted: &Wanted, progress: &dyn Fn(u64)) -> Outcome<(Change, PathBuf)> {
    let _turn = node.memory_turn();
    let found = find(node, &wanted.assembly)?;
    let held = match &found {
        Some(found) => {
            compare(found, wanted)?;
            if let (true, Some(object)) = (found.ready, &found.object) {
                return Ok((Change::Already, object.clone()));
            }
            found.bytes
        }
        None => 0,
    };
    memory::admit(wanted.bytes, held, &memory(node, 0)?)?;
    if wanted.for_job_elsewhere {
        slurm::admit(node, wanted.bytes.saturating_sub(held))?;
    }
    let object = protect::not_at_all(|| match wanted.backend {
        Backend::RdMcp => rd_mcp::reserve(node, wanted, progress),
        Backend::Tmpfs => tmpfs::reserve(node, wanted, progress),
        Backend::Brd => brd::reserve(node, wanted, progress),
        Backend::Unspecified => Err(failure(FailureKind::Invalid, "no backend is named").into()),
    })
    .during("reserve the memory")?;
    match find(node, &wanted.assembly)? {
        Some(made) if made.ready && made.bytes == wanted.bytes => Ok((Change::Made, object)),
        made => {
            let said = format!("asked for {} bytes, found {made:?}", wanted.bytes);
            Err(Failure::new(FailureKind::Failed, "verify the ramdisk").saying(said).into())
        }
    }
}

fn compare(found: &Ramdisk, wanted: &Wanted) -> Outcome<()> {
    let other_size = found.ready && found.bytes != wanted.bytes;
    if found.backend == wanted.backend && !other_size {
        return Ok(());
    }
    let said = format!(
        "{} holds {} bytes in {} here; {} bytes in {} were asked for",
        wanted.assembly,
        found.bytes,
        label(found.backend),
        wanted.bytes,
        label(wanted.backend)
    );
    Err(failure(FailureKind::Conflict, said).advising("destroy this export first").into())
}

/// Gives the memory back; nothing may export it any more. Answers how much it was.
pub fn free(node: &Node, assembly: &Assembly) -> Outcome<u64> {
    let mut freed = 0;
    // The object and the memory behind it are listed as one: the second round finds the memory
    // whose object the first removed.
    while let Some(ramdisk) = find(node, assembly)? {
        freed = freed.max(ramdisk.bytes);
        match (&ramdisk.object, ramdisk.backend) {
            (Some(object), _) => backstore::remove(node, object)?,
            (None, Backend::Tmpfs) => tmpfs::free(node, assembly)?,
            (None, Backend::Brd) => brd::free(node, assembly)?,
            (None, _) => break,
        }
    }
    backstore::sweep(node);
    Ok(freed)
}

/// The backend's name as people write it.
#[must_use]
pub fn label(backend: Backend) -> &'static str {
    match backend {
        Backend::RdMcp => "rd_mcp",
        Backend::Tmpfs => "tmpfs",
        Backend::Brd => "brd",
        Backend::Unspecified => "no backend",
    }
}
