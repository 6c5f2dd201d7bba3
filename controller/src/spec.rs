//! From what a person wrote to what is wanted: every field checked, every gap filled from the
//! profile, then from the built-in values. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use rampool_proto::hostlist::HostList;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::{
    AtExpiry, Backend, Failure, FailureKind, FilesystemKind, PoolSpec, Redundancy, VolumeLayout,
};

use crate::planner::redundancy::{self, is_redundant};
use crate::profile::Profile;

/// The stripe's chunk where nobody says: small chunks spread a file system's structures over
/// all donors, and 4 KiB I/O never crosses one.
pub const BUILT_IN_CHUNK_KIB: u32 = 64;

/// How long I/O to a silent donor is held where nobody says, in seconds: without redundancy the
/// pool is lost when it ends, so that a switch may reboot meanwhile.
pub const BUILT_IN_PATIENCE_SECONDS: u32 = 60;

/// The same with redundancy: the others have the data, so that waiting for the silent one only
/// holds up users, and the bitmap makes its return cheap. A probe a second, a second for its
/// answer, and five of holding: a stall stays well under ten.
pub const BUILT_IN_REDUNDANT_PATIENCE_SECONDS: u32 = 7;

/// Below this, detecting the silence (two seconds' probe, three seconds' wait) takes longer
/// than the patience itself.
const LEAST_PATIENCE_SECONDS: u32 = 5;

/// A day: nothing waits longer for a write.
const GREATEST_PATIENCE_SECONDS: u32 = 86_400;

/// The most donors of one pool: twice what the widest volume (md raid0) takes.
pub const MOST_DONORS: usize = 4096;

/// The most clients of one pool: each is a line of the head's export table.
pub const MOST_CLIENTS: usize = 1024;

/// A hundred years: what is longer is a slip, and would overflow nothing yet.
const LONGEST_LEASE_SECONDS: u64 = 100 * 365 * 86_400;

/// Longer than any sensible mount point; Linux allows 4096.
const LONGEST_MOUNT_POINT: usize = 1024;

/// Longer than any user name: Linux allows 32 bytes, directories somewhat more.
const LONGEST_OWNER: usize = 256;

/// What a pool shall be, with nothing left open.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The pool's name, checked.
    pub name: PoolName,
    /// How much.
    pub capacity: Size,
    /// From whom.
    pub donors: Donors,
    /// The only nodes that may be chosen to lend; empty: all.
    pub among: BTreeSet<String>,
    /// The node that shall assemble and mount it; none while the pool is only to be reserved.
    pub head: Option<String>,
    /// The nodes that shall mount the head's file system.
    pub clients: Vec<String>,
    /// Every field of the request, filled in.
    pub spec: PoolSpec,
}

/// How much a pool shall hold, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Usable, of the whole volume.
    Usable(u64),
    /// Of each donor's piece.
    PerDonor(u64),
}

/// Which nodes shall lend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Donors {
    /// These, all of them.
    Listed(Vec<String>),
    /// This many of the controller's choice; `None`: as many as are useful.
    Pick(Option<usize>),
}

/// What a spec is completed from.
#[derive(Clone, Copy, Debug)]
pub struct Defaults<'a> {
    /// The configured profiles.
    pub profiles: &'a BTreeMap<String, Profile>,
    /// Pools are mounted below it.
    pub mount_root: &'a Path,
}

fn invalid(said: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Invalid, "read the pool's spec").saying(said)
}

