//! Lines of `scontrol -o show partition`.

use super::{Line, TextError, lines};

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Whether its jobs may be suspended, and so keep their memory while others run.
    pub suspends: bool,
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
        Ok(Self { name, suspends })
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
