//! From what is wanted and what nodes have to what goes where. Pure: the same input has the
//! same placement, and nothing is asked or changed.
//!
//! | module | idea |
//! | --- | --- |
//! | [`volume`] | sizes of members and of the volume they make |
//! | [`redundancy`] | what each redundancy costs and bears |
//! | `donors` | which nodes lend, and how much each |
//! | `racks` | no two copies in one rack |
//! | [`replacement`] | who takes a donor's place |
//! | `notes` | what the reader of a plan should know |

mod donors;
mod notes;
mod racks;
pub mod redundancy;
pub mod replacement;
pub mod volume;

use rampool_proto::size::Size as Bytes;
use rampool_proto::v1::{Backend, Client, Failure, FailureKind, FilesystemKind, Piece, Placement};

pub(crate) use notes::loss;

use crate::spec::Wanted;
use volume::{MIB, Striping};

/// What the planner knows of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Whether it can be asked.
    pub reach: Reach,
    /// What it can lend now, in bytes, less what is promised to pools being made.
    pub lendable: u64,
    /// Its rack; empty: not labelled.
    pub rack: String,
    /// Its IP address in the data network; empty: not known.
    pub address: String,
}

/// Whether a node can be used for new pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It answers, and nothing speaks against it.
    Reachable,
    /// It does not answer, for this reason.
    Unreachable(String),
    /// It is drained, for this reason, if one was given.
    Drained(String),
    /// Its agent is of this version, which does not go with the controller's.
    OtherVersion(String),
}

/// LIO's memory store takes its size as a signed 32-bit number of 4 KiB pages
/// (`match_int` in drivers/target/target_core_rd.c), here in whole MiB.
const RD_MCP_LARGEST_PIECE: u64 = ((1 << 31) - 1) / 256 * MIB;

/// What fails, in the failures of this room.
const STEP: &str = "plan the pool";

pub(crate) fn refused(kind: FailureKind, said: impl std::fmt::Display) -> Failure {
    Failure::new(kind, STEP).saying(said)
}

/// Whether all that speaks against a plan is that there is too little memory now: no one node is
/// to blame then.
pub(crate) fn is_lack_of_memory(failure: &Failure) -> bool {
    failure.step == STEP && failure.kind() == FailureKind::NotNow && failure.node.is_empty()
}

/// Places the pool on `nodes`, which are all nodes in the configuration's order.
pub fn plan(wanted: &Wanted, nodes: &[Candidate]) -> Result<Placement, Failure> {
    let spec = &wanted.spec;
    let striping = Striping {
        layout: spec.layout(),
        redundancy: spec.redundancy(),
        chunk: u64::from(spec.chunk_kib) * 1024,
    };
    let (head_address, clients) = seat(wanted, nodes)?;
    let chosen = donors::choose(wanted, striping, nodes)?;
    let width = chosen.donors.len();
    let usable = striping.usable(chosen.piece, width).ok_or_else(too_large)?;
    check_limits(spec.filesystem(), spec.backend(), chosen.piece, usable)?;
    let notes = notes::of(spec, &chosen);
    let lent = width + chosen.spares.len();
    let halves = redundancy::data_halves(striping.redundancy, width);
    let piece = |donor| piece_of(donor, &spec.head, chosen.piece);
    Ok(Placement {
        head: spec.head.clone(),
        pieces: chosen.donors.into_iter().map(piece).collect(),
        spares: chosen.spares.into_iter().map(piece).collect(),
        backend: spec.backend,
        layout: spec.layout,
        filesystem: spec.filesystem,
        chunk_kib: spec.chunk_kib,
        mount_point: spec.mount_point.clone(),
        usable_bytes: usable,
        patience_seconds: spec.patience_seconds,
        notes,
        redundancy: spec.redundancy,
        group_width: redundancy::group_width(striping.redundancy, width),
        // Both are small numbers of donors, exact as floating point.
        usable_share: halves as f64 / (2 * lent) as f64,
        head_address,
        clients,
    })
}

