//! All of the controller together, until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rampool_proto::tls::{Gate, Role};
use rampool_proto::v1::controller_server::ControllerServer;
use rampool_proto::v1::jobs_server::JobsServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::agents::{Agents, GrpcAgents};
use crate::config::Config;
use crate::jobs::Jobs;
use crate::jobs::service::JobsService;
use crate::nodes::Nodes;
use crate::pool::patience::PATIENCE;
use crate::pool::steps::Settings;
use crate::pool::{Env, Pools};
use crate::reconcile;
use crate::service::ControllerService;
use crate::store::Store;

/// Once stopped, calls in flight have so long to end. What operations have not done by then is
/// in the store, and settled at the next start.
const GOODBYE: Duration = Duration::from_secs(3);

/// Who may have pools made and taken down.
const OPERATORS: Gate = Gate::new("controller", &[Role::Operator]);

/// Who may speak for Slurm; a node's agent for that node alone.
const HOOKS: Gate = Gate::new("controller about jobs", &[Role::Slurm, Role::Agent]);

/// Runs the controller on `listener` until `stop` is cancelled.
pub async fn run(
    config: Config,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let credentials = config.tls.load()?;
    let names: Vec<String> = config.nodes.iter().map(str::to_owned).collect();
    let addresses = names.iter().map(|name| (name.clone(), config.agent_address(name)));
    let agents: Arc<dyn Agents> =
        Arc::new(GrpcAgents::new(&credentials, addresses).context("agents' addresses")?);
    let racks = config.rack_of_nodes();
    let profiles = config.profiles.clone();
    let (store, mut loaded) = Store::open(&config.state)?;
    let failures = std::mem::take(&mut loaded.failures);
    let (nodes, news) = Nodes::new(Arc::clone(&agents), names);
    let env = Arc::new(Env {
        agents: Arc::clone(&agents),
        nodes: Arc::clone(&nodes),
        store: store.clone(),
        settings: Settings {
            contact: config.contact,
            iqn_authority: config.iqn_authority,
            allow_swap: config.allow_swap,
        },
        profiles: config.profiles,
        mount_root: config.mount_root,
        patience: PATIENCE,
        racks,
    });
    let pools = Pools::new(env, loaded)?;
    let jobs = config.jobs.map(|jobs| {
        let (pools, nodes, agents) = (pools.clone(), nodes.clone(), agents.clone());
        Jobs::new(jobs, profiles, pools, nodes, agents, stop.clone(), store.clone(), failures)
    });
    nodes.watch_all();
    pools.resume();
    if let Some(jobs) = &jobs {
        tokio::spawn(Arc::clone(jobs).watch());
        tokio::spawn(Arc::clone(jobs).keep_facts());
    }
    tokio::spawn(reconcile::run(Arc::clone(&pools), Arc::clone(&nodes), agents, news));

    tracing::info!(address = %listener.local_addr()?, "ready");
    let service = ControllerService::new(pools, nodes, jobs.clone(), config.tls, stop.clone());
    let server = credentials
        .server()
        .add_service(ControllerServer::with_interceptor(service, OPERATORS))
        .add_service(JobsServer::with_interceptor(JobsService(jobs), HOOKS))
        .serve_with_incoming_shutdown(
            credentials.incoming(listener),
            stop.clone().cancelled_owned(),
        );
    let goodbye = async {
        stop.cancelled().await;
        tokio::time::sleep(GOODBYE).await;
    };
    tokio::select! {
        ended = server => ended?,
        () = goodbye => tracing::info!("calls still in flight are left to the next start"),
    }
    store.flush().await?;
    Ok(())
}
