//! A CA, a fake controller on loopback, and the real program with a configuration for it.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rampool::pki::{self, Wanted};
use rampool_proto::tls::{Credentials, Gate, Role, TlsFiles};
use rampool_proto::v1::controller_server::ControllerServer;
use rampool_proto::v1::jobs_server::JobsServer;
use tokio::io::{AsyncBufReadExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::fake_controller::FakeController;
use crate::fake_jobs::FakeJobs;

/// A CA's folder with certificates for these (`ROLE=NAME`), each also good for 127.0.0.1.
pub(crate) fn authority(dir: &Path, parties: &[&str]) -> PathBuf {
    let dir = dir.join("pki");
    pki::init(&dir).unwrap();
    for party in parties {
        let addresses = vec!["127.0.0.1".parse().unwrap()];
        let parties = vec![party.parse().unwrap()];
        let wanted = Wanted { parties, addresses, days: pki::DEFAULT_DAYS, force: false };
        pki::issue(&dir, &wanted).unwrap();
    }
    dir
}

/// The files of a party (`ROLE-NAME`).
pub(crate) fn tls_files(pki: &Path, name: &str) -> TlsFiles {
    TlsFiles {
        ca: pki.join("ca.pem"),
        cert: pki.join(format!("{name}.pem")),
        key: pki.join(format!("{name}.key")),
    }
}

/// Serves `fake` on a loopback port until the test's end.
pub(crate) async fn serve(credentials: &Credentials, fake: FakeController) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gate = Gate::new("controller", &[Role::Operator]);
    let service = ControllerServer::with_interceptor(fake, gate);
    let server = credentials.server().add_service(service);
    tokio::spawn(server.serve_with_incoming(credentials.incoming(listener)));
    address
}

/// A fake controller's answers on jobs; all of its connections break when it is stopped.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

/// Serves `fake` at an address until it is stopped.
pub(crate) fn serve_jobs(
    credentials: &Credentials,
    address: SocketAddr,
    fake: FakeJobs,
) -> Serving {
    let listener = std::net::TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let credentials = credentials.clone();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.spawn(async move {
        let incoming = credentials.incoming(TcpListener::from_std(listener).unwrap());
        let mut server = credentials.server();
        server.add_service(JobsServer::new(fake)).serve_with_incoming(incoming).await.unwrap();
    });
    Serving { address, runtime: Some(runtime) }
}

impl Serving {
    /// Ends it and its connections.
    pub(crate) async fn stop(mut self) {
        let runtime = self.runtime.take();
        tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) struct Cluster {
    dir: tempfile::TempDir,
    pub(crate) fake: FakeController,
    pub(crate) address: SocketAddr,
}

/// What the program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Cluster {
    pub(crate) async fn with(fake: FakeController) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = authority(dir.path(), &["controller=mds1", "operator=admin"]);
        let credentials = tls_files(&pki, "controller-mds1").load().unwrap();
        let address = serve(&credentials, fake.clone()).await;
        let cluster = Self { dir, fake, address };
        std::fs::write(cluster.config(), cluster.config_text()).unwrap();
        cluster
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("client.yaml")
    }

    /// The CA's folder.
    pub(crate) fn pki(&self) -> PathBuf {
        self.dir.path().join("pki")
    }

    fn config_text(&self) -> String {
        let pki = self.pki();
        let tls = tls_files(&pki, "operator-admin");
        format!(
            "controller: {}\nname: mds1\ntls:\n  ca: {}\n  cert: {}\n  key: {}\n",
            self.address,
            tls.ca.display(),
            tls.cert.display(),
            tls.key.display()
        )
    }

    /// Writes a file beside the configuration.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = program(args);
        command.env("RAMPOOL_CONFIG", self.config());
        command
    }

    /// Runs the program to its end.
    pub(crate) async fn run(&self, line: &str) -> Said {
        self.run_args(&line.split(' ').collect::<Vec<_>>()).await
    }

    pub(crate) async fn run_args<S: AsRef<OsStr>>(&self, args: &[S]) -> Said {
        finish(self.command(args)).await
    }

    pub(crate) fn spawn(&self, line: &str) -> Child {
        self.command(&line.split(' ').collect::<Vec<_>>()).spawn().unwrap()
    }

    /// Starts the program and waits for the first line on its stderr.
    pub(crate) async fn start(
        &self,
        line: &str,
    ) -> (Child, BufReader<tokio::process::ChildStderr>) {
        let mut child = self.spawn(line);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        stderr.read_line(&mut first).await.unwrap();
        assert!(first.contains("export n2: 1 of 4"), "{first}");
        (child, stderr)
    }

    /// A way to the controller that can be cut: abort the task.
    pub(crate) async fn cuttable_way(&self) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (way, to) = (listener.local_addr().unwrap(), self.address);
        let task = tokio::spawn(async move {
            let (mut from, _) = listener.accept().await.unwrap();
            let mut to = TcpStream::connect(to).await.unwrap();
            let _ = copy_bidirectional(&mut from, &mut to).await;
        });
        (way, task)
    }
}

/// The program, with nothing of the tester's own settings.
pub(crate) fn program<S: AsRef<OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rampool"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["RAMPOOL_CONFIG", "RAMPOOL_CONTROLLER", "RAMPOOL_BY", "SUDO_UID", "SUDO_GID"] {
        command.env_remove(name);
    }
    command.kill_on_drop(true);
    command
}

/// Runs the program without any configuration.
pub(crate) async fn run_alone(line: &str) -> Said {
    finish(program(&line.split(' ').collect::<Vec<_>>())).await
}

pub(crate) async fn finish(mut command: Command) -> Said {
    let output = command.output().await.unwrap();
    Said {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
