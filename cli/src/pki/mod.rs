//! The cluster's CA and the certificates of its parties: what every connection between
//! rampool's programs is proved by.
//!
//! All keys are ECDSA P-256. The CA is good for ten years and may sign only end certificates.
//! A party's certificate is good for a year unless asked otherwise, for serving and dialling
//! alike (a controller does both), and carries what it may be ([`rampool_proto::tls::Role`]) and
//! its name, as a DNS name beside any addresses. Keys are files of mode 0600 in a folder of mode 0700; a file appears whole or not
//! at all, and one that is there is not replaced unasked.
//!
//! | module | idea |
//! | --- | --- |
//! | `certificate` | what is in the certificates |
//! | `folder` | how the files are kept |
//! | `party` | for whom they are |
//! | `renew` | new ones for those that end soon |
//! | `show` | what they say |

mod certificate;
mod folder;
mod party;
mod renew;
mod show;

use std::fmt::Display;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rampool_proto::hostlist::check_name;
use rampool_proto::tls::Role;
use rampool_proto::v1::{Failure, FailureKind};
use rcgen::{Issuer, KeyPair};

pub use party::Parties;
pub use renew::{DEFAULT_WITHIN, renew};
pub use show::{Shown, days_left, show};

use certificate::Subject;
use folder::{Folder, Replace};
use party::file_name;

/// How many days a party's certificate is good for, unless asked otherwise: long enough not
/// to be a chore, short enough that a stolen key dies.
pub const DEFAULT_DAYS: u16 = 365;

/// The most days one can ask for: the CA's own life.
pub const MOST_DAYS: i64 = 3650;

/// The CA's own file name.
const CA: &str = "ca";

/// Which certificates to make.
#[derive(Debug)]
pub struct Wanted {
    /// For whom.
    pub parties: Vec<Parties>,
    /// By what else it is reached; only where there is one party.
    pub addresses: Vec<Address>,
    /// How many days they are good for.
    pub days: u16,
    /// Whether they may take the place of others.
    pub force: bool,
}

/// An address by which a process is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// By number.
    Ip(IpAddr),
    /// By DNS name.
    Dns(String),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        check_name(text).map(|()| Self::Dns(text.to_owned()))
    }
}

/// Makes a new CA in the folder `dir`, which is made too. Says which files were written.
pub fn init(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let folder = Folder::create(dir)?;
    folder.refuse_existing(CA)?;
    let made = certificate::authority().map_err(|error| failed("make the CA", error))?;
    folder.write(CA, &made, Replace::Never)
}

/// Makes certificates, signed by the CA in the folder `dir`. Says which files were written.
pub fn issue(dir: &Path, wanted: &Wanted) -> Result<Vec<PathBuf>, Failure> {
    check(wanted)?;
    let folder = Folder::open(dir)?;
    let replace = if wanted.force { Replace::Always } else { Replace::Never };
    if replace == Replace::Never {
        for (role, name) in parties(wanted) {
            folder.refuse_existing(&file_name(role, name))?;
        }
    }
    let issuer = authority(dir, &folder)?;
    let mut files = Vec::new();
    for (role, name) in parties(wanted) {
        let subject = Subject { roles: &[role], name, addresses: &wanted.addresses };
        let made = certificate::of_party(&issuer, &subject, wanted.days)
            .map_err(|error| failed(&format!("make the certificate of {role} {name}"), error))?;
        files.extend(folder.write(&file_name(role, name), &made, replace)?);
    }
    Ok(files)
}

/// The CA in the folder `dir`, ready to sign.
fn authority(dir: &Path, folder: &Folder) -> Result<Issuer<'static, KeyPair>, Failure> {
    let (certificate, key) = folder.read(CA)?;
    certificate::issuer(&certificate, &key)
        .map_err(|error| failed("read the CA", error).by(dir.display().to_string()))
}

fn parties(wanted: &Wanted) -> impl Iterator<Item = (Role, &str)> {
    wanted.parties.iter().flat_map(|some| some.names.iter().map(|name| (some.role, name)))
}

fn check(wanted: &Wanted) -> Result<(), Failure> {
    if parties(wanted).count() > 1 && !wanted.addresses.is_empty() {
        return Err(Failure::new(FailureKind::Invalid, "read what certificates are wanted")
            .saying("several parties cannot share an --address; issue them one by one"));
    }
    Ok(())
}

fn failed(step: &str, said: impl Display) -> Failure {
    Failure::new(FailureKind::Failed, step).saying(said)
}
