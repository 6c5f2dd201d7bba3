//! What reads input from outside, each as a function of bytes that a fuzzer may choose. No bytes may
//! make one panic, and what was read is what is written again.
//!
//! `make fuzz` has libFuzzer look for such bytes, by `targets/`, one program each. What it found, and
//! one of each kind that is real, is in `corpus/`; `make test` tries these, and what becomes of them
//! by chance (`tests/corpus.rs`).

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;
use rampool::request::wish::Wish as PoolFile;
use rampool_agent::{fuzz, names};
use rampool_controller::spec::{self, Defaults};
use rampool_proto::hostlist::HostList;
use rampool_proto::job_socket::{Answer, Question};
use rampool_proto::pool_name::{Assembly, PoolName};
use rampool_proto::size::Size;
use rampool_proto::tls::Identity;
use rampool_proto::v1::PoolSpec;
use rampool_slurm::constraint;
use rampool_slurm::text::ask::Ask;
use rampool_slurm::text::burst::Buffer;
use rampool_slurm::text::config::Config;
use rampool_slurm::text::job::Job;
use rampool_slurm::text::node::Node;
use rampool_slurm::text::partition::Partition;
use rampool_slurm::wish::Wish;

/// Reads input.
pub type Target = fn(&[u8]);

/// All targets: the folder of each one's corpus has its name.
pub const TARGETS: [(&str, Target); 12] = [
    ("certificate", certificate),
    ("comment", comment),
    ("feature", feature),
    ("host_list", host_list),
    ("job_socket", job_socket),
    ("kernel_text", kernel_text),
    ("names", names),
    ("pool_file", pool_file),
    ("scontrol", scontrol),
    ("size", size),
    ("spec", spec),
    ("squeue", squeue),
];

fn text(data: &[u8]) -> &str {
    std::str::from_utf8(data).unwrap_or_default()
}

/// A peer's certificate, in DER, of which TLS has checked the signature alone.
pub fn certificate(data: &[u8]) {
    _ = Identity::read(data);
}

/// A job's `--comment`, where the options of its `#RAMPOOL` lines are.
pub fn comment(data: &[u8]) {
    if let Ok(wish) = Wish::of_comment(text(data)) {
        assert_eq!(Wish::of_comment(&wish.word()), Ok(wish));
    }
}

/// A job's `--constraint`.
pub fn feature(data: &[u8]) {
    let expression = text(data);
    if let Ok(Some(profile)) = constraint::asked(expression, |name| name.starts_with("more")) {
        assert!(profile.starts_with("more") && expression.contains(profile));
    }
}

/// `n[1-4,7]`.
pub fn host_list(data: &[u8]) {
    if let Ok(list) = text(data).parse::<HostList>() {
        assert_eq!(list.to_string().parse(), Ok(list));
    }
}

/// What any user of a node may write to the agent's socket, and what a task reads from it.
pub fn job_socket(data: &[u8]) {
    if let Some(question) = Question::parse(data) {
        assert_eq!(Question::parse(question.line().as_bytes()), Some(question));
    }
    for question in [Question::Task(7), Question::Held] {
        if let Some(answer) = Answer::parse(question, text(data)) {
            _ = answer.text();
        }
    }
}

/// What the kernel and its tools say, into which a node's users may have written names.
pub fn kernel_text(data: &[u8]) {
    fuzz::kernel_text(data);
}

/// Names of pools, and of what the kernel holds for them.
pub fn names(data: &[u8]) {
    let name = text(data);
    if let Ok(pool) = name.parse::<PoolName>() {
        assert_eq!(pool.as_str(), name);
    }
    if let Ok(assembly) = name.parse::<Assembly>() {
        assert_eq!(assembly.to_string(), name);
    }
    if let Some(assembly) = names::parse_object(name) {
        assert_eq!(names::object(&assembly), name);
    }
    if let Some(assembly) = names::parse_md_device(name) {
        assert_eq!(names::md_device(&assembly), name);
    }
    if let Some((assembly, number)) = names::parse_group(name) {
        assert_eq!(names::group(&assembly, number), name);
    }
    _ = (names::parse_target("iqn.2026-11.org.rampool", name), names::parse_md_group(name));
    _ = (names::parse_dm_device(name), names::parse_exports_file(name));
    _ = (names::parse_share_source(name), names::is_node(name), names::is_iqn(name));
}

/// `rampool up --file`.
pub fn pool_file(data: &[u8]) {
    _ = serde_yaml::from_slice::<PoolFile>(data);
}

/// `scontrol`'s nodes, partitions, configuration and burst buffers.
pub fn scontrol(data: &[u8]) {
    let text = text(data);
    _ = (Node::read_all(text), Partition::read_all(text), Config::read(text), Buffer::read(text));
}

/// `1.5T`. It is shown with one decimal.
pub fn size(data: &[u8]) {
    if let Ok(size) = text(data).parse::<Size>() {
        let shown = size.to_string().parse::<Size>();
        assert!(shown.is_ok_and(|shown| shown.0.abs_diff(size.0) <= size.0 / 20), "{size}");
    }
}

/// A request of a pool, as it comes from a client.
pub fn spec(data: &[u8]) {
    let Ok(wanted) = PoolSpec::decode(data) else { return };
    let defaults = Defaults { profiles: &BTreeMap::new(), mount_root: Path::new("/rampool") };
    if let Ok(resolved) = spec::resolve(&wanted, defaults) {
        assert!(resolved.spec.mount_point.starts_with('/'));
        // With nothing left open, it says the same once more.
        let again = spec::resolve(&resolved.spec, defaults).map(|again| again.spec);
        assert_eq!(again, Ok(resolved.spec));
    }
}

/// `squeue`, in our own formats.
pub fn squeue(data: &[u8]) {
    let text = text(data);
    _ = (Job::read_all(text), Job::read_all_in_full(text), Ask::read(text, 7));
}
