//! `rampool evacuate`.

use clap::Args;
use rampool_proto::v1::{EvacuateRequest, Failure, FailureKind};

use super::run_operation::{self, Operation};
use super::{list, nodes};
use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::operation::Ended;
use crate::output::{self, Evacuated, Pools};
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
                check(&list::look_at(&controller).await?, &node)?;
                let after = nodes::look_at(&controller, node).await?;
                output::print(&Evacuated(after), global.output)?;
                Ok(Exit::Done)
            }
        }
    }
}

/// Success is believed only with its proof: no pool has a piece there.
fn check(pools: &Pools, node: &str) -> Result<(), Failure> {
    let there = pools.pools.iter().filter(|pool| pool.donors.iter().any(|d| d.node == node));
    let names: Vec<&str> = there.map(|pool| pool.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let names = names.join(", ");
    Err(Failure::new(FailureKind::Failed, format!("evacuate {node}"))
        .saying(format!("it is said to be finished, but {node} still lends to {names}"))
        .advising(format!("if that pool is new, `rampool drain {node}` and evacuate it again")))
}
