//! Where the controller listens: to operators, agents and Slurm's hooks, who have certificates; by a
//! socket to operators on its own host; and to users, where there are rules for them.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::{TcpListener, UnixListener};

use crate::config::Config;
use crate::socket;

/// All of them, open: whoever calls from now on waits to be let in.
#[derive(Debug)]
pub struct Doors {
    /// For certificates.
    pub certificates: TcpListener,
    /// On the own host.
    pub socket: UnixListener,
    /// For users.
    pub users: Option<TcpListener>,
}

impl Doors {
    /// Those of the configuration.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let certificates = listen(config.listen).await?;
        let users = match config.users.as_ref().and_then(|users| users.listen) {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        Ok(Self { certificates, socket: socket::listen(&config.socket)?, users })
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))
}
