//! `rampool-agent`: reads its configuration, makes the kernel ready, and serves until it is told
//! to stop. What it made in the kernel stays.

#![forbid(unsafe_code)]

use std::alloc::System;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use rampool_agent::config::Config;
use rampool_agent::node::Node;
use rampool_agent::ramdisk::filler;
use rampool_agent::service::AgentService;
use rampool_agent::{holdings, jobs, leave, news, protect, start};
use rampool_proto::tls::{Gate, Role};
use rampool_proto::v1::agent_server::AgentServer;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use zeroizing_alloc::ZeroAlloc;

/// Memory is wiped when it is given back: secrets of exports pass through the buffers of the TLS,
/// HTTP/2 and protobuf libraries, which do not wipe them.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// How long calls may go on when the agent is told to stop: less than systemd waits (90 s).
const STOP_GRACE: Duration = Duration::from_secs(30);

/// Lends this node's memory to rampool's pools, and heads them.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where the configuration is.
    #[arg(long, default_value = "/etc/rampool/agent.yaml")]
    config: PathBuf,
    /// Unmount, stop and detach all pools this node heads, if the system is shutting down, and
    /// end. What it lends stays.
    #[arg(long)]
    let_go: bool,
    /// Take so many bytes of memory for this file, and end: what the agent asks of itself.
    #[arg(long, hide = true, num_args = 2, value_names = ["FILE", "BYTES"])]
    fill: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some([path, bytes]) = arguments.fill.as_deref() {
        let Ok(bytes) = bytes.parse() else { return ExitCode::FAILURE };
        return filler::run(Path::new(path), bytes);
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config)?;
    let credentials = config.tls.load()?;
    if arguments.let_go {
        return let_go(config);
    }
    let _alone = start::alone(&config.run_folder)?;
    protect::ourselves(Path::new("/proc"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let node = Arc::new(Node::new(config));
        let prepared = Arc::clone(&node);
        tokio::task::spawn_blocking(move || {
            start::prepare(&prepared);
            report(&prepared);
        })
        .await
        .context("prepare the node")?;
        let listen = node.config.listen;
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
        let hooks = jobs::listen(&node)?;
        tokio::spawn(jobs::serve(Arc::clone(&node), hooks));
        tokio::spawn(jobs::keep(Arc::clone(&node)));
        tokio::spawn(news::watch(Arc::clone(&node)));
        tracing::info!(node = node.config.node, %listen, data = %node.config.data, "ready");
        let stopping = Arc::clone(&node);
        let serving = credentials
            .server()
            .add_service(AgentServer::with_interceptor(
                AgentService::new(Arc::clone(&node)),
                Gate::new("agent", &[Role::Controller]),
            ))
            .serve_with_incoming_shutdown(credentials.incoming(listener), async move {
                told_to_stop().await;
                stopping.stop();
            });
        tokio::select! {
            served = serving => served.context("serve"),
            () = overdue(&node) => {
                tracing::warn!("calls still run; they are left to end");
                Ok(())
            }
        }
    })?;
    // Calls that still run end in the kernel, with or without us: the next agent finds what
    // they made.
    runtime.shutdown_background();
    tracing::info!("stopped; what the kernel holds for pools stays");
    Ok(())
}

/// What the unit `rampool-shutdown` runs when it stops.
fn let_go(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let node = Arc::new(Node::new(config));
    let work = async { tokio::task::spawn_blocking(move || leave::let_go(&node)).await };
    runtime.block_on(work)?.map_err(|failure| (*failure).into())
}

/// Says what an agent before this one left in the kernel.
fn report(node: &Node) {
    match holdings::list(node) {
        Ok(holdings) if holdings.is_empty() => tracing::info!("the kernel holds nothing for pools"),
        Ok(holdings) => {
            for holding in holdings {
                let pool = holding.pool.clone().unwrap_or_default();
                let (kind, name) = (holding.kind().as_str_name(), &holding.name);
                let assembly = format!("{}.{}", pool.name, pool.generation);
                tracing::info!(assembly, kind, name, detail = holding.detail, "held");
            }
        }
        Err(failure) => tracing::warn!(%failure, "cannot tell what the kernel holds"),
    }
}

/// Returns when calls have had their time to end after the agent was told to.
async fn overdue(node: &Node) {
    node.stopped().await;
    tokio::time::sleep(STOP_GRACE).await;
}

async fn told_to_stop() {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        tracing::error!("cannot listen for signals");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
