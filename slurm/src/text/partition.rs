//! Lines of `scontrol -o show partition`.

use super::{Line, TextError, lines};

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Whether its jobs may be suspended, and so keep their memory while others run.
    pub suspends: bool,
    /// Whether its jobs have all CPUs of their nodes.
    pub gives_whole_nodes: bool,
    /// Whether jobs that name no partition are here.
    pub is_default: bool,
    /// What a job has that asks for no memory; none: what the cluster says.
    pub default_memory: Option<MemoryShare>,
}

/// A job's memory, in MiB, as Slurm counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryShare {
    /// On each of its nodes.
    PerNode(u64),
    /// For each of its CPUs.
    PerCpu(u64),
}

impl MemoryShare {
    /// From the values of DefMemPerNode and DefMemPerCPU, of which Slurm prints one: `100`, or
    /// `UNLIMITED`, which is the whole node.
    pub(super) fn read(per_node: Option<&str>, per_cpu: Option<&str>) -> Option<Self> {
        let limit = |text: Option<&str>| text?.parse().ok().filter(|mib| *mib > 0);
        limit(per_node).map(Self::PerNode).or_else(|| limit(per_cpu).map(Self::PerCpu))
    }
}

impl Partition {
    /// All lines.
    ///
    /// # Errors
    /// Where a line tells of no partition, or there is none.
    pub fn read_all(text: &str) -> Result<Vec<Self>, TextError> {
        let all: Vec<_> = lines(text).map(Self::read).collect::<Result<_, _>>()?;
        match all.is_empty() {
            true => Err(TextError::new(text, "no partition")),
            false => Ok(all),
        }
    }

    fn read(line: &str) -> Result<Self, TextError> {
        let line = Line::of(line, "PartitionName")?;
        let name = line.need("PartitionName")?.to_owned();
        // Of a partition without a mode of its own Slurm prints the cluster's.
        let mode = line.need("PreemptMode")?;
        let suspends = mode.split(',').any(|mode| matches!(mode, "SUSPEND" | "GANG"));
        let gives_whole_nodes = line.word("OverSubscribe") == Some("EXCLUSIVE");
        let is_default = line.word("Default") == Some("YES");
        let default_memory =
            MemoryShare::read(line.word("DefMemPerNode"), line.word("DefMemPerCPU"));
        Ok(Self { name, suspends, gives_whole_nodes, is_default, default_memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(name: &str, mode: &str) -> String {
        format!(
            "PartitionName={name} AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL \
             Default=YES QoS=N/A DefaultTime=NONE DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 \
             Hidden=NO MaxNodes=UNLIMITED MaxTime=01:00:00 MinNodes=0 LLN=NO \
             MaxCPUsPerNode=UNLIMITED Nodes=n[2-3] PriorityJobFactor=1 PriorityTier=1 RootOnly=NO \
             ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode={mode} State=UP \
             TotalCPUs=8 TotalNodes=2 SelectTypeParameters=NONE JobDefaults=(null) \
             DefMemPerNode=100 MaxMemPerNode=UNLIMITED TRES=cpu=8,mem=1800M,node=2,billing=8\n"
        )
    }

    #[test]
    fn partitions_that_suspend_say_so() {
        let modes = ["OFF", "REQUEUE", "CANCEL", "SUSPEND", "GANG,SUSPEND", "GANG"];
        let text: String = modes.iter().map(|mode| line(&mode.to_lowercase(), mode)).collect();
        let read = Partition::read_all(&text).unwrap();
        let suspends: Vec<_> = read.iter().map(|partition| partition.suspends).collect();
        assert_eq!(suspends, [false, false, false, true, true, true]);
        assert_eq!(read[0].name, "off");
    }

    #[test]
    fn what_a_job_has_that_asks_for_no_memory_is_read() {
        let read = |from: &str, to: &str| {
            Partition::read_all(&line("main", "OFF").replace(from, to)).unwrap().remove(0)
        };
        let main = read("", "");
        assert!(main.is_default);
        assert_eq!(main.default_memory, Some(MemoryShare::PerNode(100)));
        let per_cpu = read("DefMemPerNode=100", "DefMemPerCPU=2048");
        assert_eq!(per_cpu.default_memory, Some(MemoryShare::PerCpu(2048)));
        for whole in ["DefMemPerNode=UNLIMITED", "DefMemPerNode=0", "DefMemPerCPU=-1"] {
            assert_eq!(read("DefMemPerNode=100", whole).default_memory, None, "{whole}");
        }
        assert!(!read("Default=YES", "Default=NO").is_default);
        assert!(!main.gives_whole_nodes);
        assert!(read("OverSubscribe=NO", "OverSubscribe=EXCLUSIVE").gives_whole_nodes);
    }

    #[test]
    fn no_partition_is_an_error() {
        for text in ["", "Partition x not found\n", "PartitionName=x State=UP\n"] {
            assert!(Partition::read_all(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(rest in ".{0,60}") {
            let _ = Partition::read_all(&format!("PartitionName={rest}"));
        }
    }
}
