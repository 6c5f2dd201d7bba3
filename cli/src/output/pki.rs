//! What `pki` made.

use std::path::PathBuf;

use serde::Serialize;

/// The files that were written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MadeFiles {
    /// Their paths, certificates and keys in turn.
    pub files: Vec<PathBuf>,
}
