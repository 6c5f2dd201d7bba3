//! By which way we go to the controller. What is said (`--by`) is done. Else it is the first of
//! these that is there: a certificate whose key we can read, the socket of a controller on this
//! host, MUNGE.

use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use clap::ValueEnum;
use rampool_proto::v1::{Failure, FailureKind};

use crate::client::ClientConfig;

/// A way to the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// With the certificate that the configuration names.
    Certificate,
    /// By the socket of the controller on this host, which knows from the kernel who we are.
    Socket,
    /// With a credential of this host's MUNGE for each call.
    Munge,
}

/// Which ways there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct There {
    /// Why there is none by certificate, if so.
    pub certificate: Result<(), String>,
    /// Whether there is a socket.
    pub socket: bool,
    /// Whether the configuration says where the controller listens to users.
    pub munge: bool,
}

impl There {
    /// Those of this configuration, on this host, for who runs this.
    #[must_use]
    pub fn of(config: &ClientConfig) -> Self {
        Self {
            certificate: config.files().and_then(|files| readable(&files.key)),
            socket: config.socket.metadata().is_ok_and(|file| file.file_type().is_socket()),
            munge: config.munge.is_some() && config.tls.is_some(),
        }
    }
}

fn readable(key: &Path) -> Result<(), String> {
    File::open(key).map(drop).map_err(|error| format!("cannot read {}: {error}", key.display()))
}

/// The way to go. A controller that is `named` (by `--controller`) is none of this host's: there
/// the socket is no way.
pub fn choose(said: Option<By>, named: bool, there: &There) -> Result<By, Failure> {
    match (said, &there.certificate) {
        (Some(said), _) => Ok(said),
        (None, Ok(())) => Ok(By::Certificate),
        (None, Err(_)) if named => Ok(By::Certificate),
        (None, Err(_)) if there.socket => Ok(By::Socket),
        (None, Err(_)) if there.munge => Ok(By::Munge),
        (None, Err(why)) => Err(Failure::new(FailureKind::Failed, "find a way to the controller")
            .saying(format!(
                "no certificate ({why}), no socket of a controller on this host, and no `munge` in \
                 the client's configuration"
            ))
            .advising(
                "operators use a certificate, or the controller's host; users MUNGE, where the \
                 site lets them: examples/client.yaml explains each",
            )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(certificate: bool, socket: bool, munge: bool) -> There {
        let certificate = if certificate { Ok(()) } else { Err("cannot read /k".to_owned()) };
        There { certificate, socket, munge }
    }

    #[test]
    fn what_is_said_wins_then_certificate_then_socket_then_munge() {
        for said in [By::Certificate, By::Socket, By::Munge] {
            assert_eq!(choose(Some(said), true, &there(false, false, false)), Ok(said));
        }
        assert_eq!(choose(None, false, &there(true, true, true)), Ok(By::Certificate));
        assert_eq!(choose(None, false, &there(false, true, true)), Ok(By::Socket));
        assert_eq!(choose(None, false, &there(false, false, true)), Ok(By::Munge));
        // What is wrong with the certificate is then told.
        assert_eq!(choose(None, true, &there(false, true, true)), Ok(By::Certificate));
        let told = choose(None, false, &there(false, false, false)).unwrap_err();
        assert!(told.said.contains("cannot read /k") && told.said.contains("munge"), "{told}");
    }
}
