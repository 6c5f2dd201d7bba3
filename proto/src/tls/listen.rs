//! Connections: of peers that proved who they are by a certificate, and, at a door of their own, of
//! strangers, to whom the server alone proves who it is.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use super::connection::Stranger;
use super::credentials::Loaded;
use super::{CONNECT_DEADLINE, Connection, Credentials, KEEPALIVE, Peer};
use crate::room::Room;

/// A server gives its silent clients up later: it is for clients to find servers dead. One that
/// reserves memory on a busy node may itself be the one that did not run for seconds, with the
/// answer waiting in its socket.
const LET_GO: Duration = Duration::from_secs(20);

/// Calls one peer may have open at once.
const CALLS_PER_CONNECTION: usize = 256;

/// Peers that may be proving who they are at once. Each holds a socket for the connection's
/// deadline at most; the others wait in the listener's queue.
const AT_THE_DOOR: usize = 256;

/// Connections that strangers may have open at once, a descriptor each: a quarter of what a process
/// usually has.
const STRANGERS: usize = 256;

/// Of them, those from one address: a login node with many people at work. Others get in beside.
const STRANGERS_AT_ONE_ADDRESS: usize = 64;

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
    ) -> impl Stream<Item = io::Result<Connection<Peer>>> + use<> {
        self.through(listener, Door { config: |own| &own.server, know: Peer::of, room: None })
    }

    /// Connections of anybody, certificate or not: no more than there is room for, all together
    /// and of one address. Who finds none is sent away, with a line in the log.
    pub fn incoming_strangers(
        &self,
        listener: TcpListener,
    ) -> impl Stream<Item = io::Result<Connection<Stranger>>> + use<> {
        let door = Door {
            config: |own| &own.open_server,
            know: |_, address| Ok(Stranger { address }),
            room: Some(Room::of(STRANGERS, STRANGERS_AT_ONE_ADDRESS)),
        };
        self.through(listener, door)
    }

    fn through<P: Send + 'static>(
        &self,
        listener: TcpListener,
        door: Door<P>,
    ) -> impl Stream<Item = io::Result<Connection<P>>> + use<P> {
        let (proved, incoming) = mpsc::channel(1);
        tokio::spawn(accept(self.clone(), listener, door, proved));
        ReceiverStream::new(incoming)
    }
}

/// How a server lets peers in.
struct Door<P> {
    /// What of it they are shown and asked.
    config: fn(&Loaded) -> &Arc<ServerConfig>,
    /// Who they are, once that is done.
    know: Know<P>,
    /// For how many there is room; none: for as many as come.
    room: Option<Room<IpAddr>>,
}

type Proved<P> = mpsc::Sender<io::Result<Connection<P>>>;

async fn accept<P: Send + 'static>(
    credentials: Credentials,
    listener: TcpListener,
    door: Door<P>,
    proved: Proved<P>,
) {
    let at_the_door = Arc::new(Semaphore::new(AT_THE_DOOR));
    // The semaphore is never closed.
    while let Ok(waiting) = Arc::clone(&at_the_door).acquire_owned().await {
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
        let place = door.room.as_ref().map(|room| room.enter(address.ip()));
        if let Some(None) = place {
            tracing::warn!(%address, "a peer was refused: too many connections are open");
            continue;
        }
        let acceptor = TlsAcceptor::from(Arc::clone((door.config)(&credentials.current())));
        let (know, proved) = (door.know, proved.clone());
        tokio::spawn(async move {
            if let Some((stream, peer)) = prove(acceptor, stream, address, know).await {
                // A server that ended takes nobody.
                _ = proved.send(Ok(Connection::new(stream, peer, place.flatten()))).await;
            }
            drop(waiting);
        });
    }
}

type Know<P> = fn(&TlsStream<TcpStream>, SocketAddr) -> io::Result<P>;

async fn prove<P>(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    know: Know<P>,
) -> Option<(TlsStream<TcpStream>, P)> {
    let greet = async {
        stream.set_nodelay(true)?;
        let stream = acceptor.accept(stream).await?;
        let peer = know(&stream, address)?;
        io::Result::Ok((stream, peer))
    };
    let said = match tokio::time::timeout(CONNECT_DEADLINE, greet).await {
        Ok(Ok(known)) => return Some(known),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it did not say who it is within {} s", CONNECT_DEADLINE.as_secs()),
    };
    tracing::warn!(%address, said, "a peer was refused");
    None
}