/// Where the clients call the head, and who they are; nobody where no head is known yet.
pub fn seat(wanted: &Wanted, nodes: &[Candidate]) -> Result<(String, Vec<Client>), Failure> {
    let Some(head) = &wanted.head else { return Ok((String::new(), Vec::new())) };
    let head = require_usable(head, "head", nodes)?;
    let clients = clients_of(wanted, nodes)?;
    let address = if clients.is_empty() { String::new() } else { head.address.clone() };
    Ok((address, clients))
}

/// The clients and from where they call.
fn clients_of(wanted: &Wanted, nodes: &[Candidate]) -> Result<Vec<Client>, Failure> {
    let client = |name: &String| {
        let node = require_usable(name, "client", nodes)?;
        Ok(Client { node: node.name.clone(), address: node.address.clone() })
    };
    wanted.clients.iter().map(client).collect()
}

fn piece_of(donor: Candidate, head: &str, bytes: u64) -> Piece {
    Piece {
        local: donor.name == head,
        lendable_bytes: donor.lendable,
        bytes,
        donor: donor.name,
        rack: donor.rack,
        // Whoever has it lent says under which number, if not under the pool's own.
        carved: 0,
    }
}

/// A node that new pieces, or a head, may be put on; else why not.
fn require_usable<'a>(
    name: &str,
    role: &str,
    nodes: &'a [Candidate],
) -> Result<&'a Candidate, Failure> {
    let Some(node) = nodes.iter().find(|node| node.name == name) else {
        return Err(refused(FailureKind::NotFound, format!("{role} {name} is not a known node"))
            .on(name)
            .advising(
                "`rampool nodes` lists the nodes; the controller's configuration names them",
            ));
    };
    node.reach.refusal(role, name).map_or(Ok(node), Err)
}

impl Reach {
    /// Why `name` cannot be a pool's `role`, if so.
    pub(crate) fn refusal(&self, role: &str, name: &str) -> Option<Failure> {
        let (why, advice) = match self {
            Self::Reachable => return None,
            Self::Unreachable(why) => (
                format!("is unreachable: {why}"),
                format!("on {name}: systemctl status rampool-agent"),
            ),
            Self::Drained(reason) => {
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                (format!("is drained{reason}"), format!("rampool resume {name}"))
            }
            Self::OtherVersion(version) => {
                let own = env!("CARGO_PKG_VERSION");
                (
                    format!("runs agent {version}, which does not go with controller {own}"),
                    "install the same version everywhere".to_owned(),
                )
            }
        };
        let said = format!("{role} {name} {why}");
        Some(refused(FailureKind::NotNow, said).on(name).advising(advice))
    }
}

fn too_large() -> Failure {
    let said =
        format!("no volume can be so large: it has at most {}", Bytes(volume::LARGEST_VOLUME));
    refused(FailureKind::Invalid, said)
}

fn filesystem_name(filesystem: FilesystemKind) -> &'static str {
    match filesystem {
        FilesystemKind::Xfs => "xfs",
        FilesystemKind::Ext4 => "ext4",
        FilesystemKind::None | FilesystemKind::Unspecified => "a striped volume",
    }
}

fn check_limits(
    filesystem: FilesystemKind,
    backend: Backend,
    piece: u64,
    usable: u64,
) -> Result<(), Failure> {
    let least = volume::least_volume(filesystem);
    if usable < least {
        return Err(refused(
            FailureKind::Invalid,
            format!("{} usable are too small for {}", Bytes(usable), filesystem_name(filesystem)),
        )
        .advising(format!("ask for {} or more", Bytes(least))));
    }
    let greatest = volume::greatest_volume(filesystem);
    if usable > greatest {
        return Err(refused(
            FailureKind::Invalid,
            format!("{} usable are too large for the file system", Bytes(usable)),
        )
        .advising(format!("ask for {} or less, or for xfs", Bytes(greatest))));
    }
    if backend == Backend::RdMcp && piece > RD_MCP_LARGEST_PIECE {
        return Err(refused(
            FailureKind::Invalid,
            format!(
                "{} per donor; a ramdisk of backend rd_mcp has at most {}",
                Bytes(piece),
                Bytes(RD_MCP_LARGEST_PIECE)
            ),
        )
        .advising("use more donors, or backend tmpfs"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
