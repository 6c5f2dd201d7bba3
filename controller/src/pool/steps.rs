//! From a step of the machine to the call that carries it out, and to the words for it.

use std::collections::BTreeMap;

use rampool_proto::pool_name::Assembly;
use rampool_proto::size::Size;
use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{
    AssembleVolumeRequest, AttachRequest, CheckHeadRequest, CreateExportRequest,
    DestroyExportRequest, DetachRequest, Export, LocalWay, MakeFilesystemRequest, MountRequest,
    PoolId, StopVolumeRequest, UnmountRequest,
};

use super::record::PoolRecord;
use super::state::Step;
use crate::agents::Call;
use crate::planner::redundancy;
use crate::readme;

/// What calls need beyond the pool's record: the controller's own settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whom users may ask.
    pub contact: String,
    /// The authority of the heads' iSCSI names.
    pub iqn_authority: String,
    /// Whether tmpfs ramdisks may be swapped out.
    pub allow_swap: bool,
}

/// The initiator name of an assembly's head: its own, so that no export admits any other.
#[must_use]
pub fn initiator(authority: &str, assembly: &Assembly) -> String {
    format!("{authority}:{assembly}:head")
}

/// The node that carries out a step.
#[must_use]
pub fn node_of(step: Step, record: &PoolRecord) -> &str {
    match step {
        Step::CreateExport(donor) | Step::DestroyExport(donor) => {
            &record.placement.pieces[donor].donor
        }
        _ => &record.placement.head,
    }
}

/// The call of a step. `exports` are those made in this operation, by donor.
#[must_use]
pub fn call_of(
    step: Step,
    force: bool,
    record: &PoolRecord,
    exports: &BTreeMap<usize, Export>,
    settings: &Settings,
) -> Call {
    let placement = &record.placement;
    let pool = Some(PoolId::from(&record.assembly));
    let initiator = || initiator(&settings.iqn_authority, &record.assembly);
    match step {
        Step::CheckHead => Call::CheckHead(CheckHeadRequest {
            pool,
            redundancy: placement.redundancy,
            layout: placement.layout,
            filesystem: placement.filesystem,
            mount_point: placement.mount_point.clone(),
        }),
        Step::CreateExport(donor) => {
            let piece = &placement.pieces[donor];
            let way =
                if piece.local { Way::Local(LocalWay {}) } else { Way::HeadInitiator(initiator()) };
            Call::CreateExport(CreateExportRequest {
                pool,
                backend: placement.backend,
                bytes: piece.bytes,
                way: Some(way),
                allow_swap: settings.allow_swap,
                carved: piece.carved,
            })
        }
        // A map's values come in the order of their keys: the stripe's.
        Step::Attach => Call::Attach(AttachRequest {
            pool,
            initiator: initiator(),
            exports: exports.values().cloned().collect(),
            patience_seconds: placement.patience_seconds,
        }),
        Step::AssembleVolume => Call::AssembleVolume(AssembleVolumeRequest {
            pool,
            layout: placement.layout,
            chunk_kib: placement.chunk_kib,
            serials: exports.values().map(|export| export.serial.clone()).collect(),
            redundancy: placement.redundancy,
            group_width: placement.group_width,
            ..AssembleVolumeRequest::default()
        }),
        Step::MakeFilesystem => Call::MakeFilesystem(MakeFilesystemRequest {
            pool,
            filesystem: placement.filesystem,
            chunk_kib: placement.chunk_kib,
            width: redundancy::data_disks(placement),
        }),
        Step::Mount => Call::Mount(MountRequest {
            pool,
            filesystem: placement.filesystem,
            mount_point: placement.mount_point.clone(),
            readme: readme::text(&record.assembly, &record.spec, placement, &settings.contact),
            uid: record.spec.uid,
            gid: record.spec.gid,
            formed: 0,
        }),
        Step::Unmount => Call::Unmount(UnmountRequest { pool, force }),
        Step::StopVolume => Call::StopVolume(StopVolumeRequest { pool }),
        Step::Detach => Call::Detach(DetachRequest { pool, donors: Vec::new() }),
        Step::DestroyExport(donor) => Call::DestroyExport(DestroyExportRequest {
            pool,
            force,
            carved: placement.pieces[donor].carved,
        }),
    }
}

/// A step's short name in events.
#[must_use]
pub fn name_of(step: Step) -> &'static str {
    match step {
        Step::CheckHead => "check",
        Step::CreateExport(_) => "export",
        Step::Attach => "attach",
        Step::AssembleVolume => "assemble",
        Step::MakeFilesystem => "format",
        Step::Mount => "mount",
        Step::Unmount => "unmount",
        Step::StopVolume => "stop",
        Step::Detach => "detach",
        Step::DestroyExport(_) => "free",
    }
}

/// What begins, in words, where `count` nodes do the step at once.
#[must_use]
pub fn words_of(step: Step, count: usize, record: &PoolRecord) -> String {
    let placement = &record.placement;
    let width = placement.pieces.len();
    match step {
        Step::CheckHead => "checking the head".to_owned(),
        Step::CreateExport(_) => {
            let each = placement.pieces.first().map_or(0, |piece| piece.bytes);
            format!("reserving {} on each of {count} donors", Size(each))
        }
        Step::Attach => format!("logging in to {width} exports"),
        Step::AssembleVolume => format!("striping {width} disks"),
        Step::MakeFilesystem => "making the file system".to_owned(),
        Step::Mount => format!("mounting at {}", placement.mount_point),
        Step::Unmount => "unmounting".to_owned(),
        Step::StopVolume => "stopping the volume".to_owned(),
        Step::Detach => "logging out".to_owned(),
        Step::DestroyExport(_) => format!("freeing the memory of {count} donors"),
    }
}
