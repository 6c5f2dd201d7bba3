//! The keeper of a lab: process 1 of the lab's own PID namespace, with a network, mounts and IPC of the lab's own.
//!
//! Every process of the lab is a descendant of the keeper, every interface and mount lives in its namespaces. Whatever
//! ends the keeper, `kill -9` included, makes the kernel take all of it away.

mod clocks;
pub mod control;
mod enter;
mod inner;
mod links;
mod table;
pub(crate) mod uml;

pub use enter::enter;
pub use inner::keep;
