//! What an agent does before it listens: it makes sure of being alone, loads what LIO needs, and
//! keeps udev's other rules away from rampool's disks.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::MsFlags;

use crate::command;
use crate::modules;
use crate::node::Node;

/// An agent that was killed while the kernel worked for it keeps the lock until that ends.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// udev reads its rules within moments.
const DEADLINE: Duration = Duration::from_secs(20);

/// What every export needs; backends and heads load what they need when they do.
const MODULES: [&str; 2] = ["target_core_mod", "iscsi_target_mod"];

const UDEV_RULES: &str = include_str!("../udev/57-rampool.rules");

/// Held as long as the agent lives.
pub struct Alone(#[allow(dead_code)] Flock<File>);

/// Takes the lock that only one agent a node can have. The kernel lets it go when the last
/// thread of a killed agent has left it: no successor meets a call that still runs.
pub fn alone(run: &Path) -> anyhow::Result<Alone> {
    // What is for root alone says so itself: users look for their jobs' notes here.
    let open_to_pass = fs::Permissions::from_mode(0o711);
    fs::create_dir_all(run)
        .and_then(|()| fs::set_permissions(run, open_to_pass))
        .with_context(|| format!("make {}", run.display()))?;
    let path = run.join("agent.lock");
    let open =
        || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open().with_context(|| format!("open {}", path.display()))?;
    let patience = Instant::now() + LOCK_PATIENCE;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Alone(lock)),
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => bail!("lock {}: {errno}", path.display()),
        };
        if Instant::now() > patience {
            bail!("{} is locked: another rampool-agent runs on this node", path.display());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Makes the kernel ready for exports. A node that cannot export can still be a head: what does
/// not work is logged here, and refused when it is asked for.
pub fn prepare(node: &Node) {
    if let Err(failure) = modules::ensure(node, &MODULES) {
        tracing::warn!(%failure, "this node cannot export");
    }
    if let Err(error) = mount_configfs(node) {
        tracing::warn!("{error:#}");
    }
    // The kernel makes the iSCSI part of its tree when somebody asks for it.
    if node.roots.target.exists()
        && let Err(failure) = crate::configfs::make(&node.roots.targets())
    {
        tracing::warn!(%failure, "this node cannot export by iSCSI");
    }
    // Here, so that a pool leaves nothing that was not there before it.
    let prepared = [
        crate::ramdisk::prepare(node),
        crate::volume::prepare(node),
        crate::share::prepare(node),
        crate::jobs::prepare(node),
        // An agent before this one may have been killed on its way.
        crate::headroom::settle(node),
    ];
    for prepared in prepared {
        if let Err(failure) = prepared {
            tracing::warn!(%failure, "{} is not usable", node.roots.run.display());
        }
    }
    if let Err(failure) = crate::share::forget_ended(node) {
        tracing::warn!(%failure, "files of shares that have ended may be left");
    }
    if node.roots.udev_runs()
        && let Err(error) = keep_udev_away(node)
    {
        tracing::warn!("{error:#}");
    }
}

/// udev would see changed rules by itself, but looks for them only every few seconds.
fn keep_udev_away(node: &Node) -> anyhow::Result<()> {
    if write_udev_rules(Path::new("/run/udev/rules.d"))? {
        let udevadm = node.programs.udevadm.path().map_err(|failure| *failure)?;
        command::succeed(udevadm, &["control", "--reload"], DEADLINE)
            .map_err(|failure| *failure)?;
    }
    Ok(())
}

fn mount_configfs(node: &Node) -> anyhow::Result<()> {
    let Some(configfs) = node.roots.target.parent() else { return Ok(()) };
    // Its own folders show whether it is mounted; an empty one could be either.
    let mounts = crate::mount::table::read(&node.roots.proc)?;
    if mounts.iter().any(|mount| mount.point == configfs && mount.kind == "configfs") {
        return Ok(());
    }
    nix::mount::mount(Some("configfs"), configfs, Some("configfs"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mount configfs on {}", configfs.display()))
}

/// Whether there was something to write.
fn write_udev_rules(folder: &Path) -> anyhow::Result<bool> {
    let path = folder.join("57-rampool.rules");
    if fs::read_to_string(&path).is_ok_and(|now| now == UDEV_RULES) {
        return Ok(false);
    }
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, UDEV_RULES))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udev_rules_are_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("rules.d");
        assert!(write_udev_rules(&rules).unwrap());
        assert!(!write_udev_rules(&rules).unwrap());
        let path = rules.join("57-rampool.rules");
        assert!(fs::read_to_string(&path).unwrap().contains(crate::ramdisk::VENDOR));
    }

    #[test]
    fn a_second_agent_is_not_alone() {
        let folder = tempfile::tempdir().unwrap();
        let _first = alone(folder.path()).unwrap();
        let file = File::open(folder.path().join("agent.lock")).unwrap();
        assert!(Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err());
    }
}
