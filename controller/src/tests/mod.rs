//! The controller as a whole: against nodes in memory (a plain stand-in for kernels, in these
//! tests alone), and over real gRPC on the loopback interface.

mod crashes;
mod fake_nodes;
mod faults;
mod grpc;
mod operations;
mod rig;
