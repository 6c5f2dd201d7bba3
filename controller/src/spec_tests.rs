use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::profile::{AtExpiryName, FilesystemName, LayoutName, RedundancyName};

fn profiles() -> BTreeMap<String, Profile> {
    let fast = Profile {
        layout: Some(LayoutName::Lvm),
        filesystem: Some(FilesystemName::Ext4),
        chunk: Some(128 << 10),
        patience: Some(Duration::from_secs(20)),
        lease: Some(Duration::from_secs(3600)),
        head: Some("n9".into()),
        head_may_lend: Some(true),
        donors: Some("n[1-4]".parse().unwrap()),
        size: Some(1 << 40),
        ..Profile::default()
    };
    let safe = Profile {
        redundancy: Some(RedundancyName::DoubleParity),
        spares: Some(2),
        auto_replace: Some(false),
        at_expiry: Some(AtExpiryName::Release),
        ..Profile::default()
    };
    BTreeMap::from([("fast".to_owned(), fast), ("safe".to_owned(), safe)])
}

fn resolved(spec: &PoolSpec) -> Result<Wanted, Failure> {
    let profiles = profiles();
    resolve(spec, Defaults { profiles: &profiles, mount_root: Path::new("/rampool") })
}

fn plain() -> PoolSpec {
    PoolSpec {
        name: "demo".into(),
        head: "n1".into(),
        capacity: Some(Capacity::SizeBytes(1 << 30)),
        ..PoolSpec::default()
    }
}

#[test]
fn gaps_are_filled_with_the_built_in_values() {
    let wanted = resolved(&plain()).unwrap();
    assert_eq!(wanted.donors, Donors::Pick(None));
    assert_eq!(wanted.capacity, Size::Usable(1 << 30));
    let spec = wanted.spec;
    assert_eq!(spec.profile, "default");
    assert_eq!(spec.backend(), Backend::RdMcp);
    assert_eq!(spec.layout(), VolumeLayout::Md);
    assert_eq!(spec.filesystem(), FilesystemKind::Xfs);
    assert_eq!((spec.chunk_kib, spec.patience_seconds, spec.lease_seconds), (64, 60, 0));
    assert_eq!(spec.mount_point, "/rampool/demo");
}

#[test]
fn a_profile_fills_what_the_spec_leaves_open_and_no_more() {
    let spec = PoolSpec { name: "demo".into(), profile: "fast".into(), ..PoolSpec::default() };
    let wanted = resolved(&spec).unwrap();
    assert_eq!(wanted.capacity, Size::Usable(1 << 40));
    assert_eq!(
        wanted.donors,
        Donors::Listed(vec!["n1".into(), "n2".into(), "n3".into(), "n4".into()])
    );
    assert_eq!(wanted.spec.layout(), VolumeLayout::Lvm);
    assert_eq!((wanted.spec.head.as_str(), wanted.spec.lease_seconds), ("n9", 3600));
    assert!(wanted.spec.head_may_lend);
    let own = PoolSpec {
        head: "n2".into(),
        donor_count: 2,
        chunk_kib: 4,
        lease_seconds: 7,
        capacity: Some(Capacity::SizePerDonorBytes(5 << 20)),
        ..spec
    };
    let wanted = resolved(&own).unwrap();
    assert_eq!(wanted.capacity, Size::PerDonor(5 << 20));
    assert_eq!(wanted.donors, Donors::Pick(Some(2)));
    assert_eq!((wanted.spec.chunk_kib, wanted.spec.lease_seconds), (4, 7));
}

#[test]
fn redundancy_shortens_patience_and_replaces_by_itself() {
    let wanted = resolved(&PoolSpec { redundancy: 2, ..plain() }).unwrap().spec;
    assert_eq!((wanted.redundancy(), wanted.patience_seconds), (Redundancy::Mirror, 7));
    assert_eq!((wanted.spares, wanted.auto_replace), (Some(0), Some(true)));
    let none = resolved(&plain()).unwrap().spec;
    assert_eq!((none.redundancy(), none.patience_seconds), (Redundancy::None, 60));
    assert_eq!((none.spares, none.auto_replace), (Some(0), Some(false)));
    assert_eq!(none.at_expiry(), AtExpiry::Keep);
    let patient = PoolSpec { redundancy: 2, patience_seconds: 30, ..plain() };
    assert_eq!(resolved(&patient).unwrap().spec.patience_seconds, 30);
}

#[test]
fn a_profiles_spares_are_for_pools_that_can_use_them() {
    let safe = PoolSpec { profile: "safe".into(), ..plain() };
    let wanted = resolved(&safe).unwrap().spec;
    assert_eq!(wanted.redundancy(), Redundancy::DoubleParity);
    assert_eq!((wanted.spares, wanted.auto_replace), (Some(2), Some(false)));
    assert_eq!(wanted.at_expiry(), AtExpiry::Release);
    let none = PoolSpec { redundancy: Redundancy::None.into(), ..safe };
    assert_eq!(resolved(&none).unwrap().spec.spares, Some(0));
}

