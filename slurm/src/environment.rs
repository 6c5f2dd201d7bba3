//! What Slurm tells its hooks: the variables of their environment, as requests of the contract.
//!
//! Which hook is told what differs (the sample environments of the tests are whole). A variable
//! that is empty or `(null)`, as Slurm writes what it does not know, counts as not given.

use std::collections::HashMap;

use rampool_proto::hostlist::check_name;
use rampool_proto::v1::{EndJobRequest, JobId, JobWish, StartJobRequest};

use crate::{constraint, wish};

/// What Slurm writes where it has nothing to say.
const NOTHING: &str = "(null)";

/// The environment of a hook.
#[derive(Clone, Debug, Default)]
pub struct Environment(HashMap<String, String>);

/// Why a hook's environment makes no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A variable is not there.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// A variable cannot be meant.
    #[error("{name} is {value:?}: {problem}")]
    Odd {
        /// Which.
        name: &'static str,
        /// What it is.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter();
        Self(variables.map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Environment {
    /// That of this process. A job's comment may hold any bytes: what is no text is replaced.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |bytes: std::ffi::OsString| bytes.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// A variable that says something.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty() && *value != NOTHING)
    }

    fn need(&self, name: &'static str) -> Result<&str, EnvironmentError> {
        self.get(name).ok_or(EnvironmentError::Missing(name))
    }

    fn number(&self, name: &'static str) -> Result<u32, EnvironmentError> {
        let text = self.need(name)?;
        text.parse().map_err(|_| odd(name, text, "no number that Slurm would give"))
    }

    /// The job's number; of an array's task, the task's own.
    ///
    /// # Errors
    /// Where it is not given, or none.
    pub fn job(&self) -> Result<u32, EnvironmentError> {
        match self.number("SLURM_JOB_ID")? {
            0 => Err(odd("SLURM_JOB_ID", "0", "no job has this number")),
            job => Ok(job),
        }
    }

    /// The job of `cluster`, which is what the site calls it.
    ///
    /// # Errors
    /// Where its number is not given, or Slurm names another cluster.
    pub fn job_of(&self, cluster: &str) -> Result<JobId, EnvironmentError> {
        let job = self.job()?;
        match self.get("SLURM_CLUSTER_NAME") {
            Some(other) if other != cluster => {
                let problem = format!("the configuration's cluster is {cluster:?}");
                Err(odd("SLURM_CLUSTER_NAME", other, problem))
            }
            _ => Ok(JobId { cluster: cluster.to_owned(), job }),
        }
    }

    /// The node that the hook runs on, by Slurm's name.
    ///
    /// # Errors
    /// Where it is not given, or is no node's name.
    pub fn node(&self) -> Result<&str, EnvironmentError> {
        const NAME: &str = "SLURMD_NODENAME";
        let node = self.need(NAME)?;
        check_name(node).map_err(|problem| odd(NAME, node, problem))?;
        Ok(node)
    }

    /// Whether the job is one component of several: only then is this variable set.
    #[must_use]
    pub fn is_heterogeneous(&self) -> bool {
        self.get("SLURM_HET_JOB_ID").is_some_and(|id| id != "0")
    }

    /// Whether the job could want a pool, whatever the features are called that ask for one.
    #[must_use]
    pub fn could_wish(&self) -> bool {
        self.get("SLURM_JOB_CONSTRAINTS").is_some() || !self.words().is_empty()
    }

    /// What the job wants, where it wants a pool. A wish that nobody can fulfil is one too: the
    /// controller refuses it, and holds the job.
    #[must_use]
    pub fn wish(&self, is_profile: impl Fn(&str) -> bool) -> Option<JobWish> {
        let constraints = self.get("SLURM_JOB_CONSTRAINTS").unwrap_or_default();
        let comment = self.words();
        let asked = constraint::asked(constraints, is_profile) != Ok(None);
        (asked || !comment.is_empty()).then(|| JobWish {
            constraints: constraints.to_owned(),
            comment,
            licenses: self.get("SLURM_JOB_LICENSES").unwrap_or_default().to_owned(),
        })
    }

    /// What of the job's comment concerns us: the rest of it is its user's.
    fn words(&self) -> String {
        wish::words_of(self.get("SLURM_JOB_COMMENT").unwrap_or_default())
    }

    /// What PrologSlurmctld asks.
    ///
    /// # Errors
    /// Where something that it needs is not given.
    pub fn start_job(
        &self,
        cluster: &str,
        wish: JobWish,
    ) -> Result<StartJobRequest, EnvironmentError> {
        Ok(StartJobRequest {
            id: Some(self.job_of(cluster)?),
            wish: Some(wish),
            nodes: self.need("SLURM_JOB_NODELIST")?.to_owned(),
            user: self.need("SLURM_JOB_USER")?.to_owned(),
            uid: self.number("SLURM_JOB_UID")?,
            gid: self.number("SLURM_JOB_GID")?,
        })
    }

    /// What EpilogSlurmctld tells.
    ///
    /// # Errors
    /// As [`job_of`](Self::job_of).
    pub fn end_job(&self, cluster: &str) -> Result<EndJobRequest, EnvironmentError> {
        Ok(EndJobRequest { id: Some(self.job_of(cluster)?), ..EndJobRequest::default() })
    }
}

fn odd(name: &'static str, value: &str, problem: impl Into<String>) -> EnvironmentError {
    EnvironmentError::Odd { name, value: value.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What slurmctld 22.05 gives its prolog.
    fn of_slurmctld() -> Environment {
        Environment::from_iter([
            ("SLURM_CLUSTER_NAME", "spike"),
            ("SLURM_JOB_ACCOUNT", "(null)"),
            ("SLURM_JOB_COMMENT", "for paper 7 rampool:size=20G"),
            ("SLURM_JOB_CONSTRAINTS", "moreIOPS&hsw"),
            ("SLURM_JOB_CPUS_PER_NODE", "1(x2)"),
            ("SLURM_JOB_GID", "1001"),
            ("SLURM_JOB_GROUP", "alice"),
            ("SLURM_JOB_ID", "7"),
            ("SLURM_JOB_LICENSES", "rampool:20"),
            ("SLURM_JOB_NODELIST", "n[2-3]"),
            ("SLURM_JOB_STDOUT", "/tmp/out.%j"),
            ("SLURM_JOB_UID", "1001"),
            ("SLURM_JOB_USER", "alice"),
        ])
    }

    fn with(mut environment: Environment, name: &str, value: &str) -> Environment {
        environment.0.insert(name.to_owned(), value.to_owned());
        environment
    }

    fn is_profile(name: &str) -> bool {
        name == "moreIOPS"
    }

    #[test]
    fn a_job_with_a_wish_becomes_a_whole_request() {
        let environment = of_slurmctld();
        let wish = environment.wish(is_profile).unwrap();
        assert_eq!(wish.comment, "rampool:size=20G", "the rest of the comment is the user's own");
        let request = environment.start_job("spike", wish).unwrap();
        assert_eq!(request.id, Some(JobId { cluster: "spike".to_owned(), job: 7 }));
        assert_eq!((request.nodes.as_str(), request.user.as_str()), ("n[2-3]", "alice"));
        assert_eq!((request.uid, request.gid), (1001, 1001));
        let wish = request.wish.unwrap();
        assert_eq!(wish.constraints, "moreIOPS&hsw");
        assert_eq!(wish.licenses, "rampool:20");
        assert!(!environment.is_heterogeneous());
    }

    #[test]
    fn most_jobs_wish_for_nothing() {
        for (constraints, comment, could) in [
            ("", "", false),
            ("(null)", "(null)", false),
            ("", "a word of rampool", false),
            ("ssd", "", true),
            ("moreIOPS_big|ssd", "", true),
        ] {
            let environment = with(of_slurmctld(), "SLURM_JOB_CONSTRAINTS", constraints);
            let environment = with(environment, "SLURM_JOB_COMMENT", comment);
            assert_eq!(environment.could_wish(), could, "{constraints} {comment}");
            assert_eq!(environment.wish(is_profile), None, "{constraints} {comment}");
        }
    }

    #[test]
    fn a_wish_that_cannot_be_fulfilled_is_one() {
        let unclear = with(of_slurmctld(), "SLURM_JOB_CONSTRAINTS", "moreIOPS|ssd");
        let unclear = with(unclear, "SLURM_JOB_COMMENT", "");
        assert!(unclear.wish(is_profile).is_some());
        let odd = Environment::from_iter([("SLURM_JOB_COMMENT", "rampool:speed=high")]);
        assert_eq!(odd.wish(is_profile).unwrap().comment, "rampool:speed=high");
    }

    #[test]
    fn what_is_missing_or_odd_is_named() {
        let wish = JobWish::default;
        for (name, value, words) in [
            ("SLURM_JOB_ID", "", "SLURM_JOB_ID is not set"),
            ("SLURM_JOB_ID", "0", "no job"),
            ("SLURM_JOB_UID", "-1", "SLURM_JOB_UID is \"-1\": no number"),
            ("SLURM_JOB_NODELIST", "(null)", "SLURM_JOB_NODELIST is not set"),
            ("SLURM_CLUSTER_NAME", "other", "configuration's cluster is \"spike\""),
        ] {
            let told = with(of_slurmctld(), name, value).start_job("spike", wish()).unwrap_err();
            assert!(told.to_string().contains(words), "{told}");
        }
        let host_list = Environment::from_iter([("SLURMD_NODENAME", "n[1-3]")]);
        assert!(host_list.node().is_err());
    }

    #[test]
    fn a_component_of_a_heterogeneous_job_says_so() {
        assert!(with(of_slurmctld(), "SLURM_HET_JOB_ID", "12").is_heterogeneous());
        assert!(!with(of_slurmctld(), "SLURM_HET_JOB_ID", "0").is_heterogeneous());
    }

    proptest! {
        #[test]
        fn no_environment_is_too_odd(values in proptest::collection::vec(".{0,40}", 8)) {
            const NAMES: [&str; 8] = [
                "SLURM_JOB_ID", "SLURM_JOB_COMMENT", "SLURM_JOB_CONSTRAINTS", "SLURM_JOB_UID",
                "SLURM_JOB_GID", "SLURM_JOB_NODELIST", "SLURM_JOB_USER", "SLURMD_NODENAME",
            ];
            let environment: Environment = NAMES.into_iter().zip(values).collect();
            let _ = environment.node();
            let wish = environment.wish(is_profile);
            prop_assert!(environment.could_wish() || wish.is_none());
            let _ = environment.start_job("spike", wish.unwrap_or_default());
        }

        #[test]
        fn what_slurm_gives_is_what_is_asked(
            job in 1u32.., uid: u32, gid: u32, nodes in "n\\[[0-9]{1,3}-999\\]", user in "[a-z]+",
        ) {
            let number = |n: u32| n.to_string();
            let variables = [
                ("SLURM_JOB_ID", number(job)), ("SLURM_JOB_UID", number(uid)),
                ("SLURM_JOB_GID", number(gid)), ("SLURM_JOB_NODELIST", nodes.clone()),
                ("SLURM_JOB_USER", user.clone()),
            ];
            let environment: Environment = variables.into_iter().collect();
            let asked = environment.start_job("c", JobWish::default()).unwrap();
            let id = Some(JobId { cluster: "c".to_owned(), job });
            let wish = Some(JobWish::default());
            prop_assert_eq!(asked, StartJobRequest { id, wish, nodes, user, uid, gid });
        }
    }
}
