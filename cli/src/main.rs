//! `rampool`: reads the arguments, runs the command, says how it ended.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use rampool::args::Cli;
use rampool::command;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    ExitCode::from(command::run(cli).await.code())
}
