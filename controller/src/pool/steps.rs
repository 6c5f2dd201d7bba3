//! From a step of the machine to the call that carries it out, and to the words for it.

use std::collections::BTreeMap;

use rampool_proto::pool_name::Assembly;
use rampool_proto::size::Size;
use rampool_proto::v1::create_export_request::Way;
use rampool_proto::v1::{
    AssembleVolumeRequest, AttachRequest, CheckHeadRequest, CheckSharingRequest,
    CreateExportRequest, DestroyExportRequest, DetachRequest, Export, FailVolumeRequest,
    FenceExportRequest, LocalWay, MakeFilesystemRequest, MountRequest, MountShareRequest, Piece,
    PoolId, ReaddMembersRequest, ReplaceMemberRequest, ReservedWay, ShareFilesystemRequest,
    SharingRole, StopVolumeRequest, UnmountRequest, UnmountShareRequest,
};

use super::record::{Debt, Owed, Phase, PoolRecord, Replacing};
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
        Step::CreateExport(number) | Step::DestroyExport(number) | Step::FenceExport(number) => {
            &record.member(number).donor
        }
        Step::PayDebt(at) => &record.debts[at].node,
        Step::CheckClient(client) | Step::MountShare(client) | Step::UnmountShare(client) => {
            &record.placement.clients[client].node
        }
        _ => &record.placement.head,
    }
}

/// What was exported in this operation, by donor.
pub type Exports = BTreeMap<String, Export>;

/// What nodes answered in this operation that later steps need.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    /// Their exports.
    pub exports: Exports,
    /// Where clients find the head's file system.
    pub share: String,
}

/// The serials of these pieces' disks, of those that are exported, in their order.
fn serials<'a>(pieces: impl IntoIterator<Item = &'a Piece>, exports: &Exports) -> Vec<String> {
    let serial = |piece: &Piece| Some(exports.get(&piece.donor)?.serial.clone());
    pieces.into_iter().filter_map(serial).collect()
}

/// The request that puts the volume together of what is there.
fn assemble(record: &PoolRecord, exports: &Exports) -> AssembleVolumeRequest {
    let placement = &record.placement;
    let live = placement.pieces.iter().enumerate();
    let live = live.filter(|(place, _)| !record.lacking.contains(place)).map(|(_, piece)| piece);
    let coming = record.replacing().map(|replacing| &replacing.new.donor);
    let is_coming = |spare: &&Piece| coming == Some(&spare.donor);
    AssembleVolumeRequest {
        pool: Some(PoolId::from(&record.assembly)),
        layout: placement.layout,
        chunk_kib: placement.chunk_kib,
        serials: serials(live, exports),
        redundancy: placement.redundancy,
        spares: serials(placement.spares.iter().filter(|spare| !is_coming(spare)), exports),
        replacing: replacement(record)
            .filter(|_| coming.is_some_and(|new| exports.contains_key(new))),
        formed: record.formed,
        group_width: placement.group_width,
    }
}

/// Which disk takes whose place, if one does; none's, where that is lacking.
fn replacement(record: &PoolRecord) -> Option<ReplaceMemberRequest> {
    let serial = |piece: &Piece| record.serials.get(&piece.donor).cloned().unwrap_or_default();
    let Replacing { slot, new, .. } = record.replacing()?;
    let old = Some(&record.placement.pieces[*slot]).filter(|_| !record.lacking.contains(slot));
    Some(ReplaceMemberRequest {
        pool: Some(PoolId::from(&record.assembly)),
        old_serial: old.map(serial).unwrap_or_default(),
        new_serial: serial(new),
    })
}

/// The calls that pay a debt, one after the other.
fn debt_calls(debt: &Debt, record: &PoolRecord) -> Vec<(String, Call)> {
    let of = |generation| Some(PoolId { name: record.assembly.name.to_string(), generation });
    let calls = match debt.what {
        Owed::Head { generation } => {
            let pool = of(generation);
            vec![
                Call::FailVolume(FailVolumeRequest { pool: pool.clone() }),
                Call::Unmount(UnmountRequest { pool: pool.clone(), force: true }),
                Call::StopVolume(StopVolumeRequest { pool: pool.clone() }),
                Call::Detach(DetachRequest { pool, donors: Vec::new() }),
            ]
        }
        Owed::Piece { generation, carved } => {
            let pool = of(generation);
            let free = DestroyExportRequest { pool: pool.clone(), force: true, carved };
            vec![Call::DestroyExport(free)]
        }
    };
    let mut calls: Vec<(String, Call)> =
        calls.into_iter().map(|call| (debt.node.clone(), call)).collect();
    if let Owed::Piece { .. } = debt.what {
        calls.splice(0..0, fences(&debt.node, record));
    }
    // The head of a pool in use lets go of the donor first.
    if let Owed::Piece { generation, .. } = debt.what
        && generation == record.assembly.generation
        && matches!(record.phase, Phase::Ready | Phase::Replacing(_))
    {
        let donors = vec![debt.node.clone()];
        let detach = Call::Detach(DetachRequest { pool: of(generation), donors });
        calls.insert(0, (record.placement.head.clone(), detach));
    }
    calls
}

