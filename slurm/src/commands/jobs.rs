//! Slurm's jobs.

use std::collections::BTreeSet;

use rampool_proto::hostlist::HostList;
use rampool_proto::v1::Failure;

use super::{Commands, plain};
use crate::text::ask::{self, Ask};
use crate::text::job::{FORMAT, FORMAT_IN_FULL, Job};

/// Slurm's words for a number that it knows nothing of (ESLURM_INVALID_JOB_ID): there is no other
/// way to tell this from any other failure.
const NO_SUCH_JOB: &str = "Invalid job id specified";

/// Of a comment, in bytes: more than a person reads.
const LONGEST_COMMENT: usize = 1000;

impl Commands {
    /// All jobs that Slurm knows, those that ended within the last minutes (MinJobAge) too, and in
    /// partitions that users do not see.
    ///
    /// # Errors
    /// Where Slurm does not say. No job is an answer, silence is none.
    pub async fn jobs(&self) -> Result<Vec<Job>, Failure> {
        const STEP: &str = "list Slurm's jobs";
        let arguments = ["--noheader", "--all", "--states=all", "--format", FORMAT];
        let text = self.run(STEP, "squeue", &arguments).await?;
        Job::read_all(&text).map_err(|error| self.odd(STEP, "squeue", &error))
    }

    /// The same, in full: more to carry, for people.
    ///
    /// # Errors
    /// Where Slurm does not say.
    pub async fn jobs_in_full(&self) -> Result<Vec<Job>, Failure> {
        self.in_full("list Slurm's jobs", &[]).await
    }

    /// One job in full; none where Slurm says that there is none.
    ///
    /// # Errors
    /// Where Slurm does not say.
    pub async fn job(&self, id: u32) -> Result<Option<Job>, Failure> {
        let step = format!("look at job {id} in Slurm");
        let jobs = match self.in_full(&step, &[&format!("--jobs={id}")]).await {
            Err(failure) if failure.said.contains(NO_SUCH_JOB) => return Ok(None),
            answer => answer?,
        };
        // A job that was just forgotten is asked for as part of the whole list, which is empty; of
        // an array's number, its tasks are told of.
        match (jobs.is_empty(), jobs.into_iter().find(|job| job.id == id)) {
            (true, _) => Ok(None),
            (_, Some(job)) => Ok(Some(job)),
            (false, None) => Err(self.odd(&step, "squeue", &"it tells of other jobs")),
        }
    }

    /// What a job asked for, and whose it is. Any user may ask this of his own job, and of an
    /// array's task too.
    ///
    /// # Errors
    /// Where Slurm does not say, or knows no such job.
    pub async fn ask_of_job(&self, id: u32) -> Result<Ask, Failure> {
        let step = format!("ask Slurm what job {id} wants");
        let only = format!("--jobs={id}");
        let arguments = ["--noheader", "--all", "--states=all", &only, "--format", ask::FORMAT];
        let text = self.run(&step, "squeue", &arguments).await?;
        Ask::read(&text, id).map_err(|error| self.odd(&step, "squeue", &error))
    }

    async fn in_full(&self, step: &str, only: &[&str]) -> Result<Vec<Job>, Failure> {
        let arguments = ["--noheader", "--all", "--states=all", "--format", FORMAT_IN_FULL];
        let text = self.run(step, "squeue", &[&arguments, only].concat()).await?;
        Job::read_all_in_full(&text).map_err(|error| self.odd(step, "squeue", &error))
    }

    /// Takes a job off its nodes, to be started again later.
    ///
    /// # Errors
    /// Where Slurm did not confirm it: of a job that must not be started twice, for one.
    pub async fn requeue(&self, job: u32) -> Result<(), Failure> {
        let step = format!("queue job {job} again in Slurm");
        self.change(&step, &["requeue", &job.to_string()]).await
    }

    /// Takes a job off its nodes and keeps it from being started until somebody releases it.
    ///
    /// # Errors
    /// Where Slurm did not confirm it.
    pub async fn requeue_and_hold(&self, job: u32) -> Result<(), Failure> {
        let step = format!("hold job {job} in Slurm");
        self.change(&step, &["requeuehold", &job.to_string()]).await
    }

    /// Lets a job that is held wait for its nodes again.
    ///
    /// # Errors
    /// Where Slurm did not confirm it.
    pub async fn release(&self, job: u32) -> Result<(), Failure> {
        let step = format!("release job {job} in Slurm");
        self.change(&step, &["release", &job.to_string()]).await
    }

    /// Says something about a job, for `scontrol show job`: its AdminComment.
    ///
    /// # Errors
    /// Where Slurm did not confirm it.
    pub async fn comment_on_job(&self, job: u32, text: &str) -> Result<(), Failure> {
        let step = format!("comment on job {job} in Slurm");
        let mut text = plain(text);
        text.truncate(text.floor_char_boundary(LONGEST_COMMENT));
        let comment = format!("admincomment={text}");
        self.change(&step, &["update", &format!("jobid={job}"), &comment]).await
    }

