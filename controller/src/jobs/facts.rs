//! The file from which `job_submit.lua` knows what could never come true.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rampool_proto::v1::{Failure, Redundancy};
use rampool_slurm::facts::{Facts, JobProfile, PoolSize, WaitBy};
use rampool_slurm::text::config::Config;
use rampool_slurm::text::partition::Partition;
use rampool_slurm::wish::LICENCE;

use super::{Jobs, UNTIL_HEARD, Waiting};

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
        // Nodes are heard of soon after the controller began; one that is down is not waited for.
        self.comes_to_be(UNTIL_HEARD, || self.all_are_heard()).await;
        loop {
            let taken = self.taken_of_buffer();
            let (facts, slurm_answers) = self.facts().await;
            let text = facts.to_string();
            let file = path.clone();
            let written = tokio::task::spawn_blocking(move || replace(&file, &text)).await;
            let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
            if let Err(error) = written {
                tracing::error!(path = %path.display(), %error, "job_submit.lua has no new facts");
            }
            let pause = if slurm_answers { EVERY } else { AGAIN };
            // What is free is told at once where it changes: Slurm believes it over its own count.
            self.comes_to_be(pause, || self.taken_of_buffer() != taken).await;
        }
    }

    /// What of the burst buffer is taken; nothing where there is none.
    fn taken_of_buffer(&self) -> u64 {
        match self.config.wait_by {
            Waiting::Licence => 0,
            Waiting::BurstBuffer => self.pools.taken_elsewhere(&self.donors_of_pools()),
        }
    }

    fn buffer(&self) -> WaitBy {
        WaitBy::BurstBuffer {
            total: self.lent_to_jobs_elsewhere().iter().sum(),
            free: self.pools.free_elsewhere(&self.donors_of_pools()),
        }
    }

    /// What is known, and whether Slurm answers: where it does not, no job is refused for its
    /// partition, takes licences, or asks for more memory than its user did.
    async fn facts(&self) -> (Facts, bool) {
        // Licences count the memory of donors outside of jobs alone.
        let donors = self.donors_of_pools();
        let said = async {
            if !donors.is_empty() {
                self.hear_of_slurms_nodes().await?;
            }
            Ok::<_, Failure>((self.slurm.partitions().await?, self.slurm.config().await?))
        };
        let said = said.await.inspect_err(|failure| {
            tracing::warn!(
                %failure, "job_submit.lua is not told of partitions, licences and usual memory"
            );
        });
        let slurm_answers = said.is_ok();
        let (partitions, config) = said.unwrap_or_default();
        let names = |is: fn(&Partition) -> bool| {
            let those = partitions.iter().filter(|partition| is(partition));
            those.map(|partition| partition.name.clone()).collect::<Vec<_>>()
        };
        let default = |partition: &Partition| {
            let memory = partition.default_memory.or(config.default_memory())?;
            Some((partition.name.clone(), memory))
        };
        let facts = Facts {
            written: SystemTime::now(),
            fresh_for: FRESH_FOR,
            profiles: self.job_profiles().collect(),
            complete: self.all_are_heard(),
            own: self.lendable(|_| true),
            pool: self.lent_to_jobs_elsewhere(),
            donors: donors.len(),
            wait_by: self.wait_by(&config).filter(|_| !donors.is_empty()),
            suspending: names(|partition| partition.suspends),
            exclusive: names(|partition| partition.gives_whole_nodes),
            defaults: partitions.iter().filter_map(default).collect(),
            default_partition: names(|partition| partition.is_default).pop(),
        };
        (facts, slurm_answers)
    }

    fn wait_by(&self, config: &Config) -> Option<WaitBy> {
        match self.config.wait_by {
            Waiting::Licence => config.licenses(LICENCE).map(WaitBy::Licences),
            // What nodes under Slurm may lend is known only once Slurm was heard.
            Waiting::BurstBuffer if !self.pools.knows_allowances() => None,
            Waiting::BurstBuffer => Some(self.buffer()),
        }
    }

    /// A node that was never heard of may lend much.
    fn all_are_heard(&self) -> bool {
        self.nodes.all().iter().all(|known| known.inventory.is_some())
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
