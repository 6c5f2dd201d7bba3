//! Requests, checked: what comes off the wire becomes what the rooms inside work with. Folders,
//! names and addresses must be within the [`Cage`].

use std::time::Duration;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::create_export_request::Way as WireWay;
use rampool_proto::v1::{self, Export, FailureKind, PoolId, Redundancy};
use uuid::Uuid;

use crate::cage::Cage;
use crate::export::{self, Way};
use crate::head;
use crate::jobs::Job;
use crate::memory::MIB;
use crate::names;
use crate::outcome::{During, Outcome, failure};
use crate::{attach, filesystem, mount, ramdisk, share, volume};

/// More disks than any layout stripes over.
const MOST_DISKS: usize = 4096;

/// More nodes than any pool is shared with.
const MOST_CLIENTS: usize = 4096;

/// Longer ones the kernel does not take as a mount's source.
const LONGEST_PATH: usize = 1024;

/// More lines than a job's output is told.
const MOST_LINES: usize = 16;

/// Longer ones nobody reads.
const LONGEST_LINE: usize = 1024;

/// A README longer than this is no note to a reader.
const LONGEST_README: usize = 64 * 1024;

/// From a page to LVM's smallest extent.
const CHUNKS_KIB: std::ops::RangeInclusive<u32> = 4..=1024;

fn invalid<T>(said: impl std::fmt::Display) -> Outcome<T> {
    Err(failure(FailureKind::Invalid, said).during("check the request").into())
}

/// The assembly that a request names.
pub fn assembly(pool: Option<&PoolId>) -> Outcome<Assembly> {
    match pool.map(Assembly::try_from) {
        Some(Ok(assembly)) => Ok(assembly),
        Some(Err(error)) => invalid(error),
        None => invalid("it names no pool"),
    }
}

/// Of `CreateExport`.
pub fn create_export(cage: &Cage, request: &v1::CreateExportRequest) -> Outcome<export::Wanted> {
    let assembly = assembly(request.pool.as_ref())?;
    let way = match &request.way {
        Some(WireWay::HeadInitiator(name)) => Way::Initiator(cage.initiator(&assembly, name)?),
        Some(WireWay::Local(_)) => Way::Local,
        Some(WireWay::Reserved(_)) => Way::Reserved,
        None => return invalid("it does not say to whom to export"),
    };
    let ramdisk = ramdisk::Wanted {
        assembly: carved(&assembly, request.carved)?,
        backend: request.backend(),
        bytes: request.bytes,
        allow_swap: request.allow_swap,
        for_job_elsewhere: request.for_job_elsewhere,
    };
    Ok(export::Wanted { assembly, ramdisk, way })
}

/// Of `DestroyExport`: the assembly, and the one for which the memory was carved.
pub fn destroy_export(request: &v1::DestroyExportRequest) -> Outcome<(Assembly, Assembly)> {
    let assembly = assembly(request.pool.as_ref())?;
    let carved = carved(&assembly, request.carved)?;
    Ok((assembly, carved))
}

/// The assembly for which memory is or was carved: of any generation, or the same for 0.
fn carved(assembly: &Assembly, generation: u32) -> Outcome<Assembly> {
    match generation {
        0 => Ok(assembly.clone()),
        generation => self::assembly(Some(&PoolId { name: assembly.name.to_string(), generation })),
    }
}

/// The assembly of the same pool in an earlier generation; 0 means this one.
fn earlier(assembly: &Assembly, generation: u32) -> Outcome<Assembly> {
    if generation > assembly.generation {
        return invalid(format!("generation {generation} is later than {assembly}"));
    }
    let generation = if generation == 0 { assembly.generation } else { generation };
    Ok(Assembly { name: assembly.name.clone(), generation })
}

/// Of `CheckHead`.
pub fn check_head(cage: &Cage, request: v1::CheckHeadRequest) -> Outcome<head::Wanted> {
    Ok(head::Wanted {
        assembly: assembly(request.pool.as_ref())?,
        layout: request.layout(),
        redundancy: redundancy(request.redundancy()),
        filesystem: request.filesystem(),
        point: cage.mount_point(request.mount_point)?,
        lends_to_job: request.lends_to_job,
    })
}

/// Of `Attach`.
pub fn attach(cage: &Cage, request: v1::AttachRequest) -> Outcome<attach::Wanted> {
    let assembly = assembly(request.pool.as_ref())?;
    let initiator = cage.initiator(&assembly, &request.initiator)?;
    if !(1..=MOST_DISKS).contains(&request.exports.len()) {
        return invalid(format!("{} exports", request.exports.len()));
    }
    for export in &request.exports {
        check_export(cage, &assembly, export)?;
    }
    refuse_twice(request.exports.iter().map(|export| export.donor.as_str()))?;
    Ok(attach::Wanted {
        assembly,
        initiator,
        exports: request.exports,
        patience_seconds: request.patience_seconds,
        sparing: request.sparing,
    })
}

