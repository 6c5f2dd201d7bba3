//! The lab's side of the exec channel: a connection into the lab's own network.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use super::{
    PORT, Reply, Request,
    frame::{self, Frame, Kind},
};
use crate::names::NodeId;

/// How often a silent connection asks whether its node is still under power: a node that was switched off says nothing.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(400);

/// Tells whether the node (and the boot of it) that a connection was made to still runs; the error says why not.
pub(crate) type Liveness = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// Connects to an address inside the lab's network.
///
/// A socket belongs for good to the network namespace of the thread that made it, so a thread goes into the lab's,
/// connects, hands the socket over, and ends.
pub(crate) fn connect_in(
    netns: &Arc<File>,
    addr: SocketAddr,
    timeout: Duration,
) -> Result<TcpStream> {
    let netns = Arc::clone(netns);
    let connecting = thread::Builder::new().name("lab-connect".to_owned()).spawn(
        move || -> Result<TcpStream> {
            setns(netns.as_ref(), CloneFlags::CLONE_NEWNET)
                .context("cannot enter the lab's network namespace: only root can (use sudo)")?;
            let stream = TcpStream::connect_timeout(&addr, timeout)
                .with_context(|| format!("cannot connect to {addr}"))?;
            stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
            Ok(stream)
        },
    );
    connecting
        .context("cannot start a thread")?
        .join()
        .map_err(|_| anyhow!("the connecting thread panicked"))?
}

/// One request to a node and its answers.
pub(crate) struct Connection {
    node: NodeId,
    stream: TcpStream,
    frames: Receiver<io::Result<Option<Frame>>>,
    alive: Liveness,
}

impl Connection {
    /// Sends a request to a node's exec server.
    pub(crate) fn open(
        netns: &Arc<File>,
        node: NodeId,
        request: &Request,
        timeout: Duration,
        alive: Liveness,
    ) -> Result<Self> {
        let addr = SocketAddr::from((node.management_addr(), PORT));
        let mut stream = connect_in(netns, addr, timeout)
            .with_context(|| format!("node {node} does not answer on its management link"))?;
        let request = serde_json::to_vec(request).context("cannot encode a request")?;
        frame::write(&mut stream, Kind::Request, &request)
            .with_context(|| format!("cannot send to node {node}"))?;

        let (sender, frames) = sync_channel(64);
        let mut reader = BufReader::with_capacity(
            frame::CHUNK,
            stream.try_clone().context("cannot clone a socket")?,
        );
        thread::Builder::new()
            .name(format!("lab-{node}"))
            .spawn(move || {
                loop {
                    let frame = frame::read(&mut reader);
                    let last = !matches!(frame, Ok(Some(_)));
                    if sender.send(frame).is_err() || last {
                        break;
                    }
                }
            })
            .context("cannot start a thread")?;
        Ok(Self { node, stream, frames, alive })
    }

    /// A second handle on the connection's sending side.
    pub(crate) fn sender(&self) -> Result<Sender> {
        Ok(Sender { stream: self.stream.try_clone().context("cannot clone a socket")? })
    }

    /// The next answer. Waits as long as the node is under power, but not beyond `deadline`.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Result<Frame> {
        loop {
            let mut wait = LIVENESS_INTERVAL;
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    bail!("no answer from node {} in the time allowed", self.node);
                }
                wait = wait.min(left);
            }
            match self.frames.recv_timeout(wait) {
                Ok(Ok(Some(frame))) => return Ok(frame),
                Ok(Ok(None)) | Err(RecvTimeoutError::Disconnected) => {
                    (self.alive)()?;
                    bail!(
                        "node {} hung up in the middle of a request (see its console)",
                        self.node
                    );
                }
                Ok(Err(e)) => {
                    (self.alive)()?;
                    return Err(e)
                        .with_context(|| format!("the connection to node {} broke", self.node));
                }
                Err(RecvTimeoutError::Timeout) => (self.alive)()?,
            }
        }
    }

    /// The final answer of a request that has no output.
    pub(crate) fn reply(&self, deadline: Option<Instant>) -> Result<Reply> {
        let frame = self.next(deadline)?;
        self.decode(&frame)
    }

    /// Reads a final answer out of its frame.
    pub(crate) fn decode(&self, frame: &Frame) -> Result<Reply> {
        match frame.kind {
            Kind::Reply => {
                serde_json::from_slice(&frame.payload).context("cannot decode a node's reply")
            }
            Kind::Failed => {
                bail!("node {}: {}", self.node, String::from_utf8_lossy(&frame.payload))
            }
            other => bail!("node {} sent {other:?} where its reply was due", self.node),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Ends the reading thread, and tells the node to kill what still runs.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// The sending side of a [`Connection`].
pub(crate) struct Sender {
    stream: TcpStream,
}

impl Sender {
    /// Sends a signal to the program's process group.
    pub(crate) fn signal(&mut self, number: i32) -> io::Result<()> {
        frame::write(&mut self.stream, Kind::Signal, &number.to_be_bytes())
    }

    /// Sends all of a stream as input, and its end.
    pub(crate) fn send_all(&mut self, mut input: impl Read) -> io::Result<()> {
        let mut chunk = vec![0; frame::CHUNK];
        loop {
            match input.read(&mut chunk) {
                Ok(0) => return self.end_input(),
                Ok(n) => frame::write(&mut self.stream, Kind::Stdin, &chunk[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Says that no more input comes.
    pub(crate) fn end_input(&mut self) -> io::Result<()> {
        frame::write(&mut self.stream, Kind::StdinEnd, &[])
    }
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(frame::CHUNK)];
        frame::write(&mut self.stream, Kind::Stdin, part)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
