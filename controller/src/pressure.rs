//! Donors that run out of memory for themselves: which pieces are to be moved off them, where
//! the pools' profiles allow it. Pure, but for remembering since when.

use std::collections::BTreeMap;
use std::sync::Arc;

use rampool_proto::v1::VolumeLayout;

use crate::nodes::Known;
use crate::planner::redundancy::is_redundant;
use crate::pool::record::{Phase, PoolRecord};

/// Moving a piece reads and writes all of it: a dip that passes is not worth that.
pub const ENDURED_MS: u64 = 60_000;

/// A piece that should be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The pool's name.
    pub pool: String,
    /// Off this donor.
    pub donor: String,
}

/// Remembers since when donors are under pressure.
#[derive(Debug, Default)]
pub struct Pressed(BTreeMap<String, u64>);

impl Pressed {
    /// The pieces to move as things are at `now_ms`, one of each pool at most. `allowed` says
    /// whether a pool's profile has them moved.
    pub fn to_move(
        &mut self,
        nodes: &[Known],
        records: &[Arc<PoolRecord>],
        allowed: impl Fn(&PoolRecord) -> bool,
        now_ms: u64,
    ) -> Vec<Move> {
        // Of a silent node nothing new is known.
        for node in nodes.iter().filter(|node| node.reachable()) {
            if node.pressure().is_some() {
                self.0.entry(node.name.clone()).or_insert(now_ms);
            } else {
                self.0.remove(&node.name);
            }
        }
        let endured = |donor: &str| {
            self.0.get(donor).is_some_and(|since| now_ms.saturating_sub(*since) >= ENDURED_MS)
        };
        let movable = records.iter().filter(|record| can_be_moved(record) && allowed(record));
        let first = |record: &Arc<PoolRecord>| {
            let mut donors = record.placement.pieces.iter().map(|piece| &piece.donor);
            let donor = donors.find(|donor| endured(donor))?;
            Some(Move { pool: record.assembly.name.to_string(), donor: donor.clone() })
        };
        movable.filter_map(first).collect()
    }
}

/// Whether a pool's pieces can be moved while it is in use, and none is being moved.
fn can_be_moved(record: &PoolRecord) -> bool {
    let placement = &record.placement;
    record.phase == Phase::Ready
        && (is_redundant(placement.redundancy()) || placement.layout() == VolumeLayout::Lvm)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::nodes::Contact;
    use crate::pool::record::samples;
    use rampool_proto::v1::{Inventory, Memory, Piece, Placement, Redundancy};

    fn node(name: &str, available: u64) -> Known {
        let memory = Memory { available_bytes: available, floor_bytes: 10, ..Memory::default() };
        let inventory = Inventory { memory: Some(memory), ..Inventory::default() };
        Known {
            name: name.into(),
            contact: Contact::Reachable { since_ms: 1 },
            inventory: Some(Arc::new(inventory)),
            last_seen_ms: 1,
        }
    }

    fn pool(redundancy: Redundancy) -> Arc<PoolRecord> {
        let piece = |donor: &str| Piece { donor: donor.into(), ..Piece::default() };
        Arc::new(PoolRecord {
            placement: Placement {
                pieces: vec![piece("n2"), piece("n3")],
                redundancy: redundancy.into(),
                ..Placement::default()
            },
            ..samples::ready("demo.1")
        })
    }

    #[test]
    fn a_piece_is_moved_off_a_donor_that_stays_under_its_floor() {
        let mut pressed = Pressed::default();
        let pools = [pool(Redundancy::Mirror)];
        let (poor, well) = ([node("n2", 20), node("n3", 5)], [node("n2", 20), node("n3", 15)]);
        let mut look = |nodes: &[Known], at| pressed.to_move(nodes, &pools, |_| true, at);
        assert_eq!(look(&poor, 0), []);
        assert_eq!(look(&poor, ENDURED_MS - 1), []);
        assert_eq!(look(&well, ENDURED_MS), [], "it passed");
        assert_eq!(look(&poor, ENDURED_MS), []);
        let off = Move { pool: "demo".into(), donor: "n3".into() };
        assert_eq!(look(&poor, 2 * ENDURED_MS), [off]);
    }

    #[test]
    fn what_cannot_or_may_not_be_moved_stays() {
        let poor = [node("n3", 5)];
        let moves = |pool: Arc<PoolRecord>, allowed: bool| {
            let mut pressed = Pressed(BTreeMap::from([("n3".into(), 0)]));
            pressed.to_move(&poor, &[pool], |_| allowed, ENDURED_MS).len()
        };
        assert_eq!(moves(pool(Redundancy::Parity), true), 1);
        assert_eq!(moves(pool(Redundancy::Parity), false), 0);
        assert_eq!(moves(pool(Redundancy::None), true), 0, "md without redundancy");
    }
}
