//! `rampool recover`.

use clap::Args;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::{Failure, RecoverRequest, RecoverResponse};

use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, RecoverReport};

/// `rampool recover`.
#[derive(Debug, Args)]
pub struct Recover {
    /// Take the pools over; without this, they are only shown
    #[arg(long)]
    apply: bool,
    /// Only these; left out, all
    #[arg(value_name = "POOL")]
    pools: Vec<PoolName>,
}

impl Recover {
    /// Shows, or takes over, the pools that nodes hold. What was to be taken over and could not
    /// be makes the command fail.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let controller = Controller::connect(global).await?;
        let step = match self.apply {
            true => "take over the pools that nodes hold",
            false => "look for pools that nodes hold",
        };
        let request = RecoverRequest {
            apply: self.apply,
            pools: self.pools.iter().map(ToString::to_string).collect(),
        };
        // Not `ask`: a thousand nodes may take longer than an answer.
        let answer: RecoverResponse = controller
            .begin(
                step,
                request,
                |mut client, request| async move { client.recover(request).await },
            )
            .await?;
        let report = RecoverReport::new(self.apply, answer);
        output::print(&report, global.output)?;
        Ok(if report.applied && !report.refused.is_empty() { Exit::Failed } else { Exit::Done })
    }
}
