//! `rampool nodes`.

use clap::Args;
use rampool_proto::hostlist::HostList;
use rampool_proto::v1::{Failure, ListNodesRequest, ListNodesResponse};

use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, Nodes as NodesReport};

/// `rampool nodes`.
#[derive(Debug, Args)]
pub struct Nodes {
    /// Which nodes, e.g. n[001-040]; left out, all of them
    nodes: Option<HostList>,
}

impl Nodes {
    /// Shows nodes and what they can lend.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let controller = Controller::connect(global).await?;
        let nodes = self.nodes.map(|nodes| nodes.to_string()).unwrap_or_default();
        output::print(&look_at(&controller, nodes).await?, global.output)?;
        Ok(Exit::Done)
    }
}

/// The nodes of a host list; of an empty one, all.
pub(super) async fn look_at(
    controller: &Controller,
    nodes: String,
) -> Result<NodesReport, Failure> {
    let answer: ListNodesResponse = controller
        .ask("list the nodes", ListNodesRequest { nodes }, |mut client, request| async move {
            client.list_nodes(request).await
        })
        .await?;
    Ok(answer.into())
}
