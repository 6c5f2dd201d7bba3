//! A node.

use rampool_proto::v1::{Holding, HoldingKind, Inventory, ListNodesResponse, NodeStatus};
use serde::Serialize;

use super::moment::Moment;
use super::pool::known;
use super::words::word;

/// Several nodes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Nodes {
    /// The nodes, in the controller's order.
    pub nodes: Vec<NodeReport>,
}

/// A node after `evacuate`: the same keys, other words for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Evacuated(pub Nodes);

/// One node. What its agent says is null while the agent has not been heard.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct NodeReport {
    pub node: String,
    pub reachable: bool,
    pub detail: Option<String>,
    pub last_seen_at: Option<Moment>,
    pub pools: Vec<String>,
    pub memory: Option<MemoryReport>,
    pub swap_total_bytes: Option<u64>,
    pub load: Option<Vec<f64>>,
    pub data_address: Option<String>,
    pub agent_version: Option<String>,
    pub kernel_release: Option<String>,
    pub boot_id: Option<String>,
    pub holdings: Vec<HoldingReport>,
    pub drained: bool,
    pub drain_reason: Option<String>,
    pub unknown_holdings: Vec<HoldingReport>,
    pub rack: Option<String>,
}

/// A node's memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct MemoryReport {
    pub total_bytes: u64,
    pub available_bytes: u64,
    pub lendable_bytes: u64,
    pub floor_bytes: u64,
    pub lent_bytes: u64,
}

/// One object that a node's kernel holds for a pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the keys are documented in cli/README.md")]
pub struct HoldingReport {
    pub pool: String,
    pub generation: u32,
    pub kind: String,
    pub name: String,
    pub size_bytes: u64,
    pub detail: Option<String>,
    pub donor: Option<String>,
}

impl From<ListNodesResponse> for Nodes {
    fn from(answer: ListNodesResponse) -> Self {
        Self { nodes: answer.nodes.into_iter().map(Into::into).collect() }
    }
}

impl From<NodeStatus> for NodeReport {
    fn from(status: NodeStatus) -> Self {
        let heard = status.inventory.is_some();
        let inventory: Inventory = status.inventory.unwrap_or_default();
        Self {
            node: status.node,
            reachable: status.reachable,
            detail: known(status.detail),
            last_seen_at: Moment::known(status.last_seen_ms),
            pools: status.pools,
            memory: inventory.memory.map(|memory| MemoryReport {
                total_bytes: memory.total_bytes,
                available_bytes: memory.available_bytes,
                lendable_bytes: memory.lendable_bytes,
                floor_bytes: memory.floor_bytes,
                lent_bytes: memory.lent_bytes,
            }),
            swap_total_bytes: heard.then_some(inventory.swap_total_bytes),
            load: heard.then_some(inventory.load),
            data_address: known(inventory.data_address),
            agent_version: known(inventory.agent_version),
            kernel_release: known(inventory.kernel_release),
            boot_id: known(inventory.boot_id),
            holdings: inventory.holdings.into_iter().map(Into::into).collect(),
            drained: status.drained,
            drain_reason: known(status.drain_reason),
            unknown_holdings: status.unknown.into_iter().map(Into::into).collect(),
            rack: known(status.rack),
        }
    }
}

impl From<Holding> for HoldingReport {
    fn from(holding: Holding) -> Self {
        let pool = holding.pool.unwrap_or_default();
        Self {
            pool: pool.name,
            generation: pool.generation,
            kind: word::<HoldingKind>(holding.kind),
            name: holding.name,
            size_bytes: holding.bytes,
            detail: known(holding.detail),
            donor: known(holding.donor),
        }
    }
}
