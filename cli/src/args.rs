//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::by::By;
use crate::client::DEFAULT_CONFIG;
use crate::command::{
    completions, doctor, down, drain, evacuate, events, fail, failover, list, nodes, pki, reap,
    recover, renew, replace, slurm, status, up, wait,
};

const AFTER_HELP: &str = "\
Exit codes:
    0  done
    1  it was tried and failed (also: a time-out, a mount in use, no answer from the
       controller, an ERROR found by `doctor`, a pool that `recover --apply` refused)
    2  the request makes no sense
    3  no such pool or node
    4  not possible now: capacity, a name in use, a node away, a program missing
    5  it is not yours to ask, or more than you may have
  130  left by Ctrl-C; the operation goes on in the controller

Sizes: 512G, 1.5T (K M G T P E and KiB ... are powers of 1024; KB, MB ... powers of 1000).
Node lists: n[001-040],mds1. Durations: 90m, 12h, 7d.";

/// Pools spare memory of cluster nodes into one fast scratch file system.
///
/// A pool lives in memory: it is lost when more of its donors fail than its redundancy bears
/// (without redundancy: any one), and given back by `rampool down`.
#[derive(Debug, Parser)]
#[command(name = "rampool", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// How to print: for people, or in the documented form for programs
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub output: Format,
    /// The client's configuration: where the controller is, and who we are
    #[arg(long, global = true, env = "RAMPOOL_CONFIG", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// The controller, instead of the one in the configuration
    #[arg(long, global = true, env = "RAMPOOL_CONTROLLER", value_name = "HOST:PORT")]
    pub controller: Option<String>,
    /// By which way to go there, instead of the first that there is: a certificate whose key can be
    /// read, the socket of a controller on this host, MUNGE
    #[arg(long, global = true, env = "RAMPOOL_BY", value_enum, value_name = "WAY")]
    pub by: Option<By>,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object.
    Json,
    /// The same as YAML.
    Yaml,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring a pool up and mount it
    Up(up::Up),
    /// Take a pool down and give its memory back; safe to repeat
    Down(down::Down),
    /// Show one pool, or all, with capacity, donors and what is wrong
    Status(status::Status),
    /// List the pools, a line each; or with --job Slurm's jobs that want one, and why each waits
    List(list::List),
    /// Show nodes and what they can lend
    Nodes(nodes::Nodes),
    /// Show what `up` would place where; changes nothing
    Plan(up::Plan),
    /// Show a pool's history
    Events(events::Events),
    /// Follow what goes on with a pool to its end; at once where nothing does
    Wait(wait::Wait),
    /// Give a pool a new lease, counted from now
    Renew(renew::Renew),
    /// Move one donor's piece to another node while the pool is in use
    Replace(replace::Replace),
    /// Bring a pool up on another head, with its data: its own is gone, or shall go
    Failover(failover::Failover),
    /// End the patience with silent donors: the pool's users get errors at once instead of
    /// waiting, and what is in it is lost
    Fail(fail::Fail),
    /// Move every piece of memory off a healthy node while its pools are in use
    Evacuate(evacuate::Evacuate),
    /// Keep new pools off nodes; those that are there stay
    Drain(drain::Drain),
    /// Let new pools on drained nodes again
    Resume(drain::Resume),
    /// Show what a node holds of pools that nobody knows; remove it with --apply
    Reap(reap::Reap),
    /// Show the pools that nodes hold and an empty controller could take over; do it with --apply
    Recover(recover::Recover),
    /// Say what is missing on nodes, and the line that mends it
    Doctor(doctor::Doctor),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// What Slurm runs for each job: its prologs and epilogs
    Slurm(slurm::Slurm),
    /// Make the cluster's CA and certificates (needs no controller)
    Pki(pki::Pki),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_tells_the_exit_codes() {
        let help = Cli::command().render_help().to_string();
        for line in ["  3  no such pool or node", "130  left by Ctrl-C"] {
            assert!(help.contains(line), "{help}");
        }
    }

    fn kind_of(line: &str) -> ErrorKind {
        Cli::try_parse_from(line.split(' ')).unwrap_err().kind()
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_anything_is_asked() {
        for line in [
            "rampool up Demo",
            "rampool up demo --size 3t",
            "rampool up demo --size 1024",
            "rampool up demo --donors n[1-",
            "rampool up demo --donors n1,n1",
            "rampool up demo --backend zram",
            "rampool up demo --lease soon",
            "rampool up demo --head N1",
            "rampool status a/b",
            "rampool nodes n[3-1]",
            "rampool up demo --redundancy double_parity",
            "rampool up demo --spares all",
            "rampool up demo --at-expiry delete",
            "rampool up demo --auto-replace=no",
            "rampool replace demo N1",
            "rampool renew demo --lease 0s",
            "rampool reap n1 demo",
            "rampool recover Demo",
        ] {
            let kind = kind_of(line);
            assert!(
                matches!(kind, ErrorKind::ValueValidation | ErrorKind::InvalidValue),
                "{line}: {kind:?}"
            );
        }
        assert_eq!(
            kind_of("rampool up demo --size 1T --size-per-donor 1G"),
            ErrorKind::ArgumentConflict
        );
        assert_eq!(
            kind_of("rampool up demo --donors n1 --donor-count 1"),
            ErrorKind::ArgumentConflict
        );
        assert_eq!(kind_of("rampool up"), ErrorKind::MissingRequiredArgument);
        for line in ["down", "wait", "replace demo", "failover demo", "evacuate", "drain", "reap"] {
            let kind = kind_of(&format!("rampool {line}"));
            assert_eq!(kind, ErrorKind::MissingRequiredArgument, "{line}");
        }
        assert_eq!(kind_of("rampool up demo --siez 1T"), ErrorKind::UnknownArgument);
    }

    #[test]
    fn output_can_be_chosen_before_and_after_the_command() {
        for line in ["rampool -o json list", "rampool list -o json", "rampool list --output=json"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(cli.global.output, Format::Json, "{line}");
        }
    }
}
