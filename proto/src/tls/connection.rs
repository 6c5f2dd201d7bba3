//! A connection, and who is at its other end.

use std::fmt::{self, Display};
use std::hash::Hash;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::Identity;
use crate::room::Place;

/// Who calls, and from where.
#[derive(Clone, Debug)]
pub struct Peer {
    /// What its certificate says.
    pub identity: Arc<Identity>,
    /// Its end of the connection.
    pub address: SocketAddr,
}

/// `agent n1 at 10.0.0.1:4711`.
impl Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.identity, self.address)
    }
}

impl Peer {
    /// Who is at the other end, by the certificate that it showed.
    pub(super) fn of(stream: &TlsStream<TcpStream>, address: SocketAddr) -> io::Result<Self> {
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = certificates.first().ok_or_else(|| wrong("it showed no certificate"))?;
        Ok(Self { identity: Arc::new(Identity::read(certificate).map_err(wrong)?), address })
    }
}

/// Who calls without a certificate: nothing is known but from where. Each of its calls has to say
/// and to prove whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Stranger {
    /// Its end of the connection.
    pub address: SocketAddr,
}

/// The server's end of a connection whose handshake is done, with who is at the other. By TLS, or by
/// another stream of which it is known who is there.
pub struct Connection<P, S = TlsStream<TcpStream>, K: Eq + Hash = IpAddr> {
    stream: S,
    peer: P,
    /// Of a server that gives them out: given back with the connection.
    _place: Option<Place<K>>,
}

impl<P, S, K: Eq + Hash> Connection<P, S, K> {
    /// A connection with `peer`, which holds its place as long as it lasts.
    pub fn new(stream: S, peer: P, place: Option<Place<K>>) -> Self {
        Self { stream, peer, _place: place }
    }
}

fn wrong(said: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, said.into())
}

impl<P: Clone + Send + Sync + 'static, S, K: Eq + Hash> Connected for Connection<P, S, K> {
    type ConnectInfo = P;

    fn connect_info(&self) -> P {
        self.peer.clone()
    }
}

impl<P: Unpin, S: AsyncRead + Unpin, K: Eq + Hash + Unpin> AsyncRead for Connection<P, S, K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<P: Unpin, S: AsyncWrite + Unpin, K: Eq + Hash + Unpin> AsyncWrite for Connection<P, S, K> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
