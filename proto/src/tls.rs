//! Mutual TLS against one cluster CA: the only way in or out of any rampool process. There is
//! no plaintext mode and no way to skip verification.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tonic::transport::{
    Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
};

/// How long a peer may take to answer a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// A silent connection is probed this often, and given up as long after without an answer, so
/// that a dead peer is known within twice this.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// A server gives its silent clients up later: it is for clients to find servers dead. One that
/// reserves memory on a busy node may itself be the one that did not run for seconds, with the
/// answer waiting in its socket.
const LET_GO: Duration = Duration::from_secs(20);

/// Calls one peer may have open at once.
const CALLS_PER_CONNECTION: usize = 256;

/// Where a process's certificate, its key and the cluster's CA are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The cluster CA's certificate (PEM).
    pub ca: PathBuf,
    /// This process's certificate (PEM).
    pub cert: PathBuf,
    /// Its private key (PEM), readable by its owner alone.
    pub key: PathBuf,
}

/// Why a process cannot prove who it is.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error(
        "cannot read {path}: {source}; `rampool pki init` makes a CA, `rampool pki issue NAME` \
         a certificate (there is no mode without)"
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The private key can be read by others.
    #[error("{path} has mode {mode:04o}: others can read this private key; chmod 0600 it")]
    KeyOpenToOthers {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// An address is not of the form host:port.
    #[error("{0:?} is no address: host:port is")]
    Address(String),
    /// The TLS library refused the files.
    #[error("TLS: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// A process's identity, read from its files.
#[derive(Clone)]
pub struct Credentials {
    ca: Certificate,
    identity: Identity,
}

impl TlsFiles {
    /// Reads the files; refuses a key that others could read.
    pub fn load(&self) -> Result<Credentials, TlsError> {
        let key = read(&self.key)?;
        let mode = std::fs::metadata(&self.key)
            .map_err(|source| TlsError::Read { path: self.key.clone(), source })?
            .mode();
        if mode & 0o077 != 0 {
            return Err(TlsError::KeyOpenToOthers { path: self.key.clone(), mode: mode & 0o7777 });
        }
        Ok(Credentials {
            ca: Certificate::from_pem(read(&self.ca)?),
            identity: Identity::from_pem(read(&self.cert)?, key),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

impl Credentials {
    /// A server that admits only peers with a certificate of the cluster's CA.
    pub fn server(&self) -> Result<Server, TlsError> {
        let tls = ServerTlsConfig::new()
            .identity(self.identity.clone())
            .client_ca_root(self.ca.clone())
            .client_auth_optional(false)
            .timeout(CONNECT_DEADLINE);
        Ok(Server::builder()
            .tls_config(tls)?
            .concurrency_limit_per_connection(CALLS_PER_CONNECTION)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(LET_GO)))
    }

    /// Where `address` (host:port) can be reached as `name`, which its certificate must carry.
    /// Nothing is dialled yet.
    pub fn endpoint(&self, address: &str, name: &str) -> Result<Endpoint, TlsError> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(self.ca.clone())
            .identity(self.identity.clone())
            .domain_name(name);
        Ok(Endpoint::from_shared(format!("https://{address}"))
            .map_err(|_| TlsError::Address(address.to_owned()))?
            .tls_config(tls)?
            .connect_timeout(CONNECT_DEADLINE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true))
    }

    /// A channel to `address` (host:port) which dials when first used, and again when broken.
    pub fn lazy_channel(&self, address: &str, name: &str) -> Result<Channel, TlsError> {
        Ok(self.endpoint(address, name)?.connect_lazy())
    }
}
