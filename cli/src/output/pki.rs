//! What `pki` made, and what certificates say.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::Moment;
use crate::pki::{self, Shown};

/// The files that were written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MadeFiles {
    /// Their paths, certificates and keys in turn.
    pub files: Vec<PathBuf>,
}

/// Certificates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Certificates {
    /// As they were asked for; those of a folder by their names.
    pub certificates: Vec<CertificateReport>,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CertificateReport {
    /// Its file.
    pub file: PathBuf,
    /// What its holder may be.
    pub roles: Vec<String>,
    /// Its DNS names.
    pub names: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its last moment.
    pub ends_at: Option<Moment>,
    /// Whole days until then; fewer than none where it has passed.
    pub days_left: i64,
}

impl From<Shown> for CertificateReport {
    fn from(Shown { file, identity }: Shown) -> Self {
        Self {
            file,
            roles: identity.roles.iter().map(ToString::to_string).collect(),
            ends_at: Moment::known(identity.ends_ms()),
            days_left: pki::days_left(identity.not_after),
            names: identity.names,
            addresses: identity.addresses,
        }
    }
}
