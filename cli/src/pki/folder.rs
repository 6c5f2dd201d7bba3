//! How the files are kept: private, whole, and not replaced unasked.

use std::fmt::Display;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rampool_proto::v1::{Failure, FailureKind};
use zeroize::Zeroizing;

use super::certificate::Made;

/// The CA's folder.
pub(super) struct Folder(PathBuf);

/// Whether a file may take the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replace {
    Never,
    Always,
}

impl Folder {
    /// The folder `dir`, made if it is not there.
    pub(super) fn create(dir: &Path) -> Result<Self, Failure> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(failed("make the folder", dir, error))
            }
            _ => Self::open(dir),
        }
    }

    /// The folder `dir`, which must be closed to others.
    pub(super) fn open(dir: &Path) -> Result<Self, Failure> {
        let metadata = fs::metadata(dir).map_err(|error| {
            failed("open the CA's folder", dir, error).advising("`rampool pki init DIR` makes one")
        })?;
        let mode = metadata.mode() & 0o7777;
        if !metadata.is_dir() || mode & 0o077 != 0 {
            return Err(failed("open the CA's folder", dir, format!("its mode is {mode:04o}"))
                .advising("keys are kept in a folder closed to others: chmod 0700 it"));
        }
        Ok(Self(dir.to_owned()))
    }

    /// Refuses where there is a certificate or key of that name.
    pub(super) fn refuse_existing(&self, name: &str) -> Result<(), Failure> {
        for path in self.paths(name) {
            if path.symlink_metadata().is_ok() {
                return Err(exists(&path, name));
            }
        }
        Ok(())
    }

    /// The names of the parties that have a certificate here, in their order.
    pub(super) fn names(&self) -> Result<Vec<String>, Failure> {
        let failed = |error| failed("list the CA's folder", &self.0, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let party = name.to_str().and_then(|name| name.strip_suffix(".pem"));
            names.extend(party.filter(|party| *party != super::CA).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Reads the certificate and key of that name.
    pub(super) fn read(&self, name: &str) -> Result<(String, Zeroizing<String>), Failure> {
        let [certificate, key] = self.paths(name);
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|error| {
                failed("read the CA", path, error).advising("`rampool pki init DIR` makes one")
            })
        };
        Ok((read(&certificate)?, Zeroizing::new(read(&key)?)))
    }

    /// Writes the certificate and key of that name: the key first, so that a certificate
    /// without its key is never seen.
    pub(super) fn write(
        &self,
        name: &str,
        made: &Made,
        replace: Replace,
    ) -> Result<Vec<PathBuf>, Failure> {
        let [certificate, key] = self.paths(name);
        self.write_file(&key, made.key.as_bytes(), 0o600, replace, name)?;
        self.write_file(&certificate, made.certificate.as_bytes(), 0o644, replace, name)?;
        // The names are only safe once the folder itself is on disk.
        File::open(&self.0)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| failed("save the folder", &self.0, error))?;
        Ok(vec![certificate, key])
    }

    fn write_file(
        &self,
        path: &Path,
        text: &[u8],
        mode: u32,
        replace: Replace,
        name: &str,
    ) -> Result<(), Failure> {
        let failed = |error: std::io::Error| failed("write the file", path, error);
        // Made with mode 0600 from the first moment.
        let mut file = tempfile::NamedTempFile::new_in(&self.0).map_err(failed)?;
        file.write_all(text).map_err(failed)?;
        file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        let kept = match replace {
            Replace::Never => file.persist_noclobber(path),
            Replace::Always => file.persist(path),
        };
        match kept {
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(exists(path, name)),
            kept => kept.map(drop).map_err(|error| failed(error.error)),
        }
    }

    /// Certificate and key.
    fn paths(&self, name: &str) -> [PathBuf; 2] {
        [self.0.join(format!("{name}.pem")), self.0.join(format!("{name}.key"))]
    }
}

fn failed(step: &str, path: &Path, said: impl Display) -> Failure {
    Failure::new(FailureKind::Failed, step).by(path.display().to_string()).saying(said)
}

fn exists(path: &Path, name: &str) -> Failure {
    let advice = match name {
        super::CA => "it is the root of all trust; move it away by hand if it must go",
        _ => "--force replaces it",
    };
    Failure::new(FailureKind::Conflict, "write the file")
        .by(path.display().to_string())
        .saying("it is there already")
        .advising(advice)
}