#[test]
fn resolving_what_was_resolved_changes_nothing() {
    for spec in [
        plain(),
        PoolSpec { name: "demo".into(), profile: "fast".into(), ..PoolSpec::default() },
        PoolSpec { profile: "safe".into(), ..plain() },
    ] {
        let once = resolved(&spec).unwrap();
        assert_eq!(resolved(&once.spec).unwrap(), once);
    }
}

#[test]
fn bad_input_is_invalid_and_says_what_is_wrong() {
    let cases: Vec<(&str, PoolSpec)> = vec![
        ("pool name", PoolSpec { name: "Demo".into(), ..plain() }),
        ("at most 16", PoolSpec { name: "a".repeat(17), ..plain() }),
        ("no profile \"slow\"", PoolSpec { profile: "slow".into(), ..plain() }),
        ("no size", PoolSpec { capacity: None, ..plain() }),
        ("0 bytes", PoolSpec { capacity: Some(Capacity::SizeBytes(0)), ..plain() }),
        ("no head", PoolSpec { head: String::new(), ..plain() }),
        ("head", PoolSpec { head: "n1;rm".into(), ..plain() }),
        ("twice", PoolSpec { donors: "n1,n1".into(), ..plain() }),
        ("column", PoolSpec { donors: "n[1-".into(), ..plain() }),
        ("at most 4096", PoolSpec { donors: "n[1-5000]".into(), ..plain() }),
        ("at most 4096", PoolSpec { donor_count: 5000, ..plain() }),
        ("donor count of 3", PoolSpec { donors: "n1,n2".into(), donor_count: 3, ..plain() }),
        ("power of two", PoolSpec { chunk_kib: 63, ..plain() }),
        ("power of two", PoolSpec { chunk_kib: 2048, ..plain() }),
        ("not absolute", PoolSpec { mount_point: "rampool".into(), ..plain() }),
        ("`..`", PoolSpec { mount_point: "/a/../etc".into(), ..plain() }),
        ("root directory", PoolSpec { mount_point: "//".into(), ..plain() }),
        ("control", PoolSpec { mount_point: "/a\nb".into(), ..plain() }),
        ("1024 bytes", PoolSpec { mount_point: format!("/{}", "a".repeat(2000)), ..plain() }),
        ("100 years", PoolSpec { lease_seconds: u64::MAX, ..plain() }),
        ("patience", PoolSpec { patience_seconds: 1, ..plain() }),
        ("owner", PoolSpec { owner: "a\u{1b}[31m".into(), ..plain() }),
        ("backend 99", PoolSpec { backend: 99, ..plain() }),
        ("layout 99", PoolSpec { layout: 99, ..plain() }),
        ("redundancy 99", PoolSpec { redundancy: 99, ..plain() }),
        ("at_expiry 99", PoolSpec { at_expiry: 99, ..plain() }),
        ("md's work", PoolSpec { redundancy: 2, layout: 2, ..plain() }),
        ("nothing to rebuild from", PoolSpec { spares: Some(1), ..plain() }),
        ("no redundancy to rebuild", PoolSpec { auto_replace: Some(true), ..plain() }),
        ("9999 spares", PoolSpec { redundancy: 2, spares: Some(9999), ..plain() }),
        ("filesystem 99", PoolSpec { filesystem: 99, ..plain() }),
        ("no file system", PoolSpec { filesystem: 3, mount_point: "/a".into(), ..plain() }),
    ];
    for (word, spec) in cases {
        let failure = resolved(&spec).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Invalid, "{failure}");
        assert!(failure.to_string().contains(word), "{word}: {failure}");
    }
}

#[test]
fn one_mount_point_has_one_spelling() {
    let spec = PoolSpec { mount_point: "//scratch//demo/".into(), ..plain() };
    assert_eq!(resolved(&spec).unwrap().spec.mount_point, "/scratch/demo");
    let bare = PoolSpec { filesystem: FilesystemKind::None.into(), ..plain() };
    assert_eq!(resolved(&bare).unwrap().spec.mount_point, "");
}

proptest! {
    #[test]
    fn no_request_makes_it_panic_and_a_good_one_is_complete(
        name in "[a-z.]{0,20}", head in "[a-z0-9.\\[]{0,8}", donors in "[n0-9,\\[\\]-]{0,12}",
        count in any::<u32>(), chunk in any::<u32>(), patience in any::<u32>(),
        lease in any::<u64>(), mount in "/?[a-z./]{0,12}", kind in -1..5i32, bytes in any::<u64>(),
        spares in any::<Option<u32>>(), auto_replace in any::<Option<bool>>()
    ) {
        let spec = PoolSpec {
            name, head, donors, donor_count: count, chunk_kib: chunk, patience_seconds: patience,
            lease_seconds: lease, mount_point: mount, filesystem: kind, layout: kind, backend: kind,
            redundancy: kind, at_expiry: kind, spares, auto_replace,
            capacity: Some(Capacity::SizePerDonorBytes(bytes)), ..PoolSpec::default()
        };
        match resolved(&spec) {
            Err(failure) => prop_assert_eq!(failure.kind(), FailureKind::Invalid),
            Ok(wanted) => {
                prop_assert!(!wanted.spec.head.is_empty());
                prop_assert_ne!(wanted.spec.backend(), Backend::Unspecified);
            }
        }
    }
}