    /// Keeps a waiting job off more nodes, and lets it on others again, besides those that it is
    /// kept off already. Returns whether that changed anything.
    ///
    /// # Errors
    /// Where there is no such job, or Slurm did not confirm it.
    pub async fn exclude_nodes(
        &self,
        job: u32,
        more: &BTreeSet<String>,
        less: &BTreeSet<String>,
    ) -> Result<bool, Failure> {
        let step = format!("say in Slurm where job {job} may not be");
        let known = self.job(job).await?;
        let known = known.ok_or_else(|| self.odd(&step, "squeue", &"there is no such job"))?;
        let before: BTreeSet<_> = known.excluded.iter().map(str::to_owned).collect();
        let after: BTreeSet<_> = before.union(more).filter(|node| !less.contains(*node)).collect();
        if after.len() == before.len() && before.iter().all(|node| after.contains(node)) {
            return Ok(false);
        }
        let after = HostList::from_names(after).map_err(|e| self.odd(&step, "squeue", &e))?;
        let excluded = format!("excnodelist={after}");
        self.change(&step, &["update", &format!("jobid={job}"), &excluded]).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake_slurm::FakeSlurm;
    use crate::text::job::Phase;

    #[tokio::test]
    async fn all_jobs_are_listed_and_none_is_an_answer() {
        let slurm = FakeSlurm::new();
        slurm.says("squeue", "7|RUNNING|1001|main|n[2-3]|59:58|\n8|PENDING|1001|main||1:00|\n");
        let jobs = slurm.commands().jobs().await.unwrap();
        assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [7, 8]);
        let called = slurm.called();
        assert!(called.contains("squeue --noheader --all --states=all"), "{called}");
        slurm.says("squeue", "");
        assert_eq!(slurm.commands().jobs().await.unwrap(), []);
        assert_eq!(slurm.commands().jobs_in_full().await.unwrap(), []);
    }

    #[tokio::test]
    async fn slurms_silence_is_never_no_job() {
        let slurm = FakeSlurm::new();
        let unreachable = "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2";
        for script in
            [&format!("{unreachable}; exit 1"), unreachable, "exec sleep 60", "kill -9 $$"]
        {
            slurm.runs("squeue", script);
            let told = slurm.commands().jobs().await.unwrap_err();
            assert_eq!(told.step, "list Slurm's jobs");
            assert!(told.program.ends_with("/squeue"), "{told}");
            assert!(slurm.commands().jobs_in_full().await.is_err(), "{script}");
            assert!(slurm.commands().job(7).await.is_err(), "{script}");
        }
        slurm.says("squeue", "what is this\n");
        assert!(slurm.commands().jobs().await.is_err());
    }

    #[tokio::test]
    async fn one_job_is_there_or_not() {
        let slurm = FakeSlurm::new();
        slurm.says(
            "squeue",
            "7|PENDING|1001|main||1:00|n4|eve|\x1flaunch failed requeued held\x1e\n",
        );
        let job = slurm.commands().job(7).await.unwrap().unwrap();
        assert_eq!(
            (job.phase(), job.reason.as_str()),
            (Phase::Waiting, "launch failed requeued held")
        );
        assert!(slurm.called().contains(" --jobs=7\n"), "{}", slurm.called());
        assert!(slurm.commands().job(8).await.is_err(), "another job's row");
        slurm.runs("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
        assert_eq!(slurm.commands().job(7).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_job_is_held_and_commented_on() {
        let slurm = FakeSlurm::new();
        slurm.says("scontrol", "");
        slurm.commands().requeue_and_hold(7).await.unwrap();
        slurm.commands().comment_on_job(7, "rampool: \"x\"\n said no").await.unwrap();
        let called = slurm.called();
        assert!(called.contains("scontrol requeuehold 7\n"), "{called}");
        assert!(called.contains("update jobid=7 admincomment=rampool: 'x' said no\n"), "{called}");
        slurm.says("scontrol", "odd\n");
        assert_eq!(slurm.commands().requeue_and_hold(7).await.unwrap_err().said, "odd");
    }

    #[tokio::test]
    async fn a_job_is_kept_off_nodes_and_let_on_them_again_but_for_those_that_its_user_named() {
        let slurm = FakeSlurm::new();
        slurm.says("squeue", "7|PENDING|1001|main||1:00|n[4-5]|eve|\x1fBeginTime\x1e\n");
        slurm.says("scontrol", "");
        let nodes = |names: &str| names.split_terminator(',').map(str::to_owned).collect();
        let commands = slurm.commands();
        let exclude =
            async |more, less| commands.exclude_nodes(7, &nodes(more), &nodes(less)).await.unwrap();
        assert!(exclude("n2", "").await);
        assert!(slurm.called().ends_with("update jobid=7 excnodelist=n[2,4-5]\n"));
        assert!(!exclude("n5", "n3").await);
        assert!(exclude("", "n4,n5").await);
        assert!(slurm.called().ends_with("update jobid=7 excnodelist=\n"), "{}", slurm.called());
    }
}
