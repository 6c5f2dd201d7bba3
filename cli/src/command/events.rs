//! `rampool events`.

use clap::Args;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::{Failure, ListEventsRequest, ListEventsResponse};

use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, Events as EventsReport};

/// `rampool events`.
#[derive(Debug, Args)]
pub struct Events {
    /// The pool
    pool: PoolName,
}

impl Events {
    /// Shows the pool's history.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let controller = Controller::connect(global).await?;
        let step = format!("list the events of {}", self.pool);
        let request = ListEventsRequest { pool: self.pool.to_string() };
        let answer: ListEventsResponse =
            controller
                .ask(&step, request, |mut client, request| async move {
                    client.list_events(request).await
                })
                .await?;
        output::print(&EventsReport::from(answer), global.output)?;
        Ok(Exit::Done)
    }
}
