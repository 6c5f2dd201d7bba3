//! A cluster of real Linux kernels in plain processes, to run and test rampool on.
//!
//! ```no_run
//! use rampool_lab::Lab;
//!
//! # fn main() -> anyhow::Result<()> {
//! let lab = Lab::builder("example").nodes(2).boot()?;
//! let n1 = lab.node("n1")?;
//! assert_eq!(n1.sh("hostname")?, "n1");
//! n1.sh("ping -c 1 -W 2 n2")?;
//! # Ok(())
//! # } // The lab is gone here: processes, network, mounts and state folder.
//! ```
//!
//! A node is a User Mode Linux kernel with a root of its own: a read-only image under a writable layer in memory, empty
//! again after each boot, as on a node of a cluster that boots over the network. Nodes share a data network that can be
//! cut node by node; commands reach them by links of their own, which cannot.
//!
//! - [`Lab`] and [`Builder`]: a lab and what it is made of
//! - [`Node`]: power, network, files and commands of one node
//! - [`Command`], [`RemoteProcess`], [`Output`]: programs in a node
//! - [`keeper`]: the process that owns a lab, and what makes sure that nothing is left of it
//! - [`image`]: what nodes boot from
//! - [`guest`]: what runs inside a node

#![forbid(unsafe_code)]

mod beside;
pub mod builder;
pub mod command;
pub mod doctor;
pub mod exec;
mod files;
pub mod guest;
pub mod image;
pub mod keeper;
pub mod lab;
mod launch;
pub mod memory;
pub mod names;
pub mod node;
pub mod pace;
pub mod state;

pub use builder::Builder;
pub use command::Command;
pub use exec::{
    ExitStatus,
    process::{Output, RemoteProcess, Stream},
};
pub use keeper::control::{NodeStatus, Power};
pub use lab::{Init, Lab};
pub use names::NodeId;
pub use node::Node;
pub use pace::Pace;
