//! The environments of hooks, whole, as Slurm 22.05.8 gives them: no PATH, `(null)` for what it
//! does not know, raw names.

/// Variables of one hook.
#[derive(Clone)]
pub(crate) struct Variables(Vec<(&'static str, String)>);

impl Variables {
    fn of(variables: &[(&'static str, &str)]) -> Self {
        Self(variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }

    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.0.retain(|(own, _)| *own != name);
        self.0.push((name, value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(own, _)| *own != name);
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// PrologSlurmctld's; EpilogSlurmctld's differs in the context and has exit codes.
pub(crate) fn of_slurmctld() -> Variables {
    Variables::of(&[
        ("SLURM_CLUSTER_NAME", "spike"),
        ("SLURM_JOBID", "7"),
        ("SLURM_JOB_ACCOUNT", "(null)"),
        ("SLURM_JOB_COMMENT", "rampool:size=20G"),
        ("SLURM_JOB_CONSTRAINTS", "moreIOPS"),
        ("SLURM_JOB_CPUS_PER_NODE", "1(x2)"),
        ("SLURM_JOB_GID", "1001"),
        ("SLURM_JOB_GROUP", "alice"),
        ("SLURM_JOB_ID", "7"),
        ("SLURM_JOB_LICENSES", "rampool:20"),
        ("SLURM_JOB_NAME", "wrap"),
        ("SLURM_JOB_NODELIST", "n[2-3]"),
        ("SLURM_JOB_NUM_NODES", "2"),
        ("SLURM_JOB_PARTITION", "main"),
        ("SLURM_JOB_RESTART_COUNT", "0"),
        ("SLURM_JOB_STDIN", "/dev/null"),
        ("SLURM_JOB_STDOUT", "/tmp/out.%j"),
        ("SLURM_JOB_UID", "1001"),
        ("SLURM_JOB_USER", "alice"),
        ("SLURM_JOB_WORK_DIR", "/tmp"),
        ("SLURM_SCRIPT_CONTEXT", "prolog_slurmctld"),
        ("SLURM_WCKEY", "(null)"),
    ])
}

/// Prolog's on a node; Epilog's differs in the context and has exit codes.
pub(crate) fn of_slurmd() -> Variables {
    Variables::of(&[
        ("SLURMD_NODENAME", "n3"),
        ("SLURM_CLUSTER_NAME", "spike"),
        ("SLURM_CONF", "/etc/slurm/slurm.conf"),
        ("SLURM_JOBID", "7"),
        ("SLURM_JOB_COMMENT", "rampool:size=20G"),
        ("SLURM_JOB_CONSTRAINTS", "moreIOPS"),
        ("SLURM_JOB_CPUS_PER_NODE", "1(x2)"),
        ("SLURM_JOB_GID", "1001"),
        ("SLURM_JOB_ID", "7"),
        ("SLURM_JOB_NUM_NODES", "2"),
        ("SLURM_JOB_PARTITION", "main"),
        ("SLURM_JOB_RESTART_COUNT", "0"),
        ("SLURM_JOB_UID", "1001"),
        ("SLURM_JOB_USER", "alice"),
        ("SLURM_JOB_WORK_DIR", "/tmp"),
        ("SLURM_NODELIST", "n[2-3]"),
        ("SLURM_SCRIPT_CONTEXT", "prolog_slurmd"),
        ("SLURM_UID", "1001"),
    ])
}

/// TaskProlog's: the task's own, which says nothing of constraints or comments.
pub(crate) fn of_task() -> Variables {
    Variables::of(&[
        ("HOME", "/home/alice"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("SLURMD_NODENAME", "n3"),
        ("SLURM_CLUSTER_NAME", "spike"),
        ("SLURM_JOB_ID", "7"),
        ("SLURM_JOB_NODELIST", "n[2-3]"),
        ("SLURM_MEM_PER_NODE", "400"),
        ("SLURM_PROCID", "1"),
        ("SLURM_SCRIPT_CONTEXT", "prolog_task"),
        ("SLURM_STEP_ID", "0"),
    ])
}
