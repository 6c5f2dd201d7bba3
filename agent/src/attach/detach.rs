//! Letting exports go: in order, or under whatever uses them.

use std::time::Instant;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind};

use super::sessions::{self, Session};
use super::{GLANCE, GRACE, disks, login, records};
use crate::node::Node;
use crate::outcome::{Change, During, Outcome};

/// Whose sessions and records are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Every donor's.
    All,
    /// Those of these donors.
    Donors(Vec<String>),
}

impl Whose {
    /// Whether a donor's are meant.
    #[must_use]
    pub fn includes(&self, donor: &str) -> bool {
        match self {
            Self::All => true,
            Self::Donors(donors) => donors.iter().any(|named| named == donor),
        }
    }
}

/// Logs out of what is meant of `assembly` and removes its records. A silent donor is no reason
/// to fail; a disk in use is.
pub fn detach(node: &Node, assembly: &Assembly, whose: &Whose) -> Outcome<Change> {
    let open = open(node, assembly, whose);
    for disk in open.iter().filter_map(|session| session.disk(&node.roots)) {
        disks::refuse_in_use(&node.roots, &disk)?;
    }
    if open.is_empty() && !records::any(node, assembly, whose) {
        return Ok(Change::Already);
    }
    if !open.is_empty() {
        login::require_iscsid(node)?;
        logout(node, assembly, whose)?;
    }
    records::remove(node, assembly, whose).during("remove open-iscsi's records")?;
    Ok(Change::Made)
}

fn open(node: &Node, assembly: &Assembly, whose: &Whose) -> Vec<Session> {
    let mut sessions = sessions::of(node, assembly);
    sessions.retain(|session| whose.includes(&session.donor));
    sessions
}

/// All by their records, if all are meant; then what has none, or is one of several.
fn logout(node: &Node, assembly: &Assembly, whose: &Whose) -> Outcome<()> {
    let mut said = String::new();
    if *whose == Whose::All && records::any(node, assembly, whose) {
        said = login::logout(node, assembly)?.said();
    }
    let left = open(node, assembly, whose);
    if !left.is_empty() {
        said = login::logout_sessions(node, &left)?;
    }
    await_ends(node, assembly, whose, &said)
}

fn await_ends(node: &Node, assembly: &Assembly, whose: &Whose, said: &str) -> Outcome<()> {
    let patience = Instant::now() + GRACE;
    loop {
        let Some(left) = open(node, assembly, whose).into_iter().next() else { return Ok(()) };
        if Instant::now() > patience {
            return Err(Failure::new(FailureKind::Failed, "log out of the exports")
                .by(node.programs.iscsiadm.path()?.display().to_string())
                .saying(format!("{said}; the session with {} stays", left.target))
                .advising("repeat it; `iscsiadm -m session -P 3` shows what holds the session")
                .into());
        }
        std::thread::sleep(GLANCE);
    }
}

/// Logs out of sessions under whatever uses their disks: what waits for them, and all that comes
/// after, fails. Records stay.
pub(crate) fn end(node: &Node, sessions: &[Session]) -> Outcome<()> {
    if sessions.is_empty() {
        return Ok(());
    }
    login::require_iscsid(node)?;
    login::logout_sessions(node, sessions).map(drop)
}