/// The calls of a step, one after the other, each with its node.
#[must_use]
pub fn calls_of(
    step: Step,
    force: bool,
    record: &PoolRecord,
    Learned { exports, share }: &Learned,
    settings: &Settings,
) -> Vec<(String, Call)> {
    let placement = &record.placement;
    let pool = Some(PoolId::from(&record.assembly));
    let initiator = || initiator(&settings.iqn_authority, &record.assembly);
    let call = match step {
        Step::CheckHead => Call::CheckHead(CheckHeadRequest {
            pool,
            redundancy: placement.redundancy,
            layout: placement.layout,
            filesystem: placement.filesystem,
            mount_point: placement.mount_point.clone(),
            lends_to_job: record.spec.job.is_some() && lends(record, node_of(step, record)),
        }),
        Step::CreateExport(number) => {
            let piece = record.member(number);
            let way = match piece.local {
                true => Way::Local(LocalWay {}),
                false if record.awaits_nodes() => Way::Reserved(ReservedWay {}),
                false => Way::HeadInitiator(initiator()),
            };
            Call::CreateExport(CreateExportRequest {
                pool,
                backend: placement.backend,
                bytes: piece.bytes,
                way: Some(way),
                allow_swap: settings.allow_swap,
                carved: piece.carved,
                for_job_elsewhere: record.is_outside(),
            })
        }
        Step::Attach => Call::Attach(AttachRequest {
            pool,
            initiator: initiator(),
            exports: record
                .live()
                .filter_map(|number| exports.get(&record.member(number).donor).cloned())
                .collect(),
            patience_seconds: placement.patience_seconds,
            sparing: placement.clients.iter().any(|client| lends(record, &client.node)),
        }),
        Step::AssembleVolume => Call::AssembleVolume(assemble(record, exports)),
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
            formed: record.formed,
            private: record.spec.private,
        }),
        Step::CheckClient(_) => {
            Call::CheckSharing(check_sharing(SharingRole::Client, node_of(step, record), record))
        }
        Step::Share => Call::ShareFilesystem(ShareFilesystemRequest {
            pool,
            clients: placement.clients.iter().map(|client| client.address.clone()).collect(),
        }),
        Step::MountShare(_) => Call::MountShare(MountShareRequest {
            pool,
            head: placement.head_address.clone(),
            path: share.clone(),
            mount_point: placement.mount_point.clone(),
            patience_seconds: placement.patience_seconds,
        }),
        Step::UnmountShare(_) => Call::UnmountShare(UnmountShareRequest { pool, force }),
        Step::Unmount => Call::Unmount(UnmountRequest { pool, force }),
        Step::StopVolume => Call::StopVolume(StopVolumeRequest { pool }),
        Step::Detach => Call::Detach(DetachRequest { pool, donors: Vec::new() }),
        Step::DestroyExport(number) => Call::DestroyExport(DestroyExportRequest {
            pool,
            force,
            carved: record.member(number).carved,
        }),
        Step::FenceExport(_) => Call::FenceExport(FenceExportRequest { pool }),
        Step::ReplaceMember => Call::ReplaceMember(replacement(record).unwrap_or_default()),
        Step::GiveUpSpare(number) => {
            let donors = vec![record.member(number).donor.clone()];
            Call::Detach(DetachRequest { pool, donors })
        }
        // All that are back.
        Step::ReaddMembers => Call::ReaddMembers(ReaddMembersRequest { pool, serials: Vec::new() }),
        Step::FailVolume => Call::FailVolume(FailVolumeRequest { pool }),
        Step::PayDebt(at) => return debt_calls(&record.debts[at], record),
    };
    let node = node_of(step, record);
    let mut calls = vec![(node.to_owned(), call)];
    if step == Step::CheckHead && record.is_shared() {
        let check = check_sharing(SharingRole::Head, node, record);
        calls.push((node.to_owned(), Call::CheckSharing(check)));
    }
    let may_be_shown = matches!(
        (step, &record.phase),
        (Step::CreateExport(_), Phase::FailingOver(_)) | (Step::DestroyExport(_), _)
    );
    if may_be_shown {
        calls.splice(0..0, fences(node, record));
    }
    calls
}

