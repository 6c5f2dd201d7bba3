//! A mounted pool on other nodes, by the kernel's own NFS server and client, version 4.2.
//!
//! | module | idea |
//! | --- | --- |
//! | `server` | what the node's nfsd must be before it can share |
//! | `root` | where NFS clients find a pool: the node's root, the site's, or one of ours |
//! | `exports` | who may mount what: exportfs, its table, and files beside /etc/exports |
//! | `clients` | who has what open, and the end of that |
//! | `head` | sharing, and the end of it |
//! | `client` | mounting a share, and the end of it |
//!
//! nfsd is the node's own service: it runs already, and what the site exports by it, its threads
//! and its lease and grace times are never touched.

mod client;
mod clients;
pub(crate) mod exports;
mod head;
mod root;
mod server;

use std::path::PathBuf;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{FailureKind, Holder, Holding, SharingRole};

use crate::headroom;
use crate::mount;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure};
pub use client::{Wanted as WantedMount, mount, unmount};
pub(crate) use client::{is_of, mounted_pools};
pub use head::{Wanted, share, unshare};
pub(crate) use root::{is_own_view, prepare};

/// What is asked before a pool is made.
#[derive(Clone, Debug)]
pub struct Question {
    /// Of which pool.
    pub assembly: Assembly,
    /// What the node will be.
    pub role: SharingRole,
    /// Where it is or will be mounted; empty for the usual place.
    pub point: PathBuf,
    /// Whether the node will lend to the pool too.
    pub lends: bool,
}

/// Refuses with the first thing that is missing or in the way. Changes nothing.
pub fn check(node: &Node, question: &Question) -> Outcome<()> {
    if question.lends {
        headroom::check(node)?;
    }
    let (point, is_usual) = mount::place(node, &question.assembly, &question.point);
    match question.role {
        SharingRole::Head => {
            server::require(node)?;
            server::refuse_grace(node)?;
            root::check(node, &question.assembly, &point)
        }
        SharingRole::Client => {
            client::require(node)?;
            mount::check_place(node, &point, is_usual)
        }
        SharingRole::Unspecified => {
            Err(failure(FailureKind::Invalid, "it does not say in which role").into())
        }
    }
}

/// Unmounts whatever this node has mounted of the pool: a head's file system, which is not
/// shared any more then, or a share.
pub fn unmount_all(
    node: &Node,
    assembly: &Assembly,
    force: bool,
) -> Outcome<(Change, Vec<Holder>)> {
    let (shared, mut ended) = client::unmount(node, assembly, force)?;
    if !force {
        head::refuse_in_use(node, assembly)?;
    }
    let unshared = head::unshare(node, assembly).during("unshare the pool")?;
    let (unmounted, others) = mount::unmount(node, assembly, force)?;
    ended.extend(others);
    let changed = [shared, unshared, unmounted].contains(&Change::Made);
    Ok((if changed { Change::Made } else { Change::Already }, ended))
}

/// What is shared and what shares are mounted.
pub fn list(node: &Node) -> Outcome<Vec<Holding>> {
    let mut holdings = head::list(node)?;
    holdings.extend(client::list(node)?);
    Ok(holdings)
}

/// At the agent's start: files that a site's exportfs would read for pools that a reboot ended.
pub(crate) fn forget_ended(node: &Node) -> Outcome<()> {
    head::forget_ended(node)
}
