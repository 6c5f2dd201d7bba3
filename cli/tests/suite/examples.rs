//! The examples are read by the code that reads the real files.

use std::path::Path;
use std::time::Duration;

use rampool::client::ClientConfig;
use rampool::command::slurm::config::SlurmConfig;
use rampool::request::caller::Caller;
use rampool::request::wish::Wish;
use rampool_proto::config_file;
use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::{AtExpiry, Backend, FilesystemKind, Redundancy, VolumeLayout};

fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

#[test]
fn the_example_pool_is_a_whole_and_valid_wish() {
    let wish: Wish = config_file::load(&example("pool.yaml")).unwrap();
    let spec = wish.spec(Caller { name: "alice".into(), uid: 1, gid: 1 }).unwrap();
    assert_eq!(spec.name, "scratch");
    assert!(matches!(spec.capacity, Some(Capacity::SizeBytes(_))));
    assert_eq!(spec.backend(), Backend::RdMcp);
    assert_eq!(spec.layout(), VolumeLayout::Md);
    assert_eq!(spec.filesystem(), FilesystemKind::Xfs);
    assert_eq!((spec.redundancy(), spec.spares), (Redundancy::Mirror, Some(1)));
    assert_eq!((spec.auto_replace, spec.at_expiry()), (Some(true), AtExpiry::Keep));
    assert!(!spec.donors.is_empty() && !spec.head.is_empty() && spec.lease_seconds > 0);
}

#[test]
fn the_example_pool_explains_every_field() {
    let text = std::fs::read_to_string(example("pool.yaml")).unwrap();
    for field in [
        "name",
        "size",
        "size_per_donor",
        "head",
        "donors",
        "donor_count",
        "backend",
        "layout",
        "redundancy",
        "spares",
        "auto_replace",
        "fs",
        "chunk",
        "mount_point",
        "lease",
        "at_expiry",
        "patience",
        "profile",
        "head_may_lend",
    ] {
        let shown = text
            .lines()
            .any(|line| line.trim_start_matches("# ").starts_with(&format!("{field}:")));
        assert!(shown, "{field} is not in examples/pool.yaml");
    }
}

#[test]
fn the_example_client_configuration_is_valid() {
    let config: ClientConfig = config_file::load(&example("client.yaml")).unwrap();
    assert_eq!(config.controller.as_deref(), Some("mds1:7701"));
    assert_eq!(config.munge.as_ref().unwrap().controller, "mds1:7705");
    assert_eq!(config.name, None);
    assert_eq!(config.tls.unwrap().ca, Path::new("/etc/rampool/pki/ca.pem"));
}

#[test]
fn the_example_configuration_of_the_hooks_is_valid() {
    let config = SlurmConfig::load(&example("slurm.yaml")).unwrap();
    assert_eq!((config.controller.as_str(), config.cluster.as_str()), ("mds1:7701", "csc"));
    assert_eq!(config.features, ["moreIOPS", "moreIOPS_64G"]);
    assert_eq!(config.commands, Path::new("/usr/bin"));
    let seconds = |time: Duration| time.as_secs();
    assert_eq!((seconds(config.deadline()), seconds(config.node_deadline())), (120, 60));
}
