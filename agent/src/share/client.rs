//! A client mounts what a head shares, and unmounts it, also when the head is dead.
//!
//! The mount's source is the share's name, not the head's: the kernel is told the address beside
//! it, and keeps the name. That is how a share is known as a pool's.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind, Holder, Holding, HoldingKind, PoolId};

use crate::modules;
use crate::mount::{self, table};
use crate::names;
use crate::node::Node;
use crate::outcome::{Change, Outcome, failure};

/// What the mount table calls NFS of version 4.
const KIND: &str = "nfs4";

/// Of NFS's server.
const PORT: u16 = 2049;

const MODULES: [&str; 2] = ["nfs", "nfsv4"];

/// A head that is there answers in milliseconds.
const ANSWER: Duration = Duration::from_secs(3);

/// Where no patience is named.
const USUAL_PATIENCE: Duration = Duration::from_secs(60);

/// What a client is asked to mount.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of which pool.
    pub assembly: Assembly,
    /// Where the head's NFS server is.
    pub head: IpAddr,
    /// Under which path it shares the pool.
    pub path: String,
    /// Where to mount it; empty for the usual place.
    pub point: PathBuf,
    /// How long use waits for a head that is not to be reached.
    pub patience: Option<Duration>,
}

/// Refuses if this node cannot mount shares.
pub(super) fn require(node: &Node) -> Outcome<()> {
    modules::ensure(node, &MODULES)
}

/// Mounts the share. Answers where.
pub fn mount(node: &Node, wanted: &Wanted) -> Outcome<(Change, PathBuf)> {
    let (point, is_usual) = mount::place(node, &wanted.assembly, &wanted.point);
    let source = names::share_source(&wanted.assembly, &wanted.path);
    if let Some(there) = mounted(node, &wanted.assembly)?.into_iter().next() {
        let same = there.point == point
            && there.source == source
            && address(&there.options) == Some(wanted.head);
        if same {
            return Ok((Change::Already, point));
        }
        let said = format!("{} is mounted on {}", there.source, there.point.display());
        return Err(failure(FailureKind::Conflict, said).advising("unmount it first").into());
    }
    require(node)?;
    require_answer(wanted.head)?;
    let options = options(wanted.head, wanted.patience.unwrap_or(USUAL_PATIENCE));
    mount::mount_on(node, &point, is_usual, &source, KIND, &options)?;
    Ok((Change::Made, point))
}

/// The mount's options, and why:
///
/// - `softerr`: when the patience is over, use fails with ETIMEDOUT. `hard` would wait for ever
///   for a head whose pool is gone with it, and no process that waits so ends at shutdown.
/// - `timeo`, `retrans`: three times a third of the patience. They count only while there is no
///   connection: a request that was sent is waited for as long as the head's kernel acknowledges
///   it, so that a head that itself waits for a donor costs no error. Where a head falls silent
///   without a word, its connection is given up first: newer kernels take as long for that as
///   the mount says, Linux 6.1 its own 3 minutes at most (measured: 107 s, and then the patience).
///   [`unmount`] by force ends it at once.
/// - `sec=sys`: users are numbers, the same on all nodes; the network is trusted (exports name
///   each client).
fn options(head: IpAddr, patience: Duration) -> String {
    // In tenths of a second.
    let third = (patience.as_millis() / 300).clamp(10, 6000);
    format!("vers=4.2,proto=tcp,sec=sys,softerr,timeo={third},retrans=2,addr={head}")
}

/// The head that a mounted share's options name.
fn address(options: &str) -> Option<IpAddr> {
    options.split(',').find_map(|option| option.strip_prefix("addr=")?.parse().ok())
}

fn require_answer(head: IpAddr) -> Outcome<()> {
    if let Err(error) = ask(head) {
        let advice = "is the node up, its nfs-server running, and port 2049 open to this node?";
        return Err(failure(FailureKind::NotNow, format!("no answer: {error}"))
            .by(format!("the NFS server at {head}"))
            .advising(advice)
            .into());
    }
    Ok(())
}

fn ask(head: IpAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::new(head, PORT), ANSWER)
}

fn mounted(node: &Node, assembly: &Assembly) -> Outcome<Vec<table::Mount>> {
    let all = shares(node)?.into_iter();
    Ok(all.filter(|(of, _)| of == assembly).map(|(_, mount)| mount).collect())
}

fn shares(node: &Node) -> Outcome<Vec<(Assembly, table::Mount)>> {
    let of = |mount: table::Mount| Some((whose(&mount)?, mount));
    Ok(table::read(&node.roots.proc)?.into_iter().filter_map(of).collect())
}

/// The pools whose shares are mounted here.
pub(crate) fn mounted_pools(node: &Node) -> Outcome<Vec<Assembly>> {
    Ok(shares(node)?.into_iter().map(|(assembly, _)| assembly).collect())
}

/// Whether a mount is a share of this pool.
pub(crate) fn is_of(mount: &table::Mount, assembly: &Assembly) -> bool {
    whose(mount).as_ref() == Some(assembly)
}

fn whose(mount: &table::Mount) -> Option<Assembly> {
    let (assembly, _) = names::parse_share_source(&mount.source)?;
    (mount.kind == KIND).then_some(assembly)
}

/// Unmounts the share wherever it is mounted; answers whom it had to end.
///
/// What was not written is written first. Where the head does not answer that is impossible:
/// only force unmounts then, and gives it up.
pub fn unmount(node: &Node, assembly: &Assembly, force: bool) -> Outcome<(Change, Vec<Holder>)> {
    let mut ended = Vec::new();
    let mut change = Change::Already;
    while let Some(there) = mounted(node, assembly)?.pop() {
        let silent = address(&there.options).is_none_or(|head| ask(head).is_err());
        if silent && !force {
            return Err(dead_head(&there).into());
        }
        match silent {
            true => mount::release_dead(node, &there, &mut ended)?,
            false => mount::release_mount(node, &there, force, &mut ended)?,
        }
        change = Change::Made;
    }
    if change == Change::Made {
        mount::remove_usual_places(node, assembly);
    }
    Ok((change, ended))
}

fn dead_head(there: &table::Mount) -> Failure {
    Failure::new(FailureKind::NotNow, "unmount the share")
        .by(there.point.display().to_string())
        .saying("its head does not answer, so that what was written last cannot be stored")
        .advising("wait for the head, or use --force, which gives that up")
}

/// The shares that are mounted here.
pub(super) fn list(node: &Node) -> Outcome<Vec<Holding>> {
    let holding = |(assembly, mount): (Assembly, table::Mount)| Holding {
        pool: Some(PoolId::from(&assembly)),
        kind: HoldingKind::ShareMount.into(),
        name: mount.source,
        detail: mount.point.display().to_string(),
        ..Holding::default()
    };
    Ok(shares(node)?.into_iter().map(holding).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_never_waits_for_ever_and_for_as_long_as_it_shall() {
        let head = "10.77.0.11".parse().unwrap();
        let told = options(head, Duration::from_secs(60));
        assert!(told.contains("softerr,timeo=200,retrans=2,addr=10.77.0.11"), "{told}");
        assert!(options(head, Duration::ZERO).contains("timeo=10,"));
        assert!(options(head, Duration::MAX).contains("timeo=6000,"));
        assert_eq!(address(&told), Some(head));
        assert_eq!(address("rw,clientaddr=10.0.0.1"), None);
    }
}
