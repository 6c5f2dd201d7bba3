//! The file from which `job_submit.lua` knows what could never come true.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rampool_proto::v1::Redundancy;
use rampool_slurm::facts::{Facts, JobProfile, Lend, PoolSize};
use rampool_slurm::text::partition::Partition;

use super::Jobs;
use crate::profile::Profile;

/// How often the file is written.
const EVERY: Duration = Duration::from_secs(20);

/// For how long it may be believed: a controller that is restarted meanwhile is no reason to accept
/// what it would refuse.
const FRESH_FOR: Duration = Duration::from_secs(120);

impl Jobs {
    /// Keeps the file, until the process ends.
    pub async fn keep_facts(self: Arc<Self>) {
        let Some(path) = self.config.facts.clone() else { return };
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            let text = self.facts().await.to_string();
            let file = path.clone();
            let written = tokio::task::spawn_blocking(move || replace(&file, &text)).await;
            let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
            if let Err(error) = written {
                tracing::error!(path = %path.display(), %error, "job_submit.lua has no new facts");
            }
        }
    }

    async fn facts(&self) -> Facts {
        // Where Slurm does not say, no job is refused for its partition, nor asks for more memory
        // than its user did.
        let partitions = self.slurm.partitions().await.unwrap_or_else(|failure| {
            tracing::warn!(%failure, "what partitions do with their jobs is not known");
            Vec::new()
        });
        let config = self.slurm.config().await.inspect_err(|failure| {
            tracing::warn!(%failure, "what memory a job has by default is not known");
        });
        let everywhere = config.ok().and_then(|config| config.default_memory());
        let names = |is: fn(&Partition) -> bool| {
            let those = partitions.iter().filter(|partition| is(partition));
            those.map(|partition| partition.name.clone()).collect::<Vec<_>>()
        };
        let default = |partition: &Partition| {
            Some((partition.name.clone(), partition.default_memory.or(everywhere)?))
        };
        Facts {
            written: SystemTime::now(),
            fresh_for: FRESH_FOR,
            profiles: self.job_profiles().collect(),
            // A node that was never heard of may lend much.
            complete: self.nodes.all().iter().all(|known| known.inventory.is_some()),
            own: self.lendable(|_| true),
            pool: self.lendable(|node| self.is_donor_of_pools(node)),
            suspending: names(|partition| partition.suspends),
            exclusive: names(|partition| partition.gives_whole_nodes),
            defaults: partitions.iter().filter_map(default).collect(),
            default_partition: names(|partition| partition.is_default).pop(),
        }
    }

    fn job_profiles(&self) -> impl Iterator<Item = JobProfile> + '_ {
        self.profiles.iter().filter_map(|(name, profile)| {
            Some(JobProfile {
                name: name.clone(),
                lend: profile.lend?,
                redundancy: profile.redundancy.map_or(Redundancy::None, Into::into),
                size: match (profile.size_per_donor, profile.size) {
                    (Some(bytes), _) => PoolSize::PerNode(bytes),
                    (None, Some(bytes)) => PoolSize::Whole(bytes),
                    (None, None) => PoolSize::Unsaid,
                },
                spares: profile.spares.unwrap_or(0),
            })
        })
    }

    fn is_donor_of_pools(&self, node: &str) -> bool {
        let of_pools = |profile: &&Profile| profile.lend == Some(Lend::Pool);
        let mut pools = self.profiles.values().filter(of_pools);
        pools.any(|profile| profile.donors.as_ref().is_some_and(|donors| donors.contains(node)))
    }

    /// The most that each of these nodes could lend, with what it lends now, as it said last.
    fn lendable(&self, counts: impl Fn(&str) -> bool) -> Vec<u64> {
        let nodes = self.nodes.all().into_iter().filter(|known| counts(&known.name));
        let memory = nodes.filter_map(|known| known.inventory?.memory);
        memory.map(|memory| memory.lendable_bytes + memory.lent_bytes).collect()
    }
}

/// Writes a file anew, whole or not at all. Anybody may read it: slurmctld does.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(folder)?;
    let new = path.with_extension("new");
    let mut file = std::fs::File::create(&new)?;
    // Whatever the process's umask says.
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(new, path)
}
