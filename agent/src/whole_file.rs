//! Files that the agent keeps for whoever follows it: whoever reads one reads all of it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::outcome::{Change, Outcome, refused};

/// Begins the name of what is not whole yet.
pub(crate) const DRAFT: &str = ".draft.";

fn draft(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{DRAFT}{name}"))
}

/// Writes `text` in the place of what was there.
pub(crate) fn write(path: &Path, text: &[u8], mode: u32) -> Outcome<()> {
    let draft = draft(path);
    let attempt = || -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&draft)?;
        // Whatever the mask of this process.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text)?;
        fs::rename(&draft, path)
    };
    attempt().map_err(|error| refused(path, "write it", error))
}

/// What a file holds, as JSON; nothing where there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Outcome<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(path, "read it", error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| refused(path, "read it", error))
}

/// Removes the file, and what is left of one that was never whole.
pub(crate) fn remove(path: &Path) -> Outcome<Change> {
    remove_file(&draft(path))?;
    remove_file(path)
}

/// Removes one file, unless it is gone.
pub(crate) fn remove_file(path: &Path) -> Outcome<Change> {
    match fs::remove_file(path) {
        Ok(()) => Ok(Change::Made),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Change::Already),
        Err(error) => Err(refused(path, "remove it", error)),
    }
}
