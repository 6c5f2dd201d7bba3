//! The head's side of the exports: open-iscsi sessions and the disks they bring.

mod detach;
pub mod disks;
mod login;
mod patience;
pub(crate) mod ran_out;
mod records;
pub mod sessions;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Disk, Export, Failure, FailureKind, Holding, HoldingKind, PoolId, Target};

use crate::configfs;
use crate::export::LUN;
use crate::modules;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure};
pub(crate) use detach::end;
pub use detach::{Whose, detach};
use disks::OurDisk;
pub(crate) use login::iscsid_listens;
use patience::Patience;
pub(crate) use ran_out::RanOut;
use records::Record;
use sessions::Session;

/// The kernel makes a disk some moments after the scan that found its unit, and removes it some
/// moments after iscsiadm has gone; it tells nobody but udev when. Nor does iscsid tell when it
/// has opened a broken session again.
const GRACE: Duration = Duration::from_secs(5);

/// How often sysfs is asked meanwhile.
const GLANCE: Duration = Duration::from_millis(5);

/// What a head is asked to log in to.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// For which assembly.
    pub assembly: Assembly,
    /// The initiator name the exports admit.
    pub initiator: String,
    /// In the order of the stripe.
    pub exports: Vec<Export>,
    /// How long I/O to a silent donor is held, in seconds.
    pub patience_seconds: u32,
    /// Donors use the pool themselves, and have little room for commands.
    pub sparing: bool,
}

impl Wanted {
    fn names(&self, target: &str) -> bool {
        let targets = self.exports.iter().filter_map(|export| export.target.as_ref());
        targets.into_iter().any(|named| named.iqn == target)
    }
}

/// Logs in to every export that has no session yet, and finds all their disks. What is attached
/// beside them stays as it is, up or not.
pub fn attach(node: &Node, wanted: &Wanted) -> Outcome<(Change, Vec<Disk>)> {
    let patience = Patience::split(wanted.patience_seconds)?;
    let targets = targets(wanted)?;
    let sessions = sessions::of(node, &wanted.assembly);
    refuse_other_initiator(wanted, &sessions)?;
    let missing: Vec<_> = targets
        .into_iter()
        .filter(|record| !sessions.iter().any(|session| session.target == record.iqn))
        .collect();
    if !missing.is_empty() {
        login::require_iscsid(node)?;
        // Without the disk driver, a scan finds units and makes no disks of them.
        modules::ensure(node, &["sd_mod"]).during("load the disk driver")?;
        let assembly = &wanted.assembly;
        let commands = if wanted.sparing { records::SPARING } else { records::USUAL };
        let manner = records::Manner { initiator: &wanted.initiator, patience, commands };
        records::write(node, assembly, &manner, &missing).during("write open-iscsi's records")?;
        let said = login(node, assembly, &missing).during("log in to the exports")?;
        verify(node, wanted, &said)?;
    } else {
        verify(node, wanted, "")?;
    }
    // Of those alone: a host whose donor is silent keeps whoever makes it look for units.
    let mut sessions = sessions::of(node, &wanted.assembly);
    sessions.retain(|session| wanted.names(&session.target));
    let looked = scan(node, &sessions).during("look for the disks")?;
    let disks = find_disks(node, wanted, &sessions)?;
    let changed = !missing.is_empty() || looked == Change::Made;
    Ok((if changed { Change::Made } else { Change::Already }, disks))
}

/// In one go where these are all that there are records of; else one by one, so that nobody
/// waits for a donor that is not meant. Those that are merely busy are given another chance.
fn login(node: &Node, assembly: &Assembly, missing: &[Record<'_>]) -> Outcome<String> {
    let records = records::list(node).into_iter().filter(|(of, _)| of == assembly).count();
    let targets: Vec<_> = missing.iter().map(|record| record.iqn).collect();
    let said = match records == missing.len() {
        true => login::login_to_all(node, assembly)?,
        false => login::login_to(node, assembly, &targets)?,
    };
    let refusals = login::refusals(&said);
    let busy = |target: &&str| refusals.get(*target).is_some_and(|why| login::is_busy(why));
    let busy: Vec<_> = targets.into_iter().filter(busy).collect();
    if busy.is_empty() {
        return Ok(said);
    }
    tracing::info!(%assembly, targets = ?busy, "did not answer a login in time: once more");
    // What was said of the others, and what is now said of these.
    Ok(format!("{said}\n{}", login::login_to(node, assembly, &busy)?))
}

/// The targets to log in to, each checked to be whole.
fn targets<'a>(wanted: &'a Wanted) -> Outcome<Vec<Record<'a>>> {
    let mut records = Vec::new();
    for export in &wanted.exports {
        let Some(target) = &export.target else { continue };
        records.push(record(export, target)?);
    }
    Ok(records)
}

