//! The pools that one job was given, one after the other. Slurm's own count of restarts differs
//! between the hooks of one run; this one is the controller's. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use rampool_proto::hostlist::HostList;
use rampool_proto::pool_name::{PoolName, PoolNameError};

use crate::pool::record::PoolRecord;

/// The greatest run whose name has room beside the longest job number. After it they are counted
/// from 1 again: the first ones are released long since.
const MOST_RUNS: u32 = 999;

/// The pools of this job among `records`, the last run last.
#[must_use]
pub fn of(job: u32, records: Vec<Arc<PoolRecord>>) -> Vec<Arc<PoolRecord>> {
    let mut own: Vec<_> =
        records.into_iter().filter(|record| job_of(record) == Some(job)).collect();
    own.sort_by_key(|record| (record.created_ms, run_of(record)));
    own
}

/// The job that a pool belongs to.
#[must_use]
pub fn job_of(record: &PoolRecord) -> Option<u32> {
    record.assembly.name.job().map(|(job, _)| job)
}

/// Which of its job's pools it is; 0 where it is no job's.
#[must_use]
pub fn run_of(record: &PoolRecord) -> u32 {
    record.assembly.name.job().map_or(0, |(_, run)| run)
}

/// The nodes of a pool's job.
#[must_use]
pub fn nodes_of(record: &PoolRecord) -> BTreeSet<String> {
    list_of(record).iter().map(str::to_owned).collect()
}

/// The node of a pool's job that runs its script.
#[must_use]
pub fn first_node_of(record: &PoolRecord) -> Option<String> {
    list_of(record).iter().next().map(str::to_owned)
}

/// In Slurm's order.
fn list_of(record: &PoolRecord) -> HostList {
    let job = record.spec.job.as_ref();
    job.and_then(|job| job.nodes.parse().ok()).unwrap_or_default()
}

/// The name of a job's next pool, after those of `runs`.
pub fn next(job: u32, runs: &[Arc<PoolRecord>]) -> Result<PoolName, PoolNameError> {
    let last = runs.last().map_or(0, |record| run_of(record));
    PoolName::of_job(job, last % MOST_RUNS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::record::samples;

    fn record(assembly: &str, created_ms: u64) -> Arc<PoolRecord> {
        Arc::new(PoolRecord { created_ms, ..samples::ready(assembly) })
    }

    #[test]
    fn a_jobs_pools_come_in_their_order_and_the_next_has_a_new_name() {
        let records = vec![
            record("job-17-2.1", 20),
            record("job-170-1.1", 30),
            record("demo.1", 5),
            record("job-17-1.1", 10),
        ];
        let own = of(17, records);
        let names: Vec<String> = own.iter().map(|r| r.assembly.to_string()).collect();
        assert_eq!(names, ["job-17-1.1", "job-17-2.1"]);
        assert_eq!(next(17, &own).unwrap().as_str(), "job-17-3");
        assert_eq!(next(9, &[]).unwrap().as_str(), "job-9-1");
    }

    #[test]
    fn the_longest_job_number_never_runs_out_of_names() {
        let last = [record("job-67108863-999.1", 1)];
        assert_eq!(next(67_108_863, &last).unwrap().as_str(), "job-67108863-1");
    }
}
