//! The gRPC face: each call is checked, done by a room inside, and answered.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rampool_proto::v1::agent_server::Agent;
use rampool_proto::v1::{self, CreateExportProgress, Inventory};
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::cage::Cage;
use crate::fail::{self, Impatience};
use crate::node::Node;
use crate::outcome::Outcome;
use crate::request;
use crate::{
    attach, export, filesystem, head, headroom, inventory, jobs, mount, share, usage, volume,
};

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What a call ends in.
type Answer<T> = Result<Response<T>, Status>;

/// A watcher who does not say gets the inventory this often.
const USUAL_HEARTBEAT: u32 = 5;

/// Answers that a slow reader may be behind.
const BACKLOG: usize = 8;

/// The service of one node.
pub struct AgentService {
    node: Arc<Node>,
}

impl AgentService {
    /// Serves `node`.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// What this node lets requests name.
    fn cage(&self) -> Cage {
        Cage::of(&self.node.config)
    }

    /// A request that was refused before it reached a room names the node too.
    fn checked<T>(&self, request: Outcome<T>) -> Result<T, Status> {
        request.map_err(|failure| failure.on(&self.node.config.node).into())
    }
}

fn answer<T>(outcome: Outcome<T>) -> Answer<T> {
    outcome.map(Response::new).map_err(|failure| (*failure).into())
}

#[tonic::async_trait]
impl Agent for AgentService {
    async fn get_inventory(&self, _: Request<v1::GetInventoryRequest>) -> Answer<Inventory> {
        answer(self.node.read("take the inventory", inventory::take).await)
    }

    type WatchInventoryStream = Answers<Inventory>;

