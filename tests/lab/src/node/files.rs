//! A node's files, and what it keeps over a boot.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Node, deadline};
use crate::{
    exec::{Reply, Request, frame::Kind},
    files,
    guest::config::GuestConfig,
    keeper::control::Power,
};

/// How long a file may take to travel.
const FILE_TIMEOUT: Duration = Duration::from_secs(300);

impl Node {
    /// Copies a file of this machine there, with its permission bits.
    ///
    /// # Errors
    /// When either side's file cannot be used.
    pub fn put(&self, local: impl AsRef<Path>, remote: &str) -> Result<()> {
        let local = local.as_ref();
        let file = File::open(local).with_context(|| format!("cannot open {}", local.display()))?;
        let meta = file.metadata().with_context(|| format!("cannot read {}", local.display()))?;
        ensure!(!meta.is_dir(), "{} is a folder: only files can be copied", local.display());
        self.store(file, remote, meta.permissions().mode() & 0o7777)
    }

    /// Copies a file from there to this machine, with its permission bits.
    ///
    /// # Errors
    /// When either side's file cannot be used.
    pub fn get(&self, remote: &str, local: impl AsRef<Path>) -> Result<()> {
        let local = local.as_ref();
        let (bytes, mode) = self.fetch(remote)?;
        files::replace(local, &bytes, mode)?;
        fs::set_permissions(local, fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the permissions of {}", local.display()))
    }

    /// Stores a file there with these permission bits, in one step; makes its folder if need be.
    ///
    /// # Errors
    /// When the node cannot store it.
    pub fn write_file(&self, remote: &str, mode: u32, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.store(bytes.as_ref(), remote, mode)
    }

    /// Reads a file there.
    ///
    /// # Errors
    /// When the node cannot read it.
    pub fn read_file(&self, remote: &str) -> Result<Vec<u8>> {
        self.fetch(remote).map(|(bytes, _)| bytes)
    }

    /// Stores a file there now (if the node runs) and at each boot from now on, before anything is started.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn persist_file(&self, path: &str, mode: u32, bytes: impl AsRef<[u8]>) -> Result<()> {
        ensure!(path.starts_with('/'), "{path}: a path in a node must be absolute");
        let folder = self.lab.state.node(self.id);
        GuestConfig::read(&folder)?.persist(&folder, path, mode, bytes.as_ref())?;
        match self.status()?.power {
            Power::On => self.write_file(path, mode, bytes),
            Power::Off | Power::Paused | Power::Ended => Ok(()),
        }
    }

    /// Adds a shell command to those that run after each boot from now on, before the boot counts as done.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn on_boot(&self, script: &str) -> Result<()> {
        let folder = self.lab.state.node(self.id);
        let mut config = GuestConfig::read(&folder)?;
        config.on_boot.push(script.to_owned());
        config.write(&folder)
    }

    /// What its kernel and first process have said, in all of its boots.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn console_log(&self) -> Result<String> {
        let path = self.lab.state.console(self.id);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn store(&self, content: impl std::io::Read, remote: &str, mode: u32) -> Result<()> {
        let connection = self.request(&Request::Put { path: remote.to_owned(), mode })?;
        let sent = connection.sender()?.send_all(content);
        // The node's reason, if it has one, says more than a broken connection.
        let reply = connection.reply(deadline(FILE_TIMEOUT));
        match (reply, sent) {
            (Ok(Reply::Done { .. }), Ok(())) => Ok(()),
            (Ok(other), Ok(())) => Err(self.unexpected(&other)),
            (Err(e), _) => Err(e),
            (Ok(_), Err(e)) => {
                Err(e).with_context(|| format!("cannot send {remote} to node {}", self.id))
            }
        }
    }

    fn fetch(&self, remote: &str) -> Result<(Vec<u8>, u32)> {
        let connection = self.request(&Request::Get { path: remote.to_owned() })?;
        let deadline = deadline(FILE_TIMEOUT);
        let mut bytes = Vec::new();
        loop {
            let frame = connection.next(deadline)?;
            if frame.kind == Kind::Stdout {
                bytes.extend_from_slice(&frame.payload);
                continue;
            }
            return match connection.decode(&frame)? {
                Reply::Done { mode } => Ok((bytes, mode)),
                other => Err(self.unexpected(&other)),
            };
        }
    }
}
