//! `rampool fail`.

use clap::Args;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::{FailRequest, Failure};

use super::run_operation::{self, Operation};
use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, PoolReport, Settled};

/// `rampool fail`.
#[derive(Debug, Args)]
pub struct Fail {
    /// The pool
    pool: PoolName,
}

impl Fail {
    /// Ends the patience with the pool's silent donors, and the pool with it.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let name = self.pool.to_string();
        let controller = Controller::connect(global).await?;
        let request = FailRequest { pool: name.clone() };
        let step = format!("fail the pool {name}");
        let begin = controller
            .begin(&step, request, |mut client, request| async move { client.fail(request).await });
        match run_operation::run(begin, Operation::OnPool("fail", &name)).await? {
            None => Ok(Exit::Interrupted),
            Some(pool) => {
                output::print(&Settled(PoolReport::from(pool)), global.output)?;
                Ok(Exit::Done)
            }
        }
    }
}
