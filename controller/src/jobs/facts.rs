//! The file from which `job_submit.lua` knows what could never come true.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rampool_proto::v1::{Failure, Redundancy};
use rampool_slurm::facts::{Facts, JobProfile, Lend};
use rampool_slurm::wish::LICENCE;

use super::Jobs;

/// How often the file is written.
const EVERY: Duration = Duration::from_secs(20);

/// How soon again where Slurm was not heard: until then jobs take no licences.
const AGAIN: Duration = Duration::from_secs(5);

/// For how long it may be believed: a controller that is restarted meanwhile is no reason to accept
/// what it would refuse.
const FRESH_FOR: Duration = Duration::from_secs(120);

impl Jobs {
    /// Keeps the file, until the process ends.
    pub async fn keep_facts(self: Arc<Self>) {
        let Some(path) = self.config.facts.clone() else { return };
        let mut pause = Duration::ZERO;
        loop {
            tokio::time::sleep(pause).await;
            pause = AGAIN;
            // A node that was never heard of may lend much: nothing is better than too little.
            if self.nodes.all().iter().any(|known| known.inventory.is_none()) {
                continue;
            }
            let (facts, complete) = self.facts().await;
            if complete {
                pause = EVERY;
            }
            let text = facts.to_string();
            let file = path.clone();
            let written = tokio::task::spawn_blocking(move || replace(&file, &text)).await;
            let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
            if let Err(error) = written {
                tracing::error!(path = %path.display(), %error, "job_submit.lua has no new facts");
            }
        }
    }

    /// What is known, and whether that is all: where Slurm does not say, no job is refused for its
    /// partition, nor takes licences.
    async fn facts(&self) -> (Facts, bool) {
        let said = async {
            let partitions = self.slurm.partitions().await?;
            // Licences count the memory of donors outside of jobs alone.
            let licences = if self.donors_of_pools().is_empty() {
                None
            } else {
                self.hear_of_slurms_nodes().await?;
                self.slurm.config().await?.licenses(LICENCE)
            };
            Ok::<_, Failure>((partitions, licences))
        };
        let said = said.await.inspect_err(|failure| {
            tracing::warn!(%failure, "job_submit.lua is not told of partitions and licences");
        });
        let complete = said.is_ok();
        let (partitions, licences) = said.unwrap_or_default();
        let suspends = partitions.into_iter().filter(|partition| partition.suspends);
        let facts = Facts {
            written: SystemTime::now(),
            fresh_for: FRESH_FOR,
            profiles: self.job_profiles().collect(),
            own: self.lendable(|_| true),
            pool: self.lent_to_jobs_elsewhere(),
            licences,
            suspending: suspends.map(|partition| partition.name).collect(),
        };
        (facts, complete)
    }

    fn job_profiles(&self) -> impl Iterator<Item = JobProfile> + '_ {
        self.profiles.iter().filter_map(|(name, profile)| {
            Some(JobProfile {
                name: name.clone(),
                lend: profile.lend?,
                redundancy: profile.redundancy.map_or(Redundancy::None, Into::into),
                size: profile.size.filter(|_| profile.lend == Some(Lend::Pool)),
            })
        })
    }

    /// The most that each donor of pools could lend to jobs elsewhere.
    fn lent_to_jobs_elsewhere(&self) -> Vec<u64> {
        let donors = self.donors_of_pools();
        let nodes = self.nodes.all().into_iter().filter(|known| donors.contains(&known.name));
        nodes.filter_map(|known| self.most_elsewhere(&known)).collect()
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
