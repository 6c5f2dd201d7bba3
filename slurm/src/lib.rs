//! What Slurm and rampool say to each other.
//!
//! | module | idea |
//! | --- | --- |
//! | [`constraint`] | which profile a job's `--constraint` asks for |
//! | [`wish`] | what a job asks for beyond its profile |
//! | [`facts`] | what `job_submit.lua` may know of the cluster's memory |

#![forbid(unsafe_code)]

pub mod constraint;
pub mod facts;
pub mod wish;
