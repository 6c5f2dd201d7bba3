//! Slurm's jobs that want a pool, and in plain words why each waits, or failed.

use std::collections::BTreeSet;
use std::sync::Arc;

use rampool_proto::v1::{Failure, FailureKind, JobId, JobStatus, ListJobsResponse};
use rampool_slurm::constraint;
use rampool_slurm::text::job::{Job, Phase as SlurmPhase};
use rampool_slurm::text::time::TimeLeft;

use super::failures::Failures;
use super::{Jobs, runs};
use crate::clock::now_ms;
use crate::pool::record::PoolRecord;
use crate::pool::status;

/// When Slurm ends a job, in milliseconds since the Unix epoch; none where it does not say.
pub(super) fn end_ms(left: TimeLeft, now_ms: u64) -> Option<u64> {
    match left {
        TimeLeft::Some(left) => {
            Some(now_ms.saturating_add(left.as_millis().try_into().unwrap_or(u64::MAX)))
        }
        TimeLeft::Unlimited | TimeLeft::Unknown => None,
    }
}

/// What is known of one job.
struct Known<'a> {
    id: u32,
    /// In Slurm; none where it does not know it (any more).
    job: Option<&'a Job>,
    failures: Option<Failures>,
    pool: Option<Arc<PoolRecord>>,
}

impl Jobs {
    /// When Slurm ends a job that has a pool, at the latest; 0 where it did not say.
    pub fn end_of(&self, job: u32) -> u64 {
        self.locked(|kept| kept.ends.get(&job).copied()).unwrap_or_default()
    }

    /// One job, or all that want a pool, have one, or failed to get one. Where Slurm is silent,
    /// what is known without it.
    pub async fn list(&self, only: Option<u32>) -> Result<ListJobsResponse, Failure> {
        let asked = match only {
            Some(id) => self.slurm.job(id).await.map(|job| job.into_iter().collect()),
            None => self.slurm.jobs_in_full().await,
        };
        let (jobs, silence): (Vec<Job>, _) = match asked {
            Ok(jobs) => (jobs, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        let ids = only.map_or_else(|| self.of_interest(&jobs), |id| BTreeSet::from([id]));
        let known: Vec<Known<'_>> = ids.into_iter().map(|id| self.known(id, &jobs)).collect();
        if let (Some(id), None, [one]) = (only, &silence, &known[..])
            && one.is_nothing()
        {
            return Err(Failure::new(FailureKind::NotFound, format!("find job {id}"))
                .saying("Slurm does not know it (any more), and it has no pool"));
        }
        let now = now_ms();
        let status = |one: &Known<'_>| JobStatus {
            id: Some(JobId { cluster: self.config.cluster.clone(), job: one.id }),
            ..one.status(silence.is_some(), now)
        };
        Ok(ListJobsResponse { jobs: known.iter().map(status).collect(), silence })
    }

    fn of_interest(&self, jobs: &[Job]) -> BTreeSet<u32> {
        let lends = |name: &str| self.profiles.get(name).is_some_and(|p| p.lend.is_some());
        let wants = |job: &&Job| {
            // One that names a profile in a way that cannot be meant wants a pool too.
            !matches!(constraint::asked(&job.constraints, lends), Ok(None))
        };
        let mut ids: BTreeSet<u32> = jobs.iter().filter(wants).map(|job| job.id).collect();
        let live = self.pools.records().into_iter().filter(|record| !record.is_released());
        ids.extend(live.filter_map(|record| runs::job_of(&record)));
        ids.extend(self.locked(|kept| kept.failures.keys().copied().collect::<Vec<_>>()));
        ids
    }

    fn known<'a>(&self, id: u32, jobs: &'a [Job]) -> Known<'a> {
        Known {
            id,
            job: jobs.iter().find(|job| job.id == id),
            failures: self.locked(|kept| kept.failures.get(&id).cloned()),
            pool: self.live(id),
        }
    }
}

