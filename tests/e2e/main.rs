//! The real programs on clusters of real kernels, as their users run them. Needs the lab
//! (`rampool-lab doctor`); run with `--features lab`.
//!
//! One program, so that whatever its tests are, as many labs run at a time as may.

mod chaos;
mod conditions;
mod debian;
mod faults;
mod foreign;
mod pools;
mod refusals;
mod survive;