fn check_sharing(role: SharingRole, node: &str, record: &PoolRecord) -> CheckSharingRequest {
    CheckSharingRequest {
        pool: Some(PoolId::from(&record.assembly)),
        role: role.into(),
        mount_point: record.placement.mount_point.clone(),
        lends: lends(record, node),
    }
}

/// Whether a node that uses the pool lends to it too.
fn lends(record: &PoolRecord, node: &str) -> bool {
    record.members().any(|piece| piece.donor == node)
}

/// What ends the access of all earlier heads once more: an export that a call asked for before
/// the fence, and that came late, would be in the way, and open to that head.
fn fences(node: &str, record: &PoolRecord) -> Vec<(String, Call)> {
    let earlier = record.assemblies().filter(|assembly| *assembly < record.assembly);
    let fence = |assembly: Assembly| {
        let pool = Some(PoolId::from(&assembly));
        (node.to_owned(), Call::FenceExport(FenceExportRequest { pool }))
    };
    earlier.map(fence).collect()
}

/// A step's short name in events.
#[must_use]
pub fn name_of(step: Step) -> &'static str {
    match step {
        Step::CheckHead | Step::CheckClient(_) => "check",
        Step::CreateExport(_) => "export",
        Step::Attach => "attach",
        Step::AssembleVolume => "assemble",
        Step::MakeFilesystem => "format",
        Step::Mount => "mount",
        Step::Share => "share",
        Step::MountShare(_) => "clients",
        Step::UnmountShare(_) => "leave",
        Step::Unmount => "unmount",
        Step::StopVolume => "stop",
        Step::Detach => "detach",
        Step::DestroyExport(_) => "free",
        Step::FenceExport(_) => "fence",
        Step::ReplaceMember => "rebuild",
        Step::ReaddMembers => "readd",
        Step::GiveUpSpare(_) => "spare",
        Step::FailVolume => "fail",
        Step::PayDebt(_) => "debt",
    }
}

/// What begins, in words, where `count` nodes do the step at once.
#[must_use]
pub fn words_of(step: Step, count: usize, record: &PoolRecord) -> String {
    let placement = &record.placement;
    let width = placement.pieces.len();
    match step {
        Step::CheckHead | Step::CheckClient(_) if count > 1 => {
            format!("checking the head and {} clients", count - 1)
        }
        Step::CheckHead | Step::CheckClient(_) => "checking the head".to_owned(),
        Step::CreateExport(_) => {
            let each = placement.pieces.first().map_or(0, |piece| piece.bytes);
            match (record.joining(), count) {
                (Some(piece), 1) => format!("reserving {} on {}", Size(each), piece.donor),
                _ => format!("reserving {} on each of {count} donors", Size(each)),
            }
        }
        Step::Attach => match record.joining() {
            Some(piece) => format!("logging in to {}'s export", piece.donor),
            None => format!("logging in to {} exports", record.live().count()),
        },
        Step::AssembleVolume if record.formed != 0 => "putting the volume together".to_owned(),
        Step::AssembleVolume => format!("striping {width} disks"),
        Step::MakeFilesystem => "making the file system".to_owned(),
        Step::Mount => format!("mounting at {}", placement.mount_point),
        Step::Share => format!("sharing it with {} clients", placement.clients.len()),
        Step::MountShare(_) => format!("mounting it on {count} clients"),
        Step::UnmountShare(_) => format!("unmounting it on {count} clients"),
        Step::Unmount => "unmounting".to_owned(),
        Step::StopVolume => "stopping the volume".to_owned(),
        Step::Detach => "logging out".to_owned(),
        Step::DestroyExport(_) => format!("freeing the memory of {count} donors"),
        Step::FenceExport(_) => format!("ending the old head's access to {count} donors"),
        Step::ReplaceMember => record.replacing().map_or_else(String::new, |replacing| {
            let old = &placement.pieces[replacing.slot].donor;
            format!("{} takes the place of {old}", replacing.new.donor)
        }),
        Step::GiveUpSpare(number) => format!("letting {} go", record.member(number).donor),
        Step::ReaddMembers => "taking donors back that were cut off".to_owned(),
        Step::FailVolume => "ending all waiting for silent donors".to_owned(),
        Step::PayDebt(_) => format!("asking {count} nodes for what they still hold"),
    }
}
