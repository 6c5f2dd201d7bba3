//! `rampool evacuate`.

use clap::Args;
use rampool_proto::v1::{EvacuateRequest, Failure};

use super::nodes;
use super::run_operation::{self, Operation};
use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::operation::Ended;
use crate::output::{self, Evacuated};
use crate::progress::Scope;
use crate::request::wish::NodeName;

/// `rampool evacuate`.
#[derive(Debug, Args)]
pub struct Evacuate {
    /// The node
    node: NodeName,
}

impl Evacuate {
    /// Moves all pieces off the node, follows that, and shows the node afterwards.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let NodeName(node) = self.node;
        let controller = Controller::connect(global).await?;
        let request = EvacuateRequest { node: node.clone() };
        let step = format!("evacuate {node}");
        let begin = controller.begin(&step, request, |mut client, request| async move {
            client.evacuate(request).await
        });
        let operation = Operation::Evacuate(&node);
        match run_operation::run_to_end(begin, operation, Scope::ManyPools).await? {
            Ended::Interrupted => Ok(Exit::Interrupted),
            Ended::Well(_) => {
                let after = nodes::look_at(&controller, node).await?;
                output::print(&Evacuated(after), global.output)?;
                Ok(Exit::Done)
            }
        }
    }
}
