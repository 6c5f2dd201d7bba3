//! Users and operators without certificates, with real MUNGE and real users: by the users' door from
//! another node, and by the socket on the controller's own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::CONTROLLER;
use rampool_e2e::slurm::SlurmCluster;
use rampool_e2e::slurm::cluster::USER;
use rampool_e2e::until::until;
use serde_json::Value;

/// Where users work: no controller, and nobody's certificate but the node's own.
const LOGIN: &str = "n2";

/// Somebody without a rule, and a member of the operators' group.
const BOB: &str = "bob";
const CAROL: &str = "carol";

const CONFIGURATION: &str = "\
socket: {group: ops}
users:
  listen: 0.0.0.0:7705
  rules:
  - {users: [alice], heads: n2, donors: n3, at_most: 200MiB, pools: 2, longest: 1h}
";

const CLIENT: &str = "\
name: n1
munge: {controller: 'n1:7705', commands: COMMANDS}
tls: {ca: /etc/rampool/tls/ca.pem}
";

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(120);

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn users_and_operators_without_certificates_get_what_is_theirs_and_nothing_else() -> Result<()> {
    let slurm = SlurmCluster::with_donors("users", 1, 1).controller(CONFIGURATION).boot()?;
    slurm.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        let people = "echo bob:x:1002:1002::/tmp:/bin/sh >>/etc/passwd
            echo carol:x:1003:1003::/tmp:/bin/sh >>/etc/passwd
            printf 'bob:x:1002:\ncarol:x:1003:\nops:x:2000:carol\n' >>/etc/group";
        for node in [CONTROLLER, LOGIN] {
            slurm.cluster.node(node).sh(people)?;
        }
        configure(slurm, "/etc/rampool/client.yaml", "/usr/bin")?;
        a_user_has_a_pool_that_is_his_alone(slurm)?;
        others_of_that_node_get_nothing(slurm)?;
        a_credential_is_good_for_one_call_once(slurm)?;
        more_than_the_rule_has_is_refused(slurm)?;
        the_socket_knows_who_calls(slurm)?;
        said(slurm, LOGIN, USER, "down mine", 0, "")?;
        at_its_end_a_pool_is_released_whatever_became_of_the_controller(slurm)?;
        slurm.ensure_given_back(&before, SOON)?;
        the_log_names_everybody(slurm)
    })
}

/// A client's configuration on the login node, with the folder of MUNGE's programs.
fn configure(slurm: &SlurmCluster, path: &str, commands: &str) -> Result<()> {
    let text = CLIENT.replace("COMMANDS", commands);
    let node = slurm.cluster.node(LOGIN);
    node.sh(&format!("cat >{path} <<'END'\n{text}END\nchmod 644 {path}")).map(drop)
}

/// What `rampool` prints for a user of a node, after its exit code and words were looked at.
fn said(
    slurm: &SlurmCluster,
    node: &str,
    user: &str,
    typed: &str,
    code: i32,
    words: &str,
) -> Result<String> {
    let line = ["runuser", "-u", user, "--", "rampool"].into_iter().chain(typed.split(' '));
    let output = slurm.cluster.node(node).command(line).cwd("/tmp").output()?;
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    ensure!(output.status.code == Some(code), "{user} `{typed}`: {} {err}", output.status);
    ensure!(format!("{out}{err}").contains(words), "{user} `{typed}`: no {words:?}: {err}");
    Ok(out.into_owned())
}

/// The names of the pools that a user of a node sees.
fn seen(slurm: &SlurmCluster, node: &str, user: &str) -> Result<Vec<String>> {
    let text = said(slurm, node, user, "list -o json", 0, "")?;
    let list: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let pools = list["pools"].as_array().with_context(|| text.clone())?;
    Ok(pools.iter().filter_map(|pool| pool["name"].as_str().map(str::to_owned)).collect())
}

const UP: &str = "up mine --size 96MiB --fs ext4";

fn a_user_has_a_pool_that_is_his_alone(slurm: &SlurmCluster) -> Result<()> {
    // The controller takes no user's pool before it heard from Slurm what nodes may lend.
    until("a user's pool is up", SOON, || {
        let line = ["runuser", "-u", USER, "--", "rampool"].into_iter().chain(UP.split(' '));
        let output = slurm.cluster.node(LOGIN).command(line).cwd("/tmp").output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let early = output.status.code == Some(4) && error.contains("heard");
        ensure!(early || output.status.success(), "{error}");
        Ok(if early { Err(error) } else { Ok(()) })
    })?;
    let mount = slurm.cluster.node(LOGIN).sh("stat -c %U,%a /rampool/mine")?;
    ensure!(mount.trim() == format!("{USER},700"), "{mount}");
    ensure!(seen(slurm, LOGIN, USER)? == ["mine"]);
    let status = said(slurm, LOGIN, USER, "status mine -o json", 0, "")?;
    let status: Value = serde_json::from_str(&status)?;
    ensure!(!status["expires_at"].is_null(), "when it ends is not told: {status}");
    said(slurm, LOGIN, USER, "events mine", 0, "").map(drop)
}

fn others_of_that_node_get_nothing(slurm: &SlurmCluster) -> Result<()> {
    said(slurm, LOGIN, BOB, "up his --size 96MiB --fs ext4", 5, "no rule lets bob (uid 1002)")?;
    ensure!(seen(slurm, LOGIN, BOB)?.is_empty());
    for typed in ["down mine", "down mine --force", "status mine", "events mine", "wait mine"] {
        said(slurm, LOGIN, BOB, typed, 5, "not yours")?;
    }
    for typed in ["nodes", "drain n3", "renew mine --lease 1h", "recover --apply", "reap n3"] {
        said(slurm, LOGIN, USER, typed, 5, "for the cluster's operators")?;
    }
    // The root of a node is no operator, nor anybody's friend.
    said(slurm, LOGIN, "root", "list", 5, "is no user here")?;
    said(slurm, LOGIN, "root", "down mine --force", 5, "is no user here").map(drop)
}

