//! Who takes a donor's place: a node that lends as much, is not of the pool yet, and leaves no
//! more of what belongs together in one rack than before; where there is none, the donor itself
//! with new memory, if what it had is lost. Pure.

use std::collections::BTreeSet;

use rampool_proto::size::Size as Bytes;
use rampool_proto::v1::{Failure, FailureKind, Piece, Placement};

use super::{Candidate, Reach, piece_of, racks, refused, require_usable};

/// The place that somebody takes.
#[derive(Clone, Copy, Debug)]
pub struct Vacancy<'a> {
    /// Of which pool.
    pub placement: &'a Placement,
    /// The place in its stripe.
    pub slot: usize,
    /// Whether the donor that has it may begin anew: what it had is lost.
    pub anew: bool,
    /// Nodes that may not take it, e.g. those that owe the pool something.
    pub shut: &'a BTreeSet<String>,
}

/// The piece that takes the place: on `asked`, or on the best of `nodes`.
pub fn choose(
    vacancy: Vacancy<'_>,
    asked: Option<&str>,
    nodes: &[Candidate],
) -> Result<Piece, Failure> {
    let chosen = match asked {
        Some(name) => named(vacancy, name, nodes)?,
        None => best(vacancy, nodes)?,
    };
    Ok(piece_of(chosen.clone(), &vacancy.placement.head, vacancy.bytes()))
}

impl Vacancy<'_> {
    fn bytes(&self) -> u64 {
        self.placement.pieces[self.slot].bytes
    }

    /// Whether the node's is the place.
    fn is_of(&self, name: &str) -> bool {
        self.placement.pieces[self.slot].donor == name
    }

    /// Whether the pool counts on the node already.
    fn counts_on(&self, name: &str) -> bool {
        let mut all = self.placement.pieces.iter().chain(&self.placement.spares);
        all.any(|piece| piece.donor == name) && !(self.anew && self.is_of(name))
    }
}

fn named<'a>(
    vacancy: Vacancy<'_>,
    name: &str,
    nodes: &'a [Candidate],
) -> Result<&'a Candidate, Failure> {
    let Vacancy { shut, .. } = vacancy;
    let bytes = vacancy.bytes();
    let node = require_usable(name, "donor", nodes)?;
    let no = |said: String| Err(refused(FailureKind::NotNow, said).on(name));
    if vacancy.counts_on(name) {
        return no(format!("{name} lends to this pool already"));
    }
    if shut.contains(name) {
        return no(format!("{name} still holds an older part of this pool"));
    }
    if node.lendable < bytes {
        return no(format!(
            "{name} can lend {}; the piece has {}",
            Bytes(node.lendable),
            Bytes(bytes)
        ));
    }
    Ok(node)
}

/// Of those that keep racks apart, else of all: the most generous; of equals, the one named
/// first in the configuration. The head lends only where it is asked to by name. A donor that
/// lost what it had may do so again: any other comes first.
fn best<'a>(vacancy: Vacancy<'_>, nodes: &'a [Candidate]) -> Result<&'a Candidate, Failure> {
    let Vacancy { placement, slot, shut, .. } = vacancy;
    let bytes = vacancy.bytes();
    let able = nodes.iter().filter(|node| {
        node.reach == Reach::Reachable
            && node.lendable >= bytes
            && node.name != placement.head
            && !vacancy.counts_on(&node.name)
            && !shut.contains(&node.name)
    });
    let rank = |node: &&Candidate| {
        let fatal = fatal_with(placement, slot, node);
        (vacancy.is_of(&node.name), fatal, std::cmp::Reverse(node.lendable))
    };
    able.min_by_key(rank).ok_or_else(|| {
        let said = format!("no other reachable node can lend {} now", Bytes(bytes));
        refused(FailureKind::NotNow, said)
            .advising("`rampool nodes` shows what each node can lend; name one to use it")
    })
}

