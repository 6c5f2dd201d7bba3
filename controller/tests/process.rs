//! The program itself: what it refuses, how it ends, what it leaves.

// In a test a panic is the report.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rampool-controller");

fn write(path: &Path, text: &str) {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

/// A folder with certificates and a configuration.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write(&folder.path().join("ca.crt"), &ca.self_signed(&ca_key).unwrap().pem());
    let own = CertificateParams::new(["controller".to_owned()]).unwrap();
    let signed = own.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    write(&folder.path().join("own.crt"), &signed.pem());
    write(&folder.path().join("own.key"), &key.serialize_pem());
    configure(folder.path(), "");
    folder
}

fn configure(folder: &Path, more: &str) {
    let at = folder.display();
    write(
        &folder.join("controller.yaml"),
        &format!(
            "listen: 127.0.0.1:0\nnodes: n1\nagents: {{port: 1, addresses: {{n1: 127.0.0.1}}}}\n\
             state: {at}/state\nsocket: {{path: {at}/run/socket}}\ntls: {{ca: {at}/ca.crt, cert: {at}/own.crt, key: {at}/own.key}}\n\
             {more}"
        ),
    );
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(folder.join("controller.yaml")).stderr(Stdio::piped());
    command.env("RUST_LOG", "info");
    command
}

fn refused(folder: &Path) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command(folder).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// Starts it and waits until it says that it is ready.
fn started(folder: &Path) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = command(folder).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it was ready");
    }
    (child, log)
}

#[test]
fn a_wrong_configuration_ends_it_with_its_own_code_and_says_where() {
    let folder = folder();
    configure(folder.path(), "listen_on: 1\n");
    let (code, said) = refused(folder.path());
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("unknown field `listen_on`") && said.contains("line 7"), "{said}");
    assert!(!folder.path().join("state").exists(), "nothing was made");
}

#[test]
fn without_its_certificate_or_with_an_open_key_it_does_not_start() {
    let folder = folder();
    let key = folder.path().join("own.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = refused(folder.path());
    assert!(code == Some(1) && said.contains("0644"), "{said}");
    std::fs::remove_file(&key).unwrap();
    let (code, said) = refused(folder.path());
    assert!(code == Some(1) && said.contains("rampool pki"), "{said}");
}

#[test]
fn a_second_one_on_the_same_state_is_refused_and_names_the_first() {
    let folder = folder();
    let (mut first, _log) = started(folder.path());
    let (code, said) = refused(folder.path());
    assert!(code == Some(1) && said.contains(&format!("process {}", first.id())), "{said}");
    first.kill().unwrap();
    first.wait().unwrap();
    // The kernel gave the lock back with the process.
    let (mut again, _log) = started(folder.path());
    again.kill().unwrap();
    again.wait().unwrap();
}

#[test]
fn a_taken_port_is_named() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let path = folder.path().join("controller.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    write(&path, &text.replace("127.0.0.1:0", &address.to_string()));
    let (code, said) = refused(folder.path());
    assert!(code == Some(1) && said.contains(&format!("listen on {address}")), "{said}");
}

#[test]
fn sigterm_ends_it_well_and_its_files_are_its_owners_alone() {
    let folder = folder();
    let (mut child, mut log) = started(folder.path());
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("stopping"), "{rest}");
    for (file, mode) in [("", 0o700), ("controller.redb", 0o600), ("controller.lock", 0o600)] {
        let meta = std::fs::metadata(folder.path().join("state").join(file)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{file}");
    }
}
