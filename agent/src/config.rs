//! `/etc/rampool/agent.yaml`: every field, its default, and what is refused.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use ipnet::IpNet;
use rampool_proto::config_file;
use rampool_proto::tls::TlsFiles;
use serde::Deserialize;

use crate::memory::Floor;
use crate::names;

/// The file as written. `examples/agent.yaml` describes each field.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// This node's name in the cluster.
    pub node: Option<String>,
    /// Where the controller calls.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Where heads find this node's exports.
    pub data_address: Option<IpAddr>,
    /// The TCP port of exports.
    #[serde(default = "default_data_port")]
    pub data_port: u16,
    /// The networks in which the cluster's nodes have their data addresses.
    #[serde(default)]
    pub data_networks: Vec<IpNet>,
    /// What the iSCSI names begin with.
    #[serde(default = "default_authority")]
    pub iqn_authority: String,
    /// What the node keeps.
    #[serde(default)]
    pub memory: MemoryPolicy,
    /// Under which folder pools are mounted that name no place of their own.
    #[serde(default = "default_mount_root")]
    pub mount_root: PathBuf,
    /// Other folders at or below which a pool may be mounted that names a place of its own.
    #[serde(default)]
    pub mount_roots: Vec<PathBuf>,
    /// The agent's own folder, emptied by a reboot.
    #[serde(default = "default_run_folder")]
    pub run_folder: PathBuf,
    /// Where open-iscsi keeps its records.
    pub iscsi_database: Option<PathBuf>,
    /// The folder of Slurm's commands, where the node runs its jobs.
    pub slurm_commands: Option<PathBuf>,
    /// How the agent proves who it is.
    pub tls: TlsFiles,
}

/// What a donor keeps for itself.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryPolicy {
    /// Memory that is never lent.
    #[serde(default)]
    pub floor: Floor,
}

/// The configuration with nothing left open.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name in the cluster.
    pub node: String,
    /// Where the controller calls.
    pub listen: SocketAddr,
    /// Where heads find this node's exports.
    pub data: SocketAddr,
    /// The networks of donors, heads and clients; none: the one that `data` is in.
    pub data_networks: Vec<IpNet>,
    /// What the iSCSI names begin with.
    pub authority: String,
    /// What the node keeps.
    pub floor: Floor,
    /// Under which folder pools are mounted that name no place of their own.
    pub mount_root: PathBuf,
    /// Where else pools may be mounted.
    pub mount_roots: Vec<PathBuf>,
    /// The agent's own folder.
    pub run_folder: PathBuf,
    /// Where open-iscsi keeps its records.
    pub iscsi_database: PathBuf,
    /// The folder of Slurm's commands; none where Slurm gives none of the node's memory away.
    pub slurm_commands: Option<PathBuf>,
    /// How the agent proves who it is.
    pub tls: TlsFiles,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 7702))
}

/// The port IANA gave iSCSI.
fn default_data_port() -> u16 {
    3260
}

fn default_authority() -> String {
    "iqn.2026-11.org.rampool".to_owned()
}

fn default_mount_root() -> PathBuf {
    "/rampool".into()
}

fn default_run_folder() -> PathBuf {
    "/run/rampool".into()
}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let file: ConfigFile = config_file::load(path)?;
        let hostname = nix::unistd::gethostname().context("read the host name")?;
        let hostname = hostname.to_string_lossy().to_lowercase();
        Self::settle(file, &hostname, &global_addresses()?)
            .with_context(|| path.display().to_string())
    }

    /// Fills in what the file leaves open; refuses what makes no sense.
    fn settle(file: ConfigFile, hostname: &str, addresses: &[IpAddr]) -> anyhow::Result<Self> {
        let node = file.node.unwrap_or_else(|| hostname.to_owned());
        ensure!(
            names::is_node(&node),
            "node: {node:?} cannot be part of an iSCSI name: use lower-case letters, digits, \
             dots and hyphens, at most 64"
        );
        ensure!(
            names::is_authority(&file.iqn_authority),
            "iqn_authority: {:?} is not of the form iqn.YYYY-MM.REVERSED.DOMAIN in lower case",
            file.iqn_authority
        );
        ensure!(file.data_port != 0, "data_port: 0 is no port");
        let folders = [("mount_root", &file.mount_root), ("run_folder", &file.run_folder)];
        let others = file.mount_roots.iter().map(|folder| ("mount_roots", folder));
        for (field, folder) in folders.into_iter().chain(others) {
            ensure!(is_plain(folder), "{field}: {} is not a plain absolute path", folder.display());
        }
        if let Some(folder) = &file.slurm_commands {
            ensure!(
                folder.is_absolute(),
                "slurm_commands: {} is not an absolute path",
                folder.display()
            );
        }
        let data = match file.data_address {
            Some(address) => address,
            None => data_address(file.listen.ip(), addresses)?,
        };
        ensure!(!data.is_unspecified(), "data_address: {data} is no address a head could call");
        Ok(Self {
            node,
            listen: file.listen,
            data: SocketAddr::new(data, file.data_port),
            data_networks: file.data_networks,
            authority: file.iqn_authority,
            floor: file.memory.floor,
            mount_root: file.mount_root,
            mount_roots: file.mount_roots,
            run_folder: file.run_folder,
            iscsi_database: file.iscsi_database.unwrap_or_else(iscsi_database),
            slurm_commands: file.slurm_commands,
            tls: file.tls,
        })
    }
}

