//! `rampool pki`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rampool_proto::v1::Failure;

use crate::args::Format;
use crate::exit::Exit;
use crate::output::{self, CertificateReport, Certificates, MadeFiles};
use crate::pki::{self, Address, Parties, Wanted};

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
    /// Make certificates and their keys: DIR/ROLE-NAME.pem and DIR/ROLE-NAME.key
    Issue {
        /// For whom, as ROLE=NAMES: controller=mds1, agent=n[001-040] (its node's name),
        /// operator=admin (a person), slurm=slurm (the hooks on slurmctld's host)
        #[arg(required = true, value_name = "ROLE=NAMES")]
        parties: Vec<Parties>,
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
    /// Make new certificates and keys in the place of those that end soon
    Renew {
        /// The CA's folder
        #[arg(long)]
        dir: PathBuf,
        /// How many days before its end a certificate is renewed
        #[arg(long, value_name = "DAYS", default_value_t = pki::DEFAULT_WITHIN)]
        within: u16,
        /// How many days the new ones are good for
        #[arg(long, default_value_t = pki::DEFAULT_DAYS,
              value_parser = clap::value_parser!(u16).range(1..=pki::MOST_DAYS))]
        days: u16,
    },
    /// Say what certificates are for, and until when
    Show {
        /// Certificates, or the CA's folder
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

impl Pki {
    /// Makes the files and names them, or says what they are.
    pub(super) fn run(self, format: Format) -> Result<Exit, Failure> {
        let files = match self.action {
            Action::Init { dir } => pki::init(&dir)?,
            Action::Issue { parties, dir, addresses, days, force } => {
                pki::issue(&dir, &Wanted { parties, addresses, days, force })?
            }
            Action::Renew { dir, within, days } => pki::renew(&dir, within, days)?,
            Action::Show { paths } => {
                let certificates = pki::show(&paths)?.into_iter().map(CertificateReport::from);
                output::print(&Certificates { certificates: certificates.collect() }, format)?;
                return Ok(Exit::Done);
            }
        };
        output::print(&MadeFiles { files }, format)?;
        Ok(Exit::Done)
    }
}
