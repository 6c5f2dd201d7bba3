//! The certificates that `pki` makes, in use: mutual TLS on loopback, and everyone without
//! one of this CA, or with one for something else, kept out.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rampool_proto::tls::{Credentials, Dial, Role, TlsError, TlsFiles};
use rampool_proto::v1::ListPoolsRequest;
use rampool_proto::v1::controller_client::ControllerClient;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::cluster::{authority, run_alone, serve, tls_files};
use crate::fake_controller::FakeController;

struct Served {
    _dir: tempfile::TempDir,
    pki: PathBuf,
    address: SocketAddr,
}

const PARTIES: [&str; 5] =
    ["controller=mds1", "operator=admin", "agent=n1", "agent=mds1", "slurm=slurm"];

async fn served_by(party: &str) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let pki = authority(dir.path(), &PARTIES);
    let credentials = tls_files(&pki, party).load().unwrap();
    let address = serve(&credentials, FakeController::default()).await;
    Served { _dir: dir, pki, address }
}

async fn served() -> Served {
    served_by("controller-mds1").await
}

impl Served {
    fn who(&self, party: &str) -> Credentials {
        tls_files(&self.pki, party).load().unwrap()
    }

    fn dial(&self, credentials: &Credentials, name: &str) -> Dial {
        credentials.dial(&self.address.to_string(), name, Role::Controller).unwrap()
    }

    /// A connection of somebody without a certificate.
    async fn greeted_by_nobody(&self) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.pki.join("ca.pem")).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect("mds1".try_into().unwrap(), stream).await.unwrap()
    }

    async fn call_as(&self, party: &str) -> Result<(), Status> {
        call(self.dial(&self.who(party), "mds1").lazy()).await
    }
}

async fn call(channel: Channel) -> Result<(), Status> {
    ControllerClient::new(channel).list_pools(ListPoolsRequest {}).await.map(drop)
}

/// Whether a call gets through. With TLS 1.3 a server's refusal of the client may only be
/// seen at the first call.
async fn gets_through(dial: Dial) -> bool {
    let Ok(channel) = dial.connect().await else { return false };
    call(channel).await.is_ok()
}

#[tokio::test]
async fn peers_of_one_ca_reach_each_other_by_name_and_by_address() {
    let served = served().await;
    for name in ["mds1", "127.0.0.1"] {
        assert!(gets_through(served.dial(&served.who("operator-admin"), name)).await, "{name}");
    }
    served.call_as("operator-admin").await.unwrap();
}

#[tokio::test]
async fn a_certificate_for_something_else_opens_no_service() {
    let served = served().await;
    for party in ["agent-n1", "agent-mds1", "slurm-slurm", "controller-mds1"] {
        let refused = served.call_as(party).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{party}: {refused}");
        assert!(refused.message().contains("it is for operator"), "{party}: {refused}");
    }
}

#[tokio::test]
async fn a_server_of_another_name_is_refused() {
    let served = served().await;
    assert!(!gets_through(served.dial(&served.who("operator-admin"), "n1")).await);
}

#[tokio::test]
async fn a_server_of_the_right_name_in_another_role_is_refused() {
    let served = served_by("agent-mds1").await;
    let refused = served.call_as("operator-admin").await.unwrap_err();
    let words = format!("{refused:?}");
    assert!(words.contains("who answers there is agent mds1"), "{words}");
}

#[tokio::test]
async fn a_client_of_another_ca_is_refused() {
    let served = served().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let other = authority(elsewhere.path(), &["operator=admin"]);
    // It trusts the server's CA, so that the server alone can refuse it.
    let files = TlsFiles { ca: served.pki.join("ca.pem"), ..tls_files(&other, "operator-admin") };
    assert!(!gets_through(served.dial(&files.load().unwrap(), "mds1")).await);
}

#[tokio::test]
async fn a_server_of_another_ca_is_refused() {
    let served = served().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let other = authority(elsewhere.path(), &["operator=admin"]);
    let files = TlsFiles { ca: other.join("ca.pem"), ..tls_files(&served.pki, "operator-admin") };
    assert!(!gets_through(served.dial(&files.load().unwrap(), "mds1")).await);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let served = served().await;
    // The server's answer to the missing certificate comes after its own part is done.
    let mut stream = served.greeted_by_nobody().await;
    let said = stream.read(&mut [0]).await.unwrap_err().to_string();
    assert!(said.contains("CertificateRequired"), "{said}");
}

#[tokio::test]
async fn plaintext_is_refused() {
    let served = served().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", served.address)).unwrap();
    call(endpoint.connect_lazy()).await.unwrap_err();
}

/// Certificates that ended are made by hand: `pki` makes none.
#[tokio::test]
async fn a_certificate_that_ended_is_refused_and_a_renewed_one_is_taken_without_a_restart() {
    let served = served().await;
    let admin = served.who("operator-admin");
    let ended = ended(&served.pki);
    for (from, to) in ended.iter().zip(["operator-admin.pem", "operator-admin.key"]) {
        std::fs::copy(from, served.pki.join(to)).unwrap();
    }
    assert!(!gets_through(served.dial(&admin, "mds1")).await, "the files were not read again");
    let renew = format!("pki renew --dir {}", served.pki.display());
    assert_eq!(run_alone(&renew).await.code, 0);
    assert!(gets_through(served.dial(&admin, "mds1")).await);

    // The server's own.
    let before = tls_files(&served.pki, "controller-mds1").identity().unwrap();
    let renew = format!("pki renew --within 400 --days 500 --dir {}", served.pki.display());
    assert_eq!(run_alone(&renew).await.code, 0);
    let seen = seen_of_server(&served).await;
    assert!(seen > before.not_after, "the server shows its former certificate");
}

/// A certificate and a key of the CA in `pki`, of yesterday.
fn ended(pki: &std::path::Path) -> [PathBuf; 2] {
    use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
    let read = |name: &str| std::fs::read_to_string(pki.join(name)).unwrap();
    let issuer =
        Issuer::from_ca_cert_pem(&read("ca.pem"), KeyPair::from_pem(&read("ca.key")).unwrap())
            .unwrap();
    let mut params = CertificateParams::new(vec!["admin".to_owned()]).unwrap();
    let role = Role::Operator.uri();
    params.subject_alt_names.push(SanType::URI(role.as_str().try_into().unwrap()));
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let files = ["ended.crt", "ended.key"].map(|name| pki.join(name));
    std::fs::write(&files[0], certificate.pem()).unwrap();
    std::fs::write(&files[1], key.serialize_pem()).unwrap();
    std::fs::set_permissions(&files[1], std::fs::Permissions::from_mode(0o600)).unwrap();
    files
}

/// Until when the certificate is good that the server shows, in seconds since 1970.
async fn seen_of_server(served: &Served) -> i64 {
    let stream = served.greeted_by_nobody().await;
    let shown = stream.get_ref().1.peer_certificates().unwrap();
    rampool_proto::tls::Identity::read(&shown[0]).unwrap().not_after
}

#[tokio::test]
async fn a_key_that_others_can_read_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let pki = authority(dir.path(), &["operator=admin"]);
    let open = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(pki.join("operator-admin.key"), open).unwrap();
    let Err(error) = tls_files(&pki, "operator-admin").load() else { panic!("the key was taken") };
    assert!(matches!(error, TlsError::KeyOpenToOthers { mode: 0o640, .. }), "{error}");
}
