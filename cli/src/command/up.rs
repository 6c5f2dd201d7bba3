//! `rampool up` and `rampool plan`: the same words, one does it and one only shows it.

use std::path::PathBuf;

use clap::Args;
use rampool_proto::config_file;
use rampool_proto::v1::{
    Failure, FailureKind, Placement, PlanRequest, PlanResponse, PoolSpec, UpRequest,
};

use super::run_operation::{self, Operation};
use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, PlanReport, PoolReport, Raised};
use crate::request::caller;
use crate::request::wish::Wish;

/// What is asked for.
#[derive(Debug, Args)]
pub struct Asked {
    /// A pool file (YAML, see examples/pool.yaml); flags win over what it says
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    wish: Wish,
}

impl Asked {
    fn spec(self) -> Result<PoolSpec, Failure> {
        let file = match &self.file {
            None => Wish::default(),
            Some(path) => config_file::load(path).map_err(|error| {
                Failure::new(FailureKind::Invalid, "read the pool file").saying(error)
            })?,
        };
        self.wish.over(file).spec(caller::current())
    }
}

/// `rampool up`.
#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    asked: Asked,
}

impl Up {
    /// Brings the pool up and follows it.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let spec = self.asked.spec()?;
        let name = spec.name.clone();
        let controller = Controller::connect(global).await?;
        let step = format!("ask for the pool {name}");
        let request = UpRequest { spec: Some(spec) };
        let begin = controller
            .begin(&step, request, |mut client, request| async move { client.up(request).await });
        match run_operation::run(begin, Operation::Up(&name)).await? {
            None => Ok(Exit::Interrupted),
            Some(pool) => {
                output::print(&Raised(PoolReport::from(pool)), global.output)?;
                Ok(Exit::Done)
            }
        }
    }
}

/// `rampool plan`.
#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    asked: Asked,
}

impl Plan {
    /// Shows what `up` would do.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let spec = self.asked.spec()?;
        let name = spec.name.clone();
        let controller = Controller::connect(global).await?;
        let step = format!("plan the pool {name}");
        let answer: PlanResponse = controller
            .ask(&step, PlanRequest { spec: Some(spec) }, |mut client, request| async move {
                client.plan(request).await
            })
            .await?;
        let placement: Placement = answer.placement.ok_or_else(|| {
            Failure::new(FailureKind::Failed, step).saying("the controller's plan is empty")
        })?;
        output::print(&PlanReport::new(name, placement), global.output)?;
        Ok(Exit::Done)
    }
}
