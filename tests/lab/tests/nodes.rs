//! One lab's nodes: commands, files, network, power. Boots kernels: run with `--features lab`, as root.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::Result;
use rampool_lab::{Lab, Power, Stream};

#[test]
fn commands_pass_through() -> Result<()> {
    let started = Instant::now();
    let lab = Lab::builder("commands").nodes(1).memory_mib(512).boot()?;
    println!("1 node from launch to prompt: {:.2} s", started.elapsed().as_secs_f64());
    let n1 = lab.node("n1")?;

    let out = n1.exec(["sh", "-c", "echo out; echo err >&2; exit 7"])?;
    assert_eq!(
        (out.status.code, out.stdout_text(), out.stderr_text()),
        (Some(7), "out\n".into(), "err\n".into())
    );
    let refusal = out.ok().unwrap_err().to_string();
    assert!(
        refusal.contains("node n1") && refusal.contains("exit code 7") && refusal.contains("err"),
        "{refusal}"
    );

    assert_eq!(n1.command(["cat"]).stdin("hello").output()?.stdout, b"hello");
    assert_eq!(
        n1.command(["sh", "-c", "echo $A; pwd"]).env("A", "b c").cwd("/tmp").output()?.ok()?,
        "b c\n/tmp"
    );
    assert_eq!(n1.exec(["sh", "-c", "kill -TERM $$"])?.status.signal, Some(15));
    assert_eq!(n1.exec(["cat"])?.stdout, b"", "without input a program reads nothing");

    let missing = format!("{:#}", n1.exec(["no-such-program"]).unwrap_err());
    assert!(missing.contains("no-such-program") && missing.contains("n1"), "{missing}");

    let large = n1.exec(["head", "-c", "20000000", "/dev/zero"])?;
    assert_eq!(large.stdout.len(), 20_000_000);
    Ok(())
}

#[test]
fn output_streams_and_programs_can_be_ended() -> Result<()> {
    let lab = Lab::builder("streams").nodes(1).memory_mib(512).boot()?;
    let n1 = lab.node("n1")?;

    let mut lines = Vec::new();
    let status = n1.exec_streaming(
        ["sh", "-c", "echo a; echo b >&2; sleep 0.3; printf 'c\\nd'"],
        |stream, line| {
            lines.push((stream, line.to_owned()));
        },
    )?;
    assert!(status.success());
    let of = |wanted: Stream| {
        lines.iter().filter(|(s, _)| *s == wanted).map(|(_, l)| l.as_str()).collect::<Vec<_>>()
    };
    assert_eq!((of(Stream::Stdout), of(Stream::Stderr)), (vec!["a", "c", "d"], vec!["b"]));

    let mut process = n1.command(["sh", "-c", "echo up; exec sleep 1000"]).spawn()?;
    assert_eq!(process.next_output()?, Some((Stream::Stdout, b"up\n".to_vec())));
    process.kill()?;
    assert_eq!(process.wait()?.signal, Some(9));

    let error =
        n1.command(["sleep", "1000"]).timeout(Duration::from_millis(500)).output().unwrap_err();
    assert!(format!("{error:#}").contains("time allowed"), "{error:#}");

    // Dropped or timed out, a program and its children are killed.
    let mut process = n1.command(["sh", "-c", "sleep 1000 & echo up; wait"]).spawn()?;
    process.next_output()?;
    drop(process);
    wait_until("all sleeps are gone", || {
        Ok(n1.exec(["pgrep", "-x", "sleep"])?.status.code == Some(1))
    })?;

    // What stays in the background does not hold the caller, and a daemon outlives it.
    let started = Instant::now();
    assert_eq!(n1.sh("sleep 1000 & echo started")?, "started");
    assert!(started.elapsed() < Duration::from_secs(500));
    let pid = n1.daemon("ticker", ["sh", "-c", "echo tick; exec sleep 1000"])?;
    wait_until(
        "the daemon has logged",
        || Ok(n1.sh("cat /var/log/rampool/ticker.log")? == "tick"),
    )?;
    assert_eq!(n1.sh(&format!("cat /proc/{pid}/comm"))?, "sleep");
    assert!(n1.daemon("x", ["no-such-program"]).is_err());
    Ok(())
}

