//! Agents over gRPC: one channel a node, dialled when first used and again when broken. What
//! carries secrets of exports has a connection of its own, which ends with the call: the buffers of
//! a connection are wiped with it, and keep for as long as it lasts what went through them.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use rampool_proto::tls::{Credentials, Dial, Role, TlsError};
use rampool_proto::v1::agent_client::AgentClient;
use rampool_proto::v1::{
    CreateExportRequest, Export, Failure, FailureKind, GetInventoryRequest, Inventory,
    ReplaceMemberRequest, WatchInventoryRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::deadline::{GRACE, deadline};
use super::{Agents, Answer, Call, Progress};

type Client = AgentClient<Channel>;

/// Speaks to real agents, by mutual TLS.
pub struct GrpcAgents {
    ways: BTreeMap<String, Way>,
}

/// To one agent.
struct Way {
    dial: Dial,
    client: Client,
}

impl GrpcAgents {
    /// The agents of `nodes`, each with its host:port. Nothing is dialled yet.
    pub fn new(
        credentials: &Credentials,
        nodes: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, TlsError> {
        let mut ways = BTreeMap::new();
        for (node, address) in nodes {
            let dial = credentials.dial(&address, &node, Role::Agent)?;
            let client = AgentClient::new(dial.lazy());
            ways.insert(node, Way { dial, client });
        }
        Ok(Self { ways })
    }

    fn client(&self, node: &str) -> Result<Client, Failure> {
        self.way(node).map(|way| way.client.clone())
    }

    /// The client for one call.
    fn client_for(&self, node: &str, call: &Call) -> Result<Client, Failure> {
        match call {
            Call::CreateExport(_) | Call::Attach(_) => {
                self.way(node).map(|way| AgentClient::new(way.dial.lazy()))
            }
            _ => self.client(node),
        }
    }

    fn way(&self, node: &str) -> Result<&Way, Failure> {
        self.ways.get(node).ok_or_else(|| {
            Failure::new(FailureKind::NotFound, "reach the node's agent")
                .on(node)
                .saying("the node is not in the controller's configuration")
        })
    }
}

impl Agents for GrpcAgents {
    fn call(
        &self,
        node: &str,
        call: Call,
        progress: Option<Progress>,
    ) -> BoxFuture<'static, Result<Answer, Failure>> {
        let client = self.client_for(node, &call);
        let node = node.to_owned();
        async move {
            let (words, within) = (call.words(), deadline(&call));
            let asked = ask(client?, call, within, progress);
            match tokio::time::timeout(within + GRACE, asked).await {
                Ok(Ok(answer)) => Ok(answer),
                // How this side's transport says that the deadline passed.
                Ok(Err(status)) if status.code() == Code::Cancelled => {
                    Err(too_late(&node, words, within))
                }
                Ok(Err(status)) => Err(Failure::from_status(&status, &node, words)),
                Err(_) => Err(too_late(&node, words, within)),
            }
        }
        .boxed()
    }

    fn watch(
        &self,
        node: &str,
        heartbeat_seconds: u32,
    ) -> BoxStream<'static, Result<Inventory, Failure>> {
        const WORDS: &str = "watch the node's inventory";
        let client = self.client(node);
        let node = node.to_owned();
        let opened = async move {
            let failed = |status: &Status| Failure::from_status(status, &node, WORDS);
            let opened = match client {
                Ok(mut client) => client
                    .watch_inventory(WatchInventoryRequest { heartbeat_seconds })
                    .await
                    .map_err(|status| failed(&status)),
                Err(failure) => Err(failure),
            };
            match opened {
                Ok(response) => response
                    .into_inner()
                    .map(move |item| {
                        item.map_err(|status| Failure::from_status(&status, &node, WORDS))
                    })
                    .boxed(),
                Err(failure) => stream::iter([Err(failure)]).boxed(),
            }
        };
        opened.flatten_stream().boxed()
    }
}

fn too_late(node: &str, words: &str, within: Duration) -> Failure {
    Failure::new(FailureKind::TimedOut, words)
        .on(node)
        .saying(format!("no answer within {} s", within.as_secs()))
        .advising(format!("on {node}: journalctl -u rampool-agent; dmesg"))
}

/// A request with its deadline written on it.
fn within<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

/// A unary call's message, by way of the deadline.
async fn plain<T>(answer: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    answer.await.map(Response::into_inner)
}

