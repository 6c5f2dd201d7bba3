use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::{PoolSpec, Redundancy, VolumeLayout};

use super::*;
use crate::spec::{Defaults, resolve};

const GIB: u64 = 1 << 30;

fn node(name: &str, lendable: u64) -> Candidate {
    Candidate {
        name: name.into(),
        reach: Reach::Reachable,
        lendable,
        rack: String::new(),
        address: format!("10.0.0.{}", name.trim_start_matches(char::is_alphabetic)),
    }
}

fn cluster() -> Vec<Candidate> {
    let mut nodes: Vec<Candidate> =
        (1..=5u64).map(|n| node(&format!("n{n}"), GIB + (n % 3) * 10 * MIB)).collect();
    nodes[4].reach = Reach::Unreachable("connection refused".into());
    nodes
}

fn spec() -> PoolSpec {
    PoolSpec {
        name: "demo".into(),
        head: "n1".into(),
        donors: "n[2-4]".into(),
        capacity: Some(Capacity::SizeBytes(GIB)),
        ..PoolSpec::default()
    }
}

fn planned(spec: &PoolSpec, nodes: &[Candidate]) -> Result<Placement, Failure> {
    let profiles = BTreeMap::new();
    let wanted =
        resolve(spec, Defaults { profiles: &profiles, mount_root: Path::new("/rampool") })?;
    plan(&wanted, nodes)
}

fn donors(placement: &Placement) -> Vec<&str> {
    placement.pieces.iter().map(|piece| piece.donor.as_str()).collect()
}

#[test]
fn listed_donors_lend_equal_pieces_in_the_order_written() {
    let placement = planned(&PoolSpec { donors: "n4,n2".into(), ..spec() }, &cluster()).unwrap();
    assert_eq!(donors(&placement), ["n4", "n2"]);
    assert!(placement.pieces.iter().all(|piece| piece.bytes == 513 * MIB && !piece.local));
    assert_eq!(placement.usable_bytes, GIB);
    assert_eq!(placement.mount_point, "/rampool/demo");
}

#[test]
fn the_heads_own_piece_is_local_where_it_was_named() {
    let placement = planned(&PoolSpec { donors: "n1,n2".into(), ..spec() }, &cluster()).unwrap();
    assert!(placement.pieces[0].local && !placement.pieces[1].local);
}

#[test]
fn a_free_choice_leaves_out_the_head_and_the_unreachable() {
    let free = PoolSpec { donors: String::new(), ..spec() };
    assert_eq!(donors(&planned(&free, &cluster()).unwrap()), ["n2", "n3", "n4"]);
    let with_head = PoolSpec { head_may_lend: true, ..free.clone() };
    assert_eq!(donors(&planned(&with_head, &cluster()).unwrap()), ["n1", "n2", "n3", "n4"]);
    let two = PoolSpec { donor_count: 2, ..free };
    assert_eq!(donors(&planned(&two, &cluster()).unwrap()), ["n2", "n4"], "the most generous");
}

#[test]
fn a_free_choice_stops_where_pieces_become_too_small_to_be_useful() {
    let nodes: Vec<Candidate> = (1..=100).map(|n| node(&format!("n{n}"), GIB)).collect();
    let free = PoolSpec { donors: String::new(), ..spec() };
    let placement = planned(&free, &nodes).unwrap();
    assert!(placement.pieces[0].bytes >= 64 * MIB);
    assert_eq!(placement.pieces.len(), 16);
}

#[test]
fn a_size_per_donor_is_what_each_lends() {
    let each = PoolSpec { capacity: Some(Capacity::SizePerDonorBytes(200 * MIB + 1)), ..spec() };
    let placement = planned(&each, &cluster()).unwrap();
    assert!(placement.pieces.iter().all(|piece| piece.bytes == 201 * MIB));
    assert_eq!(placement.usable_bytes, 600 * MIB);
}

