//! What can be asked of an agent, and by whom it is asked: a trait, so that operations can be
//! tested without nodes.
//!
//! | module | idea |
//! | --- | --- |
//! | `grpc` | the real one |
//! | [`deadline`] | how long each call may take |

pub mod deadline;
mod grpc;

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use rampool_proto::v1::{
    AdmitJobRequest, AssembleVolumeRequest, AttachRequest, CheckHeadRequest, CheckSharingRequest,
    CreateExportRequest, DestroyExportRequest, DetachRequest, Export, FailVolumeRequest, Failure,
    FenceExportRequest, GetUsageRequest, Holder, Inventory, MakeFilesystemRequest, MountRequest,
    MountShareRequest, ReaddMembersRequest, ReaddMembersResponse, ReplaceMemberRequest,
    ShareFilesystemRequest, StopVolumeRequest, UnmountRequest, UnmountShareRequest, Usage,
};

pub use grpc::GrpcAgents;

/// One request to one agent.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Call {
    GetInventory,
    CheckHead(CheckHeadRequest),
    CreateExport(CreateExportRequest),
    DestroyExport(DestroyExportRequest),
    Attach(AttachRequest),
    Detach(DetachRequest),
    AssembleVolume(AssembleVolumeRequest),
    StopVolume(StopVolumeRequest),
    MakeFilesystem(MakeFilesystemRequest),
    Mount(MountRequest),
    Unmount(UnmountRequest),
    GetUsage(GetUsageRequest),
    FenceExport(FenceExportRequest),
    ReplaceMember(ReplaceMemberRequest),
    ReaddMembers(ReaddMembersRequest),
    FailVolume(FailVolumeRequest),
    CheckSharing(CheckSharingRequest),
    ShareFilesystem(ShareFilesystemRequest),
    MountShare(MountShareRequest),
    UnmountShare(UnmountShareRequest),
    AdmitJob(AdmitJobRequest),
}

/// What an agent answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is so.
    Done,
    /// What the node is and holds.
    Inventory(Box<Inventory>),
    /// The piece made.
    Export(Export),
    /// The volume's device and size in bytes.
    Volume(String, u64),
    /// The memory given back, in bytes.
    Freed(u64),
    /// The processes that were terminated.
    Unmounted(Vec<Holder>),
    /// Bytes and inodes.
    Usage(Usage),
    /// Members taken back, and those refused.
    Readded(ReaddMembersResponse),
    /// Where clients find the file system.
    Shared(String),
}

impl Call {
    /// What is being done, for errors.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self {
            Self::GetInventory => "ask for the inventory",
            Self::CheckHead(_) => "check that the node can be the head",
            Self::CreateExport(_) => "reserve and export memory",
            Self::DestroyExport(_) => "remove the export and free its memory",
            Self::Attach(_) => "log in to the exports",
            Self::Detach(_) => "log out of the exports",
            Self::AssembleVolume(_) => "assemble the volume",
            Self::StopVolume(_) => "stop the volume",
            Self::MakeFilesystem(_) => "make the file system",
            Self::Mount(_) => "mount the file system",
            Self::Unmount(_) => "unmount the file system",
            Self::GetUsage(_) => "ask for the usage",
            Self::FenceExport(_) => "end the old head's access",
            Self::ReplaceMember(_) => "put one donor in another's place",
            Self::ReaddMembers(_) => "take donors back that were cut off",
            Self::FailVolume(_) => "fail what waits for silent donors",
            Self::CheckSharing(_) => "check that the node can share the pool",
            Self::ShareFilesystem(_) => "share the file system",
            Self::MountShare(_) => "mount the share",
            Self::UnmountShare(_) => "unmount the share",
            Self::AdmitJob(_) => "admit the job",
        }
    }
}

/// Told how many bytes are reserved, or copied, so far.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// Every node's agent.
pub trait Agents: Send + Sync {
    /// Asks one agent. Ends within the call's [`deadline`], with a failure that names node and
    /// step.
    fn call(
        &self,
        node: &str,
        call: Call,
        progress: Option<Progress>,
    ) -> BoxFuture<'static, Result<Answer, Failure>>;

    /// A node's inventories: the first at once, then at each change and at least every
    /// `heartbeat_seconds`. Ends with an error when the node is lost.
    fn watch(
        &self,
        node: &str,
        heartbeat_seconds: u32,
    ) -> BoxStream<'static, Result<Inventory, Failure>>;
}
