//! The way to a server, which must prove its name and its role.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::transport::{Channel, Endpoint, Error, Uri};
use tower::{Service, service_fn};

use super::{CONNECT_DEADLINE, Credentials, Identity, KEEPALIVE, Role, TlsError, Trust};

/// How long one that asks once waits for a server that is there and has much to do, before it comes
/// to speak and while it is silent: a person would only ask again.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where a server can be reached, as whom. Nothing is dialled yet.
#[derive(Clone)]
pub struct Dial {
    endpoint: Endpoint,
    address: Arc<str>,
    server: Server,
}

/// A stream that is being made.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// Whom we expect there, and who we are.
#[derive(Clone)]
struct Server {
    own: Own,
    name: ServerName<'static>,
    role: Role,
}

/// What we show of ourselves.
#[derive(Clone)]
enum Own {
    Certificate(Credentials),
    Nothing(Trust),
}

impl Credentials {
    /// The way to `address` (host:port), where a server of this role answers, with `name` in
    /// its certificate.
    pub fn dial(&self, address: &str, name: &str, role: Role) -> Result<Dial, TlsError> {
        Dial::to(Own::Certificate(self.clone()), address, name, role)
    }
}

impl Trust {
    /// The same for somebody without a certificate.
    pub fn dial(&self, address: &str, name: &str, role: Role) -> Result<Dial, TlsError> {
        Dial::to(Own::Nothing(self.clone()), address, name, role)
    }
}

impl Own {
    fn config(&self) -> Arc<ClientConfig> {
        match self {
            Self::Certificate(credentials) => Arc::clone(&credentials.current().client),
            Self::Nothing(trust) => Arc::clone(&trust.0),
        }
    }
}

impl Dial {
    fn to(own: Own, address: &str, name: &str, role: Role) -> Result<Self, TlsError> {
        // The streams that it is given are encrypted: to it there is nothing more to do.
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| TlsError::Address(address.to_owned()))?
            .connect_timeout(CONNECT_DEADLINE)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| TlsError::Address(name.to_owned()))?;
        let server = Server { own, name, role };
        Ok(Self { endpoint, address: address.into(), server })
    }

    /// Connects now.
    pub async fn connect(&self) -> Result<Channel, Error> {
        let endpoint = self.endpoint.clone().connect_timeout(PATIENCE).keep_alive_timeout(PATIENCE);
        endpoint.connect_with_connector(self.connector(self.by_tcp())).await
    }

    /// A channel that connects when first used, and again when broken.
    #[must_use]
    pub fn lazy(&self) -> Channel {
        self.lazy_over(self.by_tcp())
    }

    /// The same by streams that are made elsewhere, as in another network namespace.
    pub fn lazy_over(&self, streams: impl Fn() -> Dialling + Send + 'static) -> Channel {
        self.endpoint.connect_with_connector_lazy(self.connector(streams))
    }

    fn by_tcp(&self) -> impl Fn() -> Dialling + Send + 'static {
        let address = Arc::clone(&self.address);
        move || {
            let address = Arc::clone(&address);
            Box::pin(async move { TcpStream::connect(&*address).await })
        }
    }

    fn connector(
        &self,
        streams: impl Fn() -> Dialling + Send + 'static,
    ) -> impl Service<Uri, Response = TokioIo<TlsStream<TcpStream>>, Error = io::Error, Future: Send>
    + Send
    + 'static {
        let server = self.server.clone();
        service_fn(move |_| {
            let (server, stream) = (server.clone(), streams());
            async move { server.greet(stream.await?).await.map(TokioIo::new) }
        })
    }
}

impl Server {
    async fn greet(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(self.own.config());
        let stream = connector.connect(self.name.clone(), stream).await?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate =
            certificates.first().ok_or_else(|| refused("it showed no certificate"))?;
        let server = Identity::read(certificate).map_err(refused)?;
        match server.is_one_of(&[self.role]) {
            true => Ok(stream),
            false => Err(refused(format!("who answers there is {server}, not the {}", self.role))),
        }
    }
}

fn refused(said: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, said.into())
}
