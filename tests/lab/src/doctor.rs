//! What a machine lacks to run a lab, and the line that cures it.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use nix::sys::statvfs::statvfs;

use crate::{
    image::{
        build::{cache, machine_recipe},
        initramfs,
        kernel::Kernel,
    },
    launch, memory,
};

/// One thing that a lab needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub what: String,
    /// What was found, or what is missing and what to do.
    pub result: std::result::Result<String, String>,
}

/// Says what was found, or what is missing and what to do.
type Check = fn() -> Result<String>;

/// Looks at all that a lab needs. Changes nothing.
#[must_use]
pub fn examine() -> Vec<Finding> {
    let checks: [(&str, Check); 11] = [
        ("root", root),
        ("UML kernel", kernel),
        ("initramfs", busybox),
        ("program ip", || program("ip", "iproute2")),
        ("program mmdebstrap", || program("mmdebstrap", "mmdebstrap")),
        ("program mksquashfs", || program("mksquashfs", "squashfs-tools")),
        ("program rampool-lab", || Ok(launch::program()?.display().to_string())),
        ("network taps", taps),
        ("namespaces", namespaces),
        ("memory", free_memory),
        ("root image", image),
    ];
    let find = |(what, check): (&str, Check)| Finding {
        what: what.to_owned(),
        result: check().map_err(|e| format!("{e:#}")),
    };
    checks.into_iter().map(find).collect()
}

fn root() -> Result<String> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "a lab makes namespaces and taps, which takes root: use sudo"
    );
    Ok("yes".to_owned())
}

fn kernel() -> Result<String> {
    let kernel = Kernel::find()?;
    Ok(format!("{} ({})", kernel.program.display(), kernel.release))
}

fn busybox() -> Result<String> {
    let archive = initramfs::make(&Kernel::find()?)?;
    Ok(format!("{} KiB", archive.len() / 1024))
}

fn program(name: &str, package: &str) -> Result<String> {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found =
        folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
    let found = found.with_context(|| format!("not found: apt-get install {package}"))?;
    Ok(found.display().to_string())
}

fn taps() -> Result<String> {
    let path = "/dev/net/tun";
    File::options().read(true).write(true).open(path).with_context(|| {
        format!("cannot open {path}: modprobe tun (in a container: hand the device in)")
    })?;
    Ok(path.to_owned())
}

fn namespaces() -> Result<String> {
    let output = Command::new("unshare")
        .args(["--net", "--pid", "--mount", "--ipc", "--fork", "true"])
        .output()
        .context("cannot run unshare: apt-get install util-linux")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} (in a container: it must be privileged)", said.trim());
    Ok("can be made".to_owned())
}

/// The lab keeps nodes' memory on a tmpfs of its own, so a small `/dev/shm` does no harm; it is named all the same, for
/// whoever looks for the reason of a "bus error" of another UML.
fn free_memory() -> Result<String> {
    let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let free = memory::available_mib(&meminfo).context("cannot understand /proc/meminfo")?;
    ensure!(free >= 1024, "{free} MiB free, swap included: two small nodes need 1024 MiB");
    let shm =
        statvfs("/dev/shm").map(|s| s.blocks_available().saturating_mul(s.fragment_size()) >> 20);
    let shm = match shm {
        Ok(mib) if mib < free => format!(
            "; /dev/shm has only {mib} MiB: too small for UML, the lab mounts its own tmpfs"
        ),
        _ => String::new(),
    };
    Ok(format!("{free} MiB free{shm}"))
}

fn image() -> Result<String> {
    let image = cache()?.join(machine_recipe(&Kernel::find()?.release)?.file_name());
    if let Ok(meta) = fs::metadata(&image) {
        return Ok(format!("{} ({} MiB)", image.display(), meta.len() >> 20));
    }
    let existing =
        image.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let space =
        statvfs(existing).with_context(|| format!("cannot look at {}", existing.display()))?;
    let free_mib = space.blocks_available().saturating_mul(space.fragment_size()) >> 20;
    ensure!(
        free_mib >= 1024,
        "{} has {free_mib} MiB free, building the image takes 1024: make room, or name another folder in RAMPOOL_LAB_CACHE",
        existing.display()
    );
    Ok("not built yet: rampool-lab image builds it (the first `up` does so too)".to_owned())
}
