//! `/etc/rampool/slurm.yaml`: where the controller is, and what hooks must know without it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rampool_proto::by_text::ByText;
use rampool_proto::config_file::{self, ConfigError};
use rampool_proto::tls::TlsFiles;
use rampool_proto::v1::{Failure, FailureKind};
use rampool_slurm::commands;
use serde::Deserialize;

use crate::client::Way;
use crate::request::wish::Seconds;

/// Where it is, unless `--config` or `RAMPOOL_SLURM_CONFIG` say otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/rampool/slurm.yaml";

/// More profiles than any site has.
const MOST_FEATURES: usize = 1000;

/// Slurm's own names are shorter.
const LONGEST_NAME: usize = 255;

/// Beyond this a hook does not wait: it hangs.
const LONGEST_DEADLINE: Duration = Duration::from_secs(3600);

/// The hooks' configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlurmConfig {
    /// The controller's `host:port`.
    pub controller: String,
    /// The name in the controller's certificate, where it is not the host above.
    pub name: Option<String>,
    /// Who we are.
    pub tls: TlsFiles,
    /// Slurm's ClusterName.
    pub cluster: String,
    /// The profiles that a job may name by `--constraint`.
    #[serde(default)]
    pub features: Vec<String>,
    /// The folder of Slurm's commands.
    #[serde(default = "default_commands")]
    pub commands: PathBuf,
    #[serde(default = "default_deadline")]
    deadline: ByText<Seconds>,
    #[serde(default = "default_node_deadline")]
    node_deadline: ByText<Seconds>,
}

fn default_commands() -> PathBuf {
    commands::FOLDER.into()
}

fn default_deadline() -> ByText<Seconds> {
    ByText(Seconds(120))
}

fn default_node_deadline() -> ByText<Seconds> {
    ByText(Seconds(60))
}

impl SlurmConfig {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// Where it cannot be read, or cannot be meant.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let config: Self = config_file::load(path).map_err(|error| {
            let kind = match &error {
                ConfigError::Read { .. } => FailureKind::Failed,
                _ => FailureKind::Invalid,
            };
            bad(kind).saying(error)
        })?;
        config.check().map_err(|problem| {
            bad(FailureKind::Invalid).saying(format!("{}: {problem}", path.display()))
        })?;
        Ok(config)
    }

    /// Says what in it cannot be meant.
    fn check(&self) -> Result<(), String> {
        let is_name = |name: &str| {
            let odd = |c: char| c.is_whitespace() || c.is_control() || "&|,()[]!*".contains(c);
            !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(odd)
        };
        if !is_name(&self.cluster) {
            return Err(format!("cluster {:?} is no name of a cluster", self.cluster));
        }
        if self.features.len() > MOST_FEATURES {
            return Err(format!("more than {MOST_FEATURES} features"));
        }
        if let Some(odd) = self.features.iter().find(|name| !is_name(name)) {
            return Err(format!("features: {odd:?} is no name of a feature"));
        }
        if !self.commands.is_absolute() {
            return Err(format!("commands {} is not absolute", self.commands.display()));
        }
        let deadlines = [("deadline", self.deadline()), ("node_deadline", self.node_deadline())];
        match deadlines.iter().find(|(_, time)| *time > LONGEST_DEADLINE) {
            Some((name, _)) => Err(format!("{name} is longer than an hour")),
            None => Ok(()),
        }
    }

    /// How long the making of a job's pool may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline.0.0)
    }

    /// How long a node may wait: before a job starts there for what others hold, and after it
    /// left for its own memory.
    #[must_use]
    pub fn node_deadline(&self) -> Duration {
        Duration::from_secs(self.node_deadline.0.0)
    }

    /// The way to the controller; `file` is where this was read.
    pub(super) fn way<'a>(&'a self, file: &'a Path) -> Way<'a> {
        Way { address: &self.controller, name: self.name.as_deref(), tls: &self.tls, file }
    }
}

fn bad(kind: FailureKind) -> Failure {
    Failure::new(kind, "read the configuration of Slurm's hooks")
        .advising("examples/slurm.yaml explains each field; --config names another file")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "{controller: 'c:1', tls: {ca: a, cert: b, key: c}, cluster: x";

    fn problem(more: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("slurm.yaml");
        std::fs::write(&file, format!("{LEAST}{more}}}")).unwrap();
        match SlurmConfig::load(&file) {
            Ok(_) => String::new(),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(problem(""), "");
        assert_eq!(problem(", features: [moreIOPS, moreIOPS_64G], deadline: 1h"), "");
        for (more, words) in [
            (", feature: [x]", "unknown field `feature`"),
            (", features: ['a b']", "\"a b\" is no name of a feature"),
            (", features: ['a|b']", "no name of a feature"),
            (", features: ['']", "no name of a feature"),
            (", commands: bin", "commands bin is not absolute"),
            (", deadline: 0s", "no time at all"),
            (", deadline: 90", "no duration"),
            (", node_deadline: 2h", "node_deadline is longer than an hour"),
        ] {
            let said = problem(more);
            assert!(said.contains(words) && said.contains("examples/slurm.yaml"), "{more}: {said}");
        }
    }
}
