//! One file a command.

pub mod completions;
pub mod doctor;
pub mod down;
pub mod events;
mod list;
pub mod nodes;
pub mod pki;
mod run_operation;
pub mod status;
pub mod up;

use std::io::Write;

use rampool_proto::v1::Failure;

use crate::args::{Cli, Command, Format, Global};
use crate::exit::Exit;
use crate::output::{self, Failed};
use crate::render::plain::one_line;

/// Runs the command and says how it ended; a failure is told on stderr, and to programs on
/// stdout too.
pub async fn run(cli: Cli) -> Exit {
    let format = cli.global.output;
    match dispatch(cli.command, &cli.global).await {
        Ok(exit) => exit,
        Err(failure) => {
            tell(&failure);
            let exit = Exit::from(&failure);
            if format != Format::Table
                && let Err(unsaid) = output::print(&Failed { error: failure.into() }, format)
            {
                tell(&unsaid);
            }
            exit
        }
    }
}

/// Says on stderr why it did not work.
fn tell(failure: &Failure) {
    warn(&format!("rampool: {}", one_line(&failure.to_string())));
}

/// Writes to stderr; unlike `eprintln!`, a closed stderr does not end the program.
fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

async fn dispatch(command: Command, global: &Global) -> Result<Exit, Failure> {
    match command {
        Command::Up(up) => up.run(global).await,
        Command::Down(down) => down.run(global).await,
        Command::Status(status) => status.run(global).await,
        Command::List => list::run(global).await,
        Command::Nodes(nodes) => nodes.run(global).await,
        Command::Plan(plan) => plan.run(global).await,
        Command::Events(events) => events.run(global).await,
        Command::Doctor(doctor) => doctor.run(global).await,
        Command::Completions(completions) => completions.run(),
        Command::Pki(pki) => pki.run(global.output),
    }
}
