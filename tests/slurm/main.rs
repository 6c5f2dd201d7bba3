//! Real jobs of an ordinary user under a real Slurm. Needs the lab (`rampool-lab doctor`); run
//! with `--features lab`.

mod burst;
mod burst_faults;
mod donors;
mod faults;
mod gate;
mod memory;
mod own;
mod plain;
mod pool;
mod queue;
mod submission;
mod users;
mod words;
