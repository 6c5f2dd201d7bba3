//! `/etc/rampool/controller.yaml`: which nodes there are, how their agents are reached, and
//! what a pool is like where nobody says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rampool_proto::config_file::ConfigError;
use rampool_proto::hostlist::HostList;
use rampool_proto::tls::TlsFiles;
use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::{Failure, PoolSpec};
use rampool_slurm::facts::Lend;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::jobs::JobsConfig;
use crate::profile::Profile;
use crate::socket::SocketConfig;
use crate::spec::{self, Defaults};
use crate::users::UsersConfig;

/// The controller's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the controller listens.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Every node that runs an agent.
    #[serde(deserialize_with = "host_lists")]
    pub nodes: HostList,
    /// How agents are reached.
    #[serde(default)]
    pub agents: AgentAddresses,
    /// Which nodes share a rack, and so a power supply or a switch: host lists by label.
    #[serde(default)]
    pub racks: BTreeMap<String, HostList>,
    /// Named sets of defaults for pools; `default` is built in and may be given anew.
    #[serde(default)]
    pub profiles: BTreeMap<String, Profile>,
    /// Where the store is kept.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// Pools are mounted at `<mount_root>/<name>` unless they say otherwise.
    #[serde(default = "default_mount_root")]
    pub mount_root: PathBuf,
    /// Whom users may ask about a pool: a line in each pool's README.
    #[serde(default)]
    pub contact: String,
    /// The naming authority of the heads' iSCSI names: `iqn.<year>-<month>.<domain, reversed>`.
    #[serde(default = "default_authority")]
    pub iqn_authority: String,
    /// Allow tmpfs ramdisks on nodes that could swap them out.
    #[serde(default)]
    pub allow_swap: bool,
    /// Slurm's jobs. Left out: no job gets a pool.
    pub jobs: Option<JobsConfig>,
    /// The socket for operators on the controller's own host.
    #[serde(default)]
    pub socket: SocketConfig,
    /// People who may have pools of their own. Left out: operators alone may have any.
    pub users: Option<UsersConfig>,
    /// The controller's certificate, key, and the cluster's CA.
    pub tls: TlsFiles,
}

/// How agents are reached: at `<node name>:<port>` unless an address is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentAddresses {
    /// The agents' TCP port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Host name or address by node, where the node's name does not resolve to the right one.
    #[serde(default)]
    pub addresses: BTreeMap<String, String>,
}

impl Default for AgentAddresses {
    fn default() -> Self {
        Self { port: default_port(), addresses: BTreeMap::new() }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 7701))
}

fn default_port() -> u16 {
    7702
}

fn default_state() -> PathBuf {
    "/var/lib/rampool".into()
}

pub(crate) fn default_mount_root() -> PathBuf {
    "/rampool".into()
}

fn default_authority() -> String {
    "iqn.2026-11.org.rampool".into()
}