fn record<'a>(export: &Export, target: &'a Target) -> Outcome<Record<'a>> {
    let invalid = |said: String| failure(FailureKind::Invalid, said).during("check the exports");
    if target.lun != LUN {
        return Err(
            invalid(format!("{}: unit {} instead of {LUN}", export.donor, target.lun)).into()
        );
    }
    let address: IpAddr = target
        .address
        .parse()
        .map_err(|_| invalid(format!("{}: {:?} is no address", export.donor, target.address)))?;
    let port = u16::try_from(target.port)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| invalid(format!("{}: {} is no port", export.donor, target.port)))?;
    let chap = target
        .chap
        .as_ref()
        .filter(|chap| is_plain(chap))
        .ok_or_else(|| invalid(format!("{}: no CHAP secrets, or odd ones", export.donor)))?;
    Ok(Record { iqn: &target.iqn, address, port, portal_group: target.portal_group, chap })
}

/// Nothing that could end a record's line or begin another.
fn is_plain(chap: &rampool_proto::v1::ChapSecrets) -> bool {
    let plain = |text: &String| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        (1..=255).contains(&text.len()) && text.bytes().all(good)
    };
    [&chap.user, &chap.password, &chap.mutual_user, &chap.mutual_password].into_iter().all(plain)
}

fn refuse_other_initiator(wanted: &Wanted, sessions: &[Session]) -> Outcome<()> {
    match sessions.iter().find(|session| session.initiator != wanted.initiator) {
        None => Ok(()),
        Some(other) => {
            let said = format!("{} is logged in to as {}", other.target, other.initiator);
            Err(failure(FailureKind::Conflict, said).advising("detach this pool first").into())
        }
    }
}

/// The assembly's sessions, once those wanted are up, or have not been for longer than a moment:
/// what breaks just after a login, on a link or a node that is busy, iscsid opens again.
fn reopened(node: &Node, wanted: &Wanted) -> Vec<Session> {
    let patience = Instant::now() + GRACE;
    loop {
        let sessions = sessions::of(node, &wanted.assembly);
        let broken = |session: &Session| wanted.names(&session.target) && !session.is_up();
        if !sessions.iter().any(broken) || Instant::now() >= patience {
            return sessions;
        }
        std::thread::sleep(GLANCE);
    }
}

/// Every export has a session that is up; `said` is what iscsiadm told meanwhile.
fn verify(node: &Node, wanted: &Wanted, said: &str) -> Outcome<()> {
    let sessions = reopened(node, wanted);
    let refusals = login::refusals(said);
    let mut failed = Vec::new();
    for export in &wanted.exports {
        let Some(target) = &export.target else { continue };
        let why = match sessions.iter().find(|session| session.target == target.iqn) {
            Some(session) if session.is_up() => continue,
            Some(session) => format!("its session is {}", session.state),
            None => refusals.get(&target.iqn).cloned().unwrap_or_else(|| "no session".to_owned()),
        };
        failed.push((export.donor.as_str(), why));
    }
    let Some((donor, why)) = failed.first() else { return Ok(()) };
    let listed: Vec<_> = failed.iter().map(|(donor, why)| format!("{donor}: {why}")).collect();
    let unexplained = refusals.is_empty() && !said.trim().is_empty();
    let words = if unexplained { format!(" ({})", said.trim()) } else { String::new() };
    let step = format!("log in to {donor}'s export");
    Err(Failure::new(FailureKind::Failed, step)
        .by(node.programs.iscsiadm.path()?.display().to_string())
        .saying(format!("{}{words}", listed.join("; ")))
        .advising(login::advice(why, donor))
        .into())
}