fn check_export(cage: &Cage, assembly: &Assembly, export: &Export) -> Outcome<()> {
    if !names::is_node(&export.donor) {
        return invalid(format!("{:?} is no node's name", export.donor));
    }
    let serial = names::serial(&carved(assembly, export.carved)?, &export.donor);
    if export.serial != serial {
        return invalid(format!("{}: serial {:?} is not {serial}", export.donor, export.serial));
    }
    let Some(target) = &export.target else { return Ok(()) };
    cage.target(assembly, &export.donor, &target.iqn)?;
    cage.address(&target.address).map(drop)
}

/// Serials as donors' disks have them.
fn check_serials<'a>(serials: impl Iterator<Item = &'a str> + Clone) -> Outcome<()> {
    match serials.clone().find(|serial| Uuid::parse_str(serial).is_err()) {
        Some(odd) => invalid(format!("{odd:?} is no serial of a disk")),
        None => refuse_twice(serials),
    }
}

/// Of `Detach`: the assembly, and whose sessions of it.
pub fn detach(request: v1::DetachRequest) -> Outcome<(Assembly, attach::Whose)> {
    let assembly = assembly(request.pool.as_ref())?;
    if let Some(odd) = request.donors.iter().find(|donor| !names::is_node(donor)) {
        return invalid(format!("{odd:?} is no node's name"));
    }
    let whose = match request.donors {
        donors if donors.is_empty() => attach::Whose::All,
        donors => attach::Whose::Donors(donors),
    };
    Ok((assembly, whose))
}

/// Of `AssembleVolume`.
pub fn assemble(request: v1::AssembleVolumeRequest) -> Outcome<volume::Wanted> {
    let assembly = assembly(request.pool.as_ref())?;
    let formed = match request.formed {
        0 => None,
        generation => Some(earlier(&assembly, generation)?),
    };
    let wanted = volume::Wanted {
        assembly,
        layout: request.layout(),
        redundancy: redundancy(request.redundancy()),
        chunk_kib: chunk(request.chunk_kib)?,
        serials: request.serials,
        spares: request.spares,
        formed,
        group_width: request.group_width,
        replacing: request.replacing.map(replace_member).transpose()?,
    };
    check_serials(wanted.serials.iter().chain(&wanted.spares).map(String::as_str))?;
    Ok(wanted)
}

/// What is not named is not there.
fn redundancy(named: Redundancy) -> Redundancy {
    match named {
        Redundancy::Unspecified => Redundancy::None,
        named => named,
    }
}

/// Of `ReplaceMember`.
pub fn replace_member(request: v1::ReplaceMemberRequest) -> Outcome<volume::Replacement> {
    // A member that is off the volume already has no name.
    let old = (!request.old_serial.is_empty()).then_some(request.old_serial.as_str());
    check_serials(old.into_iter().chain([request.new_serial.as_str()]))?;
    Ok(volume::Replacement {
        assembly: assembly(request.pool.as_ref())?,
        old: request.old_serial,
        new: request.new_serial,
    })
}

/// Of `ReaddMembers`: the assembly, and which of its members; none: all.
pub fn readd_members(request: v1::ReaddMembersRequest) -> Outcome<(Assembly, Vec<String>)> {
    check_serials(request.serials.iter().map(String::as_str))?;
    Ok((assembly(request.pool.as_ref())?, request.serials))
}

/// Of `MakeFilesystem`.
pub fn make_filesystem(request: &v1::MakeFilesystemRequest) -> Outcome<filesystem::Wanted> {
    let most = u32::try_from(MOST_DISKS).expect("a few thousand fit in 32 bits");
    if !(1..=most).contains(&request.width) {
        return invalid(format!("a stripe over {} disks", request.width));
    }
    Ok(filesystem::Wanted {
        assembly: assembly(request.pool.as_ref())?,
        kind: request.filesystem(),
        chunk_kib: chunk(request.chunk_kib)?,
        width: request.width,
    })
}

