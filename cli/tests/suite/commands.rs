//! The commands that only look, and those that need no controller.

use std::os::unix::fs::PermissionsExt;

use rampool_proto::v1::{DoctorRequest, Failure, FailureKind, HookDeadlines};

use crate::cluster::{Cluster, run_alone};
use crate::fake_controller::{Asked, FakeController};
use crate::samples;

#[tokio::test]
async fn looking_commands_print_tables_and_json() {
    let cluster = Cluster::with(FakeController::default()).await;
    for (line, words) in [
        ("status demo", "VOLATILE"),
        ("status", "VOLATILE"),
        ("list", "POOL  STATE"),
        ("list --job", "its pool failed"),
        ("list --job 17", "its pool failed"),
        ("nodes", "LENDABLE"),
        ("plan demo --size 511M", "losing any one donor"),
        ("events demo", "256 MiB reserved"),
        ("doctor", "0 to mend"),
    ] {
        let said = cluster.run(line).await;
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{line}: {said:?}");
        assert!(said.stdout.contains(words), "{line}: {said:?}");
        assert!(!said.stdout.contains('\x1b'), "colour without a terminal: {said:?}");
        let json = cluster.run(&format!("{line} -o json")).await.stdout;
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{line}: {json}");
    }
}

#[tokio::test]
async fn node_lists_reach_the_controller_folded() {
    let cluster = Cluster::with(FakeController::default()).await;
    cluster.run("nodes n1,n2,n3").await;
    cluster.run("doctor n[01-03]").await;
    let examine = DoctorRequest { nodes: "n[01-03]".into(), hooks: None };
    let asked = [Asked::Nodes("n[1-3]".into()), Asked::Doctor(examine)];
    assert_eq!(cluster.fake.asked(), asked);
}

#[tokio::test]
async fn doctor_fails_where_something_is_to_be_mended() {
    let cluster = Cluster::with(FakeController::finding(samples::findings())).await;
    let said = cluster.run("doctor").await;
    assert_eq!(said.code, 1);
    assert!(said.stdout.starts_with("ERROR    n2: mdadm is missing"), "{said:?}");
}

#[tokio::test]
async fn doctor_tells_how_long_this_hosts_hooks_wait_or_that_they_cannot() {
    let cluster = Cluster::with(FakeController::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("slurm.yaml");
    let least = "controller: 'c:1'\ntls: {ca: a, cert: b, key: c}\ncluster: x\n";
    std::fs::write(&file, format!("{least}deadline: 2m\nnode_deadline: 45s\n")).unwrap();
    let said = cluster.run(&format!("doctor --slurm-config {}", file.display())).await;
    assert_eq!(said.code, 0, "{said:?}");
    let hooks = Some(HookDeadlines { start_seconds: 120, node_seconds: 45 });
    assert_eq!(
        cluster.fake.asked(),
        [Asked::Doctor(DoctorRequest { hooks, ..Default::default() })]
    );
    std::fs::write(&file, "cluster: x\n").unwrap();
    let said = cluster.run(&format!("doctor --slurm-config {}", file.display())).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.starts_with("ERROR    Slurm's hooks on this host: "), "{said:?}");
}

#[tokio::test]
async fn an_unknown_pool_is_exit_code_3() {
    let refusal =
        Failure::new(FailureKind::NotFound, "look at the pool demo").saying("no such pool");
    let cluster = Cluster::with(FakeController::refusing(refusal)).await;
    let said = cluster.run("status demo").await;
    assert_eq!((said.code, said.stdout.as_str()), (3, ""));
    assert_eq!(said.stderr, "rampool: look at the pool demo: no such pool\n");
}

#[tokio::test]
async fn wrong_words_and_files_are_exit_code_2_and_ask_nothing() {
    let cluster = Cluster::with(FakeController::default()).await;
    let odd = cluster.file("odd.yaml", "name: demo\nsise: 3T\n");
    for (line, words) in [
        ("up Demo".to_owned(), "'D' is not allowed"),
        ("up demo --size 1024".into(), "1024 of what?"),
        ("up demo --donors n[1-".into(), "column 5"),
        ("up demo --donors n1,n1".into(), "node n1 is there twice"),
        (format!("up -f {}", odd.display()), "unknown field `sise`, expected one of"),
        (format!("plan -f {}", odd.display()), "line 2 column 1"),
        (format!("up -f {}", odd.with_file_name("none.yaml").display()), "No such file"),
        ("list --controller nowhere".into(), "host:port"),
    ] {
        let said = cluster.run(&line).await;
        assert_eq!(said.code, 2, "{line}: {said:?}");
        assert!(said.stderr.contains(words), "{line}: {said:?}");
    }
    assert_eq!(cluster.fake.asked(), []);
}

#[tokio::test]
async fn a_controller_that_is_not_there_is_named_with_what_to_do() {
    let cluster = Cluster::with(FakeController::default()).await;
    // Port 1 of loopback: nobody listens, and connecting is refused at once.
    let said = cluster.run("list --controller 127.0.0.1:1").await;
    assert_eq!(said.code, 1, "{said:?}");
    for words in ["controller at 127.0.0.1:1", "refused", "is rampool-controller running"] {
        assert!(said.stderr.contains(words), "{said:?}");
    }
}

