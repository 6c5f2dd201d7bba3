//! What the lab tells a node about itself: a file that the node reads over hostfs when it boots.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{lab::Init, names::NodeId};

/// Where the node's own folder (this configuration and the persistent files) is mounted.
pub const NODE_FOLDER: &str = "/opt/rampool/node";

/// The configuration's file name in that folder.
pub const FILE: &str = "guest.json";

/// The persistent files' folder in that folder; `0`, `1`, ... are their contents.
pub const PERSIST: &str = "persist";

/// A node's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestConfig {
    /// Which node this is.
    pub node: NodeId,
    /// How many nodes the lab has.
    pub nodes: u8,
    /// What runs as its first process.
    pub init: Init,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// Files to store at each boot, before anything is started.
    pub persist: Vec<PersistFile>,
    /// Shell commands that the lab runs after each boot, in this order.
    pub on_boot: Vec<String>,
}

/// A file that is stored anew at each boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersistFile {
    /// Its absolute path in the node.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// Its content: a file's name in [`PERSIST`].
    pub content: String,
}

impl GuestConfig {
    /// Reads the configuration from a node's folder.
    ///
    /// # Errors
    /// When it cannot be read or is not understood.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not understood", path.display()))
    }

    /// Stores the configuration in a node's folder, in one step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text =
            serde_json::to_vec_pretty(self).context("cannot encode a node's configuration")?;
        crate::files::replace(&folder.join(FILE), &text, 0o600)
    }

    /// Adds a persistent file (or replaces the one with the same path) and stores its content.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn persist(&mut self, folder: &Path, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let known = self.persist.iter().position(|file| file.path == path);
        let content = known.unwrap_or(self.persist.len()).to_string();
        let store: PathBuf = folder.join(PERSIST);
        std::fs::create_dir_all(&store)
            .with_context(|| format!("cannot make {}", store.display()))?;
        crate::files::replace(&store.join(&content), bytes, 0o600)?;
        let file = PersistFile { path: path.to_owned(), mode, content };
        match known {
            Some(index) => self.persist[index] = file,
            None => self.persist.push(file),
        }
        self.write(folder)
    }
}