impl Known<'_> {
    fn is_nothing(&self) -> bool {
        self.job.is_none() && self.failures.is_none() && self.pool.is_none()
    }

    fn status(&self, silent: bool, now_ms: u64) -> JobStatus {
        let pool = self.pool.as_ref();
        let owner = || pool.map(|pool| pool.spec.owner.clone()).unwrap_or_default();
        let nodes = || pool.and_then(|pool| Some(pool.spec.job.as_ref()?.nodes.clone()));
        JobStatus {
            id: None,
            user: self.job.map_or_else(owner, |job| job.user.clone()),
            state: self.job.map(|job| job.state.clone()).unwrap_or_default(),
            reason: self.job.map(|job| word(&job.reason).to_owned()).unwrap_or_default(),
            nodes: match self.job {
                Some(job) => job.nodes.to_string(),
                None => nodes().unwrap_or_default(),
            },
            pool: pool.map(|pool| pool.assembly.name.to_string()).unwrap_or_default(),
            expires_ms: self
                .job
                .filter(|job| job.phase() == SlurmPhase::OnNodes)
                .and_then(|job| end_ms(job.left, now_ms))
                .unwrap_or_default(),
            failures: self.failures.as_ref().map_or(0, |failures| failures.count),
            text: self.text(silent),
        }
    }

    /// What goes on with it.
    fn text(&self, silent: bool) -> String {
        let said = self.failures.as_ref().map(|failures| failures.said.as_str());
        let said = said.filter(|said| !said.is_empty()).map(plain);
        let pool = self.pool.as_ref().map(|pool| status::sentence(pool));
        let Some(job) = self.job else {
            let unknown = match silent {
                true => "Slurm does not say how it is",
                false => "Slurm does not know it any more",
            };
            return joined([Some(unknown.to_owned()), said, pool]);
        };
        match job.phase() {
            SlurmPhase::Waiting => joined([said, Some(waits(job)), pool]),
            // What was said of an earlier try is over where there is a pool.
            SlurmPhase::OnNodes => joined([Some(runs(job, pool, said))]),
            SlurmPhase::Over => joined([Some(ended(job)), said, pool]),
        }
    }
}

/// Slurm's word for a reason; `None` is its word for none.
fn word(reason: &str) -> &str {
    if reason == "None" { "" } else { reason }
}

/// What was said to Slurm, without what marks it as ours there.
fn plain(said: &str) -> String {
    said.strip_prefix(rampool_slurm::commands::OURS).unwrap_or(said).to_owned()
}

fn joined<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Slurm's reasons of which rampool's users should know more than the word.
fn waits(job: &Job) -> String {
    let id = job.id;
    match word(&job.reason) {
        "" => "Slurm did not look at it yet".to_owned(),
        "Resources" | "Priority" => "it waits for nodes with enough memory".to_owned(),
        "Licenses" => {
            "it waits for licences: those of rampool count the memory of donors, which others have"
                .to_owned()
        }
        "BurstBufferResources" => {
            "it waits for a share of the burst buffer: the memory of donors, which others have"
                .to_owned()
        }
        "BurstBufferStageIn" => "its memory is being reserved".to_owned(),
        reason if reason.contains("slurm_bb_setup") => format!(
            "Slurm holds it since its memory could not be reserved (again at once: \
             scontrol release {id})"
        ),
        "BeginTime" => format!(
            "Slurm starts it when its time has come, after a failure in two minutes \
             (at once: scontrol update jobid={id} StartTime=now)"
        ),
        "launch failed requeued held" => format!(
            "a node's Prolog refused it or failed (sinfo -R says which); when that is mended: \
             scontrol release {id}"
        ),
        "job requeued in held state" | "JobHeldAdmin" => {
            format!("it is held until an admin's scontrol release {id}")
        }
        "JobHeldUser" => format!("its user holds it: scontrol release {id}"),
        other => format!("Slurm lets it wait: {other}"),
    }
}

/// It has nodes.
fn runs(job: &Job, pool: Option<String>, said: Option<String>) -> String {
    match (job.state.as_str(), pool, said) {
        ("COMPLETING", None, said) => {
            joined([Some("its nodes are being given back".to_owned()), said])
        }
        ("COMPLETING", Some(pool), said) => joined([said, Some(pool)]),
        (_, Some(pool), _) => pool,
        ("CONFIGURING", None, said) => joined([said, Some("its pool is not begun".to_owned())]),
        (_, None, Some(said)) => said,
        (state, None, None) => format!("it is {state} and has no pool"),
    }
}