/// Checks `spec` and fills its gaps.
pub fn resolve(spec: &PoolSpec, defaults: Defaults<'_>) -> Result<Wanted, Failure> {
    let name: PoolName = spec.name.parse().map_err(invalid)?;
    let (profile_name, profile) = profile_of(spec, defaults.profiles)?;
    let capacity = capacity_of(spec, &profile)?;
    let donors = donors_of(spec, &profile)?;
    let among = among_of(spec)?;
    let filesystem = filesystem_of(spec, &profile)?;
    let redundancy = redundancy_of(spec, &profile)?;
    let head = if awaits_nodes(spec) { None } else { Some(head_of(spec, &profile)?) };
    let clients = clients_of(spec, head.as_deref(), filesystem)?;
    let filled = PoolSpec {
        name: spec.name.clone(),
        profile: profile_name,
        capacity: Some(match capacity {
            Size::Usable(bytes) => Capacity::SizeBytes(bytes),
            Size::PerDonor(bytes) => Capacity::SizePerDonorBytes(bytes),
        }),
        head: head.clone().unwrap_or_default(),
        donors: match &donors {
            Donors::Listed(names) => HostList::from_names(names).map_err(invalid)?.to_string(),
            Donors::Pick(_) => String::new(),
        },
        donor_count: match &donors {
            Donors::Listed(_) | Donors::Pick(None) => 0,
            Donors::Pick(Some(count)) => u32::try_from(*count).unwrap_or(u32::MAX),
        },
        backend: backend_of(spec, &profile)?.into(),
        layout: layout_of(spec, &profile, redundancy)?.into(),
        filesystem: filesystem.into(),
        chunk_kib: chunk_of(spec, &profile)?,
        mount_point: mount_point_of(spec, filesystem, defaults.mount_root)?,
        lease_seconds: lease_of(spec, &profile)?,
        owner: owner_of(spec)?,
        uid: spec.uid,
        gid: spec.gid,
        patience_seconds: patience_of(spec, &profile, redundancy)?,
        head_may_lend: spec.head_may_lend || profile.head_may_lend.unwrap_or(false),
        redundancy: redundancy.into(),
        spares: Some(spares_of(spec, &profile, redundancy)?),
        auto_replace: Some(auto_replace_of(spec, &profile, redundancy)?),
        at_expiry: at_expiry_of(spec, &profile)?.into(),
        clients: HostList::from_names(&clients).map_err(invalid)?.to_string(),
        private: spec.private,
        job: spec.job.clone(),
        among: spec.among.clone(),
        by_user: spec.by_user,
        account: account_of(spec)?,
    };
    Ok(Wanted { name, capacity, donors, among, head, clients, spec: filled })
}

/// Whether it is of a job that has no nodes yet: its pool is reserved, and has no head.
fn awaits_nodes(spec: &PoolSpec) -> bool {
    spec.job.as_ref().is_some_and(|job| job.nodes.is_empty())
}

/// The profile meant; the built-in one is empty, so that all of it is built in.
fn profile_of(
    spec: &PoolSpec,
    profiles: &BTreeMap<String, Profile>,
) -> Result<(String, Profile), Failure> {
    let name = if spec.profile.is_empty() { "default" } else { &spec.profile };
    match profiles.get(name) {
        Some(profile) => Ok((name.to_owned(), profile.clone())),
        None if name == "default" => Ok((name.to_owned(), Profile::default())),
        None => {
            let others = profiles.keys().map(String::as_str).filter(|name| *name != "default");
            let known: Vec<&str> = std::iter::once("default").chain(others).collect();
            let (name, known) = (shortened(name), known.join(", "));
            Err(invalid(format!("there is no profile {name:?}; there are: {known}")))
        }
    }
}

fn capacity_of(spec: &PoolSpec, profile: &Profile) -> Result<Size, Failure> {
    let size = match (spec.capacity, profile.size, profile.size_per_donor) {
        (Some(Capacity::SizeBytes(bytes)), ..) | (None, Some(bytes), _) => Size::Usable(bytes),
        (Some(Capacity::SizePerDonorBytes(bytes)), ..) | (None, None, Some(bytes)) => {
            Size::PerDonor(bytes)
        }
        (None, None, None) => {
            return Err(invalid("no size is given")
                .advising("give the usable size (--size) or each donor's (--size-per-donor)"));
        }
    };
    match size {
        Size::Usable(0) | Size::PerDonor(0) => Err(invalid("a size of 0 bytes")),
        size => Ok(size),
    }
}