/// How many racks' loss would lose the pool with `node` in the place.
fn fatal_with(placement: &Placement, slot: usize, node: &Candidate) -> usize {
    let mut donors: Vec<Candidate> = placement
        .pieces
        .iter()
        .map(|piece| Candidate {
            name: piece.donor.clone(),
            reach: Reach::Reachable,
            lendable: 0,
            rack: piece.rack.clone(),
            address: String::new(),
        })
        .collect();
    donors[slot] = node.clone();
    racks::fatal(placement.redundancy(), &donors).len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rampool_proto::v1::Redundancy;

    fn node(name: &str, lendable: u64, rack: &str) -> Candidate {
        Candidate {
            name: name.into(),
            reach: Reach::Reachable,
            lendable,
            rack: rack.into(),
            address: String::new(),
        }
    }

    fn mirror() -> Placement {
        let piece = |donor: &str, rack: &str| Piece {
            donor: donor.into(),
            bytes: 10,
            rack: rack.into(),
            ..Piece::default()
        };
        Placement {
            head: "n1".into(),
            redundancy: Redundancy::Mirror.into(),
            pieces: vec![piece("n2", "a"), piece("n3", "b")],
            spares: vec![piece("n4", "b")],
            ..Placement::default()
        }
    }

    fn nodes() -> Vec<Candidate> {
        vec![
            node("n1", 99, "a"),
            node("n2", 99, "a"),
            node("n4", 99, "b"),
            node("n5", 50, "a"),
            node("n6", 20, "b"),
            node("n7", 5, "b"),
            Candidate { reach: Reach::Drained("disk".into()), ..node("n8", 99, "b") },
        ]
    }

    /// Who takes the place, with these nodes shut out.
    fn chosen(
        slot: usize,
        anew: bool,
        asked: Option<&str>,
        shut: &[&str],
    ) -> Result<Piece, String> {
        let shut = shut.iter().map(|node| (*node).to_owned()).collect();
        let vacancy = Vacancy { placement: &mirror(), slot, anew, shut: &shut };
        choose(vacancy, asked, &nodes()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn racks_come_before_generosity_and_the_pools_own_nodes_are_left_out() {
        let first = chosen(1, false, None, &[]).unwrap();
        assert_eq!((first.donor.as_str(), first.bytes, first.rack.as_str()), ("n6", 10, "b"));
        assert_eq!(chosen(1, false, None, &["n6"]).unwrap().donor, "n5");
        let none_left = chosen(1, false, None, &["n6", "n5"]).unwrap_err();
        assert!(none_left.contains("no other reachable node"), "{none_left}");
    }

    #[test]
    fn a_donor_begins_anew_where_its_memory_is_lost_and_nobody_else_is_free() {
        // Its rack is the right one, and it could lend most.
        assert_eq!(chosen(0, true, None, &["n5"]).unwrap().donor, "n6");
        assert_eq!(chosen(0, true, None, &["n6", "n5"]).unwrap().donor, "n2");
        assert!(chosen(0, true, None, &["n6", "n5", "n2"]).is_err(), "it owes its old memory yet");
        assert!(chosen(0, false, None, &["n6", "n5"]).is_err(), "it still has its memory");
        assert!(chosen(1, true, None, &["n6", "n5"]).is_err(), "the place is not n2's");
        assert_eq!(chosen(0, true, Some("n2"), &[]).unwrap().donor, "n2");
        assert!(chosen(1, true, Some("n2"), &[]).unwrap_err().contains("already"));
    }

    #[test]
    fn a_node_asked_for_by_name_is_taken_or_refused_with_the_reason() {
        let ask = |name| chosen(0, false, Some(name), &["n6"]);
        assert!(ask("n1").unwrap().local, "the head may be named");
        for (name, word) in [
            ("n4", "already"),
            ("n6", "still holds"),
            ("n7", "can lend 5"),
            ("n8", "drained: disk"),
            ("n9", "not a known node"),
        ] {
            let failure = ask(name).unwrap_err();
            assert!(failure.contains(word), "{word}: {failure}");
        }
    }
}