/// Of `Mount`.
pub fn mount(cage: &Cage, request: v1::MountRequest) -> Outcome<mount::Wanted> {
    if request.readme.len() > LONGEST_README {
        return invalid(format!("a README of {} bytes", request.readme.len()));
    }
    let assembly = assembly(request.pool.as_ref())?;
    Ok(mount::Wanted {
        kind: request.filesystem(),
        point: cage.mount_point(request.mount_point)?,
        readme: request.readme,
        uid: request.uid,
        gid: request.gid,
        is_private: request.private,
        formed: earlier(&assembly, request.formed)?,
        assembly,
    })
}

/// Of `AdmitJob`.
pub fn admit_job(cage: &Cage, request: v1::AdmitJobRequest) -> Outcome<Job> {
    let path = request.mount_point;
    if path.is_empty() || !is_short_line(&path) {
        return invalid(format!("{path:?} is no path that a job could use"));
    }
    cage.mount_point(path.clone())?;
    if !request.lent_bytes.is_multiple_of(MIB) {
        return invalid(format!("{} bytes are no multiple of 1 MiB", request.lent_bytes));
    }
    if request.lines.len() > MOST_LINES || !request.lines.iter().all(|line| is_short_line(line)) {
        return invalid("what the job's output shall say is too much, or no lines");
    }
    Ok(Job {
        id: job(request.job)?,
        uid: request.uid,
        pool: assembly(request.pool.as_ref())?,
        path,
        lent_bytes: request.lent_bytes,
        is_head: request.head,
        lines: request.lines,
        everywhere: request.everywhere,
    })
}

/// The id of a job that a request names.
pub fn job(id: u32) -> Outcome<u32> {
    if id == 0 { invalid("it names no job") } else { Ok(id) }
}

fn is_short_line(text: &str) -> bool {
    text.len() <= LONGEST_LINE && !text.chars().any(char::is_control)
}

/// Of `CheckSharing`.
pub fn check_sharing(cage: &Cage, request: v1::CheckSharingRequest) -> Outcome<share::Question> {
    Ok(share::Question {
        assembly: assembly(request.pool.as_ref())?,
        role: request.role(),
        point: cage.mount_point(request.mount_point)?,
        lends: request.lends,
    })
}

/// Of `ShareFilesystem`.
pub fn share(cage: &Cage, request: &v1::ShareFilesystemRequest) -> Outcome<share::Wanted> {
    if !(1..=MOST_CLIENTS).contains(&request.clients.len()) {
        return invalid(format!("{} clients", request.clients.len()));
    }
    let clients = request.clients.iter().map(|text| cage.address(text)).collect::<Outcome<_>>()?;
    Ok(share::Wanted { assembly: assembly(request.pool.as_ref())?, clients })
}

/// Of `MountShare`.
pub fn mount_share(cage: &Cage, request: v1::MountShareRequest) -> Outcome<share::WantedMount> {
    // It becomes part of the mount's source.
    let plain = request.path.starts_with('/')
        && request.path.len() <= LONGEST_PATH
        && !request.path.chars().any(char::is_control)
        && !request.path.split('/').any(|part| part == "..");
    if !plain {
        return invalid(format!("{:?} is no path of a share", request.path));
    }
    let seconds = request.patience_seconds;
    Ok(share::WantedMount {
        assembly: assembly(request.pool.as_ref())?,
        head: cage.address(&request.head)?,
        path: request.path,
        point: cage.mount_point(request.mount_point)?,
        patience: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
    })
}

fn chunk(kib: u32) -> Outcome<u32> {
    if CHUNKS_KIB.contains(&kib) && kib.is_power_of_two() {
        return Ok(kib);
    }
    let (least, most) = (CHUNKS_KIB.start(), CHUNKS_KIB.end());
    invalid(format!("a chunk of {kib} KiB: a power of two from {least} to {most} is possible"))
}

