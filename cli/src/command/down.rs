//! `rampool down`.

use clap::Args;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::{DownRequest, Failure};

use super::run_operation::{self, Operation};
use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, PoolReport, Settled};

/// `rampool down`.
#[derive(Debug, Args)]
pub struct Down {
    /// The pool
    name: PoolName,
    /// Terminate the processes that use the mount, instead of refusing, and end the patience with
    /// silent donors: what waits for them gets errors at once
    #[arg(long)]
    force: bool,
}

impl Down {
    /// Takes the pool down and follows it.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let name = self.name.to_string();
        let controller = Controller::connect(global).await?;
        let request = DownRequest { pool: name.clone(), force: self.force };
        let step = format!("take down the pool {name}");
        let begin = controller
            .begin(&step, request, |mut client, request| async move { client.down(request).await });
        match run_operation::run(begin, Operation::OnPool("down", &name)).await? {
            None => Ok(Exit::Interrupted),
            Some(pool) => {
                output::print(&Settled(PoolReport::from(pool)), global.output)?;
                Ok(Exit::Done)
            }
        }
    }
}
