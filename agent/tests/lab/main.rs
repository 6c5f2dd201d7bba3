//! The agent on real kernels: configfs, iSCSI, md, LVM, file systems. Needs the lab
//! (`rampool-lab doctor`); run with `--features lab`.

// The whole program is a test, its helpers too.
#![allow(clippy::unwrap_used)]

mod cage;
mod carved;
mod cases;
mod cluster;
mod daemons;
mod debian;
mod donor;
mod fail;
mod foreign;
mod head;
mod intruder;
mod jobs;
mod large;
mod load;
mod logical_volumes;
mod mounts;
mod own;
mod patience;
mod pki;
mod power;
mod reassembly;
mod redundancy;
mod replacement;
mod ring;
mod serving;
mod shape;
mod share;
mod shutdown;
mod slurm;
mod trio;