/// The longest naming authority: an iSCSI name has at most 223 bytes (RFC 3720, 3.2.6.1), of
/// which a pool's assembly and a node's name take fewer than a hundred.
const LONGEST_AUTHORITY: usize = 120;

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// The file itself.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A value in it.
    #[error("{path}: {problem}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// What is wrong with which field.
        problem: String,
    },
}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, BadConfig> {
        let config: Self = rampool_proto::config_file::load(path)?;
        config.check().map_err(|problem| BadConfig::Value { path: path.to_owned(), problem })?;
        Ok(config)
    }

    /// Says what in it cannot be meant.
    fn check(&self) -> Result<(), String> {
        if !self.mount_root.is_absolute() {
            return Err(format!("mount_root {} is not absolute", self.mount_root.display()));
        }
        if let Some(stranger) = self.agents.addresses.keys().find(|n| !self.nodes.contains(n)) {
            return Err(format!("agents.addresses names {stranger}, which is not in nodes"));
        }
        self.check_racks()?;
        check_authority(&self.iqn_authority)?;
        self.check_donors_of_jobs()?;
        if let Some(jobs) = &self.jobs {
            jobs.check()?;
        }
        if let Some(users) = &self.users {
            users.check(&self.nodes)?;
        }
        if !self.socket.path.is_absolute() {
            return Err(format!("socket.path {} is not absolute", self.socket.path.display()));
        }
        for (name, profile) in &self.profiles {
            profile.check(&self.nodes).map_err(|problem| format!("profile {name}: {problem}"))?;
            self.try_profile(name)
                .map_err(|failure| format!("profile {name}: {}", failure.said))?;
        }
        Ok(())
    }

    /// One licence counts what all jobs take of donors outside.
    fn check_donors_of_jobs(&self) -> Result<(), String> {
        let mut pools = self.profiles.iter().filter(|(_, own)| own.lend == Some(Lend::Pool));
        let Some((first, profile)) = pools.next() else { return Ok(()) };
        let names = |profile: &Profile| -> BTreeSet<String> {
            profile.donors.iter().flat_map(HostList::iter).map(str::to_owned).collect()
        };
        match pools.find(|(_, other)| names(other) != names(profile)) {
            None => Ok(()),
            Some((other, _)) => Err(format!(
                "profiles {first} and {other} lend to jobs (lend: pool) from different donors: one \
                 licence counts them all, so they must be the same"
            )),
        }
    }

    fn check_racks(&self) -> Result<(), String> {
        let mut racks: BTreeMap<&str, &str> = BTreeMap::new();
        for (rack, nodes) in &self.racks {
            if rack.is_empty() {
                return Err("racks: a rack needs a label".into());
            }
            for node in nodes.iter() {
                if !self.nodes.contains(node) {
                    return Err(format!("rack {rack} names {node}, which is not in nodes"));
                }
                if let Some(other) = racks.insert(node, rack) {
                    return Err(format!("{node} is in rack {other} and in rack {rack}"));
                }
            }
        }
        Ok(())
    }

    /// The rack of each node that is labelled.
    #[must_use]
    pub fn rack_of_nodes(&self) -> BTreeMap<String, String> {
        let labelled = self.racks.iter();
        labelled
            .flat_map(|(rack, nodes)| nodes.iter().map(|node| (node.to_owned(), rack.clone())))
            .collect()
    }

    /// A pool that says no more than it must: what is wrong then is the profile's.
    fn try_profile(&self, name: &str) -> Result<(), Failure> {
        let own = &self.profiles[name];
        let head = self.nodes.iter().next().unwrap_or_default();
        let unsized_profile = own.size.is_none() && own.size_per_donor.is_none();
        let spec = PoolSpec {
            name: "a".into(),
            profile: name.to_owned(),
            head: if own.head.is_none() { head.to_owned() } else { String::new() },
            capacity: unsized_profile.then_some(Capacity::SizeBytes(1)),
            ..PoolSpec::default()
        };
        let defaults = Defaults { profiles: &self.profiles, mount_root: &self.mount_root };
        spec::resolve(&spec, defaults).map(drop)
    }

    /// The host:port of a node's agent.
    #[must_use]
    pub fn agent_address(&self, node: &str) -> String {
        let host = self.agents.addresses.get(node).map_or(node, String::as_str);
        // A bare IPv6 address needs brackets before a port.
        if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:{}", self.agents.port)
        } else {
            format!("{host}:{}", self.agents.port)
        }
    }
}

fn check_authority(text: &str) -> Result<(), String> {
    let wrong = || {
        Err(format!(
            "iqn_authority {text:?} is not of the form iqn.2026-11.org.example \
             (lower case, at most {LONGEST_AUTHORITY} bytes)"
        ))
    };
    let Some(rest) = text.strip_prefix("iqn.") else { return wrong() };
    let Some((date, domain)) = rest.split_once('.') else { return wrong() };
    let date_right = date.len() == 7
        && date.bytes().enumerate().all(
            |(at, b)| {
                if at == 4 { b == b'-' } else { b.is_ascii_digit() }
            },
        );
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if !date_right
        || domain.is_empty()
        || !domain.chars().all(plain)
        || text.len() > LONGEST_AUTHORITY
    {
        return wrong();
    }
    Ok(())
}

