//! Our own certificate, key and CA, as they stand in their files.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, crypto,
};
use zeroize::Zeroizing;

use super::{Identity, TlsError};

/// All of our programs are of one version.
const VERSIONS: [&SupportedProtocolVersion; 1] = [&TLS13];

/// What gRPC speaks within TLS (RFC 9113, 3.2).
const ALPN: &[u8] = b"h2";

/// Where a process's certificate, its key and the cluster's CA are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The cluster CA's certificate (PEM). While the CA is being replaced, both.
    pub ca: PathBuf,
    /// This process's certificate (PEM), with those between it and the CA.
    pub cert: PathBuf,
    /// Its private key (PEM), readable by its owner alone.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads the files; refuses a key that others could read.
    pub fn load(&self) -> Result<Credentials, TlsError> {
        let stamps = self.stamps();
        let current = Arc::new(Loaded::read(self)?);
        let kept = Kept { stamps, current };
        Ok(Credentials { files: Arc::new(self.clone()), kept: Arc::new(Mutex::new(kept)) })
    }

    /// Whom the certificate is for, as its file says now.
    pub fn identity(&self) -> Result<Identity, TlsError> {
        Identity::of_file(&self.cert)
    }

    /// What changes when any of the files is replaced or written.
    fn stamps(&self) -> [Stamp; 3] {
        [&self.ca, &self.cert, &self.key].map(|path| {
            let seen = std::fs::metadata(path).ok()?;
            Some((seen.ino(), seen.ctime(), seen.ctime_nsec()))
        })
    }
}

/// Inode, and the moment of its last change.
type Stamp = Option<(u64, i64, i64)>;

/// A process's identity, as its files say at the moment.
#[derive(Clone)]
pub struct Credentials {
    files: Arc<TlsFiles>,
    kept: Arc<Mutex<Kept>>,
}

struct Kept {
    stamps: [Stamp; 3],
    current: Arc<Loaded>,
}

/// What was made of the files.
pub(super) struct Loaded {
    pub(super) server: Arc<ServerConfig>,
    /// For peers without a certificate.
    pub(super) open_server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    identity: Identity,
}

impl Credentials {
    /// What the files say now. Files that are being replaced, or are wrong, leave what was.
    pub(super) fn current(&self) -> Arc<Loaded> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.files.stamps();
        if stamps != kept.stamps {
            kept.stamps = stamps;
            match Loaded::read(&self.files) {
                Ok(loaded) => {
                    tracing::info!(certificate = %loaded.identity, "certificates were read again");
                    kept.current = Arc::new(loaded);
                }
                Err(error) => tracing::error!(%error, "the former certificates are kept"),
            }
        }
        Arc::clone(&kept.current)
    }
}

impl Loaded {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let ring = Arc::new(crypto::ring::default_provider());
        let roots = Arc::new(roots(&files.ca)?);
        let (chain, key) = (certificates(&files.cert)?, key(&files.key)?);
        let identity = Identity::read(&chain[0]).map_err(|said| wrong(&files.cert, said))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), ring.clone())
            .build()
            .map_err(|error| wrong(&files.ca, error))?;
        let server = |verifier| {
            let mut server = ServerConfig::builder_with_provider(ring.clone())
                .with_protocol_versions(&VERSIONS)
                .map_err(|error| wrong(&files.cert, error))?
                .with_client_cert_verifier(verifier)
                .with_single_cert(chain.clone(), key.clone_key())
                .map_err(|error| wrong(&files.key, error))?;
            server.alpn_protocols = vec![ALPN.to_vec()];
            Ok(Arc::new(server))
        };
        let (server, open_server) =
            (server(verifier)?, server(WebPkiClientVerifier::no_client_auth())?);
        let mut client = ClientConfig::builder_with_provider(ring)
            .with_protocol_versions(&VERSIONS)
            .map_err(|error| wrong(&files.cert, error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| wrong(&files.key, error))?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { server, open_server, client: Arc::new(client), identity })
    }
}

/// What somebody without a certificate knows: the cluster's CA, by which servers prove who they
/// are. It is no secret.
#[derive(Clone)]
pub struct Trust(pub(super) Arc<ClientConfig>);

impl Trust {
    /// In the CA whose certificate is in this file (PEM).
    pub fn load(ca: &Path) -> Result<Self, TlsError> {
        let mut client =
            ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
                .with_protocol_versions(&VERSIONS)
                .map_err(|error| wrong(ca, error))?
                .with_root_certificates(roots(ca)?)
                .with_no_client_auth();
        client.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(Arc::new(client)))
    }
}

impl Identity {
    /// What the first certificate of a file (PEM) says.
    pub fn of_file(path: &Path) -> Result<Self, TlsError> {
        Self::read(&certificates(path)?[0]).map_err(|said| wrong(path, said))
    }
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| wrong(path, error))?;
    }
    Ok(roots)
}

/// The certificates of a file: one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(path, error))?;
    if all.is_empty() {
        return Err(wrong(path, "there is no certificate in it"));
    }
    Ok(all)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = Zeroizing::new(read(path)?);
    let mode = std::fs::metadata(path)
        .map_err(|source| TlsError::Read { path: path.to_owned(), source })?
        .mode();
    if mode & 0o077 != 0 {
        return Err(TlsError::KeyOpenToOthers { path: path.to_owned(), mode: mode & 0o7777 });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| wrong(path, error))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn wrong(path: &Path, said: impl Display) -> TlsError {
    TlsError::Content { path: path.to_owned(), said: said.to_string() }
}
