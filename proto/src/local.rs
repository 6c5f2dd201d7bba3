//! The way to the controller of one's own host: a Unix socket. The kernel tells the controller who
//! calls; the folder, which root alone can write, tells the caller who listens.

use std::path::Path;

use tonic::transport::{Channel, Endpoint, Error};

use crate::tls::{CONNECT_DEADLINE, KEEPALIVE};

/// Where it is, unless controller.yaml says otherwise.
pub const SOCKET: &str = "/run/rampool-controller/socket";

/// Connects to the controller that listens there.
pub async fn connect(socket: &Path) -> Result<Channel, Error> {
    Endpoint::from_shared(format!("unix://{}", socket.display()))?
        .connect_timeout(CONNECT_DEADLINE)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .connect()
        .await
}
