//! rampool's wire contract: what controller, agents and people say to each other, how they
//! dial and prove who they are, and how the words of the contract (pool names, host lists,
//! sizes) are written and read.
//!
//! | module | idea |
//! | --- | --- |
//! | [`v1`] | messages and services, generated from `rampool/v1/*.proto` |
//! | [`pool_name`] | what a pool may be called, and what one assembly of it is called |
//! | [`hostlist`] | `n[001-040],mds1` |
//! | [`size`] | `3T`, `512GiB`, `1.5T` |
//! | [`job_socket`] | what Slurm's hooks and the agent of their node say to each other |
//! | [`failure`] | one error, with node, step, program, its words and advice |
//! | [`local`] | the Unix socket of a controller |
//! | [`tls`] | mutual TLS: the only way in or out by network |
//! | [`munge`] | calls that prove by MUNGE whose they are |
//! | [`room`] | how many may be in at once |
//! | [`by_text`] | values that a file holds as text, errors with line and column |
//! | [`config_file`] | YAML files with every field checked |

#![forbid(unsafe_code)]

pub mod by_text;
pub mod config_file;
pub mod failure;
pub mod hostlist;
pub mod job_socket;
pub mod local;
pub mod munge;
pub mod pool_name;
pub mod room;
mod secrets;
pub mod size;
pub mod tls;

/// Messages and services of `rampool/v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("rampool.v1");
}
