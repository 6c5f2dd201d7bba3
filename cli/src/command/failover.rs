//! `rampool failover`.

use clap::Args;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::{FailoverRequest, Failure};

use super::run_operation::{self, Operation};
use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, PoolReport, Settled};
use crate::request::wish::NodeName;

/// `rampool failover`.
#[derive(Debug, Args)]
pub struct Failover {
    /// The pool
    pool: PoolName,
    /// The node that takes over: it assembles and mounts the pool
    #[arg(long, value_name = "NODE")]
    head: NodeName,
    /// Also where donors that did not confirm the fence might still serve the old head, or where
    /// what is left may lack acknowledged data, or on a drained node
    #[arg(long)]
    force: bool,
}

impl Failover {
    /// Brings the pool up on the other head and follows that.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let name = self.pool.to_string();
        let step = format!("bring the pool {name} up on {}", self.head.0);
        let controller = Controller::connect(global).await?;
        let request = FailoverRequest { pool: name.clone(), head: self.head.0, force: self.force };
        let begin = controller.begin(&step, request, |mut client, request| async move {
            client.failover(request).await
        });
        match run_operation::run(begin, Operation::OnPool("failover", &name)).await? {
            None => Ok(Exit::Interrupted),
            Some(pool) => {
                output::print(&Settled(PoolReport::from(pool)), global.output)?;
                Ok(Exit::Done)
            }
        }
    }
}