fn head_of(spec: &PoolSpec, profile: &Profile) -> Result<String, Failure> {
    let head = if spec.head.is_empty() { profile.head.as_deref() } else { Some(&*spec.head) };
    let Some(head) = head else {
        return Err(invalid("no head is given").advising(
            "name the node that shall mount the pool (--head), or a `head` in the profile",
        ));
    };
    rampool_proto::hostlist::check_name(head)
        .map_err(|problem| invalid(format!("head: {problem}")))?;
    Ok(head.to_owned())
}

fn donors_of(spec: &PoolSpec, profile: &Profile) -> Result<Donors, Failure> {
    let listed = if !spec.donors.is_empty() {
        Some(spec.donors.parse::<HostList>().map_err(|error| invalid(format!("donors: {error}")))?)
    } else if spec.donor_count == 0 && spec.among.is_empty() {
        profile.donors.clone()
    } else {
        None
    };
    let count = if spec.donor_count == 0 { profile.donor_count } else { Some(spec.donor_count) };
    let count = count.filter(|count| *count > 0).map(|count| count as usize);
    let asked = listed.as_ref().map(HostList::len).or(count).unwrap_or(0);
    if asked > MOST_DONORS {
        return Err(invalid(format!("{asked} donors; a pool has at most {MOST_DONORS}")));
    }
    match listed {
        Some(names) if spec.donor_count != 0 && spec.donor_count as usize != names.len() => {
            Err(invalid(format!(
                "{} donors are named, but a donor count of {} is given too",
                names.len(),
                spec.donor_count
            )))
        }
        Some(names) => Ok(Donors::Listed(names.iter().map(str::to_owned).collect())),
        None => Ok(Donors::Pick(count)),
    }
}

/// The nodes that alone may be chosen to lend; none where any may.
pub(crate) fn among_of(spec: &PoolSpec) -> Result<BTreeSet<String>, Failure> {
    if spec.among.is_empty() {
        return Ok(BTreeSet::new());
    }
    let among: HostList = spec.among.parse().map_err(|error| invalid(format!("among: {error}")))?;
    Ok(among.iter().map(str::to_owned).collect())
}

/// The nodes that shall mount the head's file system.
fn clients_of(
    spec: &PoolSpec,
    head: Option<&str>,
    filesystem: FilesystemKind,
) -> Result<Vec<String>, Failure> {
    if spec.clients.is_empty() {
        return Ok(Vec::new());
    }
    let clients: HostList =
        spec.clients.parse().map_err(|error| invalid(format!("clients: {error}")))?;
    if clients.len() > MOST_CLIENTS {
        let said = format!("{} clients; a pool has at most {MOST_CLIENTS}", clients.len());
        return Err(invalid(said));
    }
    if let Some(head) = head.filter(|head| clients.contains(head)) {
        return Err(invalid(format!("{head} is the head: it has the file system anyway"))
            .advising("leave it out of the clients"));
    }
    if filesystem == FilesystemKind::None {
        return Err(invalid("clients are given, but no file system (fs: none)"));
    }
    Ok(clients.iter().map(str::to_owned).collect())
}

fn backend_of(spec: &PoolSpec, profile: &Profile) -> Result<Backend, Failure> {
    match Backend::try_from(spec.backend) {
        Ok(Backend::Unspecified) => Ok(profile.backend.map_or(Backend::RdMcp, Into::into)),
        Ok(given) => Ok(given),
        Err(_) => Err(unknown_choice("backend", spec.backend)),
    }
}