    async fn watch_inventory(
        &self,
        request: Request<v1::WatchInventoryRequest>,
    ) -> Answer<Self::WatchInventoryStream> {
        let seconds = match request.into_inner().heartbeat_seconds {
            0 => USUAL_HEARTBEAT,
            seconds => seconds,
        };
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let heartbeat = Duration::from_secs(seconds.into());
        tokio::spawn(watch_inventory(Arc::clone(&self.node), heartbeat, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    type CreateExportStream = Answers<CreateExportProgress>;

    async fn create_export(
        &self,
        request: Request<v1::CreateExportRequest>,
    ) -> Answer<Self::CreateExportStream> {
        let wanted = self.checked(request::create_export(&self.cage(), request.get_ref()))?;
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let node = Arc::clone(&self.node);
        tokio::spawn(async move {
            let progress = sender.clone();
            let assembly = wanted.assembly.clone();
            let work = move |node: &Node| {
                export::create(node, &wanted, &|reserved_bytes| {
                    // A reader who is behind misses a step of the progress, nothing else.
                    let step = CreateExportProgress { reserved_bytes, export: None };
                    let _ = progress.try_send(Ok(step));
                })
            };
            let made = node.lend(&assembly, "create the export", work).await;
            let last = made.map(|export| CreateExportProgress {
                reserved_bytes: export.bytes,
                export: Some(export),
            });
            // A caller who left finds the export in the inventory.
            let _ = sender.send(last.map_err(|failure| (*failure).into())).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn destroy_export(
        &self,
        request: Request<v1::DestroyExportRequest>,
    ) -> Answer<v1::DestroyExportResponse> {
        let request = request.into_inner();
        let (assembly, carved) = self.checked(request::destroy_export(&request))?;
        let of = assembly.clone();
        let work = move |node: &Node| {
            let done = export::destroy(node, &of, &carved, request.force)?;
            headroom::settle(node)?;
            Ok(done)
        };
        let outcome = self.node.lend(&assembly, "destroy the export", work).await;
        answer(outcome.map(|(change, freed_bytes)| v1::DestroyExportResponse {
            already: change.already(),
            freed_bytes,
        }))
    }

    async fn fence_export(
        &self,
        request: Request<v1::FenceExportRequest>,
    ) -> Answer<v1::FenceExportResponse> {
        let assembly = self.checked(request::assembly(request.get_ref().pool.as_ref()))?;
        let of = assembly.clone();
        let work = move |node: &Node| export::fence(node, &of);
        let outcome = self.node.lend(&assembly, "fence the export", work).await;
        answer(outcome.map(|change| v1::FenceExportResponse { already: change.already() }))
    }

    type ReplaceMemberStream = Answers<v1::ReplaceMemberProgress>;

    async fn replace_member(
        &self,
        request: Request<v1::ReplaceMemberRequest>,
    ) -> Answer<Self::ReplaceMemberStream> {
        let wanted = self.checked(request::replace_member(request.into_inner()))?;
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let node = Arc::clone(&self.node);
        tokio::spawn(async move {
            let progress = sender.clone();
            let tell = move |seen: volume::Progress| {
                // A reader who is behind misses a step of the progress, nothing else.
                let _ = progress.try_send(Ok(v1::ReplaceMemberProgress {
                    done_bytes: seen.done,
                    total_bytes: seen.total,
                    bytes_per_second: seen.per_second,
                }));
            };
            if let Err(failure) = volume::replace(node, wanted, tell).await {
                // A caller who left finds in the inventory who is a member.
                let _ = sender.send(Err((*failure).into())).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn readd_members(
        &self,
        request: Request<v1::ReaddMembersRequest>,
    ) -> Answer<v1::ReaddMembersResponse> {
        let (assembly, serials) = self.checked(request::readd_members(request.into_inner()))?;
        let of = assembly.clone();
        let work = move |node: &Node| volume::readd(node, &of, &serials);
        let outcome = self.node.change(&assembly, "take members back", work).await;
        answer(outcome.map(|volume::Readded { readded, refused }| v1::ReaddMembersResponse {
            readded,
            refused,
        }))
    }

    async fn fail_volume(
        &self,
        request: Request<v1::FailVolumeRequest>,
    ) -> Answer<v1::FailVolumeResponse> {
        let assembly = self.checked(request::assembly(request.get_ref().pool.as_ref()))?;
        // Donors that are silent already, and not known to be, are found out while it lasts.
        Impatience::linger(&self.node, &assembly);
        let work = move |node: &Node| fail::volume(node, &assembly);
        let outcome = self.node.interrupt("fail the pool", work).await;
        answer(outcome.map(|change| v1::FailVolumeResponse { already: change.already() }))
    }

    async fn check_head(
        &self,
        request: Request<v1::CheckHeadRequest>,
    ) -> Answer<v1::CheckHeadResponse> {
        let wanted = self.checked(request::check_head(&self.cage(), request.into_inner()))?;
        let outcome = self.node.read("check the head", move |node| head::check(node, &wanted));
        answer(outcome.await.map(|()| v1::CheckHeadResponse {}))
    }

    async fn attach(&self, request: Request<v1::AttachRequest>) -> Answer<v1::AttachResponse> {
        let wanted = self.checked(request::attach(&self.cage(), request.into_inner()))?;
        let assembly = wanted.assembly.clone();
        let work = move |node: &Node| attach::attach(node, &wanted);
        let outcome = self.node.change(&assembly, "attach the exports", work).await;
        answer(
            outcome.map(|(change, disks)| v1::AttachResponse { disks, already: change.already() }),
        )
    }

    async fn detach(&self, request: Request<v1::DetachRequest>) -> Answer<v1::DetachResponse> {
        let (assembly, whose) = self.checked(request::detach(request.into_inner()))?;
        let of = assembly.clone();
        let work = move |node: &Node| {
            volume::give_up(node, &of, &whose)?;
            attach::detach(node, &of, &whose)
        };
        let outcome = self.node.change(&assembly, "detach the exports", work).await;
        answer(outcome.map(|change| v1::DetachResponse { already: change.already() }))
    }

    async fn assemble_volume(
        &self,
        request: Request<v1::AssembleVolumeRequest>,
    ) -> Answer<v1::AssembleVolumeResponse> {
        let wanted = self.checked(request::assemble(request.into_inner()))?;
        let assembly = wanted.assembly.clone();
        let work = move |node: &Node| volume::assemble(node, &wanted);
        let outcome = self.node.change(&assembly, "assemble the volume", work).await;
        answer(outcome.map(|(change, volume)| v1::AssembleVolumeResponse {
            device: volume.device.display().to_string(),
            bytes: volume.bytes,
            already: change.already(),
        }))
    }

    async fn stop_volume(
        &self,
        request: Request<v1::StopVolumeRequest>,
    ) -> Answer<v1::StopVolumeResponse> {
        let assembly = self.checked(request::assembly(request.get_ref().pool.as_ref()))?;
        let of = assembly.clone();
        let work = move |node: &Node| volume::stop(node, &of);
        let outcome = self.node.change(&assembly, "stop the volume", work).await;
        answer(outcome.map(|change| v1::StopVolumeResponse { already: change.already() }))
    }

    async fn make_filesystem(
        &self,
        request: Request<v1::MakeFilesystemRequest>,
    ) -> Answer<v1::MakeFilesystemResponse> {
        let wanted = self.checked(request::make_filesystem(request.get_ref()))?;
        let assembly = wanted.assembly.clone();
        let work = move |node: &Node| filesystem::make(node, &wanted);
        let outcome = self.node.change(&assembly, "make the file system", work).await;
        answer(outcome.map(|change| v1::MakeFilesystemResponse { already: change.already() }))
    }

    async fn mount(&self, request: Request<v1::MountRequest>) -> Answer<v1::MountResponse> {
        let wanted = self.checked(request::mount(&self.cage(), request.into_inner()))?;
        let assembly = wanted.assembly.clone();
        let work = move |node: &Node| {
            let done = mount::mount(node, &wanted)?;
            headroom::settle(node)?;
            Ok(done)
        };
        let outcome = self.node.change(&assembly, "mount the file system", work).await;
        answer(outcome.map(|(change, usage)| v1::MountResponse {
            already: change.already(),
            usage: Some(usage),
        }))
    }

    async fn unmount(&self, request: Request<v1::UnmountRequest>) -> Answer<v1::UnmountResponse> {
        let request = request.into_inner();
        let assembly = self.checked(request::assembly(request.pool.as_ref()))?;
        let of = assembly.clone();
        // From now on, not from its turn on: another call may hold the turn and wait for a silent
        // donor. The work keeps it when the caller has left.
        let impatience = request.force.then(|| Impatience::begin(&self.node, &assembly));
        let kept = impatience.clone();
        let work = move |node: &Node| {
            let _kept = kept;
            let done = share::unmount_all(node, &of, request.force)?;
            jobs::dismiss_all_of(node, &of)?;
            headroom::settle(node)?;
            Ok(done)
        };
        let outcome = self.node.change(&assembly, "unmount the pool", work).await;
        drop(impatience);
        answer(outcome.map(|(change, terminated)| v1::UnmountResponse {
            already: change.already(),
            terminated,
        }))
    }

    async fn get_usage(
        &self,
        request: Request<v1::GetUsageRequest>,
    ) -> Answer<v1::GetUsageResponse> {
        let assembly = self.checked(request::assembly(request.get_ref().pool.as_ref()))?;
        let outcome = self.node.read("read the usage", move |node| usage::of(node, &assembly));
        answer(outcome.await.map(|usage| v1::GetUsageResponse { usage: Some(usage) }))
    }

    async fn check_sharing(
        &self,
        request: Request<v1::CheckSharingRequest>,
    ) -> Answer<v1::CheckSharingResponse> {
        let question = self.checked(request::check_sharing(&self.cage(), request.into_inner()))?;
        let work = move |node: &Node| share::check(node, &question);
        let outcome = self.node.read("check whether the pool can be shared", work).await;
        answer(outcome.map(|()| v1::CheckSharingResponse {}))
    }

    async fn share_filesystem(
        &self,
        request: Request<v1::ShareFilesystemRequest>,
    ) -> Answer<v1::ShareFilesystemResponse> {
        let wanted = self.checked(request::share(&self.cage(), &request.into_inner()))?;
        let assembly = wanted.assembly.clone();
        let work = move |node: &Node| share::share(node, &wanted);
        let outcome = self.node.change(&assembly, "share the pool", work).await;
        answer(
            outcome.map(|(change, path)| v1::ShareFilesystemResponse {
                already: change.already(),
                path,
            }),
        )
    }

    async fn unshare_filesystem(
        &self,
        request: Request<v1::UnshareFilesystemRequest>,
    ) -> Answer<v1::UnshareFilesystemResponse> {
        let assembly = self.checked(request::assembly(request.get_ref().pool.as_ref()))?;
        let of = assembly.clone();
        let work = move |node: &Node| share::unshare(node, &of);
        let outcome = self.node.change(&assembly, "unshare the pool", work).await;
        answer(outcome.map(|change| v1::UnshareFilesystemResponse { already: change.already() }))
    }

    async fn mount_share(
        &self,
        request: Request<v1::MountShareRequest>,
    ) -> Answer<v1::MountShareResponse> {
        let wanted = self.checked(request::mount_share(&self.cage(), request.into_inner()))?;
        let assembly = wanted.assembly.clone();
        let work = move |node: &Node| {
            let done = share::mount(node, &wanted)?;
            headroom::settle(node)?;
            Ok(done)
        };
        let outcome = self.node.change(&assembly, "mount the share", work).await;
        answer(outcome.map(|(change, point)| v1::MountShareResponse {
            already: change.already(),
            mount_point: point.display().to_string(),
        }))
    }

    async fn unmount_share(
        &self,
        request: Request<v1::UnmountShareRequest>,
    ) -> Answer<v1::UnmountShareResponse> {
        let request = request.into_inner();
        let assembly = self.checked(request::assembly(request.pool.as_ref()))?;
        let of = assembly.clone();
        let work = move |node: &Node| {
            let done = share::unmount(node, &of, request.force)?;
            jobs::dismiss_all_of(node, &of)?;
            headroom::settle(node)?;
            Ok(done)
        };
        let outcome = self.node.change(&assembly, "unmount the share", work).await;
        answer(outcome.map(|(change, terminated)| v1::UnmountShareResponse {
            already: change.already(),
            terminated,
        }))
    }

    async fn admit_job(
        &self,
        request: Request<v1::AdmitJobRequest>,
    ) -> Answer<v1::AdmitJobResponse> {
        let job = self.checked(request::admit_job(&self.cage(), request.into_inner()))?;
        let work = |node: &Node, job: &jobs::Job| jobs::admit(node, job);
        let outcome = self.node.of_job(job.id, "admit the job", move |node| work(node, &job)).await;
        self.node.tell_change();
        answer(outcome.map(|change| v1::AdmitJobResponse { already: change.already() }))
    }

    async fn dismiss_job(
        &self,
        request: Request<v1::DismissJobRequest>,
    ) -> Answer<v1::DismissJobResponse> {
        let job = self.checked(request::job(request.get_ref().job))?;
        let work = move |node: &Node| jobs::dismiss(node, job);
        let outcome = self.node.of_job(job, "dismiss the job", work).await;
        self.node.tell_change();
        answer(outcome.map(|change| v1::DismissJobResponse { already: change.already() }))
    }
}

/// Sends the inventory now, after each change of ours, and at every heartbeat, until the
/// watcher or the agent leaves.
async fn watch_inventory(
    node: Arc<Node>,
    heartbeat: Duration,
    sender: mpsc::Sender<Result<Inventory, Status>>,
) {
    let mut changes: watch::Receiver<u64> = node.changes();
    loop {
        // Seen before it is read: a change meanwhile is another reason to read.
        changes.borrow_and_update();
        let inventory = node.read("take the inventory", inventory::take).await;
        let inventory = inventory.map_err(|failure| Status::from(*failure));
        if sender.send(inventory).await.is_err() {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            () = node.stopped() => return,
            _ = changes.changed() => {}
            () = tokio::time::sleep(heartbeat) => {}
        }
    }
}
