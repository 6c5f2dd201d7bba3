//! `rampool wait`.

use clap::Args;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::{Failure, WaitRequest};

use super::run_operation::{self, Operation};
use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, PoolReport, Settled};

/// `rampool wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// The pool
    pool: PoolName,
}

impl Wait {
    /// Follows what goes on with the pool, whoever began it, and ends as that ends.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let name = self.pool.to_string();
        let controller = Controller::connect(global).await?;
        let request = WaitRequest { pool: name.clone() };
        let step = format!("wait for the pool {name}");
        let begin = controller
            .begin(&step, request, |mut client, request| async move { client.wait(request).await });
        match run_operation::run(begin, Operation::Any(&name)).await? {
            None => Ok(Exit::Interrupted),
            Some(pool) => {
                output::print(&Settled(PoolReport::from(pool)), global.output)?;
                Ok(Exit::Done)
            }
        }
    }
}