/// Built in is md: one program makes its array in one run, where LVM needs a label, a group and
/// a volume. Who wants to move a pool's pieces while it is in use picks lvm.
fn layout_of(
    spec: &PoolSpec,
    profile: &Profile,
    redundancy: Redundancy,
) -> Result<VolumeLayout, Failure> {
    let layout = match VolumeLayout::try_from(spec.layout) {
        Ok(VolumeLayout::Unspecified) => profile.layout.map_or(VolumeLayout::Md, Into::into),
        Ok(given) => given,
        Err(_) => return Err(unknown_choice("layout", spec.layout)),
    };
    if layout == VolumeLayout::Lvm && is_redundant(redundancy) {
        let said = format!(
            "layout lvm with redundancy {}: redundancy is md's work, which LVM would only wrap",
            redundancy::name(redundancy)
        );
        return Err(invalid(said).advising("use layout md, or redundancy none"));
    }
    Ok(layout)
}

fn redundancy_of(spec: &PoolSpec, profile: &Profile) -> Result<Redundancy, Failure> {
    match Redundancy::try_from(spec.redundancy) {
        Ok(Redundancy::Unspecified) => Ok(profile.redundancy.map_or(Redundancy::None, Into::into)),
        Ok(given) => Ok(given),
        Err(_) => Err(unknown_choice("redundancy", spec.redundancy)),
    }
}

/// A profile's spares and replacing are for the pools that can use them; what a person asked
/// for is refused where it cannot be.
fn spares_of(spec: &PoolSpec, profile: &Profile, redundancy: Redundancy) -> Result<u32, Failure> {
    let redundant = is_redundant(redundancy);
    let spares = match spec.spares {
        Some(spares) if spares > 0 && !redundant => {
            return Err(invalid("spares, but no redundancy: there is nothing to rebuild from")
                .advising("ask for a redundancy, e.g. --redundancy mirror, or for no spares"));
        }
        Some(spares) => spares,
        None if redundant => profile.spares.unwrap_or(0),
        None => 0,
    };
    if spares as usize > MOST_DONORS {
        return Err(invalid(format!("{spares} spares; a pool has at most {MOST_DONORS} donors")));
    }
    Ok(spares)
}

fn auto_replace_of(
    spec: &PoolSpec,
    profile: &Profile,
    redundancy: Redundancy,
) -> Result<bool, Failure> {
    let redundant = is_redundant(redundancy);
    match spec.auto_replace {
        Some(true) if !redundant => Err(invalid(
            "lost donors shall be replaced, but there is no redundancy to rebuild from",
        )
        .advising("ask for a redundancy, e.g. --redundancy mirror")),
        Some(given) => Ok(given),
        None => Ok(redundant && profile.auto_replace.unwrap_or(true)),
    }
}

fn at_expiry_of(spec: &PoolSpec, profile: &Profile) -> Result<AtExpiry, Failure> {
    match AtExpiry::try_from(spec.at_expiry) {
        Ok(AtExpiry::Unspecified) => Ok(profile.at_expiry.map_or(AtExpiry::Keep, Into::into)),
        Ok(given) => Ok(given),
        Err(_) => Err(unknown_choice("at_expiry", spec.at_expiry)),
    }
}

fn filesystem_of(spec: &PoolSpec, profile: &Profile) -> Result<FilesystemKind, Failure> {
    match FilesystemKind::try_from(spec.filesystem) {
        Ok(FilesystemKind::Unspecified) => {
            Ok(profile.filesystem.map_or(FilesystemKind::Xfs, Into::into))
        }
        Ok(given) => Ok(given),
        Err(_) => Err(unknown_choice("filesystem", spec.filesystem)),
    }
}

fn unknown_choice(field: &str, number: i32) -> Failure {
    invalid(format!("{field} {number} is not known to this controller"))
        .advising("rampool and rampool-controller are of different versions; install the same")
}

fn chunk_of(spec: &PoolSpec, profile: &Profile) -> Result<u32, Failure> {
    let kib = match (spec.chunk_kib, profile.chunk) {
        (0, None) => BUILT_IN_CHUNK_KIB,
        (0, Some(bytes)) => check_chunk(bytes).map_err(invalid)?,
        (kib, _) => check_chunk(u64::from(kib) * 1024).map_err(invalid)?,
    };
    Ok(kib)
}

