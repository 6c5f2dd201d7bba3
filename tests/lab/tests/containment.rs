//! Labs do not meet, and nothing is left of one: whatever its owner did. Boots kernels: run with `--features lab`.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rampool_lab::{Lab, keeper::control, state};

/// In the environment of this test binary, makes [`owner`] own a lab until it is killed.
const OWNER: &str = "RAMPOOL_LAB_TEST_OWNER";

#[test]
fn two_labs_do_not_meet() -> Result<()> {
    let one = Lab::builder("twin").nodes(2).memory_mib(512).boot()?;
    let two = Lab::builder("twin").nodes(1).memory_mib(512).boot()?;
    assert_ne!(one.name(), two.name());
    // The same addresses, and each reaches its own: the second lab has no n2.
    assert!(one.node("n1")?.exec(["ping", "-c", "1", "-W", "20", "10.77.0.12"])?.success());
    assert!(!two.node("n1")?.exec(["ping", "-c", "1", "-W", "1", "10.77.0.12"])?.success());
    assert_ne!(one.node("n1")?.boot_id()?, two.node("n1")?.boot_id()?);
    assert!(two.node("n2").is_err());

    let (folder, keeper) =
        (two.state_folder().to_owned(), control::keeper_pid(two.state_folder())?);
    drop(two);
    assert!(!folder.exists() && !process_exists(keeper));
    assert_eq!(one.node("n2")?.sh("hostname")?, "n2", "the end of one lab touched the other");
    Ok(())
}

#[test]
fn a_killed_owner_leaves_nothing() -> Result<()> {
    for signal in ["KILL", "INT"] {
        let before = Machine::look()?;
        let (mut owner, folder) = start_owner()?;
        let keeper = control::keeper_pid(Path::new(&folder))?;
        let netns = fs::read_link(format!("/proc/{keeper}/ns/net"))?;
        ensure!(!members(&netns)?.is_empty(), "the lab's processes cannot be seen");

        let status = Command::new("kill").args(["-s", signal, &owner.id().to_string()]).status()?;
        ensure!(status.success(), "cannot kill the owner");
        owner.wait()?;
        let started = Instant::now();
        wait_until("the lab's processes are gone", || {
            Ok(!process_exists(keeper) && members(&netns)?.is_empty())
        })?;
        println!(
            "SIG{signal}: nothing left {:.0} ms after the owner",
            started.elapsed().as_secs_f64() * 1e3
        );
        wait_until("the machine is as before", || Ok(Machine::look()? == before))?;

        ensure!(Path::new(&folder).exists(), "the state folder is for the next lab to remove");
        // The lock is the last that a dying process lets go.
        wait_until("the dead lab's folder is removed", || {
            state::remove_dead()?;
            Ok(!Path::new(&folder).exists())
        })?;
    }
    Ok(())
}

#[test]
fn a_killed_keeper_takes_all_with_it() -> Result<()> {
    let lab = Lab::builder("keeper").nodes(1).memory_mib(512).boot()?;
    let keeper = control::keeper_pid(lab.state_folder())?;
    let netns = fs::read_link(format!("/proc/{keeper}/ns/net"))?;
    let status = Command::new("kill").args(["-s", "KILL", &keeper.to_string()]).status()?;
    ensure!(status.success(), "cannot kill the keeper");
    wait_until("the lab's processes are gone", || Ok(members(&netns)?.is_empty()))?;
    let error = format!("{:#}", lab.node("n1")?.sh("true").unwrap_err());
    assert!(error.contains("no lab is running"), "{error}");
    Ok(())
}

#[test]
fn a_detached_lab_stays_until_taken_down() -> Result<()> {
    let name = format!("detached-{}", std::process::id());
    drop(Lab::builder(&name).nodes(1).memory_mib(512).detached().boot()?);
    let lab = Lab::attach(&name)?;
    assert_eq!(lab.node("n1")?.sh("hostname")?, "n1");
    let again = format!(
        "{:#}",
        Lab::builder(&name).nodes(1).memory_mib(512).detached().boot().err().context("twice")?
    );
    assert!(again.contains("is running"), "{again}");
    let keeper = control::keeper_pid(lab.state_folder())?;
    lab.take_down()?;
    assert!(!process_exists(keeper) && Lab::attach(&name).is_err());
    Ok(())
}

#[test]
fn a_lab_too_large_for_the_machine_is_refused() {
    let refusal =
        Lab::builder("large").nodes(200).memory_mib(1 << 30).boot().err().map(|e| format!("{e:#}"));
    assert!(refusal.as_ref().is_some_and(|why| why.contains("MiB free")), "{refusal:?}");
}

/// Not a test: the owner that [`a_killed_owner_leaves_nothing`] kills.
#[test]
fn owner() -> Result<()> {
    if std::env::var_os(OWNER).is_none() {
        return Ok(());
    }
    let lab = Lab::builder("owner").nodes(2).memory_mib(512).boot()?;
    println!("\nOWNS {}", lab.state_folder().display());
    loop {
        std::thread::park();
    }
}

fn start_owner() -> Result<(Child, String)> {
    let mut owner = Command::new(std::env::current_exe()?)
        .args(["--exact", "owner", "--nocapture"])
        .env(OWNER, "1")
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let stdout = owner.stdout.take().context("no output")?;
    for line in BufReader::new(stdout).lines() {
        if let Some(folder) = line?.strip_prefix("OWNS ") {
            return Ok((owner, folder.to_owned()));
        }
    }
    anyhow::bail!("the owner has no lab: {}", owner.wait()?)
}

/// What of this machine a lab could touch.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    interfaces: BTreeSet<String>,
    mounts: String,
    shared_memory: BTreeSet<String>,
}

impl Machine {
    fn look() -> Result<Self> {
        let names = |folder: &str| -> Result<BTreeSet<String>> {
            Ok(fs::read_dir(folder)?
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect())
        };
        let mounts = fs::read_to_string("/proc/mounts")?;
        Ok(Self { interfaces: names("/sys/class/net")?, mounts, shared_memory: names("/dev/shm")? })
    }
}

/// The processes in a network namespace.
fn members(netns: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        if fs::read_link(entry.path().join("ns/net")).is_ok_and(|its| its == netns) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

fn process_exists(pid: i32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Asks until it is so: the kernel takes namespaces away a little after the last process.
fn wait_until(what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so()? {
        ensure!(Instant::now() < deadline, "not so after a minute: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
