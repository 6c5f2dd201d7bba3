//! md raid0, as the kernel's device `md_rp.<pool>.<gen>`.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{FailureKind, VolumeLayout};

use super::members;
use super::{Volume, Wanted};
use crate::attach::disks::{self, OurDisk};
use crate::command;
use crate::configfs;
use crate::names;
use crate::node::Node;
use crate::outcome::{During, Outcome, failure, refused};
use crate::roots::Roots;

/// A superblock on each of hundreds of disks, over the network.
const DEADLINE: Duration = Duration::from_secs(60);

/// mdadm's configuration while we use it: devices of the kernel carry the array's name, nothing
/// is assembled that was not asked for, and the host's name is no part of the array's.
const CONFIGURATION: &str = "CREATE names=yes\nHOMEHOST <none>\nAUTO -all\n";

/// The array behind the block device `name`, if that is ours.
pub(super) fn describe(roots: &Roots, name: &str) -> Option<Volume> {
    let assembly = names::parse_md_device(name)?;
    let array = Array::read(roots, name);
    let sectors: u64 =
        configfs::read(&roots.blocks().join(name).join("size")).ok()?.parse().ok()?;
    Some(Volume {
        assembly,
        layout: VolumeLayout::Md,
        name: name.to_owned(),
        device: roots.dev.join(name),
        number: disks::number(roots, name)?,
        bytes: sectors * 512,
        detail: format!("md {} of {}, {}", array.level, array.members.len(), array.state),
    })
}

/// An array as sysfs shows it.
#[derive(Debug, PartialEq, Eq)]
struct Array {
    level: String,
    state: String,
    chunk_bytes: String,
    /// The members' kernel names, in the order of the stripe.
    members: Vec<String>,
}

impl Array {
    fn read(roots: &Roots, name: &str) -> Self {
        let folder = roots.blocks().join(name).join("md");
        let read = |file: &str| configfs::read(&folder.join(file)).unwrap_or_default();
        let count: usize = read("raid_disks").parse().unwrap_or(0);
        let member = |index| {
            let link = fs::read_link(folder.join(format!("rd{index}"))).ok()?;
            Some(link.file_name()?.to_str()?.strip_prefix("dev-")?.to_owned())
        };
        Self {
            level: read("level"),
            state: read("array_state"),
            chunk_bytes: read("chunk_size"),
            members: (0..count).map(|index| member(index).unwrap_or_default()).collect(),
        }
    }
}

/// Refuses if the array is another one than `wanted`.
pub(super) fn compare(
    node: &Node,
    volume: &Volume,
    wanted: &Wanted,
    disks: &[OurDisk],
) -> Outcome<()> {
    let array = Array::read(&node.roots, &volume.name);
    let chunk = (u64::from(wanted.chunk_kib) * 1024).to_string();
    let members: Vec<_> = disks.iter().map(|disk| disk.name.clone()).collect();
    if array.level == "raid0" && array.chunk_bytes == chunk && array.members == members {
        return Ok(());
    }
    let said = format!(
        "is {} of {} in chunks of {} bytes; raid0 of {} in chunks of {chunk} was asked for",
        array.level,
        array.members.join(" "),
        array.chunk_bytes,
        members.join(" ")
    );
    Err(failure(FailureKind::Conflict, said)
        .by(volume.device.display().to_string())
        .advising("stop this volume first")
        .into())
}

pub(super) fn assemble(node: &Node, wanted: &Wanted, disks: &[OurDisk]) -> Outcome<()> {
    let mut marked = true;
    for disk in disks {
        let of = members::md_assembly(&node.roots, disk).during("look at the disks")?;
        marked &= of.as_ref() == Some(&wanted.assembly);
    }
    let configuration = write_configuration(node)?;
    if marked {
        return again(node, wanted, disks, &configuration).during("assemble the array again");
    }
    members::clear(&node.roots, disks).during("clear the disks")?;
    create(node, wanted, disks, &configuration).during("make the array")
}

