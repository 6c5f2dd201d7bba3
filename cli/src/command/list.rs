//! `rampool list`.

use rampool_proto::v1::{Failure, ListPoolsRequest, ListPoolsResponse};

use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, Pools};

/// Shows all pools, a line each.
pub(super) async fn run(global: &Global) -> Result<Exit, Failure> {
    output::print(&all(global).await?, global.output)?;
    Ok(Exit::Done)
}

/// All pools, of a controller to be connected.
pub(super) async fn all(global: &Global) -> Result<Pools, Failure> {
    look_at(&Controller::connect(global).await?).await
}

/// All pools.
pub(super) async fn look_at(controller: &Controller) -> Result<Pools, Failure> {
    let answer: ListPoolsResponse = controller
        .ask("list the pools", ListPoolsRequest {}, |mut client, request| async move {
            client.list_pools(request).await
        })
        .await?;
    Ok(answer.pools.into())
}
