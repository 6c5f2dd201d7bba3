//! One file a command.

pub mod completions;
pub mod doctor;
pub mod down;
pub mod drain;
pub mod evacuate;
pub mod events;
pub mod fail;
pub mod failover;
pub mod list;
pub mod nodes;
pub mod pki;
pub mod reap;
pub mod recover;
pub mod renew;
pub mod replace;
mod run_operation;
pub mod slurm;
pub mod status;
pub mod up;
pub mod wait;

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
        Command::List(list) => list.run(global).await,
        Command::Nodes(nodes) => nodes.run(global).await,
        Command::Plan(plan) => plan.run(global).await,
        Command::Events(events) => events.run(global).await,
        Command::Wait(wait) => wait.run(global).await,
        Command::Renew(renew) => renew.run(global).await,
        Command::Replace(replace) => replace.run(global).await,
        Command::Failover(failover) => failover.run(global).await,
        Command::Fail(fail) => fail.run(global).await,
        Command::Evacuate(evacuate) => evacuate.run(global).await,
        Command::Drain(drain) => drain.run(global).await,
        Command::Resume(resume) => resume.run(global).await,
        Command::Reap(reap) => reap.run(global).await,
        Command::Recover(recover) => recover.run(global).await,
        Command::Doctor(doctor) => doctor.run(global).await,
        Command::Slurm(slurm) => Ok(slurm.run(global).await),
        Command::Completions(completions) => completions.run(),
        Command::Pki(pki) => pki.run(global.output),
    }
}
