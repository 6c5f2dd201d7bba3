//! Mutual TLS against one cluster CA: the only way in or out of any rampool process over a network.
//! There is no plaintext mode and no way to skip verification. One door alone, for users, asks its
//! peers for no certificate: there each call has to prove whose it is (see [`crate::munge`]).
//!
//! A certificate says who its holder is (names) and what it may be (roles). A server admits
//! nobody without a certificate of the cluster's CA, a service nobody without the role that it
//! wants, and a client believes a server only if it has the name and the role that it dialled.
//! Certificates may be renewed in place: the files are read again when they have changed.
//!
//! | module | idea |
//! | --- | --- |
//! | `identity` | what a certificate says |
//! | `credentials` | our own, as they stand in their files |
//! | `listen` | taking connections of peers that prove who they are |
//! | `connection` | such a connection |
//! | `dial` | the way to a server that proves who it is |
//! | `gate` | who may call a service |

mod connection;
mod credentials;
mod dial;
mod gate;
mod identity;
mod listen;

use std::path::PathBuf;
use std::time::Duration;

pub use connection::{Connection, Peer, Stranger};
pub use credentials::{Credentials, TlsFiles, Trust};
pub use dial::{Dial, Dialling};
pub use gate::{Gate, peer};
pub use identity::{ENDS_SOON_DAYS, Identity, Role};

/// How long a peer may take to connect and to prove who it is.
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// A silent connection is probed this often, and given up as long after without an answer, so
/// that a dead peer is known within twice this.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(5);

/// Why a process cannot prove who it is.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error(
        "cannot read {path}: {source}; `rampool pki init` makes a CA, `rampool pki issue` \
         certificates (there is no mode without)"
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
    /// A file is not what it should be.
    #[error("{path}: {said}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        said: String,
    },
    /// An address is not of the form host:port, or a name no DNS name or address.
    #[error("{0:?} is no address: host:port is")]
    Address(String),
}
