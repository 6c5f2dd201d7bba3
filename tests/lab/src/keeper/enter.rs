//! The keeper's first life: leaves the machine's namespaces, starts the keeper proper in the new ones, waits for it.

use std::{
    env,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::setsid,
};

/// Runs `rampool-lab keeper`: enters new namespaces and keeps the lab of this folder until it ends.
///
/// Not the keeper itself but its parent: a process cannot move itself into a new PID namespace, only its children. It
/// waits, so that whoever waits for it knows that every process of the lab is gone.
///
/// # Errors
/// When the namespaces cannot be made or the keeper cannot be started.
pub fn enter(folder: &Path) -> Result<ExitCode> {
    // Out of the owner's process group: Ctrl-C is for the owner, who then hangs up. Fails only for a group's leader.
    let _ = setsid();
    let own = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC;
    unshare(own).context("cannot make namespaces for the lab: only root can (use sudo), and some containers forbid it")?;
    let program = env::current_exe().context("cannot find this program's own path")?;
    let mut keeper = Command::new(program);
    let mut keeper =
        keeper.arg("keep").arg(folder).spawn().context("cannot start the lab's keeper")?;
    let status = keeper.wait().context("cannot wait for the lab's keeper")?;
    eprintln!("rampool-lab: the keeper ended: {status}");
    let code =
        status.code().or(status.signal().map(|s| 128 + s)).and_then(|c| u8::try_from(c).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
