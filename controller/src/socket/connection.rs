//! A connection by the socket, and who is at its other end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rampool_proto::room::Place;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::Connected;

use crate::person::Person;

/// Who is at the other end, by the kernel and the user database, when the connection was made.
#[derive(Clone, Debug)]
pub enum Local {
    /// Root, or a member of the operators' group.
    Operator {
        /// Who.
        person: Arc<Person>,
        /// By which process.
        pid: Option<i32>,
    },
    /// Anybody else.
    User {
        /// Who.
        person: Arc<Person>,
        /// By which process.
        pid: Option<i32>,
    },
    /// Nobody whom the user database knows.
    Unknown {
        /// The number that the kernel says.
        uid: u32,
        /// Why not.
        why: String,
    },
}

/// The controller's end of it.
pub struct LocalConnection {
    stream: UnixStream,
    local: Local,
    /// Given back with the connection; root has none.
    _place: Option<Place<u32>>,
}

impl LocalConnection {
    pub(super) fn new(stream: UnixStream, local: Local, place: Option<Place<u32>>) -> Self {
        Self { stream, local, _place: place }
    }
}

impl Connected for LocalConnection {
    type ConnectInfo = Local;

    fn connect_info(&self) -> Local {
        self.local.clone()
    }
}

impl AsyncRead for LocalConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for LocalConnection {
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
