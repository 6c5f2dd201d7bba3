//! New certificates in the place of those that end soon: the same roles, names and addresses,
//! another key.

use std::path::{Path, PathBuf};

use rampool_proto::v1::Failure;

use super::certificate::{self, Subject};
use super::folder::{Folder, Replace};
use super::show::{self, Shown};
use super::{Address, authority, failed};

/// How many days before its end a certificate is renewed, unless asked otherwise: a month of
/// warnings, and a month more.
pub const DEFAULT_WITHIN: u16 = 60;

/// Renews what ends within so many days in the CA's folder `dir`, for `days` days more. Says which
/// files were written. The CA itself stays: a new one is another cluster's.
pub fn renew(dir: &Path, within: u16, days: u16) -> Result<Vec<PathBuf>, Failure> {
    let folder = Folder::open(dir)?;
    let issuer = authority(dir, &folder)?;
    let mut files = Vec::new();
    for name in folder.names()? {
        let Shown { identity, .. } = show::file(&dir.join(format!("{name}.pem")))?;
        if show::days_left(identity.not_after) > i64::from(within) {
            continue;
        }
        let Some((first, others)) = identity.names.split_first() else { continue };
        let names = others.iter().cloned().map(Address::Dns);
        let addresses: Vec<Address> =
            names.chain(identity.addresses.iter().copied().map(Address::Ip)).collect();
        let roles: Vec<_> = identity.roles.into_iter().collect();
        let subject = Subject { roles: &roles, name: first, addresses: &addresses };
        let made = certificate::of_party(&issuer, &subject, days)
            .map_err(|error| failed(&format!("make the certificate {name}"), error))?;
        files.extend(folder.write(&name, &made, Replace::Always)?);
    }
    Ok(files)
}
