//! A node's first process: makes the node what its configuration says, then is (or becomes) its init.

use std::{
    fs::{self, File},
    io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use nix::{
    mount::{MsFlags, mount},
    sys::wait::{WaitStatus, waitpid},
    unistd::{Pid, sethostname},
};

use super::{
    config::{GuestConfig, NODE_FOLDER, PERSIST},
    systemd,
};
use crate::{
    exec::{BINARIES, LOGS, PATH},
    lab::Init,
    names::hosts_file,
};

/// Runs as process 1. Returns only when it cannot go on, and then the kernel stops.
///
/// # Errors
/// When a step fails without which the node is of no use.
pub fn run() -> Result<()> {
    ensure!(
        std::process::id() == 1,
        "`rampool-lab guest-init` is for process 1 of a lab's node alone"
    );
    let config = GuestConfig::read(Path::new(NODE_FOLDER))?;
    mount_kernel_file_systems(config.init);
    write_identity(&config)?;
    bring_up_network(&config)?;
    store_persistent_files(&config)?;
    match config.init {
        Init::Plain => supervise(),
        Init::Systemd => {
            systemd::prepare()?;
            let error = Command::new("/lib/systemd/systemd").env_clear().env("PATH", PATH).exec();
            Err(error).context("cannot become systemd")
        }
    }
}

/// Mounts what every init mounts (the initramfs has mounted /dev and loaded configfs). A failure is told on the console and not fatal: whoever needs it will say more.
fn mount_kernel_file_systems(init: Init) {
    let always = [("proc", "/proc", ""), ("sysfs", "/sys", "")];
    // systemd mounts these by itself.
    let plain = [
        ("devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666"),
        ("tmpfs", "/dev/shm", "mode=1777"),
        ("tmpfs", "/run", "mode=755"),
        ("tmpfs", "/tmp", "mode=1777"),
        ("cgroup2", "/sys/fs/cgroup", ""),
        ("configfs", "/sys/kernel/config", ""),
    ];
    for &(kind, target, options) in
        always.iter().chain(if init == Init::Plain { &plain[..] } else { &[] })
    {
        let made = fs::create_dir_all(target).map_err(anyhow::Error::from);
        let mounted = made.and_then(|()| {
            Ok(mount(Some(kind), target, Some(kind), MsFlags::empty(), Some(options))?)
        });
        if let Err(e) = mounted {
            eprintln!("rampool-lab: cannot mount {target}: {e:#}");
        }
    }
}

fn write_identity(config: &GuestConfig) -> Result<()> {
    let name = config.node.to_string();
    sethostname(&name).context("cannot set the host name")?;
    write("/etc/hostname", &format!("{name}\n"), 0o644)?;
    write("/etc/hosts", &hosts_file(config.nodes), 0o644)?;
    write("/etc/machine-id", &format!("{}\n", config.machine_id), 0o444)?;
    let iqn = format!("InitiatorName=iqn.2026-11.org.rampool.lab:{name}\n");
    write("/etc/iscsi/initiatorname.iscsi", &iqn, 0o600)?;
    for folder in [LOGS, "/etc/target", "/etc/rampool", "/root"] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {folder}"))?;
    }
    // On a tmpfs that systemd would hide: under systemd, tmpfiles makes it.
    if config.init == Init::Plain {
        fs::create_dir_all("/run/lock/iscsi").context("cannot make /run/lock/iscsi")?;
    }
    Ok(())
}

fn bring_up_network(config: &GuestConfig) -> Result<()> {
    let node = config.node;
    let script = format!(
        "link set lo up\naddr add {}/24 dev vec0\nlink set vec0 up\naddr add {}/30 dev vec1\nlink set vec1 up\n",
        node.data_addr(),
        node.management_addr(),
    );
    write("/run/rampool-lab-network", &script, 0o600)?;
    call(&["ip", "-batch", "/run/rampool-lab-network"]).context("cannot bring up the network")
}

fn store_persistent_files(config: &GuestConfig) -> Result<()> {
    let store = Path::new(NODE_FOLDER).join(PERSIST);
    for file in &config.persist {
        let bytes = fs::read(store.join(&file.content))
            .with_context(|| format!("no content for {}", file.path))?;
        let path = Path::new(&file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(path, bytes).with_context(|| format!("cannot write {}", file.path))?;
        fs::set_permissions(path, fs::Permissions::from_mode(file.mode))
            .with_context(|| format!("cannot set the permissions of {}", file.path))?;
    }
    Ok(())
}

/// Plain init: keeps the exec server running and takes note of the end of every orphan.
fn supervise() -> Result<()> {
    let mut server = start_server()?;
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) if pid == server => {
                eprintln!("rampool-lab: the exec server ended, starting it again");
                server = start_server()?;
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e).context("cannot wait for children"),
        }
    }
}

fn start_server() -> Result<Pid> {
    let console = || {
        File::options().write(true).open("/dev/console").map_or_else(|_| Stdio::null(), Stdio::from)
    };
    let child = Command::new(format!("{BINARIES}/rampool-lab"))
        .arg("guest")
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(console())
        .stderr(console())
        .spawn()
        .context("cannot start the exec server")?;
    let pid = i32::try_from(child.id())
        .map_err(io::Error::other)
        .context("a process id beyond the kernel's range")?;
    Ok(Pid::from_raw(pid))
}

/// Runs a program to its end; an error quotes what it said.
pub(super) fn call(argv: &[&str]) -> Result<()> {
    let what = argv.join(" ");
    let (program, args) = argv.split_first().context("no program was named")?;
    let output = Command::new(program)
        .args(args)
        .env("PATH", PATH)
        .output()
        .with_context(|| format!("cannot run `{what}`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{what}`: {}: {}", output.status, said.trim());
    Ok(())
}

/// Writes a file and the folder it needs.
pub(super) fn write(path: &str, text: &str, mode: u32) -> Result<()> {
    let path = Path::new(path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    // The image may have a link of this name that leads nowhere.
    let _ = fs::remove_file(path);
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the permissions of {}", path.display()))
}
