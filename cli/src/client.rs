//! Going to the controller: `/etc/rampool/client.yaml`, the connection, deadlines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rampool_proto::munge::{Link, Signer};
use rampool_proto::tls::{Dial, Role, TlsError, TlsFiles, Trust};
use rampool_proto::v1::controller_client::ControllerClient;
use rampool_proto::v1::{Failure, FailureKind};
use rampool_proto::{config_file, local, munge};
use serde::Deserialize;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::args::Global;
use crate::by::{By, There, choose};

/// Where the client's configuration is, unless `--config` or `RAMPOOL_CONFIG` say otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/rampool/client.yaml";

/// How long an answer may take that is no operation. Longer than the controller gives itself
/// and its agents, so that an error names the one that was slow.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// The largest answer taken. A thousand nodes with all that they hold are some 4 MiB, gRPC's
/// own limit.
const LARGEST_ANSWER: usize = 64 << 20;

/// `client.yaml`. Where there is none, a controller on this host can be asked by its socket.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// The controller's `host:port`.
    pub controller: Option<String>,
    /// The name in the controller's certificate, where it is not the host above.
    pub name: Option<String>,
    /// Where a controller on this host has its socket.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
    /// How users without a certificate reach the controller.
    pub munge: Option<MungeConfig>,
    /// By what the controller proves who it is, and who we are.
    pub tls: Option<ClientTls>,
}

/// `munge` of `client.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MungeConfig {
    /// The `host:port` where the controller listens to users.
    pub controller: String,
    /// The folder of `munge`.
    #[serde(default = "default_commands")]
    pub commands: PathBuf,
}

/// `tls` of `client.yaml`; users have the CA's certificate alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTls {
    /// The cluster CA's certificate.
    pub ca: PathBuf,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

fn default_socket() -> PathBuf {
    local::SOCKET.into()
}

fn default_commands() -> PathBuf {
    munge::FOLDER.into()
}

impl ClientConfig {
    /// The files of our certificate, or why there are none.
    pub fn files(&self) -> Result<TlsFiles, String> {
        let none = || "the client's configuration names none".to_owned();
        let ClientTls { ca, cert, key } = self.tls.as_ref().ok_or_else(none)?;
        let (Some(cert), Some(key)) = (cert.clone(), key.clone()) else { return Err(none()) };
        Ok(TlsFiles { ca: ca.clone(), cert, key })
    }
}

/// Where the controller is, and who we are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    /// Its `host:port`.
    pub(crate) address: &'a str,
    /// The name in its certificate, where it is not the host above.
    pub(crate) name: Option<&'a str>,
    /// Who we are.
    pub(crate) tls: &'a TlsFiles,
    /// Which file says so.
    pub(crate) file: &'a Path,
}

impl Way<'_> {
    /// What an error of the connection calls the controller.
    pub(crate) fn peer(&self) -> String {
        format!("controller at {}", self.address)
    }

    fn name(&self) -> Result<&str, Failure> {
        let host = host_of(self.address)?;
        Ok(self.name.unwrap_or(host))
    }

    /// What can be dialled: our certificate has been read by then.
    pub(crate) fn prepare(&self) -> Result<Dial, Failure> {
        let name = self.name()?;
        let credentials = self.tls.load().map_err(|error| {
            Failure::new(FailureKind::Failed, "read the client's certificate").saying(error)
        })?;
        credentials.dial(self.address, name, Role::Controller).map_err(|error| unprepared(&error))
    }

    /// Connects.
    pub(crate) async fn connect(&self, dial: &Dial) -> Result<Channel, Failure> {
        let (address, name) = (self.address, self.name()?);
        dial.connect().await.map_err(|error| {
            Failure::new(FailureKind::Failed, format!("connect to the controller at {address}"))
                .saying(chain(&error))
                .advising(format!(
                    "is rampool-controller running there, with a certificate for {name:?}? {} \
                     and --controller say where to look",
                    self.file.display()
                ))
        })
    }
}

/// The controller, connected.
#[derive(Clone, Debug)]
pub struct Controller {
    /// What an error of the connection calls it.
    peer: String,
    client: ControllerClient<Link>,
}

impl Controller {
    /// Connects to the controller of the configuration, or of `--controller`, by the way that there
    /// is, or that `--by` says.
    pub async fn connect(global: &Global) -> Result<Self, Failure> {
        let config = load(&global.config)?;
        let by = choose(global.by, global.controller.is_some(), &There::of(&config))?;
        let (peer, link) = match by {
            By::Certificate => by_certificate(global, &config).await?,
            By::Socket => by_socket(&config.socket).await?,
            By::Munge => by_munge(global, &config).await?,
        };
        let client = ControllerClient::new(link).max_decoding_message_size(LARGEST_ANSWER);
        Ok(Self { peer, client })
    }

    /// Asks one question and waits for its answer, up to the deadline. `step` says in an error
    /// what was being done.
    pub async fn ask<Q, A, F>(
        &self,
        step: &str,
        question: Q,
        call: impl FnOnce(ControllerClient<Link>, Request<Q>) -> F,
    ) -> Result<A, Failure>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut request = Request::new(question);
        request.set_timeout(ANSWER_DEADLINE);
        self.call(step, request, call).await
    }

    /// Begins an operation. It may take long, so there is no deadline: a controller that dies
    /// is noticed by the connection's keep-alive.
    pub async fn begin<Q, A, F>(
        &self,
        step: &str,
        question: Q,
        call: impl FnOnce(ControllerClient<Link>, Request<Q>) -> F,
    ) -> Result<A, Failure>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call(step, Request::new(question), call).await
    }

    async fn call<Q, A, F>(
        &self,
        step: &str,
        request: Request<Q>,
        call: impl FnOnce(ControllerClient<Link>, Request<Q>) -> F,
    ) -> Result<A, Failure>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let answer = call(self.client.clone(), request).await;
        answer.map(Response::into_inner).map_err(|status| failure_of(&status, &self.peer, step))
    }
}

