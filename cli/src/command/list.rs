//! `rampool list`.

use clap::Args;
use rampool_proto::v1::{
    Failure, ListJobsRequest, ListJobsResponse, ListPoolsRequest, ListPoolsResponse,
};

use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, Jobs, Pools};

/// `rampool list`.
#[derive(Debug, Args)]
pub struct List {
    /// Slurm's jobs that want a pool, or this one, and why each waits, or failed
    #[arg(long, num_args = 0..=1, value_parser = clap::value_parser!(u32).range(1..))]
    job: Option<Option<u32>>,
}

impl List {
    /// Shows all pools, a line each; or jobs.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        match self.job {
            None => output::print(&all(global).await?, global.output)?,
            Some(job) => output::print(&jobs(global, job).await?, global.output)?,
        }
        Ok(Exit::Done)
    }
}

async fn jobs(global: &Global, job: Option<u32>) -> Result<Jobs, Failure> {
    let step = job.map_or_else(|| "list the jobs".to_owned(), |job| format!("look at job {job}"));
    let request = ListJobsRequest { job: job.unwrap_or_default() };
    let answer: ListJobsResponse = Controller::connect(global)
        .await?
        .ask(&step, request, |mut client, request| async move { client.list_jobs(request).await })
        .await?;
    Ok(answer.into())
}

/// All pools, of a controller to be connected.
pub(super) async fn all(global: &Global) -> Result<Pools, Failure> {
    look_at(&Controller::connect(global).await?).await
}

/// All pools.
pub(super) async fn look_at(controller: &Controller) -> Result<Pools, Failure> {
    let answer: ListPoolsResponse = controller
        .ask("list the pools", ListPoolsRequest {}, |mut client, request| async move {
            client.list_pools(request).await
        })
        .await?;
    Ok(answer.pools.into())
}
