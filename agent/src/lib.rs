//! The agent of one node: it carves ramdisks, exports them, and, on a head, makes one mounted
//! file system of many. It has no opinions and no database: every call is idempotent, and what
//! it has is read from the kernel, whose objects carry the pool's name and generation.
//!
//! | module | idea |
//! | --- | --- |
//! | [`config`] | `/etc/rampool/agent.yaml` |
//! | [`service`], [`request`], [`cage`] | the gRPC face, what it lets through, and what is rampool's |
//! | [`node`] | configuration, programs, folders, and whose turn it is |
//! | [`start`] | alone on the node, kernel ready |
//! | [`inventory`], [`abilities`], [`programs`], [`holdings`] | what the node is, can, has, holds |
//! | [`news`] | what changes without a call |
//! | [`protect`] | the agent itself, when memory is short |
//! | [`leave`] | what a node does before it shuts down |
//! | [`names`] | object names to assemblies, and back |
//! | [`memory`] | how much may be lent |
//! | [`ramdisk`], [`export`] | donor: memory, and its way out |
//! | [`head`], [`attach`], [`volume`], [`filesystem`], [`mount`], [`usage`] | head: disks, one of many, files |
//! | [`share`] | head and client: a mounted pool on other nodes, by NFS |
//! | [`jobs`] | nodes of a Slurm job: who may use a pool there, and with how much memory |
//! | `slurm` | what a node that runs jobs may lend to jobs elsewhere |
//! | `headroom` | what keeps a node moving that lends to a pool and uses it too |
//! | [`fail`] | head: errors instead of waiting |
//! | `fuzz` | what a fuzzer tries |
//! | [`outcome`], [`roots`] | how things end, where the kernel shows itself |
//!
//! Everything below the face is blocking code, run on blocking threads. External programs go
//! through `command` (Slurm's by the `rampool-slurm` crate), configfs and sysfs through `configfs`.

pub mod abilities;
pub mod attach;
pub mod cage;
mod command;
pub mod config;
mod configfs;
pub mod export;
pub mod fail;
pub mod filesystem;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod head;
mod headroom;
pub mod holdings;
pub mod inventory;
pub mod jobs;
pub mod leave;
pub mod memory;
mod modules;
pub mod mount;
pub mod names;
pub mod news;
pub mod node;
pub mod outcome;
pub mod programs;
pub mod protect;
pub mod ramdisk;
pub mod request;
pub mod roots;
pub mod service;
pub mod share;
mod slurm;
pub mod start;
pub mod usage;
pub mod volume;
mod whole_file;
