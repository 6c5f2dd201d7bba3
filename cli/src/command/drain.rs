//! `rampool drain` and `rampool resume`: one call, two words.

use clap::Args;
use rampool_proto::hostlist::HostList;
use rampool_proto::v1::{DrainRequest, DrainResponse, Failure};

use super::nodes;
use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output;

/// `rampool drain`.
#[derive(Debug, Args)]
pub struct Drain {
    /// Which nodes, e.g. n[001-040]
    nodes: HostList,
    /// Why; shown by `rampool nodes`
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Drain {
    /// Keeps new pieces off the nodes.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let nodes = self.nodes.to_string();
        let reason = self.reason.unwrap_or_default();
        ask(DrainRequest { nodes, drain: true, reason }, global).await
    }
}

/// `rampool resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// Which nodes, e.g. n[001-040]
    nodes: HostList,
}

impl Resume {
    /// Lets new pieces on the nodes again.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let nodes = self.nodes.to_string();
        ask(DrainRequest { nodes, drain: false, reason: String::new() }, global).await
    }
}

/// Asks, and shows the nodes as they then are.
async fn ask(request: DrainRequest, global: &Global) -> Result<Exit, Failure> {
    let nodes = request.nodes.clone();
    let step = match request.drain {
        true => format!("drain {nodes}"),
        false => format!("resume {nodes}"),
    };
    let controller = Controller::connect(global).await?;
    let DrainResponse {} = controller
        .ask(&step, request, |mut client, request| async move { client.drain(request).await })
        .await?;
    output::print(&nodes::look_at(&controller, nodes).await?, global.output)?;
    Ok(Exit::Done)
}
