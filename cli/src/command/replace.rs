//! `rampool replace`.

use clap::Args;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::{Failure, ReplaceRequest};

use super::run_operation::{self, Operation};
use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, PoolReport, Settled};
use crate::request::wish::NodeName;

/// `rampool replace`.
#[derive(Debug, Args)]
pub struct Replace {
    /// The pool
    pool: PoolName,
    /// The donor whose piece goes; it may be dead
    old: NodeName,
    /// The node that lends instead; left out, the controller picks
    new: Option<NodeName>,
}

impl Replace {
    /// Moves the piece and follows that.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let name = self.pool.to_string();
        let step = format!("replace {} in the pool {name}", self.old.0);
        let controller = Controller::connect(global).await?;
        let request = ReplaceRequest {
            pool: name.clone(),
            old: self.old.0,
            new: self.new.map(|new| new.0).unwrap_or_default(),
        };
        let begin = controller.begin(&step, request, |mut client, request| async move {
            client.replace(request).await
        });
        match run_operation::run(begin, Operation::OnPool("replace", &name)).await? {
            None => Ok(Exit::Interrupted),
            Some(pool) => {
                output::print(&Settled(PoolReport::from(pool)), global.output)?;
                Ok(Exit::Done)
            }
        }
    }
}