async fn by_certificate(global: &Global, config: &ClientConfig) -> Result<(String, Link), Failure> {
    let address = global.controller.as_ref().or(config.controller.as_ref());
    let address = address.ok_or_else(|| unsaid(global, "no `controller` is named"))?;
    let tls = config.files().map_err(|why| unsaid(global, &why))?;
    let way = Way { address, name: config.name.as_deref(), tls: &tls, file: &global.config };
    let channel = way.connect(&way.prepare()?).await?;
    Ok((way.peer(), Link::Known(channel)))
}

async fn by_socket(socket: &Path) -> Result<(String, Link), Failure> {
    let path = socket.display();
    let channel = local::connect(socket).await.map_err(|error| {
        Failure::new(FailureKind::Failed, format!("connect to the controller at {path}"))
            .saying(chain(&error))
            .advising("is rampool-controller running on this host?")
    })?;
    Ok((format!("controller at {path}"), Link::Known(channel)))
}

async fn by_munge(global: &Global, config: &ClientConfig) -> Result<(String, Link), Failure> {
    let munge = config.munge.as_ref().ok_or_else(|| unsaid(global, "no `munge` is there"))?;
    let ca = &config.tls.as_ref().ok_or_else(|| unsaid(global, "no `tls` names the CA"))?.ca;
    let address = global.controller.as_ref().unwrap_or(&munge.controller);
    let name = config.name.as_deref().map_or_else(|| host_of(address), Ok)?;
    let trust = Trust::load(ca).map_err(|error| {
        Failure::new(FailureKind::Failed, "read the CA's certificate").saying(error)
    })?;
    let dial = trust.dial(address, name, Role::Controller).map_err(|error| unprepared(&error))?;
    let channel = dial.connect().await.map_err(|error| {
        Failure::new(FailureKind::Failed, format!("connect to the controller at {address}"))
            .saying(chain(&error))
            .advising("does it listen to users there (`users` in controller.yaml)?")
    })?;
    let signer = Signer::of(&munge.commands);
    Ok((format!("controller at {address}"), Link::Signed(channel, signer)))
}

fn unsaid(global: &Global, said: &str) -> Failure {
    Failure::new(FailureKind::Failed, "find the way to the controller")
        .saying(format!("in {}: {said}", global.config.display()))
        .advising("examples/client.yaml explains each field; --config names another file")
}

fn unprepared(error: &TlsError) -> Failure {
    Failure::new(FailureKind::Failed, "prepare the connection").saying(chain(error))
}

/// What went wrong: the controller's own words, or those of the connection to `peer`, which
/// are a failure of the try and say nothing about what is possible.
pub(crate) fn failure_of(status: &Status, peer: &str, step: &str) -> Failure {
    if !status.details().is_empty() {
        return Failure::from_status(status, "", step);
    }
    let mut failure = Failure::from_status(status, peer, step);
    if failure.kind() != FailureKind::TimedOut {
        failure.set_kind(FailureKind::Failed);
    }
    failure
}

/// Nobody has to write a file for a command on the controller's own host.
fn load(path: &Path) -> Result<ClientConfig, Failure> {
    if path == Path::new(DEFAULT_CONFIG) && !path.exists() {
        return Ok(ClientConfig { socket: default_socket(), ..ClientConfig::default() });
    }
    config_file::load(path).map_err(|error| {
        let kind = match &error {
            config_file::ConfigError::Read { .. } => FailureKind::Failed,
            _ => FailureKind::Invalid,
        };
        Failure::new(kind, "read the client's configuration")
            .saying(error)
            .advising("examples/client.yaml explains each field; --config names another file")
    })
}

/// The host in `host:port`; `[...]` around an IPv6 address is taken off.
fn host_of(address: &str) -> Result<&str, Failure> {
    let parts = address.rsplit_once(':').filter(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok()
    });
    let (host, _) = parts.ok_or_else(|| {
        Failure::new(FailureKind::Invalid, "find the controller")
            .saying(format!("{address:?} is no address: host:port is, e.g. mds1:7701"))
    })?;
    Ok(host.trim_start_matches('[').trim_end_matches(']'))
}

/// An error's words and those of its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = inner.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_the_certificate_must_carry() {
        assert_eq!(host_of("mds1:7701").unwrap(), "mds1");
        assert_eq!(host_of("10.0.0.1:7701").unwrap(), "10.0.0.1");
        assert_eq!(host_of("[fd00::1]:7701").unwrap(), "fd00::1");
        for bad in ["mds1", ":7701", "mds1:", "mds1:http", "fd00::1:7701", "mds1:77010"] {
            let failure = host_of(bad).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn a_broken_connection_is_a_failed_try_and_not_a_lack_of_capacity() {
        let failure = failure_of(&Status::unavailable("tcp"), "controller at c:1", "list pools");
        assert_eq!(failure.kind(), FailureKind::Failed);
        assert_eq!(failure.to_string(), "controller at c:1: list pools: tcp");
        let slow = failure_of(&Status::deadline_exceeded("slow"), "c", "list pools");
        assert_eq!(slow.kind(), FailureKind::TimedOut);
    }

    #[test]
    fn the_controllers_own_words_arrive_unchanged() {
        let said = Failure::new(FailureKind::NotNow, "place 3T").saying("2 TiB can be lent");
        assert_eq!(failure_of(&Status::from(said.clone()), "c", "list pools"), said);
    }
}
