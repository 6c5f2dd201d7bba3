//! `rampool renew`.

use clap::Args;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::{Failure, Pool, RenewRequest};

use crate::args::Global;
use crate::client::Controller;
use crate::exit::Exit;
use crate::output::{self, PoolReport, Renewed};
use crate::request::wish::Seconds;

/// `rampool renew`.
#[derive(Debug, Args)]
pub struct Renew {
    /// The pool
    pool: PoolName,
    /// How long it may live from now on, e.g. 12h; left out, as long as its lease was
    #[arg(long, value_name = "DURATION")]
    lease: Option<Seconds>,
}

impl Renew {
    /// Asks for the new lease and tells its end.
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let controller = Controller::connect(global).await?;
        let step = format!("renew the lease of {}", self.pool);
        let request = RenewRequest {
            pool: self.pool.to_string(),
            lease_seconds: self.lease.map_or(0, |lease| lease.0),
        };
        let pool: Pool = controller
            .ask(&step, request, |mut client, request| async move { client.renew(request).await })
            .await?;
        output::print(&Renewed(PoolReport::from(pool)), global.output)?;
        Ok(Exit::Done)
    }
}
