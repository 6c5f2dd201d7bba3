//! `rampool pki`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rampool_proto::hostlist::HostList;
use rampool_proto::v1::Failure;

use crate::args::Format;
use crate::exit::Exit;
use crate::output::{self, MadeFiles};
use crate::pki::{self, Address, Wanted};

/// `rampool pki`.
#[derive(Debug, Args)]
pub struct Pki {
    #[command(subcommand)]
    action: Action,
}

/// What to make.
#[derive(Debug, Subcommand)]
enum Action {
    /// Make a new CA: DIR/ca.pem and DIR/ca.key, good for ten years
    Init {
        /// The folder to make, mode 0700
        dir: PathBuf,
    },
    /// Make a certificate and its key: DIR/NAME.pem and DIR/NAME.key
    Issue {
        /// The node's name, or that of the controller or of an admin; a list makes one for each
        names: HostList,
        /// The CA's folder
        #[arg(long)]
        dir: PathBuf,
        /// Another address or DNS name by which it is reached; may be given several times
        #[arg(long = "address", value_name = "IP|DNS")]
        addresses: Vec<Address>,
        /// How many days it is good for
        #[arg(long, default_value_t = pki::DEFAULT_DAYS,
              value_parser = clap::value_parser!(u16).range(1..=pki::MOST_DAYS))]
        days: u16,
        /// Take the place of a certificate of that name
        #[arg(long)]
        force: bool,
    },
}

impl Pki {
    /// Makes the files and names them.
    pub(super) fn run(self, format: Format) -> Result<Exit, Failure> {
        let files = match self.action {
            Action::Init { dir } => pki::init(&dir)?,
            Action::Issue { names, dir, addresses, days, force } => {
                pki::issue(&dir, &Wanted { names, addresses, days, force })?
            }
        };
        output::print(&MadeFiles { files }, format)?;
        Ok(Exit::Done)
    }
}
