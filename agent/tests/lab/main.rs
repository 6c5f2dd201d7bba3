//! The agent on real kernels: configfs, iSCSI, md, LVM, file systems. Needs the lab
//! (`rampool-lab doctor`); run with `--features lab`.

// The whole program is a test, its helpers too.
#![allow(clippy::unwrap_used)]

mod carved;
mod cases;
mod cluster;
mod daemons;
mod debian;
mod donor;
mod fail;
mod foreign;
mod head;
mod large;
mod load;
mod mounts;
mod pki;
mod power;
mod redundancy;
mod serving;
mod shape;
mod shutdown;
mod trio;
