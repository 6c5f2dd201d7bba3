//! The controller as a whole: against nodes in memory (a plain stand-in for kernels, in these
//! tests alone), and over real gRPC on the loopback interface.

mod care;
mod crashes;
mod fake_nodes;
mod faults;
mod grpc;
mod lending;
pub(crate) mod model;
mod operations;
mod rig;
mod socket;
mod survival;
mod users;
