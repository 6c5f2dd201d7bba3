//! `rampool status`.

use clap::Args;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::{Failure, GetPoolRequest, Pool};

use super::list;
use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, PoolReport, PoolsInFull};

/// `rampool status`.
#[derive(Debug, Args)]
pub struct Status {
    /// The pool; left out, all of them
    pool: Option<PoolName>,
}

impl Status {
    /// Shows one pool, or all, with all there is to know.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Some(name) = self.pool else {
            output::print(&PoolsInFull(list::all(global).await?), global.output)?;
            return Ok(Exit::Done);
        };
        let controller = Controller::connect(global).await?;
        let request = GetPoolRequest { pool: name.to_string() };
        let pool: Pool = controller
            .ask(&format!("look at the pool {name}"), request, |mut client, request| async move {
                client.get_pool(request).await
            })
            .await?;
        output::print(&PoolReport::from(pool), global.output)?;
        Ok(Exit::Done)
    }
}
