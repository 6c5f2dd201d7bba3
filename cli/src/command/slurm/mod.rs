//! `rampool slurm HOOK`: what Slurm runs around each job, one file a hook. Thin: what a job has,
//! and what comes next, only the controller knows. Each may run twice, and may be killed.
//!
//! | module | runs as, where | a failure (exit code 1) means to Slurm |
//! | --- | --- | --- |
//! | `prolog_slurmctld` | slurm, slurmctld's host | the job is queued again |
//! | `prolog` | root, each node | the node is drained, the job queued again and held |
//! | `task_prolog` | the user, each task | the task is not started |
//! | `epilog` | root, each node | the node is drained |
//! | `epilog_slurmctld` | slurm, slurmctld's host | a line in the log |
//! | `bb_setup` | slurm, slurmctld's host | the job is held, and says why |
//! | `bb_teardown` | slurm, slurmctld's host | it is tried twice more, then forgotten |
//!
//! | module | idea |
//! | --- | --- |
//! | [`config`] | `slurm.yaml` |
//! | `jobs` | the controller's word on jobs, waited for until a deadline |
//! | `node` | what the node's own agent knows of jobs |
//! | `sign` | what a node's Prolog tells the job's tasks |

mod bb_setup;
mod bb_teardown;
pub mod config;
mod epilog;
mod epilog_slurmctld;
mod jobs;
mod node;
mod prolog;
mod prolog_slurmctld;
mod sign;
mod task_prolog;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rampool_proto::v1::{Failure, FailureKind, JobWish};
use rampool_slurm::environment::{Environment, EnvironmentError};

use self::config::{DEFAULT_CONFIG, SlurmConfig};
use self::jobs::Jobs;
use self::node::Node;
use self::sign::Signs;
use super::tell;
use crate::args::Global;
use crate::exit::Exit;

/// `rampool slurm`.
#[derive(Debug, Args)]
pub struct Slurm {
    /// Which of slurm.conf's programs this is
    #[arg(value_enum)]
    hook: Hook,
    /// Of bb-setup and bb-teardown, which burst_buffer.lua calls: the job's number, where the
    /// others have an environment
    job: Option<u32>,
    /// The hooks' configuration
    #[arg(long, env = "RAMPOOL_SLURM_CONFIG", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// The folder where this node's agent listens, and keeps its notes of jobs
    #[arg(long, default_value = node::FOLDER, value_name = "FOLDER")]
    agent: PathBuf,
}

/// When Slurm runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Hook {
    /// A job has its nodes: its pool is made
    PrologSlurmctld,
    /// A job is about to start on this node: whether it may
    Prolog,
    /// A task is about to start: what it may use
    TaskProlog,
    /// A job has left this node: waits until the node's memory is free
    Epilog,
    /// A job is over: waits until donors outside of it have their memory back
    EpilogSlurmctld,
    /// A job waits for its nodes: its memory is reserved (JOB)
    BbSetup,
    /// A job's burst buffer is torn down: waits until its memory is free (JOB)
    BbTeardown,
}

impl Slurm {
    /// Runs the hook. Slurm knows two ends: it went well, or not.
    pub(super) async fn run(self, global: &Global) -> Exit {
        let call = Call {
            environment: Environment::of_process(),
            config: self.config,
            controller: global.controller.clone(),
            job: self.job,
            node: Node::of(&self.agent),
            signs: Signs::of(&self.agent),
        };
        let ended = match self.hook {
            Hook::PrologSlurmctld => prolog_slurmctld::run(&call).await,
            Hook::Prolog => prolog::run(&call).await,
            Hook::TaskProlog => task_prolog::run(&call).await,
            Hook::Epilog => epilog::run(&call).await,
            Hook::EpilogSlurmctld => epilog_slurmctld::run(&call).await,
            Hook::BbSetup => bb_setup::run(&call).await,
            Hook::BbTeardown => bb_teardown::run(&call).await,
        };
        match ended {
            Ok(()) => Exit::Done,
            Err(failure) => {
                tell(&failure);
                Exit::Failed
            }
        }
    }
}

/// What every hook is given.
struct Call {
    environment: Environment,
    /// Where the configuration is: most jobs end without it being read.
    config: PathBuf,
    /// Instead of the configuration's.
    controller: Option<String>,
    /// As burst_buffer.lua says it.
    job: Option<u32>,
    node: Node,
    signs: Signs,
}

impl Call {
    fn config(&self) -> Result<SlurmConfig, Failure> {
        let mut config = SlurmConfig::load(&self.config)?;
        if let Some(controller) = &self.controller {
            config.controller.clone_from(controller);
        }
        Ok(config)
    }

    /// The job that burst_buffer.lua speaks of.
    fn job_of_buffer(&self) -> Result<u32, Failure> {
        self.job.ok_or_else(|| {
            Failure::new(FailureKind::Invalid, "read what Slurm says of the job")
                .saying("no job's number is given")
                .advising("is this hook run by burst_buffer.lua?")
        })
    }

    /// What the job wants of us, where it wants something.
    fn wish(&self) -> Result<Option<JobWish>, Failure> {
        self.wish_of(&self.environment)
    }

    /// What a job wants that is told of so.
    fn wish_of(&self, told: &Environment) -> Result<Option<JobWish>, Failure> {
        if !told.could_wish() {
            return Ok(None);
        }
        let config = self.config()?;
        Ok(told.wish(|name| config.features.iter().any(|own| own == name)))
    }
}

/// A hook whose environment is none.
fn not_told(error: EnvironmentError) -> Failure {
    Failure::new(FailureKind::Invalid, "read what Slurm says of the job")
        .saying(error)
        .advising("is this hook run by slurmctld or slurmd?")
}