#[test]
fn what_cannot_be_is_refused_with_its_reason_and_what_would_fit() {
    let too_much = Some(Capacity::SizeBytes(10 * GIB));
    let each_too_much = Some(Capacity::SizePerDonorBytes(2 * GIB));
    let cases: Vec<(FailureKind, &[&str], PoolSpec)> = vec![
        (FailureKind::NotFound, &["head n9"], PoolSpec { head: "n9".into(), ..spec() }),
        (FailureKind::NotFound, &["donor n8"], PoolSpec { donors: "n2,n8".into(), ..spec() }),
        (
            FailureKind::NotNow,
            &["donor n5", "connection refused"],
            PoolSpec { donors: "n[2-5]".into(), ..spec() },
        ),
        (
            FailureKind::NotNow,
            &["n3 can lend 1", "at most", "usable fit"],
            PoolSpec { capacity: too_much, ..spec() },
        ),
        (FailureKind::NotNow, &["per donor fit"], PoolSpec { capacity: each_too_much, ..spec() }),
        (
            FailureKind::NotNow,
            &["3 reachable nodes", "at most"],
            PoolSpec { capacity: too_much, donors: String::new(), ..spec() },
        ),
        (
            FailureKind::NotNow,
            &["4 donors are needed", "3 reachable"],
            PoolSpec { donors: String::new(), donor_count: 4, ..spec() },
        ),
        (
            FailureKind::Invalid,
            &["too small"],
            PoolSpec { capacity: Some(Capacity::SizeBytes(100 * MIB)), ..spec() },
        ),
        (
            FailureKind::Invalid,
            &["at most 128"],
            PoolSpec { donors: "n[1-200]".into(), layout: VolumeLayout::Lvm.into(), ..spec() },
        ),
        (
            FailureKind::Invalid,
            &["at most"],
            PoolSpec { capacity: Some(Capacity::SizeBytes(u64::MAX)), ..spec() },
        ),
    ];
    for (kind, words, spec) in cases {
        let failure = planned(&spec, &cluster()).unwrap_err();
        assert_eq!(failure.kind(), kind, "{failure}");
        for word in words {
            assert!(failure.to_string().contains(word), "{word}: {failure}");
        }
    }
}

#[test]
fn a_piece_larger_than_rd_mcp_can_hold_is_refused() {
    let nodes = [node("n1", 0), node("n2", 1 << 50)];
    let large =
        PoolSpec { donors: "n2".into(), capacity: Some(Capacity::SizeBytes(9 << 40)), ..spec() };
    assert!(planned(&large, &nodes).unwrap_err().said.contains("rd_mcp"));
    assert!(planned(&PoolSpec { backend: Backend::Tmpfs.into(), ..large }, &nodes).is_ok());
}

#[test]
fn the_notes_say_what_may_be_lost() {
    let placement = planned(&spec(), &cluster()).unwrap();
    assert!(placement.notes.iter().any(|note| note.contains("any one of 3 donors")));
    assert!(placement.notes.iter().any(|note| note.contains("cannot be evacuated")));
}

fn redundant(redundancy: Redundancy) -> PoolSpec {
    PoolSpec { redundancy: redundancy.into(), donors: "n[1-4]".into(), ..spec() }
}

/// Five nodes of 4 GiB, in these racks.
fn racked(racks: &[&str]) -> Vec<Candidate> {
    let labelled = |(at, rack): (usize, &&str)| Candidate {
        rack: (*rack).to_owned(),
        ..node(&format!("n{}", at + 1), 4 * GIB)
    };
    racks.iter().enumerate().map(labelled).collect()
}

#[test]
fn redundancy_takes_larger_pieces_and_its_notes_say_what_may_be_lost() {
    let nodes = racked(&[""; 5]);
    for (redundancy, piece, share, word) in [
        (Redundancy::Mirror, 513, 0.5, "any one of 4 donors may be lost, and more"),
        (Redundancy::Parity, 343, 0.75, "any one of 4 donors may be lost (parity)"),
        (Redundancy::DoubleParity, 513, 0.5, "any two of 4 donors may be lost"),
    ] {
        let placement = planned(&redundant(redundancy), &nodes).unwrap();
        assert_eq!(placement.pieces[0].bytes, piece * MIB, "{redundancy:?}");
        assert!(placement.usable_bytes >= GIB);
        assert_eq!((placement.usable_share, placement.patience_seconds), (share, 7));
        let notes = placement.notes.join("\n");
        for word in [word, "without losing redundancy", "rampool failover", "7 s", "n1 lends too"] {
            assert!(notes.contains(word), "{word} is missing in:\n{notes}");
        }
        assert!(!notes.contains("rack"), "{notes}");
    }
}