/// Makes every host look for its unit, side by side.
fn scan(node: &Node, sessions: &[Session]) -> Outcome<Change> {
    let missing: Vec<_> =
        sessions.iter().filter(|session| session.disk(&node.roots).is_none()).collect();
    if missing.is_empty() {
        return Ok(Change::Already);
    }
    std::thread::scope(|scope| {
        let scans: Vec<_> = missing
            .iter()
            .filter_map(|session| session.scan_file(&node.roots))
            .map(|file| scope.spawn(move || configfs::write(&file, &format!("0 0 {LUN}"))))
            .collect();
        scans.into_iter().try_for_each(|scan| {
            scan.join().unwrap_or_else(|_| Err(failure(FailureKind::Failed, "panicked").into()))
        })
    })?;
    Ok(Change::Made)
}

fn find_disks(node: &Node, wanted: &Wanted, sessions: &[Session]) -> Outcome<Vec<Disk>> {
    let patience = Instant::now() + GRACE;
    let mut disks = Vec::with_capacity(wanted.exports.len());
    for export in &wanted.exports {
        let mut disk = disk_of(node, export, sessions);
        while disk.is_none() && Instant::now() < patience {
            std::thread::sleep(GLANCE);
            disk = disk_of(node, export, sessions);
        }
        let disk = check_disk(export, disk).during("look for the disks")?;
        disks::tune(&node.roots, &disk);
        disks.push(Disk {
            donor: export.donor.clone(),
            device: disk.device(&node.roots).display().to_string(),
            bytes: disk.bytes,
            serial: disk.serial,
        });
    }
    Ok(disks)
}

/// A disk that can be opened: its device node comes some moments after it shows in sysfs.
fn disk_of(node: &Node, export: &Export, sessions: &[Session]) -> Option<OurDisk> {
    let disk = match &export.target {
        Some(target) => {
            let session = sessions.iter().find(|session| session.target == target.iqn)?;
            session.disk(&node.roots)
        }
        None => disks::by_serial(&node.roots, &export.serial),
    };
    disk.filter(|disk| disk.device(&node.roots).exists())
}

fn check_disk(export: &Export, disk: Option<OurDisk>) -> Outcome<OurDisk> {
    let donor = &export.donor;
    let said = match disk {
        None => format!("{donor}: the session is up, and shows no disk of ours"),
        Some(disk) if disk.serial != export.serial => {
            format!("{donor}: {} has the serial {}, not {}", disk.name, disk.serial, export.serial)
        }
        Some(disk) if disk.bytes != export.bytes => {
            format!("{donor}: {} has {} bytes, not {}", disk.name, disk.bytes, export.bytes)
        }
        Some(disk) => return Ok(disk),
    };
    Err(failure(FailureKind::Failed, said).into())
}

/// Sessions and node records of every pool.
#[must_use]
pub fn list(node: &Node) -> Vec<Holding> {
    let sessions = sessions::list(node).into_iter().map(|session| Holding {
        pool: Some(PoolId::from(&session.assembly)),
        kind: HoldingKind::Session.into(),
        name: session.target,
        detail: session.state,
        donor: session.donor,
        ..Holding::default()
    });
    let records = records::list(node).into_iter().map(|(assembly, path)| Holding {
        pool: Some(PoolId::from(&assembly)),
        kind: HoldingKind::NodeRecord.into(),
        name: path.display().to_string(),
        ..Holding::default()
    });
    sessions.chain(records).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;
    use crate::node::tests::fake;
    use sessions::tests::{set_state, write_session};

    #[test]
    fn a_session_that_broke_after_its_login_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        let iqn = "iqn.2026-11.org.rampool:demo.3.n2".to_owned();
        write_session(&node, 1, &iqn, "rp.demo.3", "FAILED");
        let target = Target { iqn, ..Target::default() };
        let export = Export { donor: "n2".into(), target: Some(target), ..Export::default() };
        let wanted = Wanted {
            assembly: assembly("demo.3"),
            initiator: String::new(),
            exports: vec![export],
            patience_seconds: 7,
            sparing: false,
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(GLANCE * 4);
                set_state(&node, 1, "LOGGED_IN");
            });
            verify(&node, &wanted, "").unwrap();
        });
        assert!(sessions::of(&node, &wanted.assembly)[0].is_up());
    }
}
