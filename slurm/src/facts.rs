//! What `job_submit.lua` may know: it runs inside slurmctld, under its locks, and asks nobody. So
//! the controller keeps a file of facts for it, and the script refuses at submission what could
//! never come true. Facts that are missing, torn or old refuse nothing.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rampool_proto::size::{LENT_OVERHEAD_PART, MIB};
use rampool_proto::v1::Redundancy;
use serde::Deserialize;

use crate::text::partition::MemoryShare;
use crate::wish;

/// Of the file's form: a script of another version takes the file for missing.
const VERSION: u32 = 3;

/// Whose memory a job's pool is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lend {
    /// The job's own nodes'.
    Own,
    /// That of donors outside the job.
    Pool,
}

/// A feature that a job may name, and the profile behind it.
#[derive(Clone, Debug)]
pub struct JobProfile {
    /// The feature's name, which is the profile's.
    pub name: String,
    /// Whose memory it is.
    pub lend: Lend,
    /// What the pool bears the loss of unless the job says otherwise.
    pub redundancy: Redundancy,
    /// How large it is unless the job says otherwise.
    pub size: PoolSize,
    /// How many of its pieces are reserved, and hold nothing yet.
    pub spares: u32,
}

/// How large a profile's pools are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolSize {
    /// Its jobs say that themselves.
    Unsaid,
    /// So many bytes of each node.
    PerNode(u64),
    /// So many bytes altogether.
    Whole(u64),
}

/// By what jobs wait for the memory of donors outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitBy {
    /// There are so many licences, of which a job takes one for each GiB.
    Licences(u64),
    /// Slurm's burst buffer, of which a job takes a share.
    BurstBuffer {
        /// The most that the donors can lend to jobs, in bytes.
        total: u64,
        /// What of that nobody has, in bytes.
        free: u64,
    },
}

/// All that the script may know.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When it was so.
    pub written: SystemTime,
    /// For how long it may be believed.
    pub fresh_for: Duration,
    /// The features.
    pub profiles: Vec<JobProfile>,
    /// Whether every node was heard of: else nobody knows what is too much.
    pub complete: bool,
    /// For each node of the cluster that lends to its own jobs: the most that it can, in bytes.
    pub own: Vec<u64>,
    /// For each donor outside of jobs: the most that it can lend, in bytes.
    pub pool: Vec<u64>,
    /// How many donors outside of jobs there are.
    pub donors: usize,
    /// By what jobs wait for the memory of donors outside; none: there are none, or Slurm has no
    /// such licence, or did not say.
    pub wait_by: Option<WaitBy>,
    /// Partitions that suspend jobs: a suspended job would keep the memory.
    pub suspending: Vec<String>,
    /// Partitions whose jobs have all CPUs of their nodes.
    pub exclusive: Vec<String>,
    /// What jobs of a partition have that ask for no memory, where that is less than their whole
    /// nodes.
    pub defaults: Vec<(String, MemoryShare)>,
    /// Where a job is that names no partition.
    pub default_partition: Option<String>,
}

impl fmt::Display for Lend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::Pool => "pool",
        })
    }
}