/// Absolute, and with nothing in it (`..`, commas, blanks) that could be read in two ways: the
/// run folder becomes part of a configfs value, in which commas separate.
fn is_plain(path: &Path) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    path.is_absolute()
        && path.to_str().is_some_and(|text| text.chars().all(plain))
        && path.components().all(|part| part != std::path::Component::ParentDir)
        && path != Path::new("/")
}

/// Where exports listen if the file does not say: where the agent listens, if that is one
/// address; else the node's only global address. With several there is no telling which of them
/// is the fast network.
fn data_address(listen: IpAddr, addresses: &[IpAddr]) -> anyhow::Result<IpAddr> {
    if !listen.is_unspecified() {
        return Ok(listen);
    }
    match addresses {
        [one] => Ok(*one),
        [] => bail!("data_address: this node has no global address; say which one exports use"),
        many => {
            let many: Vec<_> = many.iter().map(ToString::to_string).collect();
            bail!("data_address: this node has {}; say which one exports use", many.join(", "))
        }
    }
}

/// Fedora's family keeps records under /var/lib; everyone else under /etc.
fn iscsi_database() -> PathBuf {
    let fedora = Path::new("/var/lib/iscsi");
    if fedora.join("nodes").is_dir() { fedora.to_owned() } else { "/etc/iscsi".into() }
}

/// The node's addresses that others can reach: neither loopback nor link-local.
pub(crate) fn global_addresses() -> anyhow::Result<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = nix::ifaddrs::getifaddrs()
        .context("list the network interfaces")?
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))
        })
        .filter(|address| is_global(*address))
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

fn is_global(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(text: &str, addresses: &[&str]) -> anyhow::Result<Config> {
        let tls = "tls: {ca: /a, cert: /b, key: /c}\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.yaml");
        std::fs::write(&path, format!("{tls}{text}")).unwrap();
        let addresses: Vec<_> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        Config::settle(config_file::load(&path)?, "host7", &addresses)
    }

    fn refusal(text: &str, addresses: &[&str]) -> String {
        format!("{:#}", settle(text, addresses).unwrap_err())
    }

    #[test]
    fn the_example_is_a_whole_configuration() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/agent.yaml");
        let file: ConfigFile = config_file::load(Path::new(example)).unwrap();
        let config = Config::settle(file, "n1", &[]).unwrap();
        assert_eq!(config.data.to_string(), "10.0.0.1:3260");
        // Each field is in the example, commented out or not.
        let text = std::fs::read_to_string(example).unwrap();
        for field in [
            "node:",
            "listen:",
            "data_address:",
            "data_port:",
            "data_networks:",
            "iqn_authority:",
            "memory:",
            "floor:",
            "mount_root:",
            "mount_roots:",
            "run_folder:",
            "iscsi_database:",
            "slurm_commands:",
            "tls:",
            "ca:",
            "cert:",
            "key:",
        ] {
            assert!(text.contains(field), "{field} is not described");
        }
    }

    #[test]
    fn everything_but_tls_has_a_default() {
        let config = settle("", &["10.1.2.3"]).unwrap();
        assert_eq!(config.node, "host7");
        assert_eq!(config.listen.to_string(), "0.0.0.0:7702");
        assert_eq!(config.data.to_string(), "10.1.2.3:3260");
        assert_eq!(config.floor, Floor::Usual);
        assert_eq!(config.mount_root, Path::new("/rampool"));
    }

    #[test]
    fn the_data_address_is_never_guessed_among_several() {
        let told = refusal("", &["10.1.2.3", "192.168.0.3"]);
        assert!(told.contains("10.1.2.3, 192.168.0.3"), "{told}");
        let config = settle("listen: 10.9.9.9:1\n", &["10.1.2.3", "10.9.9.9"]).unwrap();
        assert_eq!(config.data.ip().to_string(), "10.9.9.9");
        assert!(refusal("", &[]).contains("no global address"));
        assert!(refusal("data_address: 0.0.0.0\n", &[]).contains("0.0.0.0"));
    }

    #[test]
    fn nonsense_is_refused_with_the_field() {
        for (text, field) in [
            ("node: N1\n", "node"),
            ("iqn_authority: rampool\n", "iqn_authority"),
            ("mount_root: relative\n", "mount_root"),
            ("mount_roots: [/scratch, /]\n", "mount_roots"),
            ("data_networks: [10.0.0.0/40]\n", "data_networks"),
            ("run_folder: /run/a,b\n", "run_folder"),
            ("data_port: 0\n", "data_port"),
            ("slurm_commands: bin\n", "slurm_commands"),
            ("colour: red\n", "colour"),
            ("memory: {floor: lots}\n", "lots"),
            ("memory: {ceiling: 1}\n", "ceiling"),
        ] {
            let told = refusal(text, &["10.1.2.3"]);
            assert!(told.contains(field), "{field}: {told}");
        }
    }
}
