//! All of the controller together, until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rampool_proto::munge::Checker;
use rampool_proto::tls::{Gate, Role};
use rampool_proto::v1::controller_server::ControllerServer;
use rampool_proto::v1::jobs_server::JobsServer;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;

use crate::agents::{Agents, GrpcAgents};
use crate::config::Config;
use crate::doors::Doors;
use crate::jobs::Jobs;
use crate::jobs::service::JobsService;
use crate::nodes::Nodes;
use crate::pool::patience::PATIENCE;
use crate::pool::steps::Settings;
use crate::pool::{Env, Pools};
use crate::reconcile;
use crate::service::ControllerService;
use crate::socket::{self, Desk};
use crate::store::Store;
use crate::users::{MungeDesk, UserService};

/// Once stopped, calls in flight have so long to end. What operations have not done by then is
/// in the store, and settled at the next start.
const GOODBYE: Duration = Duration::from_secs(3);

/// Who may have pools made and taken down.
const OPERATORS: Gate = Gate::new("controller", &[Role::Operator]);

/// Who may speak for Slurm; a node's agent for that node alone.
const HOOKS: Gate = Gate::new("controller about jobs", &[Role::Slurm, Role::Agent]);

/// What users' connections may live: an idle one makes room for others, and who follows an operation
/// asks again.
const LONGEST_OF_USERS: Duration = Duration::from_secs(3600);

/// Calls one user's connection may have open at once.
const CALLS_OF_USERS: usize = 16;

/// The largest request of a user's: MUNGE's door takes no larger one anyway.
const LARGEST_OF_USERS: usize = 256 * 1024;

/// Runs the controller behind its `doors` until `stop` is cancelled.
pub async fn run(config: Config, doors: Doors, stop: CancellationToken) -> anyhow::Result<()> {
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

    let service =
        Arc::new(ControllerService::new(pools, nodes, jobs.clone(), config.tls, stop.clone()));
    let users = config.users.map(|rules| {
        let checker = Checker::of(&rules.commands);
        let service = UserService::new(rules, Arc::clone(&service));
        let service = ControllerServer::new(service).max_decoding_message_size(LARGEST_OF_USERS);
        (service, checker)
    });
    let operators = ControllerServer::from_arc(service);
    let desk = Desk {
        operators: operators.clone(),
        users: users.as_ref().map(|(service, _)| service.clone()),
        group: config.socket.group.as_deref().map(Arc::from),
    };

    tracing::info!(address = %doors.certificates.local_addr()?, "ready");
    let by_certificate = credentials
        .server()
        .add_service(InterceptedService::new(operators, OPERATORS))
        .add_service(JobsServer::with_interceptor(JobsService(jobs), HOOKS))
        .serve_with_incoming_shutdown(
            credentials.incoming(doors.certificates),
            stop.clone().cancelled_owned(),
        );
    let by_socket = credentials.server().add_service(desk).serve_with_incoming_shutdown(
        socket::incoming(doors.socket, config.socket.group),
        stop.clone().cancelled_owned(),
    );
    let by_munge = async {
        let (Some(listener), Some((users, checker))) = (doors.users, users) else { return Ok(()) };
        credentials
            .server()
            .concurrency_limit_per_connection(CALLS_OF_USERS)
            .max_connection_age(LONGEST_OF_USERS)
            .add_service(MungeDesk { users, checker })
            .serve_with_incoming_shutdown(
                credentials.incoming_strangers(listener),
                stop.clone().cancelled_owned(),
            )
            .await
    };
    let server = async { tokio::try_join!(by_certificate, by_socket, by_munge) };
    let goodbye = async {
        stop.cancelled().await;
        tokio::time::sleep(GOODBYE).await;
    };
    tokio::select! {
        ended = server => drop(ended?),
        () = goodbye => tracing::info!("calls still in flight are left to the next start"),
    }
    store.flush().await?;
    Ok(())
}
