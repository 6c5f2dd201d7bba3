//! How long each call to an agent may take.
//!
//! The deadline travels with the call (`grpc-timeout`), and the agent's own deadlines for
//! external programs lie within it, so that an error names the program and not the network. A
//! node that is gone is known sooner, by its silent connection (proto's TLS module); these
//! bounds are for an agent that answers probes but not the question. Passing one deletes
//! nothing: the call counts as failed, and is undone or asked again.

use std::time::Duration;

use super::Call;

/// A read of files under /proc and /sys.
const READING: Duration = Duration::from_secs(5);

/// What a person waits for in `status`; the answer is left out if it comes later.
const USAGE: Duration = Duration::from_secs(3);

/// A few checks and program starts.
const CHECKING: Duration = Duration::from_secs(20);

/// A few kernel objects or program runs, on a node that is busy.
const STEP: Duration = Duration::from_secs(60);

/// Memory is taken page by page and zeroed: a loaded node takes at least a GiB a second.
const PER_GIB: Duration = Duration::from_secs(1);

/// Each disk adds a login, a scan, a label; they run in parallel (135 LVM labels: 4 s).
const PER_DISK: Duration = Duration::from_millis(250);

/// Unmounting writes back what is dirty: on a large head that can be many GiB.
const WRITE_BACK: Duration = Duration::from_secs(300);

/// Freeing a terabyte, page by page, on a loaded node.
const FREEING: Duration = Duration::from_secs(180);

/// Sessions ended and a few configfs writes.
const FENCING: Duration = Duration::from_secs(20);

/// Days: the agent watches over progress, and gives up when there is none.
const REBUILDING: Duration = Duration::from_secs(7 * 86_400);

/// How much longer the controller waits than it tells the agent to.
pub const GRACE: Duration = Duration::from_secs(2);

/// The deadline of `call`.
#[must_use]
pub fn deadline(call: &Call) -> Duration {
    let disks = |count: usize| STEP + PER_DISK * u32::try_from(count).unwrap_or(u32::MAX);
    match call {
        Call::GetInventory => READING,
        Call::FenceExport(_) => FENCING,
        Call::FailVolume(_) => STEP,
        Call::ReaddMembers(_) => CHECKING,
        Call::ReplaceMember(_) => REBUILDING,
        Call::GetUsage(_) => USAGE,
        Call::CheckHead(_) | Call::CheckSharing(_) | Call::AdmitJob(_) => CHECKING,
        Call::CreateExport(request) => {
            let gib = u32::try_from(request.bytes >> 30).unwrap_or(u32::MAX);
            STEP + PER_GIB.saturating_mul(gib)
        }
        Call::DestroyExport(_) => FREEING,
        Call::Attach(request) => disks(request.exports.len()),
        Call::AssembleVolume(request) => disks(request.serials.len()),
        // The largest pools have thousands of disks to log out of and stop.
        Call::Detach(_) | Call::StopVolume(_) => STEP * 3,
        Call::MakeFilesystem(_) => STEP * 2,
        Call::Mount(_) | Call::ShareFilesystem(_) | Call::MountShare(_) => STEP,
        Call::Unmount(_) | Call::UnmountShare(_) => WRITE_BACK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rampool_proto::v1::CreateExportRequest;

    #[test]
    fn a_larger_piece_may_take_longer_and_no_size_overflows() {
        let create = |bytes| {
            deadline(&Call::CreateExport(CreateExportRequest { bytes, ..Default::default() }))
        };
        assert_eq!(create(1 << 20), Duration::from_secs(60));
        assert_eq!(create(512 << 30), Duration::from_secs(572));
        assert!(create(u64::MAX) > create(1 << 60));
    }
}
