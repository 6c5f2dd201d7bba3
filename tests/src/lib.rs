//! The real programs on real kernels: what the end-to-end suites, the demo and the benchmark
//! share.
//!
//! | module | idea |
//! | --- | --- |
//! | [`cluster`] | a lab whose nodes run rampool's programs under real configuration files |
//! | [`cases`] | what shares a cluster |
//! | [`credentials`] | the cluster's CA and certificates, made by `rampool pki` |
//! | [`until`] | waiting for what happens by itself |
//! | [`programs`] | where the programs under test are |
//! | [`footprint`] | what a node holds, before and after |
//! | [`fio`], [`small_files`] | the benchmark's workloads |
//! | [`load`], [`witness`] | work that notices what a fault does to a pool |
//! | [`chaos`] | the fault matrix and its runner |
//! | [`slurm`] | a cluster with a real Slurm on it |
//! | [`dice`] | chance that can be repeated |

#![forbid(unsafe_code)]

pub mod cases;
pub mod chaos;
pub mod cluster;
pub mod credentials;
pub mod dice;
pub mod fio;
pub mod footprint;
pub mod load;
pub mod programs;
pub mod slurm;
pub mod small_files;
pub mod until;
pub mod witness;
