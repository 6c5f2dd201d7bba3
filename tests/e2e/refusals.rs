//! Bad input: a clear error, the documented exit code, nothing changed anywhere.

use anyhow::{Result, ensure};
use rampool_e2e::cases;
use rampool_e2e::cluster::Cluster;

/// What is typed, the exit code, and words that the error must say.
struct Row {
    typed: &'static str,
    code: i32,
    says: &'static [&'static str],
}

const fn row(typed: &'static str, code: i32, says: &'static [&'static str]) -> Row {
    Row { typed, code, says }
}

const OK: &str = "--size 320MiB --head n1 --donors n[2-3]";

/// `{OK}` stands for flags that would work, `{FOLDER}` for where files are.
const ROWS: &[Row] = &[
    row("up demo --size 320MiB --head n1 --donors n[2-9]", 3, &["n5"]),
    row("up demo --size 320MiB --head n9 --donors n2", 3, &["n9"]),
    row("up demo --size 320MiB --head n1 --donors n2,n2", 2, &["n2", "twice"]),
    row("up demo --size 320MiB --head n1 --donors n[2", 2, &["n[2"]),
    row("up a-name-far-too-long {OK}", 2, &["16"]),
    row("up De/mo {OK}", 2, &["lower-case"]),
    row("up demo --size 64G --head n1 --donors n[2-3]", 4, &["lend"]),
    row("up demo --size 32MiB --head n1 --donors n[2-3]", 2, &["xfs", "300"]),
    row("up demo --size 1,5T --head n1 --donors n2", 2, &["1,5T"]),
    row("up demo --size 3m --head n1 --donors n2", 2, &["3m"]),
    row("up demo --head n1 --donors n2", 2, &["size"]),
    row("up demo {OK} --mount-point relative/path", 2, &["absolute"]),
    row("up demo {OK} --mount-point /etc", 2, &["/etc", "mount_roots"]),
    row("up demo {OK} --mount-point /mnt/no/such", 2, &["/mnt/no", "exist"]),
    row("up demo {OK} --profile nosuch", 2, &["nosuch"]),
    row("up demo {OK} --chunk 3K", 2, &["chunk"]),
    row("up -f {FOLDER}/broken.yaml", 2, &["line 2"]),
    row("up -f {FOLDER}/unknown.yaml", 2, &["siez", "line 2"]),
    row("down nosuch", 3, &["nosuch"]),
    row("status nosuch", 3, &["nosuch"]),
    row("events nosuch", 3, &["nosuch"]),
    row("frobnicate", 2, &["frobnicate"]),
];

#[test]
fn what_cannot_be_is_refused_in_words_and_changes_nothing() -> Result<()> {
    Cluster::builder("refusals", 4).boot()?.run(|cluster| {
        cluster.each(cases![
            bad_input_is_refused_in_words_and_changes_nothing,
            what_a_node_lacks_is_named_with_what_brings_it,
        ])
    })
}

fn bad_input_is_refused_in_words_and_changes_nothing(cluster: &Cluster) -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("broken.yaml"), "name: demo\nsize: [\n")?;
    std::fs::write(folder.path().join("unknown.yaml"), "name: demo\nsiez: 1G\n")?;
    let place = folder.path().display().to_string();
    for row in ROWS {
        let typed = row.typed.replace("{OK}", OK).replace("{FOLDER}", &place);
        expect(cluster, &typed, row.code, row.says)?;
    }
    Ok(())
}

/// Takes the port that n2's exports would listen on.
const LISTENER: &str = "\
import socket, time
s = socket.socket()
s.bind(('10.77.0.12', 3260))
s.listen()
time.sleep(1000)";

fn what_a_node_lacks_is_named_with_what_brings_it(cluster: &Cluster) -> Result<()> {
    let head = cluster.node("n1");

    // An unreachable donor.
    cluster.node("n3").kill()?;
    expect(cluster, "up demo --size 320MiB --head n1 --donors n3", 4, &["n3"])?;
    cluster.node("n3").boot()?;
    cluster.wait_reachable(&["n1", "n2", "n3"])?;

    // A mount point in use.
    head.sh("mkdir -p /mnt/taken && mount -t tmpfs tmpfs /mnt/taken")?;
    expect(
        cluster,
        "up demo --size 320MiB --head n1 --donors n2 --mount-point /mnt/taken",
        2,
        &["/mnt/taken"],
    )?;
    head.sh("umount /mnt/taken")?;

    // A port taken on a donor, by somebody else's portal.
    let portal = "/sys/kernel/config/target/iscsi/iqn.2003-01.org.site:x";
    cluster
        .node("n2")
        .sh(&format!("mkdir -p {portal}/tpgt_1 && mkdir {portal}/tpgt_1/np/10.77.0.12:3261"))?;
    cluster.node("n2").sh("command -v python3")?;
    let listener = cluster.node("n2").command(["python3", "-c", LISTENER]).spawn()?;
    cluster.node("n2").sh("until grep -q 0C004D0A:0CBC /proc/net/tcp; do :; done")?;
    expect(cluster, "up demo --size 320MiB --head n1 --donors n[2-3]", 4, &["n2", "3260"])?;
    drop(listener);
    cluster
        .node("n2")
        .sh(&format!("rmdir {portal}/tpgt_1/np/10.77.0.12:3261 {portal}/tpgt_1 {portal}"))?;

    // A program that the head lacks: the agent looks for programs when it starts.
    head.sh("mv /usr/sbin/mdadm /usr/sbin/mdadm.away")?;
    cluster.kill_program("n1", "rampool-agent")?;
    cluster.start_agent("n1")?;
    cluster.wait_reachable(&["n1"])?;
    expect(cluster, "up demo --size 320MiB --head n1 --donors n2", 4, &["n1", "mdadm"])?;
    let doctor = cluster.rampool(&["doctor", "n1"])?;
    let found = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(found.contains("apt-get install") && found.contains("mdadm"), "{found}");
    head.sh("mv /usr/sbin/mdadm.away /usr/sbin/mdadm")?;

    Ok(())
}

/// Types it, and compares exit code and words.
fn expect(cluster: &Cluster, typed: &str, code: i32, says: &[&str]) -> Result<()> {
    let words: Vec<&str> = typed.split(' ').collect();
    let output = cluster.rampool(&words)?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code == Some(code), "`{typed}`: {}, said: {error}", output.status);
    for said in says {
        ensure!(error.contains(said), "`{typed}` does not say {said:?}: {error}");
    }
    Ok(())
}
