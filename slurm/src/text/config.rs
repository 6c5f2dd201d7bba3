//! `scontrol show config`: slurm.conf as slurmctld took it, `Key = value` a line.

use std::collections::BTreeMap;
use std::time::Duration;

use super::partition::MemoryShare;
use super::{TextError, given};

/// Slurm's way to write "not set" where 16 bits hold a number (NO_VAL16 of slurm.h); one more is
/// "without an end".
const NOT_SET: u64 = 65_534;

/// The configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config(BTreeMap<String, String>);

impl Config {
    /// The whole text; what is no pair (headings, the state of slurmctld) is passed over.
    ///
    /// # Errors
    /// Where it is none: it does not even name the cluster.
    pub fn read(text: &str) -> Result<Self, TextError> {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let mut config = Self::default();
        for (key, value) in pairs {
            let own = || value.trim().to_owned();
            // The cluster's own come first; plugins' sections repeat some of the names.
            config.0.entry(key.trim().to_owned()).or_insert_with(own);
        }
        match config.get("ClusterName") {
            Some(_) => Ok(config),
            None => Err(TextError::new(text, "no ClusterName")),
        }
    }

    /// A value, where one is set.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        given(self.0.get(key)?).filter(|value| *value != "NONE")
    }

    /// ClusterName.
    #[must_use]
    pub fn cluster(&self) -> &str {
        self.get("ClusterName").unwrap_or_default()
    }

    /// How long a prolog or epilog may take; none: without an end.
    #[must_use]
    pub fn prolog_epilog_timeout(&self) -> Option<Duration> {
        self.seconds("PrologEpilogTimeout")
    }

    /// How long slurmctld waits for an answer.
    #[must_use]
    pub fn message_timeout(&self) -> Option<Duration> {
        self.seconds("MessageTimeout")
    }

    /// `60`, `10 sec`.
    fn seconds(&self, key: &str) -> Option<Duration> {
        let number = self.get(key)?.split_ascii_whitespace().next()?.parse().ok()?;
        Some(number).filter(|number| *number < NOT_SET).map(Duration::from_secs)
    }

    /// Whether a value of several, with commas between them, is set; in any case of letters, and
    /// of `name=value` by its name.
    #[must_use]
    pub fn has(&self, key: &str, one: &str) -> bool {
        let is_it = |own: &str| own.split('=').next().unwrap_or(own).eq_ignore_ascii_case(one);
        self.get(key).is_some_and(|all| all.split(',').map(str::trim).any(is_it))
    }

    /// Whether memory is given to jobs as processors are: without it Slurm knows nothing of what
    /// is lent.
    #[must_use]
    pub fn memory_is_consumable(&self) -> bool {
        let parameters = self.get("SelectTypeParameters").unwrap_or_default();
        parameters.to_ascii_uppercase().split(',').any(|one| {
            one.trim()
                .strip_prefix("CR_")
                .is_some_and(|what| what.split('_').any(|w| w == "MEMORY"))
        })
    }

    /// What a job has that asks for no memory, where its partition says nothing; none: its whole
    /// nodes.
    #[must_use]
    pub fn default_memory(&self) -> Option<MemoryShare> {
        MemoryShare::read(self.get("DefMemPerNode"), self.get("DefMemPerCPU"))
    }

    /// Units of a licence; none where there is no such licence.
    #[must_use]
    pub fn licenses(&self, name: &str) -> Option<u64> {
        let mut all = self.get("Licenses")?.split(',').map(|one| one.trim().split_once(':'));
        let (_, count) = all.find_map(|one| one.filter(|(own, _)| *own == name))?;
        count.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "\
Configuration data as of 2026-11-22T15:04:05
AccountingStorageTRES   = cpu,mem,energy,node,billing,fs/disk,vmem,pages
BOOT_TIME               = 2026-11-22T15:00:00
ClusterName             = spike
Epilog                  = /usr/local/sbin/epilog
Licenses                = rampool:300,other:2
MessageTimeout          = 10 sec
PreemptMode             = OFF
PrologEpilogTimeout     = 40
PrologFlags             = Alloc,DeferBatch
ReturnToService         = 1
SchedulerParameters     = bf_interval=3,sched_interval=5,sched_min_interval=0
SelectType              = select/cons_tres
SelectTypeParameters    = CR_CORE_MEMORY
SuspendProgram          = (null)

Cgroup Support Configuration:
ClusterName             = other

Slurmctld(primary) at n1 is UP
";

    fn with(key: &str, value: &str) -> Config {
        let mut config = Config::read(SAMPLE).unwrap();
        config.0.insert(key.to_owned(), value.to_owned());
        config
    }

    #[test]
    fn the_configuration_is_read() {
        let config = Config::read(SAMPLE).unwrap();
        assert_eq!(config.cluster(), "spike");
        assert_eq!(config.prolog_epilog_timeout(), Some(Duration::from_secs(40)));
        assert_eq!(config.message_timeout(), Some(Duration::from_secs(10)));
        assert_eq!((config.licenses("rampool"), config.licenses("ram")), (Some(300), None));
        assert!(config.has("PrologFlags", "deferbatch") && !config.has("PrologFlags", "Contain"));
        assert!(config.has("SchedulerParameters", "bf_interval"));
        assert!(!config.has("SchedulerParameters", "bf_licenses"));
        assert_eq!(config.get("ReturnToService"), Some("1"));
        assert_eq!(config.get("SuspendProgram"), None);
    }

    #[test]
    fn what_a_job_has_that_asks_for_no_memory_is_read() {
        let of = |key, value| with(key, value).default_memory();
        assert_eq!(of("DefMemPerNode", "UNLIMITED"), None);
        assert_eq!(of("DefMemPerNode", "100"), Some(MemoryShare::PerNode(100)));
        assert_eq!(of("DefMemPerCPU", "2048"), Some(MemoryShare::PerCpu(2048)));
    }

    #[test]
    fn memory_is_consumable_in_some_modes_alone() {
        for (mode, is) in [
            ("CR_CORE_MEMORY", true),
            ("CR_Memory", true),
            ("CR_CPU_MEMORY,CR_ONE_TASK_PER_CORE", true),
            ("CR_SOCKET", false),
            ("NONE", false),
        ] {
            assert_eq!(with("SelectTypeParameters", mode).memory_is_consumable(), is, "{mode}");
        }
    }

    #[test]
    fn a_time_that_is_not_set_has_no_end() {
        for value in ["65534", "65535", "(null)", "", "NONE"] {
            assert_eq!(with("PrologEpilogTimeout", value).prolog_epilog_timeout(), None, "{value}");
        }
    }

    #[test]
    fn another_text_is_no_configuration() {
        for text in ["", "slurm_load_ctl_conf error: Unable to contact slurm controller", "a = b"] {
            assert!(Config::read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "(?s).{0,80}", value in ".{0,40}") {
            let _ = Config::read(&text);
            for key in ["PrologEpilogTimeout", "Licenses", "SelectTypeParameters"] {
                let config = with(key, &value);
                let _ = (config.prolog_epilog_timeout(), config.licenses("rampool"));
                let _ = (config.memory_is_consumable(), config.has(key, "x"));
            }
        }
    }
}