#[test]
fn widths_that_a_redundancy_cannot_have_are_refused_with_what_it_can() {
    let nodes: Vec<Candidate> = (1..=12).map(|n| node(&format!("n{n}"), 4 * GIB)).collect();
    let of = |redundancy, donors: &str| {
        let spec = PoolSpec { donors: donors.into(), ..redundant(redundancy) };
        planned(&spec, &nodes).unwrap_err()
    };
    for (failure, word) in [
        (of(Redundancy::Mirror, "n1"), "at least 2"),
        (of(Redundancy::Parity, "n[1-2]"), "at least 3"),
        (of(Redundancy::DoubleParity, "n[1-3]"), "at least 4"),
        (of(Redundancy::Parity, "n[1-11]"), "10 or 12 do"),
    ] {
        assert_eq!(failure.kind(), FailureKind::Invalid, "{failure}");
        assert!(failure.said.contains(word), "{word}: {failure}");
    }
    let free = PoolSpec { donors: String::new(), ..redundant(Redundancy::Parity) };
    assert_eq!(planned(&free, &nodes).unwrap().pieces.len(), 10, "11 make no equal groups");
    let wide = PoolSpec { donors: "n[1-12]".into(), ..free.clone() };
    let wide = planned(&wide, &nodes).unwrap();
    assert_eq!((wide.pieces.len(), wide.group_width), (12, 6));
    assert!(
        wide.notes.iter().any(|note| note.contains("any one of 6 donors may be lost, in each"))
    );
    let few = planned(&free, &nodes[..3]).unwrap_err();
    assert!(few.said.contains("3 donors are needed; 2 reachable"), "{few}");
}

#[test]
fn spares_are_the_last_of_a_list_or_more_than_those_picked() {
    let nodes = racked(&[""; 5]);
    let listed = PoolSpec { spares: Some(1), ..redundant(Redundancy::Parity) };
    let placement = planned(&listed, &nodes).unwrap();
    assert_eq!(donors(&placement), ["n1", "n2", "n3"]);
    assert_eq!(placement.spares[0].donor, "n4");
    assert_eq!(placement.spares[0].bytes, placement.pieces[0].bytes);
    assert_eq!(placement.usable_share, 0.5);
    assert!(placement.notes.iter().any(|note| note.contains("a spare takes")));
    let picked = PoolSpec { donors: String::new(), donor_count: 2, ..listed.clone() };
    let picked = PoolSpec { redundancy: Redundancy::Mirror.into(), ..picked };
    let placement = planned(&picked, &nodes).unwrap();
    assert_eq!((placement.pieces.len(), placement.spares.len()), (2, 1));
    let all_spares = PoolSpec { spares: Some(4), ..listed };
    assert!(planned(&all_spares, &nodes).unwrap_err().said.contains("at least 3"));
}

#[test]
fn racks_decide_who_is_picked_and_in_which_order() {
    let nodes = racked(&["r0", "r1", "r1", "r1", "r2", "r2", "r3"]);
    let free = |redundancy| PoolSpec { donors: String::new(), ..redundant(redundancy) };
    let parity = planned(&free(Redundancy::Parity), &nodes).unwrap();
    assert_eq!(donors(&parity), ["n2", "n5", "n7"], "one of each rack");
    assert!(parity.notes.iter().any(|note| note == "any one rack may be lost"));
    assert_eq!(parity.pieces[1].rack, "r2");
    let mirror = planned(&free(Redundancy::Mirror), &nodes).unwrap();
    assert_eq!(mirror.pieces.len(), 6);
    for pair in mirror.pieces.chunks(2) {
        assert_ne!(pair[0].rack, pair[1].rack, "{:?}", mirror.pieces);
    }
    let listed = PoolSpec { donors: "n[2-5]".into(), ..redundant(Redundancy::Mirror) };
    let few = planned(&listed, &nodes).unwrap();
    let said = "losing rack r1 loses the pool: there are not enough donors in other racks";
    assert!(few.notes.iter().any(|note| note == said), "{:?}", few.notes);
}