/// The chunk in KiB: a power of two from 4 KiB (a page, the least LVM takes) to 1 MiB.
pub(crate) fn check_chunk(bytes: u64) -> Result<u32, String> {
    let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
    if bytes.is_power_of_two() && (4..=1024).contains(&kib) {
        Ok(kib)
    } else {
        Err(format!("chunk of {bytes} bytes: a power of two from 4 KiB to 1 MiB is possible"))
    }
}

fn mount_point_of(
    spec: &PoolSpec,
    filesystem: FilesystemKind,
    root: &Path,
) -> Result<String, Failure> {
    let given = &spec.mount_point;
    if filesystem == FilesystemKind::None {
        return if given.is_empty() {
            Ok(String::new())
        } else {
            Err(invalid("a mount point is given, but no file system (fs: none)"))
        };
    }
    if given.is_empty() {
        return Ok(root.join(&spec.name).display().to_string());
    }
    let wrong = |why: &str| Err(invalid(format!("mount point {:?} {why}", shortened(given))));
    if given.len() > LONGEST_MOUNT_POINT {
        return wrong("is longer than 1024 bytes");
    }
    if given.chars().any(char::is_control) {
        return wrong("has control characters");
    }
    let path = Path::new(given);
    if !path.is_absolute() {
        return wrong("is not absolute");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return wrong("contains `..`");
    }
    if path.parent().is_none() {
        return wrong("is the root directory");
    }
    // Components drop doubled and trailing slashes: one place, one spelling.
    Ok(path.components().collect::<std::path::PathBuf>().display().to_string())
}

fn lease_of(spec: &PoolSpec, profile: &Profile) -> Result<u64, Failure> {
    check_lease(match (spec.lease_seconds, profile.lease) {
        (0, Some(lease)) => lease.as_secs(),
        (seconds, _) => seconds,
    })
}

/// A lease of so many seconds, if one can be meant.
pub(crate) fn check_lease(seconds: u64) -> Result<u64, Failure> {
    if seconds > LONGEST_LEASE_SECONDS {
        return Err(invalid(format!("a lease of {seconds} s is longer than 100 years")));
    }
    Ok(seconds)
}

fn patience_of(spec: &PoolSpec, profile: &Profile, redundancy: Redundancy) -> Result<u32, Failure> {
    let seconds = match (spec.patience_seconds, profile.patience) {
        (0, Some(patience)) => u32::try_from(patience.as_secs()).unwrap_or(u32::MAX),
        (0, None) if is_redundant(redundancy) => BUILT_IN_REDUNDANT_PATIENCE_SECONDS,
        (0, None) => BUILT_IN_PATIENCE_SECONDS,
        (seconds, _) => seconds,
    };
    if !(LEAST_PATIENCE_SECONDS..=GREATEST_PATIENCE_SECONDS).contains(&seconds) {
        return Err(invalid(format!(
            "a patience of {seconds} s: {LEAST_PATIENCE_SECONDS} s to \
             {GREATEST_PATIENCE_SECONDS} s are possible"
        )));
    }
    Ok(seconds)
}

fn owner_of(spec: &PoolSpec) -> Result<String, Failure> {
    if spec.owner.len() > LONGEST_OWNER || spec.owner.chars().any(char::is_control) {
        return Err(invalid(format!("owner {:?} is no user name", shortened(&spec.owner))));
    }
    Ok(spec.owner.clone())
}

fn account_of(spec: &PoolSpec) -> Result<String, Failure> {
    if !spec.by_user && !spec.account.is_empty() {
        return Err(invalid("an account is given, but operators' pools count for none")
            .advising("leave out --account, or ask as a user"));
    }
    Ok(spec.account.clone())
}

/// A stranger's text at a length fit for an error.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