#[test]
fn files_travel_both_ways() -> Result<()> {
    let lab = Lab::builder("files").nodes(1).memory_mib(512).boot()?;
    let n1 = lab.node("n1")?;
    let folder = tempdir()?;

    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let local = folder.join("a");
    std::fs::write(&local, &bytes)?;
    n1.put(&local, "/srv/new/folder/a")?;
    n1.get("/srv/new/folder/a", folder.join("b"))?;
    assert!(std::fs::read(folder.join("b"))? == bytes);

    n1.write_file("/root/secret", 0o600, "x")?;
    assert_eq!(n1.sh("stat -c %a:%s /root/secret")?, "600:1");
    assert_eq!(n1.read_file("/root/secret")?, b"x");
    let missing = format!("{:#}", n1.read_file("/nowhere").unwrap_err());
    assert!(missing.contains("/nowhere") && missing.contains("No such file"), "{missing}");
    assert!(n1.write_file("/proc/version", 0o600, "x").is_err());

    let program = folder.join("greet");
    std::fs::write(&program, "#!/bin/sh\necho hello from $(hostname)\n")?;
    n1.sh("! command -v greet")?;
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    lab.stage_binary(&program)?;
    assert_eq!(n1.exec(["greet"])?.ok()?, "hello from n1");
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[test]
fn the_network_can_be_cut() -> Result<()> {
    let started = Instant::now();
    let lab = Lab::builder("network").nodes(3).memory_mib(512).boot()?;
    println!("3 nodes from launch to prompt: {:.2} s", started.elapsed().as_secs_f64());
    let answers = |from: &str, to: &str, within: &str| -> Result<bool> {
        Ok(lab.node(from)?.exec(["ping", "-c", "1", "-W", within, to])?.success())
    };
    // An answer is waited for longer than the busiest machine takes, and silence is heard sooner.
    let reaches = |from: &str, to: &str| answers(from, to, "20");
    let is_silent = |from: &str, to: &str| Ok::<_, anyhow::Error>(!answers(from, to, "1")?);
    for (from, to) in [("n1", "n2"), ("n2", "n3"), ("n3", "n1")] {
        assert!(reaches(from, to)?, "{from} does not reach {to}");
    }
    assert_eq!(lab.node("n2")?.data_addr().to_string(), "10.77.0.12");
    // Management links lead to the machine alone.
    assert!(is_silent("n1", "10.78.2.2")?);

    lab.node("n2")?.cut()?;
    assert!(is_silent("n1", "n2")? && is_silent("n2", "n1")? && reaches("n1", "n3")?);
    assert_eq!(lab.node("n2")?.sh("hostname")?, "n2", "commands reach a cut node");
    assert!(lab.node("n2")?.status()?.cut);
    assert!(lab.node("n2")?.sh("ip -br link show vec0")?.contains("UP"), "a cut is silent");
    lab.node("n2")?.heal()?;
    assert!(reaches("n1", "n2")?);

    // The machine reaches what listens on the data network.
    let n3 = lab.node("n3")?;
    n3.daemon("listen", ["python3", "-m", "http.server", "8000", "--directory", "/opt/rampool"])?;
    let addr = (n3.data_addr(), 8000).into();
    wait_until("the machine reaches n3", || Ok(lab.connect(addr, Duration::from_secs(1)).is_ok()))
}

#[test]
fn power_can_be_taken_and_given() -> Result<()> {
    let n1_id = "n1".parse()?;
    let lab = Lab::builder("power")
        .nodes(2)
        .memory_mib(512)
        .persist_file("/etc/rampool/agent.yaml", 0o640, "for: all\n")
        .persist_file_on(n1_id, "/etc/rampool/only-n1", 0o600, "x")
        .on_boot("cat /etc/rampool/agent.yaml > /run/seen-at-boot")
        .boot()?;
    let (n1, n2) = (lab.node("n1")?, lab.node("n2")?);
    assert_eq!(
        n1.sh("stat -c %a /etc/rampool/agent.yaml; cat /run/seen-at-boot")?,
        "640\nfor: all"
    );
    assert_eq!(n1.sh("cat /etc/rampool/only-n1")?, "x");
    n2.sh("! test -e /etc/rampool/only-n1")?;

    // Pause: nothing answers, nothing is lost.
    let counter = n2.daemon("count", ["sh", "-c", "while :; do echo x; sleep 0.05; done"])?;
    wait_until("n2 counts", || Ok(n2.sh("cat /var/log/rampool/count.log")?.contains('x')))?;
    n2.pause()?;
    assert_eq!(n2.status()?.power, Power::Paused);
    assert!(!n1.exec(["ping", "-c", "1", "-W", "1", "n2"])?.success());
    let waiting = n2.command(["hostname"]).timeout(Duration::from_millis(1500)).output();
    assert!(waiting.is_err(), "a paused node answered");
    n2.resume()?;
    assert_eq!(n2.sh("hostname")?, "n2");
    assert_eq!(
        n2.sh(&format!("cat /proc/{counter}/comm"))?,
        "sh",
        "the node lost a process in a pause"
    );

    // Power cut: a running command learns of it; after the next boot nothing but the persistent is there.
    let ids: HashSet<String> = [n1.boot_id()?, n2.boot_id()?].into();
    n1.write_file("/etc/rampool/agent.yaml", 0o600, "changed")?;
    n1.write_file("/root/lost", 0o600, "x")?;
    n1.persist_file("/etc/late", 0o600, "late")?;
    n1.on_boot("touch /run/late-script")?;
    assert_eq!(n1.read_file("/etc/late")?, b"late");
    let hanging = n1.command(["sleep", "1000"]).spawn()?;
    n1.kill()?;
    let error = format!("{:#}", hanging.output().unwrap_err());
    assert!(error.contains("lost its power"), "{error}");
    assert_eq!(n1.status()?.power, Power::Off);
    assert!(format!("{:#}", n1.sh("true").unwrap_err()).contains("n1 is off"));
    n1.kill()?;
    n1.boot()?;
    assert!(n1.boot().is_err(), "a node that runs was booted");
    assert_eq!(
        n1.sh("cat /etc/rampool/agent.yaml /etc/late; ls /run/late-script")?,
        "for: all\nlate/run/late-script"
    );
    n1.sh("! test -e /root/lost")?;
    assert!(!ids.contains(&n1.boot_id()?) && ids.contains(&n2.boot_id()?));

    // A node that halts by itself is told from one that was killed.
    let halting = n2.command(["sh", "-c", "echo o > /proc/sysrq-trigger; sleep 1000"]).spawn()?;
    let error = format!("{:#}", halting.output().unwrap_err());
    assert!(error.contains("halted or crashed"), "{error}");
    assert_eq!(n2.status()?.power, Power::Ended);
    n2.boot()?;
    // A paused node can be killed.
    n2.pause()?;
    n2.kill()?;
    assert!(n2.resume().is_err());
    Ok(())
}

fn tempdir() -> Result<std::path::PathBuf> {
    let folder = std::env::temp_dir().join(format!("rampool-lab-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Asks until it is so; a minute is enough for all that is waited for here.
fn wait_until(what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so()? {
        anyhow::ensure!(Instant::now() < deadline, "not so after a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