async fn ask(
    mut client: Client,
    call: Call,
    limit: Duration,
    progress: Option<Progress>,
) -> Result<Answer, Status> {
    match call {
        Call::GetInventory => plain(client.get_inventory(within(GetInventoryRequest {}, limit)))
            .await
            .map(|inventory| Answer::Inventory(Box::new(inventory))),
        Call::CheckHead(m) => {
            plain(client.check_head(within(m, limit))).await.map(|_| Answer::Done)
        }
        Call::CreateExport(m) => {
            create_export(&mut client, within(m, limit), progress).await.map(Answer::Export)
        }
        Call::DestroyExport(m) => plain(client.destroy_export(within(m, limit)))
            .await
            .map(|answer| Answer::Freed(answer.freed_bytes)),
        Call::Attach(m) => plain(client.attach(within(m, limit))).await.map(|_| Answer::Done),
        Call::Detach(m) => plain(client.detach(within(m, limit))).await.map(|_| Answer::Done),
        Call::AssembleVolume(m) => plain(client.assemble_volume(within(m, limit)))
            .await
            .map(|answer| Answer::Volume(answer.device, answer.bytes)),
        Call::StopVolume(m) => {
            plain(client.stop_volume(within(m, limit))).await.map(|_| Answer::Done)
        }
        Call::MakeFilesystem(m) => {
            plain(client.make_filesystem(within(m, limit))).await.map(|_| Answer::Done)
        }
        Call::Mount(m) => plain(client.mount(within(m, limit)))
            .await
            .map(|answer| answer.usage.map_or(Answer::Done, Answer::Usage)),
        Call::Unmount(m) => plain(client.unmount(within(m, limit)))
            .await
            .map(|answer| Answer::Unmounted(answer.terminated)),
        Call::GetUsage(m) => plain(client.get_usage(within(m, limit)))
            .await
            .map(|answer| answer.usage.map_or(Answer::Done, Answer::Usage)),
        Call::FenceExport(m) => {
            plain(client.fence_export(within(m, limit))).await.map(|_| Answer::Done)
        }
        Call::ReplaceMember(m) => {
            replace_member(&mut client, within(m, limit), progress).await.map(|()| Answer::Done)
        }
        Call::ReaddMembers(m) => {
            plain(client.readd_members(within(m, limit))).await.map(Answer::Readded)
        }
        Call::FailVolume(m) => {
            plain(client.fail_volume(within(m, limit))).await.map(|_| Answer::Done)
        }
        Call::CheckSharing(m) => {
            plain(client.check_sharing(within(m, limit))).await.map(|_| Answer::Done)
        }
        Call::ShareFilesystem(m) => plain(client.share_filesystem(within(m, limit)))
            .await
            .map(|answer| Answer::Shared(answer.path)),
        Call::MountShare(m) => {
            plain(client.mount_share(within(m, limit))).await.map(|_| Answer::Done)
        }
        Call::AdmitJob(m) => plain(client.admit_job(within(m, limit))).await.map(|_| Answer::Done),
        Call::UnmountShare(m) => plain(client.unmount_share(within(m, limit)))
            .await
            .map(|answer| Answer::Unmounted(answer.terminated)),
    }
}

/// Reads the stream to its very end: only that means that the new member is in its place.
async fn replace_member(
    client: &mut Client,
    request: Request<ReplaceMemberRequest>,
    progress: Option<Progress>,
) -> Result<(), Status> {
    let mut messages = client.replace_member(request).await.map_err(unknown_end)?.into_inner();
    while let Some(message) = messages.message().await.map_err(unknown_end)? {
        if let Some(tell) = &progress {
            tell(message.done_bytes);
        }
    }
    Ok(())
}

/// What an agent refuses or could not do, it says itself. A connection that merely broke says
/// nothing of the copy, which the kernel may go on with: it is to be asked again.
fn unknown_end(status: Status) -> Status {
    if status.details().is_empty() { Status::unavailable(status.message()) } else { status }
}

/// Reads the stream to its very end: an export counts as made only once the agent said so and
/// closed the stream without an error.
async fn create_export(
    client: &mut Client,
    request: Request<CreateExportRequest>,
    progress: Option<Progress>,
) -> Result<Export, Status> {
    let mut messages = client.create_export(request).await?.into_inner();
    let mut export = None;
    while let Some(message) = messages.message().await? {
        if let Some(tell) = &progress {
            tell(message.reserved_bytes);
        }
        export = message.export.or(export);
    }
    export.ok_or_else(|| Status::internal("the agent ended without saying what it exports"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rampool_proto::v1::FailureKind;

    #[test]
    fn a_broken_connection_is_not_taken_for_the_agents_word() {
        let kind_of = |status: Status| Failure::from_status(&unknown_end(status), "n1", "x").kind();
        assert_eq!(kind_of(Status::unknown("h2 protocol error")), FailureKind::NotNow);
        assert_eq!(kind_of(Status::internal("broken pipe")), FailureKind::NotNow);
        let said = Failure::new(FailureKind::Failed, "fill the new disk");
        assert_eq!(kind_of(said.into()), FailureKind::Failed);
    }
}
