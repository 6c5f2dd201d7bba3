//! Slurm alone: jobs that ask for no pool run as if rampool were not there.

use std::time::Duration;

use anyhow::{Result, ensure};
use rampool_e2e::slurm::SlurmCluster;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn a_job_without_a_pool_runs() -> Result<()> {
    SlurmCluster::builder("plain", 2).boot()?.run(|slurm| {
        let job = slurm.submit(&["-N2"], "#!/bin/sh\nsrun hostname | sort\n")?;
        let fields = job.until_over(MINUTE)?;
        ensure!(fields.get("JobState") == "COMPLETED", "{fields}");
        ensure!(job.output()? == "n2\nn3", "{}", job.output()?);
        slurm.until_idle(MINUTE)
    })
}
