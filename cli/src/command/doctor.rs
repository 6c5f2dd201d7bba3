//! `rampool doctor`.

use std::path::{Path, PathBuf};

use clap::Args;
use rampool_proto::hostlist::HostList;
use rampool_proto::v1::{DoctorRequest, DoctorResponse, Failure, Finding, HookDeadlines, Severity};

use super::slurm::config::{DEFAULT_CONFIG, SlurmConfig};
use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, Findings, Level};

/// `rampool doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Which nodes, e.g. n[001-040]; left out, all of them
    nodes: Option<HostList>,
    /// The configuration of Slurm's hooks, where this host has one: how long they wait is
    /// compared with how long Slurm lets them
    #[arg(long, env = "RAMPOOL_SLURM_CONFIG", default_value = DEFAULT_CONFIG, value_name = "FILE")]
    slurm_config: PathBuf,
}

impl Doctor {
    /// Shows what is missing and how to mend it; an ERROR among it makes the command fail.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let controller = Controller::connect(global).await?;
        let nodes = self.nodes.map(|nodes| nodes.to_string()).unwrap_or_default();
        let (hooks, unread) = match deadlines(&self.slurm_config) {
            Ok(hooks) => (hooks, None),
            Err(failure) => (None, Some(unread(&failure))),
        };
        let request = DoctorRequest { nodes, hooks };
        let mut answer: DoctorResponse = controller
            .ask("examine the nodes", request, |mut client, request| async move {
                client.doctor(request).await
            })
            .await?;
        answer.findings.extend(unread);
        let findings = Findings::from(answer);
        output::print(&findings, global.output)?;
        Ok(if findings.count(Level::Error) == 0 { Exit::Done } else { Exit::Failed })
    }
}

/// How long the hooks of this host wait; none where it has none.
fn deadlines(config: &Path) -> Result<Option<HookDeadlines>, Failure> {
    if let Ok(false) = config.try_exists() {
        return Ok(None);
    }
    let config = SlurmConfig::load(config)?;
    let seconds = |time: std::time::Duration| time.as_secs().try_into().unwrap_or(u32::MAX);
    Ok(Some(HookDeadlines {
        start_seconds: seconds(config.deadline()),
        node_seconds: seconds(config.node_deadline()),
    }))
}

/// Hooks that cannot read it fail, each of them.
fn unread(failure: &Failure) -> Finding {
    Finding {
        severity: Severity::Error.into(),
        text: format!("Slurm's hooks on this host: {}: {}", failure.step, failure.said),
        fix: failure.advice.clone(),
        ..Finding::default()
    }
}
