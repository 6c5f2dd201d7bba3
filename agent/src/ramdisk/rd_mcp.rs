//! LIO's own memory store: fixed size, taken whole and zeroed when it is enabled, never swapped,
//! seen by nobody on the donor.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use procfs::FromRead;
use rampool_proto::v1::Backend;

use super::{Wanted, backstore};
use crate::configfs;
use crate::names;
use crate::node::Node;
use crate::outcome::{During, Outcome};

/// How often progress is read while the kernel allocates; it tells nobody itself.
const GLANCE: Duration = Duration::from_millis(250);

pub(super) fn reserve(node: &Node, wanted: &Wanted, progress: &dyn Fn(u64)) -> Outcome<PathBuf> {
    let pages = wanted.bytes / page_size();
    let control = format!("rd_pages={pages}");
    let object = backstore::make(node, Backend::RdMcp, &wanted.assembly, &control)?;
    if configfs::read(&object.join("enable"))? != "1" {
        enable(node, &object.join("enable"), wanted.bytes, progress)?;
    }
    let serial = names::serial(&wanted.assembly, &node.config.node);
    backstore::identify(node, &object, Backend::RdMcp, &serial).during("name the disk")?;
    Ok(object)
}

/// One `write`, during which the kernel takes every page: its progress shows in free memory.
fn enable(node: &Node, path: &std::path::Path, bytes: u64, progress: &dyn Fn(u64)) -> Outcome<()> {
    let before = free_memory(node);
    std::thread::scope(|scope| {
        let (ended, end) = mpsc::channel();
        scope.spawn(move || {
            // The receiver waits until this very message.
            let _ = ended.send(configfs::write(path, "1"));
        });
        loop {
            match end.recv_timeout(GLANCE) {
                Ok(outcome) => return outcome.during("allocate the memory"),
                Err(_) => progress(before.saturating_sub(free_memory(node)).min(bytes)),
            }
        }
    })
}

fn free_memory(node: &Node) -> u64 {
    let path = node.roots.proc.join("meminfo");
    procfs::Meminfo::from_file(path).map_or(0, |info| info.mem_free)
}

fn page_size() -> u64 {
    rustix::param::page_size() as u64
}
