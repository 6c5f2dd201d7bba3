//! The controller's process: reads its configuration, listens, and ends on SIGTERM or SIGINT.

#![forbid(unsafe_code)]

use std::alloc::System;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use rampool_controller::config::Config;
use rampool_controller::doors::Doors;
use rampool_controller::serve;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use zeroizing_alloc::ZeroAlloc;

/// Memory is wiped when it is given back: secrets of exports pass through the buffers of the TLS,
/// HTTP/2 and protobuf libraries, which do not wipe them.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Holds what is wanted of pools, and drives the agents until it is so.
#[derive(Parser)]
#[command(name = "rampool-controller", version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, default_value = "/etc/rampool/controller.yaml")]
    config: PathBuf,
    /// Read and check the configuration, then end.
    #[arg(long)]
    check: bool,
}

/// As sysexits.h has it for a wrong configuration; a supervisor need not try again.
const EXIT_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr();
    // Who reads a core dump, or traces this process, would read the secrets of exports.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::info!(%error, "a core dump of this controller would have secrets in it");
    }
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("rampool-controller: {error}");
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    if arguments.check {
        println!("{}: {} nodes, fine", arguments.config.display(), config.nodes.len());
        return ExitCode::SUCCESS;
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rampool-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is logged is chosen by `RUST_LOG`.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let stop = stop_on_signals()?;
        let doors = Doors::open(&config).await?;
        serve::run(config, doors, stop).await
    });
    // Calls to agents that were in flight are in the store: nothing to wait for.
    runtime.shutdown_background();
    ended
}

fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stopped.cancel();
    });
    Ok(stop)
}
