//! What in Slurm's configuration stands in the way of jobs' pools, as Slurm says it is.

use std::time::Duration;

use rampool_proto::v1::{Failure, Finding, HookDeadlines, Severity};
use rampool_slurm::buffer;
use rampool_slurm::doctor::{self, Deadlines};
use rampool_slurm::text::config::Config;

use super::{Jobs, Waiting, watch};
use crate::nodes::Known;

impl Jobs {
    /// The findings on Slurm as a whole, and on what it gives out of these nodes.
    pub async fn examine(&self, nodes: &[Known], hooks: Option<HookDeadlines>) -> Vec<Finding> {
        self.examine_slurm(nodes, hooks.map(deadlines)).await.unwrap_or_else(|failure| {
            vec![Finding {
                severity: Severity::Error.into(),
                text: format!("Slurm does not say how it is configured: {failure}"),
                fix: "systemctl status slurmctld; `jobs.commands` in controller.yaml".to_owned(),
                ..Finding::default()
            }]
        })
    }

    async fn examine_slurm(
        &self,
        nodes: &[Known],
        hooks: Option<Deadlines>,
    ) -> Result<Vec<Finding>, Failure> {
        let config = self.slurm.config().await?;
        let partitions = self.slurm.partitions().await?;
        let slurms = self.slurm.nodes().await?;
        self.pools.allow(watch::allowances(&slurms));
        let mut found = doctor::examine(&config, &partitions, &self.config.cluster, hooks);
        found.extend(self.examine_donors(&config));
        found.extend(self.examine_buffer(&config, hooks).await?);
        for known in nodes {
            // Not each node of rampool runs jobs.
            let Some(node) = slurms.iter().find(|node| node.name == known.name) else { continue };
            let memory = known.current().and_then(|inventory| inventory.memory.as_ref());
            found.extend(memory.and_then(|memory| {
                doctor::examine_node(node, memory.total_bytes, memory.floor_bytes)
            }));
        }
        Ok(found)
    }

    /// What stands in the way of jobs that wait by Slurm's burst buffer.
    async fn examine_buffer(
        &self,
        config: &Config,
        hooks: Option<Deadlines>,
    ) -> Result<Vec<Finding>, Failure> {
        if self.config.wait_by != Waiting::BurstBuffer {
            return Ok(Vec::new());
        }
        if !buffer::is_configured(config) {
            return Ok(vec![buffer::missing()]);
        }
        let times = buffer::examine(&self.slurm.buffer().await?, hooks.map(|hooks| hooks.start));
        let forgotten = self.locked(|kept| kept.forgotten.clone());
        Ok(times.into_iter().chain(forgotten.into_iter().map(buffer::forgotten)).collect())
    }
}

fn deadlines(hooks: HookDeadlines) -> Deadlines {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Deadlines { start: seconds(hooks.start_seconds), node: seconds(hooks.node_seconds) }
}
