//! The real programs on real kernels: what the end-to-end suites, the demo and the benchmark
//! share.
//!
//! | module | idea |
//! | --- | --- |
//! | [`cluster`] | a lab whose nodes run rampool's programs under real configuration files |
//! | [`credentials`] | the cluster's CA and certificates, made by `rampool pki` |
//! | [`programs`] | where the programs under test are |
//! | [`footprint`] | what a node holds, before and after |
//! | [`fio`], [`small_files`] | the workloads |

#![forbid(unsafe_code)]

pub mod cluster;
pub mod credentials;
pub mod fio;
pub mod footprint;
pub mod programs;
pub mod small_files;