fn refuse_twice<'a>(names: impl Iterator<Item = &'a str>) -> Outcome<()> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return invalid(format!("{name} is named twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cage::tests::cage;

    fn pool() -> Option<PoolId> {
        Some(PoolId { name: "demo".into(), generation: 3 })
    }

    #[test]
    fn odd_initiators_never_become_paths() {
        let request = |initiator: &str| v1::CreateExportRequest {
            pool: pool(),
            way: Some(WireWay::HeadInitiator(initiator.into())),
            ..Default::default()
        };
        assert!(create_export(&cage(), &request("iqn.2026-11.org.rampool:demo.3.head")).is_ok());
        for odd in ["", "iqn.2026-11.org.rampool:../../x", "iqn.2026-11.org.rampool", "a\nb"] {
            let told = create_export(&cage(), &request(odd)).unwrap_err();
            assert_eq!(told.kind(), FailureKind::Invalid, "{odd}");
        }
    }

    #[test]
    fn requests_without_a_pool_or_a_way_are_refused() {
        assert!(assembly(None).is_err());
        assert!(assembly(Some(&PoolId { name: "demo".into(), generation: 0 })).is_err());
        let told =
            create_export(&cage(), &v1::CreateExportRequest { pool: pool(), ..Default::default() });
        assert!(told.unwrap_err().said.contains("to whom"));
    }

    #[test]
    fn exports_of_another_assembly_are_refused() {
        let ours: Assembly = "demo.3".parse().unwrap();
        let export = |donor: &str, serial: String| Export {
            donor: donor.into(),
            serial,
            ..Export::default()
        };
        let request = |exports| v1::AttachRequest {
            pool: pool(),
            initiator: "iqn.2026-11.org.rampool:demo.3.head".into(),
            exports,
            patience_seconds: 20,
            sparing: false,
        };
        let good = export("n1", names::serial(&ours, "n1"));
        assert!(attach(&cage(), request(vec![good.clone()])).is_ok());
        assert!(attach(&cage(), request(vec![])).is_err());
        assert!(attach(&cage(), request(vec![good.clone(), good])).is_err());
        let other = names::serial(&"demo.4".parse().unwrap(), "n1");
        assert!(attach(&cage(), request(vec![export("n1", other)])).is_err());
        // Memory has the serial of the generation that it was carved for: an earlier one, or a
        // number of its own.
        for carved in [2, 4] {
            let assembly = Assembly { generation: carved, ..ours.clone() };
            let kept = export("n1", names::serial(&assembly, "n1"));
            assert!(attach(&cage(), request(vec![kept.clone()])).is_err());
            assert!(attach(&cage(), request(vec![Export { carved, ..kept.clone() }])).is_ok());
            assert!(attach(&cage(), request(vec![Export { carved: 7, ..kept }])).is_err());
        }
    }

    #[test]
    fn a_share_is_for_nodes_that_are_named_one_by_one() {
        let request = |clients: &[&str]| v1::ShareFilesystemRequest {
            pool: pool(),
            clients: clients.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(
            share(&cage(), &request(&["10.0.0.2", "fd00::1", "10.0.0.2"])).unwrap().clients.len(),
            2
        );
        for odd in ["*", "10.0.0.0/8", "n1", "0.0.0.0", "10.0.0.2(no_root_squash)", "@group", ""] {
            assert!(share(&cage(), &request(&[odd])).is_err(), "{odd}");
        }
        assert!(share(&cage(), &request(&[])).is_err());
    }

    #[test]
    fn odd_paths_of_shares_never_become_sources() {
        let request = |path: &str| v1::MountShareRequest {
            pool: pool(),
            head: "10.0.0.1".into(),
            path: path.into(),
            ..Default::default()
        };
        assert!(mount_share(&cage(), request("/demo.3")).is_ok());
        for odd in ["", "demo", "/../etc", "/a\nb"] {
            assert!(mount_share(&cage(), request(odd)).is_err(), "{odd}");
        }
        assert!(
            mount_share(&cage(), v1::MountShareRequest { head: "n1".into(), ..request("/a") })
                .is_err()
        );
    }

    #[test]
    fn a_job_is_told_lines_and_a_path_and_nothing_else() {
        let request = |path: &str, line: &str, lent_bytes| v1::AdmitJobRequest {
            job: 17,
            pool: pool(),
            mount_point: path.into(),
            lines: vec![line.into()],
            lent_bytes,
            ..Default::default()
        };
        assert!(admit_job(&cage(), request("/rampool/17", "3 GiB from 4 nodes", 64 * MIB)).is_ok());
        for odd in [
            "",
            "rampool/17",
            "/rampool/1\n7",
            "/home/17",
            &format!("/{}", "x".repeat(LONGEST_LINE)),
        ] {
            assert!(admit_job(&cage(), request(odd, "", 0)).is_err(), "{odd}");
        }
        assert!(admit_job(&cage(), request("/rampool/17", "a\nexport PATH=/tmp", 0)).is_err());
        assert!(admit_job(&cage(), request("/rampool/17", "", 1)).is_err());
        assert!(
            admit_job(&cage(), v1::AdmitJobRequest { job: 0, ..request("/rampool/17", "", 0) })
                .is_err()
        );
    }

    #[test]
    fn chunks_are_powers_of_two_that_both_layouts_take() {
        for good in [4, 64, 1024] {
            assert!(chunk(good).is_ok());
        }
        for bad in [0, 2, 65, 2048, u32::MAX] {
            assert!(chunk(bad).is_err());
        }
    }
}
