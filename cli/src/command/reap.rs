//! `rampool reap`.

use clap::Args;
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, ReapRequest, ReapResponse};

use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, ReapReport};
use crate::request::wish::NodeName;

/// `rampool reap`.
#[derive(Debug, Args)]
pub struct Reap {
    /// The node
    node: NodeName,
    /// Remove it, for good; without this, it is only shown
    #[arg(long)]
    apply: bool,
    /// Only what belongs to these, each written pool.generation, e.g. demo.3; left out, all
    #[arg(value_name = "ASSEMBLY")]
    assemblies: Vec<Assembly>,
}

impl Reap {
    /// Shows, or removes, what the node holds of pools that nobody knows.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let NodeName(node) = self.node;
        let controller = Controller::connect(global).await?;
        let step = match self.apply {
            true => format!("remove what nobody knows from {node}"),
            false => format!("look for what nobody knows on {node}"),
        };
        let request = ReapRequest {
            node: node.clone(),
            apply: self.apply,
            assemblies: self.assemblies.iter().map(ToString::to_string).collect(),
        };
        // Not `ask`: to free much memory may take longer than an answer.
        let answer: ReapResponse = controller
            .begin(&step, request, |mut client, request| async move { client.reap(request).await })
            .await?;
        output::print(&ReapReport::new(node, self.apply, answer), global.output)?;
        Ok(Exit::Done)
    }
}
