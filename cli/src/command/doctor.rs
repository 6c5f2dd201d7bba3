//! `rampool doctor`.

use clap::Args;
use rampool_proto::hostlist::HostList;
use rampool_proto::v1::{DoctorRequest, DoctorResponse, Failure};

use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, Findings, Level};

/// `rampool doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Which nodes, e.g. n[001-040]; left out, all of them
    nodes: Option<HostList>,
}

impl Doctor {
    /// Shows what is missing and how to mend it; an ERROR among it makes the command fail.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let controller = Controller::connect(global).await?;
        let nodes = self.nodes.map(|nodes| nodes.to_string()).unwrap_or_default();
        let answer: DoctorResponse = controller
            .ask("examine the nodes", DoctorRequest { nodes }, |mut client, request| async move {
                client.doctor(request).await
            })
            .await?;
        let findings = Findings::from(answer);
        output::print(&findings, global.output)?;
        Ok(if findings.count(Level::Error) == 0 { Exit::Done } else { Exit::Failed })
    }
}