/// Stand-ins for `munge` that show the controller credentials that are real, and not for this call.
fn a_credential_is_good_for_one_call_once(slurm: &SlurmCluster) -> Result<()> {
    let again = "[ -e /tmp/kept ] || /usr/bin/munge \"$@\" >/tmp/kept; cat /tmp/kept";
    let other = "echo rampool/1 /rampool.v1.Controller/ListPools x | /usr/bin/munge \"$@\"";
    let stolen = "/usr/bin/munge --no-input --restrict-uid=0";
    for (name, script, words) in [
        ("again", again, "it was replayed"),
        ("other", other, "for something else"),
        ("stolen", stolen, "for something else"),
        ("to-others", "/usr/bin/munge --restrict-uid=1002", "not taken"),
        ("nonsense", "echo MUNGE:AwQFAAD=:", "not taken"),
        ("nothing", "echo none", "no credential of MUNGE"),
    ] {
        let folder = format!("/tmp/{name}");
        slurm.cluster.node(LOGIN).sh(&format!(
            "mkdir {folder} && cat >{folder}/munge <<'END'\n#!/bin/sh\n{script}\nEND\n\
             chmod 755 {folder} {folder}/munge"
        ))?;
        let config = format!("{folder}/client.yaml");
        configure(slurm, &config, &folder)?;
        let typed = format!("list --config {config}");
        if name == "again" {
            said(slurm, LOGIN, USER, &typed, 0, "mine")?;
        }
        said(slurm, LOGIN, USER, &typed, 5, words)?;
    }
    Ok(())
}

fn more_than_the_rule_has_is_refused(slurm: &SlurmCluster) -> Result<()> {
    for (typed, words) in [
        ("up big --size 180MiB --fs ext4", "may take 200 MiB of donors' memory together"),
        ("up long --size 32MiB --fs ext4 --lease 2h", "may live 1h at most"),
        ("up far --size 32MiB --fs ext4 --head n3", "mounted on n2, and not on n3"),
        ("up etc --size 32MiB --fs ext4 --mount-point /etc/x", "not to be chosen"),
    ] {
        said(slurm, LOGIN, USER, typed, 5, words)?;
    }
    ensure!(seen(slurm, LOGIN, USER)? == ["mine"]);
    Ok(())
}

fn the_socket_knows_who_calls(slurm: &SlurmCluster) -> Result<()> {
    // Root, and a member of the group by the user database, with nobody's certificate.
    said(slurm, CONTROLLER, "root", "list --by socket", 0, "mine")?;
    said(slurm, CONTROLLER, CAROL, "list", 0, "mine")?;
    said(slurm, CONTROLLER, CAROL, "drain n3 --reason mends", 0, "")?;
    said(slurm, CONTROLLER, CAROL, "resume n3", 0, "")?;
    let up = "up hers --size 32MiB --fs ext4 --head n2 --donors n3 -o json";
    let made: Value = serde_json::from_str(&said(slurm, CONTROLLER, CAROL, up, 0, "")?)?;
    ensure!(made["owner"] == CAROL, "{made}");
    said(slurm, CONTROLLER, CAROL, "down hers", 0, "")?;
    // Users are users there too, without MUNGE.
    ensure!(seen(slurm, CONTROLLER, USER)? == ["mine"]);
    ensure!(seen(slurm, CONTROLLER, BOB)?.is_empty());
    said(slurm, CONTROLLER, BOB, "down mine", 5, "not yours")?;
    said(slurm, CONTROLLER, BOB, "drain n3", 5, "for the cluster's operators")?;
    // Nobody whom the user database knows.
    let words = ["setpriv", "--reuid=4711", "--clear-groups", "rampool", "list"];
    let output = slurm.cluster.node(CONTROLLER).exec(words)?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code == Some(5) && error.contains("uid 4711"), "{error}");
    Ok(())
}

fn at_its_end_a_pool_is_released_whatever_became_of_the_controller(
    slurm: &SlurmCluster,
) -> Result<()> {
    said(slurm, LOGIN, USER, "up brief --size 32MiB --fs ext4 --lease 20s", 0, "")?;
    slurm.cluster.kill_program(CONTROLLER, "rampool-controller")?;
    slurm.cluster.start_controller()?;
    until("its end", SOON, || {
        let list = slurm.cluster.rampool(&["list", "-o", "json"])?;
        let text = String::from_utf8_lossy(&list.stdout).into_owned();
        let gone = list.status.success() && !text.contains("brief");
        Ok(if gone { Ok(()) } else { Err(text) })
    })?;
    said(slurm, LOGIN, USER, "events brief", 0, "the lease ended").map(drop)
}

/// Who did what, by name, and each try that was refused.
fn the_log_names_everybody(slurm: &SlurmCluster) -> Result<()> {
    let log = slurm.cluster.node(CONTROLLER).sh("cat /var/log/rampool/controller*.log")?;
    for words in [
        "who=user alice (uid 1001)",
        "who=operator carol (uid 1003)",
        "user=bob (uid 1002)",
        "it was replayed",
        "uid 4711",
        "is no user here",
    ] {
        ensure!(log.contains(words), "the log does not say {words:?}");
    }
    ensure!(!log.contains("MUNGE:"), "a credential is in the log");
    Ok(())
}