/// It never comes back.
fn ended(job: &Job) -> String {
    match job.state.as_str() {
        "COMPLETED" => "it ended well".to_owned(),
        "NODE_FAIL" => "it was ended because a node of it was lost".to_owned(),
        "TIMEOUT" => "its time was over".to_owned(),
        "OUT_OF_MEMORY" => "it used more memory than it was given, less what it lent".to_owned(),
        "CANCELLED" => "it was cancelled".to_owned(),
        "PREEMPTED" => "another job took its place".to_owned(),
        "FAILED" => "it failed".to_owned(),
        other => format!("it is over: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::record::samples;
    use std::time::Duration;

    fn job(state: &str, reason: &str) -> Job {
        let row = format!("7|{state}|1001|main|n[2-3]|1:00||alice|moreIOPS\x1f{reason}\x1e");
        Job::read_all_in_full(&row).unwrap().remove(0)
    }

    fn text(job: Option<&Job>, said: &str, pool: Option<&str>) -> String {
        let failures = Failures { said: said.to_owned(), ..Failures::default() };
        let failures = (!said.is_empty()).then_some(failures);
        let pool = pool.map(|assembly| Arc::new(samples::ready(assembly)));
        Known { id: 7, job, failures, pool }.text(false)
    }

    #[test]
    fn why_a_job_waits_is_told_with_what_failed_before() {
        let waiting = |reason: &str, said: &str| text(Some(&job("PENDING", reason)), said, None);
        assert_eq!(waiting("Resources", ""), "it waits for nodes with enough memory");
        let again = waiting("BeginTime", "rampool: its pool failed: n3: log in: refused");
        assert!(
            again.starts_with("its pool failed: n3: log in: refused; Slurm starts it"),
            "{again}"
        );
        assert!(again.contains("scontrol update jobid=7 StartTime=now"), "{again}");
        assert!(waiting("launch failed requeued held", "").contains("sinfo -R"));
        assert!(waiting("BurstBufferResources", "").contains("a share of the burst buffer"));
        let held = waiting("burst_buffer/lua: slurm_bb_setup: rampool: n4: x", "");
        assert!(held.contains("scontrol release 7"), "{held}");
        assert_eq!(waiting("Dependency", ""), "Slurm lets it wait: Dependency");
        assert_eq!(waiting("None", ""), "Slurm did not look at it yet");
    }

    #[test]
    fn a_job_on_its_nodes_has_what_its_pool_is() {
        let pool = Some("job-7-1.1");
        let running = text(Some(&job("RUNNING", "None")), "rampool: its pool failed: x", pool);
        assert_eq!(running, "job-7-1.1 is ready");
        let without = text(Some(&job("RUNNING", "None")), "", None);
        assert_eq!(without, "it is RUNNING and has no pool");
        let ending = text(Some(&job("COMPLETING", "None")), "rampool: refused on n3: x", pool);
        assert!(ending.starts_with("refused on n3: x; job-7-1.1 is"), "{ending}");
    }

    #[test]
    fn why_a_job_failed_is_told_as_long_as_it_is_known() {
        let refused = "rampool: refused on n3: not mounted";
        let failed = text(Some(&job("FAILED", "NonZeroExitCode")), refused, None);
        assert_eq!(failed, "it failed; refused on n3: not mounted");
        let forgotten = text(None, "", Some("job-7-1.1"));
        assert!(forgotten.starts_with("Slurm does not know it any more; job-7-1.1"), "{forgotten}");
    }

    #[test]
    fn a_job_that_waits_has_no_end_and_one_that_runs_has() {
        let at = |state: &str| {
            let job = job(state, "None");
            Known { id: 7, job: Some(&job), failures: None, pool: None }.status(false, 1000)
        };
        assert_eq!((at("PENDING").expires_ms, at("RUNNING").expires_ms), (0, 61_000));
        assert_eq!((at("RUNNING").reason.as_str(), at("RUNNING").user.as_str()), ("", "alice"));
        assert_eq!(end_ms(TimeLeft::Unlimited, 5), None);
        assert_eq!(end_ms(TimeLeft::Some(Duration::MAX), 5), Some(u64::MAX));
    }
}
