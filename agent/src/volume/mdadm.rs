//! What is asked of mdadm, and how it is told to keep to that.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{freeze, members};
use crate::attach::disks::OurDisk;
use crate::command;
use crate::node::Node;
use crate::outcome::{During, Outcome, refused};

/// A superblock on each of hundreds of disks, over the network.
const DEADLINE: Duration = Duration::from_secs(60);

/// mdadm's configuration while we use it: devices of the kernel carry the array's name, nothing
/// is assembled that was not asked for, and the host's name is no part of the array's.
const CONFIGURATION: &str = "CREATE names=yes\nHOMEHOST <none>\nAUTO -all\n";

/// Takes back a member that the bitmap still knows.
pub(super) fn re_add(node: &Node, array: &str, disk: &OurDisk) -> Outcome<()> {
    manage(node, array, "--re-add", std::slice::from_ref(disk))
}

/// Adds disks as spares: md gives them the places that are vacant.
pub(super) fn add(node: &Node, array: &str, disks: &[OurDisk]) -> Outcome<()> {
    if disks.is_empty() {
        return Ok(());
    }
    members::clear(&node.roots, disks).during("clear the disk")?;
    manage(node, array, "--add", disks)
}

fn manage(node: &Node, array: &str, verb: &str, disks: &[OurDisk]) -> Outcome<()> {
    let mut arguments = vec![verb.to_owned()];
    arguments.extend(devices(node, disks));
    change(node, array, arguments)
}

/// One that is killed in the middle leaves the array as it may be, but not frozen.
fn change(node: &Node, array: &str, what: Vec<String>) -> Outcome<()> {
    freeze::thaw(node, array)?;
    let device = node.roots.dev.join(array).display().to_string();
    let arguments: Vec<_> = ["--manage".to_owned(), device].into_iter().chain(what).collect();
    let changed = run(node, &arguments);
    freeze::thaw(node, array)?;
    changed
}

/// Has `new`, a spare, filled to take the place of `old`.
pub(super) fn mark(node: &Node, array: &str, old: &OurDisk, new: &OurDisk) -> Outcome<()> {
    let path = |disk: &OurDisk| disk.device(&node.roots).display().to_string();
    let words = ["--replace", &path(old), "--with", &path(new)];
    change(node, array, words.map(str::to_owned).into())
}

/// Removes md's superblock from a disk that is no member any more.
pub(super) fn forget_member(node: &Node, disk: &OurDisk) -> Outcome<()> {
    let device = disk.device(&node.roots).display().to_string();
    run(node, &["--zero-superblock".to_owned(), device])
}

/// The device nodes.
pub(super) fn devices(node: &Node, disks: &[OurDisk]) -> Vec<String> {
    disks.iter().map(|disk| disk.device(&node.roots).display().to_string()).collect()
}

/// Runs mdadm to its good end.
pub(super) fn run(node: &Node, arguments: &[String]) -> Outcome<()> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    command::succeed(node.programs.mdadm.path()?, &arguments, DEADLINE).map(drop)
}

/// Written when the agent starts, and again before each use: anything may happen to a file
/// below /run.
pub(super) fn write_configuration(node: &Node) -> Outcome<()> {
    let path = configuration(node);
    let write = || -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&node.roots.run)?;
        fs::write(&path, CONFIGURATION)
    };
    write().map_err(|error| refused(&path, "write it", error))
}

fn configuration(node: &Node) -> PathBuf {
    node.roots.run.join("mdadm.conf")
}

/// Where mdadm finds its configuration.
pub(super) fn configured(node: &Node) -> String {
    format!("--config={}", configuration(node).display())
}

/// Stops an array.
pub(super) fn stop(node: &Node, device: &Path) -> Outcome<()> {
    run(node, &["--stop".to_owned(), device.display().to_string()])
}
