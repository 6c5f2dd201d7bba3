//! A cluster with a real Slurm on it, under the files of `slurm/` that a site would install.
//!
//! | module | idea |
//! | --- | --- |
//! | [`site`] | those files, and what else `slurm.conf` says of a lab |
//! | [`cluster`] | the daemons on their nodes, and nodes as Slurm sees them |
//! | [`job`] | jobs of an ordinary user, and how they fare |
//! | [`show`] | the text of `scontrol -o show` |

pub mod cluster;
pub mod job;
pub mod show;
pub mod site;

pub use cluster::{Builder, SlurmCluster};
pub use job::Job;
pub use show::Fields;
