//! `rampool completions`.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use rampool_proto::v1::{Failure, FailureKind};

use crate::args::Cli;
use crate::exit::Exit;

/// `rampool completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell, e.g. bash: source <(rampool completions bash)
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "rampool", &mut script);
        std::io::stdout().write_all(&script).map_err(|error| {
            Failure::new(FailureKind::Failed, "write the completion script").saying(error)
        })?;
        Ok(Exit::Done)
    }
}