#[test]
fn drained_nodes_and_agents_of_another_version_get_no_new_pieces() {
    let mut nodes = racked(&[""; 5]);
    nodes[1].reach = Reach::Drained("new disk".into());
    nodes[2].reach = Reach::OtherVersion("9.9.9".into());
    let free = PoolSpec { donors: String::new(), ..spec() };
    assert_eq!(donors(&planned(&free, &nodes).unwrap()), ["n4", "n5"]);
    for (spec, word, advice) in [
        (PoolSpec { donors: "n2".into(), ..spec() }, "donor n2 is drained: new disk", "resume n2"),
        (PoolSpec { head: "n2".into(), ..free }, "head n2 is drained", "resume n2"),
        (PoolSpec { donors: "n3".into(), ..spec() }, "n3 runs agent 9.9.9", "same version"),
    ] {
        let failure = planned(&spec, &nodes).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::NotNow);
        assert!(failure.said.contains(word) && failure.advice.contains(advice), "{failure}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_placement_fits_covers_and_repeats(
        lendable in prop::collection::vec(0u64..1 << 43, 1..40), bits in 20..62u32,
        count in 0..6u32, per_donor in any::<bool>(), kind in 0..5i32, head_lends in any::<bool>(),
        spares in 0..3u32, racks in 0..5usize
    ) {
        let rack = |at: usize| if racks == 0 { String::new() } else { format!("r{}", at % racks) };
        let nodes: Vec<Candidate> = lendable
            .iter()
            .enumerate()
            .map(|(at, bytes)| Candidate { rack: rack(at), ..node(&format!("n{at}"), *bytes) })
            .collect();
        let size = (1u64 << bits) + 12345;
        // LVM, and each redundancy by its number.
        let (lvm, redundancy) = (kind == 0, kind.max(1));
        let spec = PoolSpec {
            name: "demo".into(), head: "n0".into(), donor_count: count, head_may_lend: head_lends,
            filesystem: FilesystemKind::None.into(), backend: Backend::Tmpfs.into(),
            layout: if lvm { VolumeLayout::Lvm } else { VolumeLayout::Md }.into(),
            redundancy, spares: Some(if redundancy == 1 { 0 } else { spares }),
            capacity: Some(if per_donor {
                Capacity::SizePerDonorBytes(size)
            } else {
                Capacity::SizeBytes(size)
            }),
            ..PoolSpec::default()
        };
        let first = planned(&spec, &nodes);
        prop_assert_eq!(&first, &planned(&spec, &nodes), "the same question, the same answer");
        match first {
            Ok(placement) => {
                let all = || placement.pieces.iter().chain(&placement.spares);
                let names: std::collections::BTreeSet<_> = all().map(|p| &p.donor).collect();
                prop_assert_eq!(names.len(), all().count());
                prop_assert_eq!(placement.spares.len(), spec.spares.unwrap() as usize);
                let width = placement.pieces.len();
                prop_assert!(redundancy::check_width(placement.redundancy(), width).is_ok());
                for piece in all() {
                    prop_assert!(piece.bytes <= piece.lendable_bytes);
                    prop_assert_eq!(piece.bytes % MIB, 0);
                    prop_assert_eq!(piece.bytes, placement.pieces[0].bytes);
                    prop_assert!(head_lends || piece.donor != "n0");
                }
                if per_donor {
                    prop_assert!(placement.pieces[0].bytes >= size);
                } else {
                    prop_assert!(placement.usable_bytes >= size);
                }
                if count > 0 {
                    prop_assert_eq!(placement.pieces.len(), count as usize);
                }
            }
            Err(failure) => prop_assert_ne!(failure.said, ""),
        }
    }

    #[test]
    fn what_is_said_to_fit_does_fit(lendable in prop::collection::vec(MIB * 20..1 << 40, 2..12)) {
        let nodes: Vec<Candidate> =
            lendable.iter().enumerate().map(|(at, bytes)| node(&format!("n{at}"), *bytes)).collect();
        let striping = Striping {
            layout: VolumeLayout::Md, redundancy: Redundancy::None, chunk: 64 << 10,
        };
        let least = *lendable[1..].iter().min().unwrap() / MIB * MIB;
        let fits = striping.usable(least, lendable.len() - 1).unwrap();
        let spec = PoolSpec {
            name: "demo".into(), head: "n0".into(),
            donors: format!("n[1-{}]", lendable.len() - 1),
            filesystem: FilesystemKind::None.into(),
            capacity: Some(Capacity::SizeBytes(fits)),
            ..PoolSpec::default()
        };
        prop_assert!(planned(&spec, &nodes).is_ok());
        let more = PoolSpec { capacity: Some(Capacity::SizeBytes(fits + 1)), ..spec };
        prop_assert_eq!(planned(&more, &nodes).unwrap_err().kind(), FailureKind::NotNow);
    }
}
