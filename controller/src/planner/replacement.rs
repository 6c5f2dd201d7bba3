//! Who takes a donor's place: a node that lends as much, is not of the pool yet, and leaves no
//! more of what belongs together in one rack than before. Pure.

use std::collections::BTreeSet;

use rampool_proto::size::Size as Bytes;
use rampool_proto::v1::{Failure, FailureKind, Piece, Placement};

use super::{Candidate, Reach, piece_of, racks, refused, require_usable};

/// The piece that takes the place `slot` of the stripe: on `asked`, or on the best of `nodes`.
/// `shut` are nodes that may not take it, e.g. those that owe the pool something.
pub fn choose(
    placement: &Placement,
    slot: usize,
    asked: Option<&str>,
    nodes: &[Candidate],
    shut: &BTreeSet<String>,
) -> Result<Piece, Failure> {
    let bytes = placement.pieces[slot].bytes;
    let chosen = match asked {
        Some(name) => named(placement, bytes, name, nodes, shut)?,
        None => best(placement, slot, nodes, shut)?,
    };
    Ok(piece_of(chosen.clone(), &placement.head, bytes))
}

fn is_of_pool(placement: &Placement, name: &str) -> bool {
    placement.pieces.iter().chain(&placement.spares).any(|piece| piece.donor == name)
}

fn named<'a>(
    placement: &Placement,
    bytes: u64,
    name: &str,
    nodes: &'a [Candidate],
    shut: &BTreeSet<String>,
) -> Result<&'a Candidate, Failure> {
    let node = require_usable(name, "donor", nodes)?;
    let no = |said: String| Err(refused(FailureKind::NotNow, said).on(name));
    if is_of_pool(placement, name) {
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
/// first in the configuration. The head lends only where it is asked to by name.
fn best<'a>(
    placement: &Placement,
    slot: usize,
    nodes: &'a [Candidate],
    shut: &BTreeSet<String>,
) -> Result<&'a Candidate, Failure> {
    let bytes = placement.pieces[slot].bytes;
    let able = nodes.iter().filter(|node| {
        node.reach == Reach::Reachable
            && node.lendable >= bytes
            && node.name != placement.head
            && !is_of_pool(placement, &node.name)
            && !shut.contains(&node.name)
    });
    let fatal = |node: &&Candidate| fatal_with(placement, slot, node);
    able.min_by_key(|node| (fatal(node), std::cmp::Reverse(node.lendable))).ok_or_else(|| {
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
        Candidate { name: name.into(), reach: Reach::Reachable, lendable, rack: rack.into() }
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

    #[test]
    fn racks_come_before_generosity_and_the_pools_own_nodes_are_left_out() {
        let none = BTreeSet::new();
        let chosen = choose(&mirror(), 1, None, &nodes(), &none).unwrap();
        assert_eq!((chosen.donor.as_str(), chosen.bytes, chosen.rack.as_str()), ("n6", 10, "b"));
        let shut = BTreeSet::from(["n6".to_owned()]);
        assert_eq!(choose(&mirror(), 1, None, &nodes(), &shut).unwrap().donor, "n5");
        let shut = BTreeSet::from(["n6".to_owned(), "n5".to_owned()]);
        let none_left = choose(&mirror(), 1, None, &nodes(), &shut).unwrap_err();
        assert!(none_left.said.contains("no other reachable node"), "{none_left}");
    }

    #[test]
    fn a_node_asked_for_by_name_is_taken_or_refused_with_the_reason() {
        let shut = BTreeSet::from(["n6".to_owned()]);
        let ask = |name| choose(&mirror(), 0, Some(name), &nodes(), &shut);
        assert!(ask("n1").unwrap().local, "the head may be named");
        for (name, word) in [
            ("n4", "already"),
            ("n6", "still holds"),
            ("n7", "can lend 5"),
            ("n8", "drained: disk"),
            ("n9", "not a known node"),
        ] {
            let failure = ask(name).unwrap_err();
            assert!(failure.to_string().contains(word), "{word}: {failure}");
        }
    }
}
