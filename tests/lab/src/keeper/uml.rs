//! One node as the machine sees it: the command line of its kernel, and its processes.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::control::LabSpec;
use crate::{lab::Init, names::NodeId};

/// The files and folders in the keeper's own mount (its working directory), as the kernels' command lines name them:
/// relative, since UML's options have no way to quote the `,` and `:` that a work tree's path may have.
pub(super) const MEMORY: &str = "memory";
pub(super) const SHARE: &str = "share";
pub(super) const IMAGE: &str = "image";
pub(super) const INITRAMFS: &str = "initramfs";
pub(super) const SHIM: &str = "xsave_shim.so";
pub(super) const UML_DIR: &str = "uml";

/// The argument that names a node's kernel.
pub(crate) fn umid(node: NodeId) -> String {
    format!("umid={node}")
}

/// The kernel's arguments for a node.
pub(super) fn arguments(spec: &LabSpec, node: NodeId) -> Vec<String> {
    let link = |index: u8, tap: &str, mac: &str| {
        format!("vec{index}:transport=tap,ifname={tap},mac={mac},depth=128,gro=1")
    };
    let mut arguments = vec![
        format!("mem={}M", spec.memory_mib),
        format!("initrd={INITRAMFS}"),
        format!("ubd0r={IMAGE}"),
        umid(node),
        format!("uml_dir={UML_DIR}/"),
        format!("hostfs={SHARE}"),
        link(0, &node.data_tap(), &node.data_mac()),
        link(1, &node.management_tap(), &node.management_mac()),
        "con0=null,fd:1".to_owned(),
        "con=null".to_owned(),
        "ssl=null".to_owned(),
        "noreboot".to_owned(),
        "quiet".to_owned(),
        "panic=-1".to_owned(),
        "net.ifnames=0".to_owned(),
        format!("rampool_node={node}"),
    ];
    if spec.init == Init::Systemd {
        arguments.extend(
            ["systemd.show_status=no", "systemd.journald.forward_to_console=no"].map(str::to_owned),
        );
    }
    arguments
}

/// Starts a node's kernel in a process group of its own; all its processes stay in that group.
pub(super) fn start(spec: &LabSpec, node: NodeId, run: &Path, console: &Path) -> Result<Pid> {
    let console = File::options()
        .create(true)
        .append(true)
        .open(console)
        .context("cannot open the console's log")?;
    let mut kernel = Command::new(&spec.kernel);
    kernel.args(arguments(spec, node)).current_dir(run);
    kernel.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TMPDIR", run.join(MEMORY));
    if cfg!(target_arch = "x86_64") {
        // A list, separated by spaces and colons: a relative path has none, whatever the work tree is called.
        kernel.env("LD_PRELOAD", format!("./{SHIM}"));
    }
    kernel
        .stdin(Stdio::null())
        .stdout(console.try_clone().context("cannot clone a file")?)
        .stderr(console);
    let child = kernel
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", spec.kernel.display()))?;
    let pid = i32::try_from(child.id()).context("a process id beyond the kernel's range")?;
    Ok(Pid::from_raw(pid))
}

/// Stops a node: its kernel and the kernel's helpers, but not the guest's processes.
///
/// Those are traced by the kernel, which would take the signal for a fault of theirs; and without it they can do
/// nothing: no system call of theirs is answered, no page fault, no clock.
pub(super) fn stop(group: Pid) -> Result<()> {
    signal_kernel(group, Signal::SIGSTOP)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    // The kernel has no event for "all of them have stopped".
    while !kernel_processes(group)?.iter().all(|process| process.state == 'T') {
        if Instant::now() > deadline {
            bail!("its processes do not stop");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Lets a stopped node go on.
pub(super) fn go_on(group: Pid) -> Result<()> {
    signal_kernel(group, Signal::SIGCONT)
}

/// Sends a kernel the signal of its timer, once it can take it: see [`super::clocks`].
pub(super) fn nudge_clock(kernel: Pid) -> Result<()> {
    // Gone meanwhile: nothing to do.
    let Ok(status) = fs::read_to_string(format!("/proc/{kernel}/status")) else { return Ok(()) };
    if !catches(&status, Signal::SIGALRM) {
        return Ok(());
    }
    match kill(kernel, Signal::SIGALRM) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(e) => Err(e).context("its clock cannot be nudged"),
    }
}

/// By `/proc/PID/status`: bit N - 1 of a hexadecimal number stands for signal N.
fn catches(status: &str, signal: Signal) -> bool {
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    caught.is_some_and(|bits| bits >> (signal as u32 - 1) & 1 == 1)
}

fn signal_kernel(group: Pid, signal: Signal) -> Result<()> {
    for process in kernel_processes(group)? {
        match kill(process.pid, signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(e) => {
                return Err(e)
                    .with_context(|| format!("cannot send {signal} to process {}", process.pid));
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: Pid,
    state: char,
}

/// The processes of a group that nobody traces: a node's kernel and its helpers.
fn kernel_processes(group: Pid) -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Gone between the two looks: then it is not one of them any more.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let Some((state, its_group)) = state_and_group(&stat) else { continue };
        if its_group == group.as_raw() && !is_traced(&status) && state != 'Z' {
            found.push(Process { pid: Pid::from_raw(pid), state });
        }
    }
    Ok(found)
}

/// State and process group out of `/proc/PID/stat`: after the name, which is in brackets and may hold anything.
fn state_and_group(stat: &str) -> Option<(char, i32)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(1)?.parse().ok()?))
}

fn is_traced(status: &str) -> bool {
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|pid| pid.trim() != "0")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::keeper::control::PROTOCOL;

    #[test]
    fn a_kernel_is_told_its_node() {
        let spec = LabSpec {
            protocol: PROTOCOL,
            name: "x".to_owned(),
            nodes: 2,
            memory_mib: 512,
            init: Init::Plain,
            image: PathBuf::from("/i"),
            kernel: PathBuf::from("/k"),
            modules: PathBuf::from("/m"),
        };
        let arguments = arguments(&spec, NodeId::new(2).unwrap());
        for argument in ["mem=512M", "rampool_node=n2", "umid=n2", "hostfs=share", "ubd0r=image"] {
            assert!(arguments.iter().any(|a| a == argument), "{argument} is not in {arguments:?}");
        }
        assert!(
            arguments
                .iter()
                .any(|a| a.starts_with("vec0:transport=tap,ifname=d2,mac=02:77:00:00:00:02,"))
        );
    }

    #[test]
    fn process_states_are_read() {
        assert_eq!(state_and_group("7 (a) b) T 1 6 6 0"), Some(('T', 6)));
        assert_eq!(state_and_group("rubbish"), None);
        assert!(is_traced("Name:\tx\nTracerPid:\t6\n"));
        assert!(!is_traced("Name:\tx\nTracerPid:\t0\n"));
        let running = "SigIgn:\t0000000180000001\nSigCgt:\t00000000180066da\n";
        assert!(catches(running, Signal::SIGALRM));
        assert!(!catches("SigCgt:\t00000000180046da\n", Signal::SIGALRM));
        assert!(!catches("Name:\tx\n", Signal::SIGALRM));
    }
}
