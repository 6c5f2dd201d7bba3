//! What a node is, has, can and holds, in one message.

use std::fs;

use rampool_proto::v1::{FailureKind, Inventory};
use sysinfo::{MemoryRefreshKind, System};

use crate::abilities;
use crate::config;
use crate::holdings;
use crate::node::Node;
use crate::outcome::{Outcome, failure, refused};
use crate::ramdisk;

/// Reads it all, now.
pub fn take(node: &Node) -> Outcome<Inventory> {
    let holdings = holdings::list(node)?;
    let memory = ramdisk::memory(node, holdings::lent(&holdings))?;
    let proc = &node.roots.proc;
    let boot_id = proc.join("sys/kernel/random/boot_id");
    let boot_id =
        fs::read_to_string(&boot_id).map_err(|error| refused(&boot_id, "read it", error))?;
    let addresses = config::global_addresses().unwrap_or_default();
    Ok(Inventory {
        node: node.config.node.clone(),
        boot_id: boot_id.trim().to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel_release: abilities::release(&node.roots),
        memory: Some(memory),
        data_address: node.config.data.ip().to_string(),
        data_port: node.config.data.port().into(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        programs: node.programs.report(),
        abilities: abilities::list(node),
        holdings,
        load: load(),
        swap_total_bytes: swap_total()?,
        certificate_ends_ms: node.config.tls.identity().map_or(0, |identity| identity.ends_ms()),
        asks_slurm: node.config.slurm_commands.is_some(),
    })
}

/// Load averages over 1, 5 and 15 minutes; none where the kernel does not say.
fn load() -> Vec<f64> {
    System::load_average()
        .map_or_else(|_| Vec::new(), |load| vec![load.one, load.five, load.fifteen])
}

/// Configured swap, in bytes.
fn swap_total() -> Outcome<u64> {
    let mut system = System::new().map_err(|error| failure(FailureKind::Failed, error))?;
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_swap());
    Ok(system.total_swap())
}
