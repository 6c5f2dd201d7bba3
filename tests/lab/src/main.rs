//! `rampool-lab`: a cluster of real Linux kernels in plain processes, by hand.

#![forbid(unsafe_code)]

mod cli;
mod shell;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(e) => {
            eprintln!("rampool-lab: {e:#}");
            ExitCode::FAILURE
        }
    }
}
