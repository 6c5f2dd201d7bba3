//! The folder that holds a lab's state, and which labs of it are alive.
//!
//! A lab is alive while its keeper holds a lock on `keeper.log`. The lock cannot outlive the keeper, so a folder whose
//! lock is free is what a dead lab left: files alone, since the kernel has taken everything else away.

use std::{
    env,
    fs::{self, File, TryLockError},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::names::{NodeId, check_lab_name};

/// The paths of one lab's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    folder: PathBuf,
}

impl State {
    /// The state folder of the lab with this name.
    ///
    /// # Errors
    /// When the name cannot be a folder's.
    pub fn of(name: &str) -> Result<Self> {
        check_lab_name(name)?;
        Ok(Self { folder: labs_folder()?.join(name) })
    }

    /// The state in this folder.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the lab is made of.
    #[must_use]
    pub fn spec(&self) -> PathBuf {
        self.folder.join("lab.json")
    }

    /// The keeper's own log, and the lock that says that it lives.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("keeper.log")
    }

    /// Programs that every node sees in `/opt/rampool/bin`.
    #[must_use]
    pub fn binaries(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// The folders of all nodes.
    #[must_use]
    pub fn nodes(&self) -> PathBuf {
        self.folder.join("nodes")
    }

    /// The folder that a node sees as `/opt/rampool/node`.
    #[must_use]
    pub fn node(&self, node: NodeId) -> PathBuf {
        self.nodes().join(node.to_string())
    }

    /// What a node's kernel and first process said, of all its boots.
    #[must_use]
    pub fn console(&self, node: NodeId) -> PathBuf {
        self.folder.join(format!("{node}.console.log"))
    }

    /// Where the keeper mounts what only its own processes see.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Makes the folder and takes its lock, if no living lab has it. What a dead one left there is removed first.
    ///
    /// # Errors
    /// When a living lab has the name, or the folder cannot be made.
    pub fn claim(&self) -> Result<File> {
        let folder = self.folder.display();
        for _ in 0..100 {
            if self.folder.exists() && !self.remove_if_dead()? {
                bail!(
                    "a lab of this name is running (its state is in {folder}): take it down, or use another name"
                );
            }
            fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {folder}"))?;
            let lock = File::options().create(true).append(true).open(self.log());
            let lock = lock.with_context(|| format!("cannot write {}", self.log().display()))?;
            if lock.try_lock().is_ok() && same_file(&lock, &self.log()) {
                return Ok(lock);
            }
        }
        bail!("cannot lock {folder}: other processes keep making and removing it")
    }

    /// Whether a living keeper (or somebody who is about to start one) has this folder.
    ///
    /// # Errors
    /// When the lock cannot be asked.
    pub fn is_alive(&self) -> Result<bool> {
        let log = match File::open(self.log()) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            other => other.with_context(|| format!("cannot open {}", self.log().display()))?,
        };
        match log.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(e)) => {
                Err(e).with_context(|| format!("cannot lock {}", self.log().display()))
            }
        }
    }

    /// Removes the folder unless its lab lives; says whether it is gone.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_if_dead(&self) -> Result<bool> {
        let lock = match File::open(self.log()) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            other => Some(other.with_context(|| format!("cannot open {}", self.log().display()))?),
        };
        // Held until the folder is gone, so that nobody starts a lab in it meanwhile.
        if lock.as_ref().is_some_and(|lock| lock.try_lock().is_err()) {
            return Ok(false);
        }
        match fs::remove_dir_all(&self.folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("cannot remove {}", self.folder.display()))
            }
            _ => Ok(true),
        }
    }
}

fn same_file(open: &File, path: &Path) -> bool {
    match (open.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// All labs that have a folder here, by name.
///
/// # Errors
/// When the folder of labs cannot be read.
pub fn all() -> Result<Vec<(String, State)>> {
    let folder = labs_folder()?;
    let entries = match fs::read_dir(&folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    let mut labs: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), State { folder: entry.path() })
        })
        .collect();
    labs.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(labs)
}

/// Removes what dead labs left; names them.
///
/// # Errors
/// When something cannot be removed.
pub fn remove_dead() -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for (name, state) in all()? {
        // Without a log it is a folder that its maker has not locked yet, or no lab's at all.
        if state.log().exists() && state.remove_if_dead()? {
            removed.push(name);
        }
    }
    Ok(removed)
}

/// The folder of all labs: `labs` in cargo's target folder.
///
/// (Not `lab`: cargo keeps the build profile of that name there.)
fn labs_folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("RAMPOOL_LAB_STATE").filter(|value| !value.is_empty()) {
        return std::path::absolute(folder).context("RAMPOOL_LAB_STATE is no usable path");
    }
    let target = match env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty()) {
        Some(target) => {
            std::path::absolute(target).context("CARGO_TARGET_DIR is no usable path")?
        }
        None => target_of_this_program()
            .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")),
    };
    Ok(target.join("labs"))
}

/// The target folder in which this very program was built, if it still lies there.
fn target_of_this_program() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    program.ancestors().find(|folder| folder.join(".rustc_info.json").is_file()).map(Path::to_owned)
}
