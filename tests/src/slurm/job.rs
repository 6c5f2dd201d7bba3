//! Jobs of an ordinary user: submitted, watched, and what they printed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Fields, SlurmCluster};
use crate::cluster::CONTROLLER;
use crate::until::until;

/// A job that Slurm accepted.
pub struct Job<'a> {
    slurm: &'a SlurmCluster,
    /// Slurm's number of it.
    pub id: u32,
}

/// States in which a job uses nothing more, by `scontrol show job`.
const OVER: [&str; 8] = [
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "BOOT_FAIL",
];

impl SlurmCluster {
    /// Submits a script as an ordinary user. What it prints goes to a file of its first node.
    ///
    /// # Errors
    /// When it is refused, with what sbatch says.
    pub fn submit(&self, options: &[&str], script: &str) -> Result<Job<'_>> {
        let words = ["sbatch", "--parsable", "--output=/tmp/job-%j.out"];
        let said = self.as_user(&[&words[..], options].concat(), script)?.ok()?;
        let id = said.trim().parse().with_context(|| format!("sbatch said {said:?}"))?;
        Ok(Job { slurm: self, id })
    }

    /// A job that is known by its number.
    #[must_use]
    pub fn job(&self, id: u32) -> Job<'_> {
        Job { slurm: self, id }
    }

    /// What sbatch says when it refuses a script.
    ///
    /// # Errors
    /// When it accepts it.
    pub fn refusal(&self, options: &[&str], script: &str) -> Result<String> {
        self.refused(&[&["sbatch"], options].concat(), script)
    }

    /// What a command of the user's says when it fails.
    ///
    /// # Errors
    /// When it ends well.
    pub fn refused(&self, argv: &[&str], input: &str) -> Result<String> {
        let output = self.as_user(argv, input)?;
        ensure!(!output.status.success(), "accepted: {} {input}", argv.join(" "));
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Job<'_> {
    /// As `scontrol show job` tells it.
    ///
    /// # Errors
    /// When slurmctld does not answer, or does not know it any more.
    pub fn show(&self) -> Result<Fields> {
        let words = ["scontrol", "-o", "show", "job", &self.id.to_string()];
        let listing = self.slurm.slurm(&words)?;
        // Of a number that is an array's too, all tasks are shown.
        let own = format!("JobId={} ", self.id);
        let line = listing.lines().find(|line| line.starts_with(&own));
        line.map(Fields::parse).with_context(|| format!("no job {}: {listing}", self.id))
    }

    /// Its fields, once they are so.
    ///
    /// # Errors
    /// When it is not so `within` that time, with the fields then.
    pub fn until(
        &self,
        what: &str,
        within: Duration,
        so: impl Fn(&Fields) -> bool,
    ) -> Result<Fields> {
        until(&format!("job {} {what}", self.id), within, || {
            let fields = self.show()?;
            Ok(if so(&fields) { Ok(fields) } else { Err(fields) })
        })
    }

    /// Its fields, once it is over; `COMPLETING` is not over yet.
    ///
    /// # Errors
    /// When it is not over `within` that time.
    pub fn until_over(&self, within: Duration) -> Result<Fields> {
        self.until("over", within, |fields| OVER.contains(&fields.get("JobState")))
    }

    /// What its script printed. The job must have run: its first node has the file.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn output(&self) -> Result<String> {
        let host = self.show()?;
        let host = host.get("BatchHost");
        ensure!(!host.is_empty(), "job {} never had a first node", self.id);
        self.slurm.cluster.node(host).sh(&format!("cat /tmp/job-{}.out", self.id))
    }

    /// Ends it as its user would.
    ///
    /// # Errors
    /// When scancel fails.
    pub fn cancel(&self) -> Result<()> {
        self.slurm.as_user(&["scancel", &self.id.to_string()], "")?.ok().map(drop)
    }

    /// Changes it by `scontrol update`, as root.
    ///
    /// # Errors
    /// When slurmctld refuses.
    pub fn update(&self, change: &str) -> Result<()> {
        let job = format!("JobId={}", self.id);
        self.slurm.cluster.node(CONTROLLER).exec(["scontrol", "update", &job, change])?.ok()?;
        Ok(())
    }
}