#[tokio::test]
async fn a_client_without_configuration_is_told_where_it_belongs() {
    let said = run_alone("list --config /nonexistent/client.yaml").await;
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("/nonexistent/client.yaml"), "{said:?}");
    assert!(said.stderr.contains("examples/client.yaml"), "{said:?}");
}

#[tokio::test]
async fn completions_need_no_controller() {
    for shell in ["bash", "zsh", "fish"] {
        let said = run_alone(&format!("completions {shell}")).await;
        assert_eq!(said.code, 0);
        for word in ["size-per-donor", "double-parity", "failover", "at-expiry"] {
            assert!(said.stdout.contains(word), "{shell}: {word}");
        }
    }
}

#[tokio::test]
async fn pki_makes_private_files_and_never_replaces_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("pki");
    let dir_text = dir.display();
    let said = run_alone(&format!("pki init {dir_text}")).await;
    assert_eq!((said.code, said.stdout), (0, format!("{dir_text}/ca.pem\n{dir_text}/ca.key\n")));
    let issue = format!("pki issue agent=n[1-2] --dir {dir_text}");
    assert_eq!(run_alone(&issue).await.code, 0);

    let mode =
        |name: &str| std::fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (mode(""), mode("ca.key"), mode("agent-n1.key"), mode("agent-n2.pem")),
        (0o700, 0o600, 0o600, 0o644)
    );

    let key = std::fs::read(dir.join("agent-n1.key")).unwrap();
    for line in [format!("pki init {dir_text}"), issue.clone()] {
        let said = run_alone(&line).await;
        assert_eq!(said.code, 4, "{line}: {said:?}");
        assert!(said.stderr.contains("it is there already"), "{said:?}");
    }
    assert_eq!(std::fs::read(dir.join("agent-n1.key")).unwrap(), key);
    assert_eq!(run_alone(&format!("{issue} --force")).await.code, 0);
    assert_ne!(std::fs::read(dir.join("agent-n1.key")).unwrap(), key);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 6, "something was left behind");
}

#[tokio::test]
async fn pki_renews_what_ends_soon_with_another_key_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("pki");
    let dir_text = dir.display();
    run_alone(&format!("pki init {dir_text}")).await;
    let soon = format!("pki issue agent=n1 --dir {dir_text} --days 10 --address 10.0.0.1");
    assert_eq!(run_alone(&soon).await.code, 0);
    assert_eq!(run_alone(&format!("pki issue operator=admin --dir {dir_text}")).await.code, 0);
    let shown = async || {
        let said = run_alone(&format!("pki show {dir_text} -o json")).await;
        assert_eq!(said.code, 0, "{said:?}");
        serde_json::from_str::<serde_json::Value>(&said.stdout).unwrap()["certificates"].take()
    };
    let before = shown().await;
    assert_eq!(before[0]["roles"][0], "agent");
    let days_left = |certificate: &serde_json::Value| certificate["days_left"].as_i64().unwrap();
    // Whole days: what was issued a moment ago for ten has nine, or ten within its first second.
    assert!([9, 10].contains(&days_left(&before[0])), "{before}");
    let keys = || ["agent-n1.key", "operator-admin.key"].map(|key| std::fs::read(dir.join(key)));
    let [of_n1, of_admin] = keys().map(Result::unwrap);

    let said = run_alone(&format!("pki renew --dir {dir_text}")).await;
    let files = format!("{dir_text}/agent-n1.pem\n{dir_text}/agent-n1.key\n");
    assert_eq!((said.code, said.stdout), (0, files));
    let after = shown().await;
    assert!([364, 365].contains(&days_left(&after[0])), "{after}");
    for same in ["file", "roles", "names", "addresses"] {
        assert_eq!(after[0][same], before[0][same]);
    }
    // All but the days that are left: one may have gone by.
    for same in ["file", "roles", "names", "addresses", "ends_at"] {
        assert_eq!(after[1][same], before[1][same]);
    }
    let [renewed, untouched] = keys().map(Result::unwrap);
    assert_ne!(renewed, of_n1);
    assert_eq!(untouched, of_admin);
}

#[tokio::test]
async fn pki_refuses_what_makes_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("pki");
    let dir_text = dir.display();
    let said = run_alone(&format!("pki issue agent=n1 --dir {dir_text}")).await;
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("rampool pki init"), "{said:?}");
    run_alone(&format!("pki init {dir_text}")).await;
    for wrong in [
        "n1",
        "root=n1",
        "agent=../x",
        "agent=N1",
        "agent=n1 --days 0",
        "agent=n1 --days 9999",
        "agent=n[1-2] --address 10.0.0.1",
        "controller=n1 agent=n1 --address 10.0.0.1",
    ] {
        let said = run_alone(&format!("pki issue {wrong} --dir {dir_text}")).await;
        assert_eq!(said.code, 2, "{wrong}: {said:?}");
    }
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = run_alone(&format!("pki issue agent=n1 --dir {dir_text}")).await;
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("chmod 0700"), "{said:?}");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);
}