/// The file's text: one fact a line, its words apart by blanks; the last line is `end`.
impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rampool-facts {VERSION}")?;
        let written = self.written.duration_since(UNIX_EPOCH).unwrap_or_default();
        writeln!(f, "written {}", written.as_secs())?;
        writeln!(f, "fresh-for {}", self.fresh_for.as_secs())?;
        for profile in &self.profiles {
            let redundancy = wish::name_of(profile.redundancy);
            writeln!(f, "profile {} {} {redundancy}", profile.name, profile.lend)?;
            let (unit, bytes) = match profile.size {
                PoolSize::Unsaid => ("none", 0),
                PoolSize::PerNode(bytes) => ("node", bytes),
                PoolSize::Whole(bytes) => ("whole", bytes),
            };
            let (mib, spares) = (bytes.div_ceil(MIB), profile.spares);
            writeln!(f, "size-mib {} {unit} {mib} {spares}", profile.name)?;
        }
        writeln!(f, "overhead-part {LENT_OVERHEAD_PART}")?;
        if self.complete {
            writeln!(f, "lendable-mib own{}", counted(&self.own))?;
            writeln!(f, "lendable-mib pool{}", counted(&self.pool))?;
        }
        match self.wait_by {
            Some(WaitBy::Licences(licences)) => {
                writeln!(f, "licences {licences} {}", self.donors)?;
            }
            Some(WaitBy::BurstBuffer { total, free }) => {
                writeln!(f, "buffer-mib {} {} {}", total / MIB, free / MIB, self.donors)?;
            }
            None => {}
        }
        for partition in &self.suspending {
            writeln!(f, "suspends {partition}")?;
        }
        for partition in &self.exclusive {
            writeln!(f, "exclusive {partition}")?;
        }
        for (partition, memory) in &self.defaults {
            let (unit, mib) = match memory {
                MemoryShare::PerNode(mib) => ("node", mib),
                MemoryShare::PerCpu(mib) => ("cpu", mib),
            };
            writeln!(f, "default-mib {partition} {unit} {mib}")?;
        }
        if let Some(partition) = &self.default_partition {
            writeln!(f, "default-partition {partition}")?;
        }
        writeln!(f, "end")
    }
}

/// `3x61440 64x30720`: how many nodes lend how many MiB, the largest first.
fn counted(bytes: &[u64]) -> String {
    let mut sizes: Vec<_> = bytes.iter().map(|bytes| bytes / MIB).collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    let mut text = String::new();
    for same in sizes.chunk_by(|one, other| one == other) {
        let _ = write!(text, " {}x{}", same.len(), same[0]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_lines_of_words_and_says_where_it_ends() {
        let facts = Facts {
            written: UNIX_EPOCH + Duration::from_secs(1_795_350_501),
            fresh_for: Duration::from_secs(120),
            profiles: vec![
                JobProfile {
                    name: "moreIOPS".to_owned(),
                    lend: Lend::Own,
                    redundancy: Redundancy::Mirror,
                    size: PoolSize::PerNode(64 * MIB + 1),
                    spares: 1,
                },
                JobProfile {
                    name: "lake".to_owned(),
                    lend: Lend::Pool,
                    redundancy: Redundancy::None,
                    size: PoolSize::Whole(300 * MIB),
                    spares: 0,
                },
            ],
            complete: true,
            own: vec![512 * MIB, 1024 * MIB, 512 * MIB + 1],
            pool: vec![2048 * MIB; 2],
            donors: 2,
            wait_by: Some(WaitBy::Licences(4)),
            suspending: vec!["debug".to_owned()],
            exclusive: vec!["whole".to_owned()],
            defaults: vec![("main".to_owned(), MemoryShare::PerCpu(2048))],
            default_partition: Some("main".to_owned()),
        };
        assert_eq!(
            facts.to_string(),
            "rampool-facts 3\n\
             written 1795350501\n\
             fresh-for 120\n\
             profile moreIOPS own mirror\n\
             size-mib moreIOPS node 65 1\n\
             profile lake pool none\n\
             size-mib lake whole 300 0\n\
             overhead-part 100\n\
             lendable-mib own 1x1024 2x512\n\
             lendable-mib pool 2x2048\n\
             licences 4 2\n\
             suspends debug\n\
             exclusive whole\n\
             default-mib main cpu 2048\n\
             default-partition main\n\
             end\n"
        );
        let wait_by = WaitBy::BurstBuffer { total: 4096 * MIB, free: 2047 * MIB + 1 };
        let buffer = Facts { wait_by: Some(wait_by), ..facts }.to_string();
        assert!(buffer.contains("\nbuffer-mib 4096 2047 2\n"), "{buffer}");
        assert!(!buffer.contains("licences"), "{buffer}");
    }
}