/// `nodes: n[1-4]` or `nodes: [n1, "n[2-4]"]`.
fn host_lists<'de, D: Deserializer<'de>>(from: D) -> Result<HostList, D::Error> {
    struct OneOrMany;
    impl<'de> Visitor<'de> for OneOrMany {
        type Value = HostList;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a host list such as n[001-040],mds1, or a list of them")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<HostList, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<HostList, A::Error> {
            let mut names = Vec::new();
            while let Some(list) = from.next_element::<HostList>()? {
                names.extend(list.iter().map(str::to_owned));
            }
            HostList::from_names(names).map_err(serde::de::Error::custom)
        }
    }
    from.deserialize_any(OneOrMany)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "tls: {ca: /a, cert: /b, key: /c}\n";

    fn read(text: &str) -> Result<Config, String> {
        let config: Config =
            serde_yaml::from_str(&format!("{LEAST}{text}")).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn the_example_documents_every_field_and_is_taken() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/controller.yaml");
        let config = Config::load(&path).unwrap();
        assert!(config.profiles.len() > 1);
        let text = std::fs::read_to_string(path).unwrap();
        for field in [
            "listen",
            "nodes",
            "racks",
            "agents",
            "port",
            "addresses",
            "profiles",
            "state",
            "mount_root",
            "contact",
            "iqn_authority",
            "allow_swap",
            "jobs",
            "cluster",
            "commands",
            "grace",
            "facts",
            "wait_by",
            "lend",
            "socket",
            "path",
            "group",
            "users",
            "rules",
            "groups",
            "heads",
            "at_most",
            "pools",
            "longest",
            "accounts",
            "tls",
            "ca",
            "cert",
            "key",
            "backend",
            "layout",
            "fs",
            "chunk",
            "redundancy",
            "spares",
            "auto_replace",
            "patience",
            "lease",
            "at_expiry",
            "evacuate_under_pressure",
            "head",
            "head_may_lend",
            "donors",
            "donor_count",
            "size",
            "size_per_donor",
        ] {
            assert!(
                text.lines().any(|line| {
                    line.trim_start_matches([' ', '#', '-']).starts_with(&format!("{field}:"))
                }),
                "examples/controller.yaml does not show {field}"
            );
        }
    }

    #[test]
    fn a_burst_buffer_needs_the_facts() {
        let jobs = |more: &str| {
            read(&format!("nodes: n[1-3]\njobs: {{cluster: x, wait_by: burst_buffer{more}}}"))
        };
        assert!(jobs(", facts: /run/facts").is_ok());
        let told = jobs("").unwrap_err().to_string();
        assert!(told.contains("wait_by: burst_buffer needs `facts`"), "{told}");
    }

    #[test]
    fn nodes_may_be_one_list_or_many() {
        assert_eq!(read("nodes: n[1-3]").unwrap().nodes.len(), 3);
        assert_eq!(read("nodes: ['n[1-3]', mds1]").unwrap().nodes.len(), 4);
        assert!(read("nodes: ['n[1-3]', n2]").unwrap_err().contains("twice"));
    }

    #[test]
    fn agents_are_reached_by_node_name_or_given_address() {
        let config =
            read("nodes: n[1-3]\nagents: {port: 9, addresses: {n2: 10.0.0.2, n3: 'fd00::3'}}")
                .unwrap();
        assert_eq!(config.agent_address("n1"), "n1:9");
        assert_eq!(config.agent_address("n2"), "10.0.0.2:9");
        assert_eq!(config.agent_address("n3"), "[fd00::3]:9");
    }

    #[test]
    fn racks_label_nodes() {
        let config = read("nodes: n[1-4]\nracks: {r1: 'n[1-2]', r2: n3}").unwrap();
        let racks = config.rack_of_nodes();
        assert_eq!((racks["n2"].as_str(), racks["n3"].as_str()), ("r1", "r2"));
        assert_eq!(racks.get("n4"), None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, word) in [
            ("nodes: n1\nmount_root: rampool", "not absolute"),
            ("nodes: n1\nsocket: {path: controller.sock}", "socket.path controller.sock"),
            (
                "nodes: n1\nusers: {rules: [{users: [ada], heads: n2, at_most: 1G, pools: 1, \
                 longest: 1h}]}",
                "rule 1: n2 is not in nodes",
            ),
            ("nodes: n1\nagents: {addresses: {n7: a}}", "n7"),
            ("nodes: n1\nracks: {a: n7}", "n7"),
            ("nodes: 'n[1-3]'\nracks: {a: 'n[1-2]', b: 'n[2-3]'}", "n2 is in rack a and in rack b"),
            ("nodes: n1\nprofiles: {fast: {layout: lvm, redundancy: mirror}}", "md's work"),
            ("nodes: n1\nprofiles: {fast: {redundancy: triple}}", "triple"),
            ("nodes: n1\niqn_authority: org.example", "iqn_authority"),
            ("nodes: n1\niqn_authority: iqn.26-11.org.example", "iqn_authority"),
            ("nodes: n1\nlisten_on: a", "unknown field"),
            ("nodes: n1\nprofiles: {fast: {chunk: 63KiB}}", "chunk"),
            ("nodes: n1\nprofiles: {fast: {head: n9}}", "n9"),
            ("nodes: n1\nprofiles: {fast: {patience: 1s}}", "patience"),
            ("nodes: n1\nprofiles: {fast: {lease: 200years}}", "lease"),
            ("nodes: n1\nprofiles: {fast: {donor_count: 9999}}", "4096"),
            ("nodes: n1\nprofiles: {fast: {size: 1TiB, size_per_donor: 1GiB}}", "size"),
            ("nodes: n1\nprofiles: {lake: {lend: pool, size: 1GiB}}", "needs `donors`"),
            ("nodes: n1\nprofiles: {lake: {lend: pool, donors: n1}}", "needs `size`"),
            (
                "nodes: n1\nprofiles: {lake: {lend: pool, donors: n1, size: 1GiB, \
                 redundancy: mirror, spares: 1}}",
                "no spares",
            ),
            (
                "nodes: n[1-2]\nprofiles: {a: {lend: pool, donors: n1, size: 1GiB}, \
                 b: {lend: pool, donors: n2, size: 1GiB}}",
                "profiles a and b",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
