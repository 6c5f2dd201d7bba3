//! What certificates say.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rampool_proto::tls::Identity;
use rampool_proto::v1::Failure;

use super::failed;
use super::folder::Folder;

/// A certificate in its file.
#[derive(Debug)]
pub struct Shown {
    /// Where it is.
    pub file: PathBuf,
    /// Whom it is for, and until when.
    pub identity: Identity,
}

/// What the certificates of these files say; those of a CA's folder where one is named.
pub fn show(paths: &[PathBuf]) -> Result<Vec<Shown>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            let names = Folder::open(path)?.names()?;
            let files = names.iter().map(|name| file(&path.join(format!("{name}.pem"))));
            all.extend(files.collect::<Result<Vec<_>, _>>()?);
        } else {
            all.push(file(path)?);
        }
    }
    Ok(all)
}

/// What the first certificate of a file says.
pub(super) fn file(path: &Path) -> Result<Shown, Failure> {
    let identity =
        Identity::of_file(path).map_err(|error| failed("read the certificate", error))?;
    Ok(Shown { file: path.to_owned(), identity })
}

/// Whole days until a moment in seconds since 1970; fewer than none where it has passed.
#[must_use]
pub fn days_left(not_after: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    (not_after - i64::try_from(now).unwrap_or(i64::MAX)).div_euclid(SECONDS_A_DAY)
}

const SECONDS_A_DAY: i64 = 24 * 60 * 60;
