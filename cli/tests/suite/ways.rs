//! By which way the command goes to the controller: a certificate, the socket, MUNGE.

use std::path::PathBuf;

use rampool_proto::munge::Checker;
use rampool_proto::tls::Stranger;
use rampool_proto::v1::controller_server::ControllerServer;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server::NamedService;
use tonic::transport::Server;

use crate::cluster::{Cluster, tls_files};
use crate::fake_controller::FakeController;
use crate::hooks::FAKE_COMMAND;

/// A controller that asks who calls by MUNGE, with programs that stand in for it.
#[derive(Clone)]
struct ByMunge {
    inner: ControllerServer<FakeController>,
    checker: Checker,
}

impl NamedService for ByMunge {
    const NAME: &'static str = <ControllerServer<FakeController> as NamedService>::NAME;
}

impl Service<Request<Body>> for ByMunge {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut own = self.clone();
        Box::pin(async move {
            assert!(request.extensions().get::<Stranger>().is_some());
            match own.checker.check(request).await {
                Ok((_, request)) => own.inner.call(request).await,
                Err(failure) => Ok(tonic::Status::from(failure).into_http()),
            }
        })
    }
}

const MUNGE: &str = "echo \"MUNGE:$(base64 -w0):\"\n";
const UNMUNGE: &str = r#"payload=$(sed 's/^MUNGE://; s/:$//' | base64 -d)
printf 'STATUS: 0\nENCODE_HOST: h\nUID: 7\nLENGTH: %s\n\n%s' ${#payload} "$payload"
"#;

struct Ways {
    cluster: Cluster,
    folder: tempfile::TempDir,
    users: u16,
}

/// A controller that is there by all three ways.
async fn ways() -> Ways {
    let cluster = Cluster::with(FakeController::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    let service = ControllerServer::new(cluster.fake.clone());
    let by_socket = Server::builder().add_service(service.clone());
    tokio::spawn(by_socket.serve_with_incoming(UnixListenerStream::new(socket)));
    for (name, text) in [("munge", MUNGE), ("unmunge", UNMUNGE)] {
        std::fs::write(folder.path().join(format!("{name}.does")), text).unwrap();
        std::os::unix::fs::symlink(FAKE_COMMAND, folder.path().join(name)).unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let users = listener.local_addr().unwrap().port();
    let credentials = tls_files(&cluster.pki(), "controller-mds1").load().unwrap();
    let checked = ByMunge { inner: service, checker: Checker::of(folder.path()) };
    let by_munge = credentials.server().add_service(checked);
    tokio::spawn(by_munge.serve_with_incoming(credentials.incoming_strangers(listener)));
    Ways { cluster, folder, users }
}

impl Ways {
    /// A configuration of the parts of these names.
    fn config(&self, name: &str, parts: &[&str]) -> PathBuf {
        let (here, pki) = (self.folder.path().display(), self.cluster.pki());
        let files = tls_files(&pki, "operator-admin");
        let [ca, cert, key] =
            [files.ca, files.cert, files.key].map(|file| file.display().to_string());
        let text: String = parts
            .iter()
            .map(|part| match *part {
                "certificate" => format!(
                    "controller: {}\ntls: {{ca: {ca}, cert: {cert}, key: {key}}}\n",
                    self.cluster.address
                ),
                "lost key" => format!(
                    "controller: {}\ntls: {{ca: {ca}, cert: {cert}, key: {here}/lost}}\n",
                    self.cluster.address
                ),
                "ca" => format!("tls: {{ca: {ca}}}\n"),
                "socket" => format!("socket: {here}/socket\n"),
                "no socket" => format!("socket: {here}/nothing\n"),
                "munge" => {
                    format!("munge: {{controller: '127.0.0.1:{}', commands: {here}}}\n", self.users)
                }
                other => format!("{other}\n"),
            })
            .collect();
        self.cluster.file(name, &format!("name: mds1\n{text}"))
    }

    /// Whether it works, and what is said.
    async fn list(&self, parts: &[&str], flags: &str) -> (i32, String) {
        let config = self.config("ways.yaml", parts);
        let said = self.cluster.run(&format!("list --config {}{flags}", config.display())).await;
        (said.code, said.stderr)
    }
}

#[tokio::test]
async fn each_way_leads_there_and_what_is_there_first_is_taken() {
    let ways = ways().await;
    for parts in [
        &["certificate", "no socket"][..],
        &["lost key", "socket", "munge"],
        &["socket"],
        &["ca", "no socket", "munge"],
        &["lost key", "no socket", "munge"],
    ] {
        assert_eq!(ways.list(parts, "").await, (0, String::new()), "{parts:?}");
    }
    // The socket would lead there; what is said is done, and what is wrong with it told.
    let (code, told) = ways.list(&["lost key", "socket"], " --by certificate").await;
    assert!(code == 1 && told.contains("/lost"), "{told}");
    let (code, told) = ways.list(&["socket"], " --by munge").await;
    assert!(code == 1 && told.contains("no `munge`"), "{told}");
    let (code, told) = ways.list(&["certificate", "no socket"], " --by socket").await;
    assert!(code == 1 && told.contains("/nothing"), "{told}");
    for by in ["certificate", "socket", "munge"] {
        let done = ways.list(&["certificate", "socket", "munge"], &format!(" --by {by}")).await;
        assert_eq!(done, (0, String::new()), "{by}");
    }
}

#[tokio::test]
async fn a_controller_that_is_named_is_not_looked_for_at_this_hosts_socket() {
    let ways = ways().await;
    let flags = format!(" --controller {}", ways.cluster.address);
    let (code, told) = ways.list(&["lost key", "socket"], &flags).await;
    assert!(code == 1 && told.contains("/lost"), "{told}");
}

#[tokio::test]
async fn where_there_is_no_way_all_of_them_are_told() {
    let ways = ways().await;
    let (code, told) = ways.list(&["no socket"], "").await;
    assert_eq!(code, 1);
    for words in ["no certificate", "no socket", "no `munge`", "examples/client.yaml"] {
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn a_munge_that_fails_is_told_in_its_words_and_what_to_do() {
    let ways = ways().await;
    let munge = ways.folder.path().join("munge");
    let fails = "echo 'munge: Error: no socket' >&2\nexit 6\n";
    std::fs::write(munge.with_extension("does"), fails).unwrap();
    let (code, told) = ways.list(&["ca", "no socket", "munge"], "").await;
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains("munge: Error: no socket") && told.contains("is munged running"),
        "{told}"
    );
    std::fs::remove_file(&munge).unwrap();
    let (code, told) = ways.list(&["ca", "no socket", "munge"], "").await;
    assert!(code == 1 && told.contains("is the package munge installed"), "{told}");
}
