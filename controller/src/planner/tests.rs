use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use rampool_proto::v1::PoolSpec;
use rampool_proto::v1::pool_spec::Capacity;

use super::*;
use crate::spec::{Defaults, resolve};

const GIB: u64 = 1 << 30;

fn node(name: &str, lendable: u64) -> Candidate {
    Candidate { name: name.into(), reach: Reach::Reachable, lendable }
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
            &["4 donors are asked for", "3 reachable"],
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_placement_fits_covers_and_repeats(
        lendable in prop::collection::vec(0u64..1 << 43, 1..40), bits in 20..62u32,
        count in 0..6u32, per_donor in any::<bool>(), lvm in any::<bool>(), head_lends in any::<bool>()
    ) {
        let nodes: Vec<Candidate> =
            lendable.iter().enumerate().map(|(at, bytes)| node(&format!("n{at}"), *bytes)).collect();
        let size = (1u64 << bits) + 12345;
        let spec = PoolSpec {
            name: "demo".into(), head: "n0".into(), donor_count: count, head_may_lend: head_lends,
            filesystem: FilesystemKind::None.into(), backend: Backend::Tmpfs.into(),
            layout: if lvm { VolumeLayout::Lvm } else { VolumeLayout::Md }.into(),
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
                let names: std::collections::BTreeSet<_> =
                    placement.pieces.iter().map(|piece| piece.donor.clone()).collect();
                prop_assert_eq!(names.len(), placement.pieces.len());
                for piece in &placement.pieces {
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
        let striping = Striping { layout: VolumeLayout::Md, chunk: 64 << 10 };
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
