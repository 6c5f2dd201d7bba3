//! The certificates that `pki` makes, in use: mutual TLS on loopback, and everyone without
//! one of this CA kept out.

use std::net::SocketAddr;
use std::path::PathBuf;

use rampool_proto::tls::{Credentials, TlsError, TlsFiles};
use rampool_proto::v1::ListPoolsRequest;
use rampool_proto::v1::controller_client::ControllerClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::cluster::{authority, serve, tls_files};
use crate::fake_controller::FakeController;

struct Served {
    _dir: tempfile::TempDir,
    pki: PathBuf,
    address: SocketAddr,
}

async fn served() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let pki = authority(dir.path(), &["controller", "admin"]);
    let credentials = tls_files(&pki, "controller").load().unwrap();
    let address = serve(&credentials, FakeController::default()).await;
    Served { _dir: dir, pki, address }
}

impl Served {
    fn admin(&self) -> Credentials {
        tls_files(&self.pki, "admin").load().unwrap()
    }

    fn endpoint(&self, credentials: &Credentials, name: &str) -> Endpoint {
        credentials.endpoint(&self.address.to_string(), name).unwrap()
    }
}

/// Whether a call gets through. With TLS 1.3 a server's refusal of the client may only be
/// seen at the first call.
async fn gets_through(endpoint: Endpoint) -> bool {
    let Ok(channel) = endpoint.connect().await else { return false };
    call(channel).await
}

async fn call(channel: Channel) -> bool {
    ControllerClient::new(channel).list_pools(ListPoolsRequest {}).await.is_ok()
}

#[tokio::test]
async fn peers_of_one_ca_reach_each_other_by_name_and_by_address() {
    let served = served().await;
    for name in ["controller", "127.0.0.1"] {
        assert!(gets_through(served.endpoint(&served.admin(), name)).await, "{name}");
    }
    let lazy = served.admin().lazy_channel(&served.address.to_string(), "controller").unwrap();
    assert!(call(lazy).await);
}

#[tokio::test]
async fn a_server_of_another_name_is_refused() {
    let served = served().await;
    assert!(!gets_through(served.endpoint(&served.admin(), "n1")).await);
}

#[tokio::test]
async fn a_client_of_another_ca_is_refused() {
    let served = served().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let other = authority(elsewhere.path(), &["admin"]);
    // It trusts the server's CA, so that the server alone can refuse it.
    let files = TlsFiles { ca: served.pki.join("ca.pem"), ..tls_files(&other, "admin") };
    assert!(!gets_through(served.endpoint(&files.load().unwrap(), "controller")).await);
}

#[tokio::test]
async fn a_server_of_another_ca_is_refused() {
    let served = served().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let other = authority(elsewhere.path(), &["admin"]);
    let files = TlsFiles { ca: other.join("ca.pem"), ..tls_files(&served.pki, "admin") };
    assert!(!gets_through(served.endpoint(&files.load().unwrap(), "controller")).await);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let served = served().await;
    let ca = Certificate::from_pem(std::fs::read(served.pki.join("ca.pem")).unwrap());
    let tls = ClientTlsConfig::new().ca_certificate(ca).domain_name("controller");
    let endpoint = Endpoint::from_shared(format!("https://{}", served.address)).unwrap();
    assert!(!gets_through(endpoint.tls_config(tls).unwrap()).await);
}

#[tokio::test]
async fn plaintext_is_refused() {
    let served = served().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", served.address)).unwrap();
    assert!(!gets_through(endpoint).await);
}

#[tokio::test]
async fn a_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let pki = authority(dir.path(), &["admin"]);
    let open = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(pki.join("admin.key"), open).unwrap();
    let Err(error) = tls_files(&pki, "admin").load() else { panic!("the key was taken") };
    assert!(matches!(error, TlsError::KeyOpenToOthers { mode: 0o640, .. }), "{error}");
}