fn create(node: &Node, wanted: &Wanted, disks: &[OurDisk], configuration: &Path) -> Outcome<()> {
    let name = names::object(&wanted.assembly);
    let mut arguments = vec![
        "--create".to_owned(),
        format!("/dev/md/{name}"),
        format!("--config={}", configuration.display()),
        "--run".to_owned(),
        // Without it, mdadm takes one disk for a slip.
        "--force".to_owned(),
        "--level=0".to_owned(),
        "--metadata=1.2".to_owned(),
        "--data-offset=1M".to_owned(),
        format!("--name={name}"),
        format!("--chunk={}", wanted.chunk_kib),
        format!("--raid-devices={}", disks.len()),
    ];
    arguments.extend(devices(node, disks));
    run(node, &arguments)
}

fn again(node: &Node, wanted: &Wanted, disks: &[OurDisk], configuration: &Path) -> Outcome<()> {
    let mut arguments = vec![
        "--assemble".to_owned(),
        format!("/dev/md/{}", names::object(&wanted.assembly)),
        format!("--config={}", configuration.display()),
        "--run".to_owned(),
    ];
    arguments.extend(devices(node, disks));
    run(node, &arguments)
}

fn devices(node: &Node, disks: &[OurDisk]) -> Vec<String> {
    disks.iter().map(|disk| disk.device(&node.roots).display().to_string()).collect()
}

fn run(node: &Node, arguments: &[String]) -> Outcome<()> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    command::succeed(node.programs.mdadm.path()?, &arguments, DEADLINE).map(drop)
}

/// Written when the agent starts, and again before each use: anything may happen to a file
/// below /run.
pub(super) fn write_configuration(node: &Node) -> Outcome<PathBuf> {
    let path = node.roots.run.join("mdadm.conf");
    let write = || -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&node.roots.run)?;
        fs::write(&path, CONFIGURATION)
    };
    write().map_err(|error| refused(&path, "write it", error))?;
    Ok(path)
}

/// Stops the array, whatever became of its members.
pub(super) fn stop(node: &Node, volume: &Volume) -> Outcome<()> {
    let device = volume.device.display().to_string();
    run(node, &["--stop".to_owned(), device]).during("stop the array")
}

/// Takes away the link that mdadm made to an array that is gone: without udev nobody else does.
pub(super) fn forget(roots: &Roots, assembly: &Assembly) {
    let folder = roots.dev.join("md");
    if !roots.udev_runs() && fs::remove_file(folder.join(names::object(assembly))).is_ok() {
        // The folder goes if nothing else is in it.
        let _ = fs::remove_dir(&folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;

    #[test]
    fn an_array_is_read_with_its_members_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::fake(folder.path());
        let md = roots.blocks().join("md_rp.demo.3/md");
        fs::create_dir_all(&md).unwrap();
        for (file, value) in [
            ("level", "raid0"),
            ("array_state", "clean"),
            ("chunk_size", "65536"),
            ("raid_disks", "2"),
        ] {
            fs::write(md.join(file), format!("{value}\n")).unwrap();
        }
        fs::write(md.join("../size"), "262144\n").unwrap();
        fs::write(md.join("../dev"), "254:3\n").unwrap();
        std::os::unix::fs::symlink("dev-sdc", md.join("rd0")).unwrap();
        std::os::unix::fs::symlink("dev-sdb", md.join("rd1")).unwrap();
        let volume = describe(&roots, "md_rp.demo.3").unwrap();
        assert_eq!((volume.assembly, volume.bytes), (assembly("demo.3"), 128 << 20));
        assert_eq!((volume.number, volume.detail.as_str()), ((254, 3), "md raid0 of 2, clean"));
        assert_eq!(Array::read(&roots, "md_rp.demo.3").members, ["sdc", "sdb"]);
        assert_eq!(describe(&roots, "md127"), None);
    }
}
