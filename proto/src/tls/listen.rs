//! Connections from peers that proved who they are.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use super::{CONNECT_DEADLINE, Connection, Credentials, KEEPALIVE};

/// A server gives its silent clients up later: it is for clients to find servers dead. One that
/// reserves memory on a busy node may itself be the one that did not run for seconds, with the
/// answer waiting in its socket.
const LET_GO: Duration = Duration::from_secs(20);

/// Calls one peer may have open at once.
const CALLS_PER_CONNECTION: usize = 256;

/// Peers that may be proving who they are at once. Each holds a socket for the connection's
/// deadline at most; the others wait in the listener's queue.
const AT_THE_DOOR: usize = 256;

/// After an error of the listener itself (no more file descriptors) it is asked again.
const BREATH: Duration = Duration::from_millis(100);

impl Credentials {
    /// A server with the limits that all of ours have; it is served [`Self::incoming`].
    #[must_use]
    pub fn server(&self) -> Server {
        Server::builder()
            .concurrency_limit_per_connection(CALLS_PER_CONNECTION)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(LET_GO))
    }

    /// Connections of peers with a certificate of the cluster's CA. Every other try is a line in
    /// the log. Ends with its reader.
    pub fn incoming(
        &self,
        listener: TcpListener,
    ) -> impl Stream<Item = io::Result<Connection>> + use<> {
        let (proved, incoming) = mpsc::channel(1);
        tokio::spawn(accept(self.clone(), listener, proved));
        ReceiverStream::new(incoming)
    }
}

type Proved = mpsc::Sender<io::Result<Connection>>;

async fn accept(credentials: Credentials, listener: TcpListener, proved: Proved) {
    let door = Arc::new(Semaphore::new(AT_THE_DOOR));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&door).acquire_owned().await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = proved.closed() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let (acceptor, proved) =
            (TlsAcceptor::from(Arc::clone(&credentials.current().server)), proved.clone());
        tokio::spawn(async move {
            if let Some(stream) = prove(acceptor, stream, address).await {
                // A server that ended takes nobody.
                _ = proved.send(Ok(stream)).await;
            }
            drop(place);
        });
    }
}

async fn prove(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
) -> Option<Connection> {
    let greeted = tokio::time::timeout(CONNECT_DEADLINE, greet(acceptor, stream, address));
    let said = match greeted.await {
        Ok(Ok(connection)) => return Some(connection),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it did not say who it is within {} s", CONNECT_DEADLINE.as_secs()),
    };
    tracing::warn!(%address, said, "a peer was refused");
    None
}

async fn greet(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    Connection::new(acceptor.accept(stream).await?, address)
}
