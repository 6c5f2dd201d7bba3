//! What Slurm and rampool say to each other.
//!
//! | module | idea |
//! | --- | --- |
//! | [`constraint`] | which profile a job's `--constraint` asks for |
//! | [`wish`] | what a job asks for beyond its profile |
//! | [`environment`] | what Slurm tells its hooks, as requests to the controller |
//! | [`commands`] | what is asked of Slurm, by its own commands |
//! | [`doctor`] | what in slurm.conf stands in the way |
//! | [`licence`] | whether Slurm has as many licences as donors have memory |
//! | [`buffer`] | whether Slurm's burst buffer can be waited for |
//! | [`text`] | what Slurm prints, read |
//! | [`facts`] | what `job_submit.lua` may know of the cluster's memory |

#![forbid(unsafe_code)]

pub mod buffer;
pub mod commands;
pub mod constraint;
pub mod doctor;
pub mod environment;
pub mod facts;
pub mod licence;
pub mod text;
pub mod wish;
