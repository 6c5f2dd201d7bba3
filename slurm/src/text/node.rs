//! Lines of `scontrol -o show node`.

use super::{Line, TextError, lines};

/// A node as Slurm sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name in Slurm.
    pub name: String,
    /// Its state and the flags on it.
    pub state: NodeState,
    /// Why it is drained or down; empty where nobody said.
    pub reason: String,
    /// Memory that jobs may be given, in MiB.
    pub real_memory_mib: u64,
    /// Memory that no job is given, in MiB.
    pub mem_spec_limit_mib: u64,
}

/// `IDLE+DRAIN`, `DOWN*`, `MIXED+COMPLETING`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// The first word, without signs.
    pub base: String,
    /// The other words.
    pub flags: Vec<String>,
}

/// What stands after a node's reason, in this order, where it does.
const AFTER_REASON: [&str; 5] =
    ["Comment", "Extra", "InstanceId", "InstanceType", "ReservationName"];

impl Node {
    /// All lines.
    ///
    /// # Errors
    /// Where a line tells of no node, or there is none.
    pub fn read_all(text: &str) -> Result<Vec<Self>, TextError> {
        let nodes: Vec<_> = lines(text).map(Self::read).collect::<Result<_, _>>()?;
        match nodes.is_empty() {
            true => Err(TextError::new(text, "no node")),
            false => Ok(nodes),
        }
    }

    fn read(line: &str) -> Result<Self, TextError> {
        let line = Line::of(line, "NodeName")?;
        let mib = |key| match line.word(key) {
            None => Ok(0),
            Some(text) => text
                .parse()
                .map_err(|_| TextError::new(line.0, format!("{key}={text} is no number"))),
        };
        let reason = line.text("Reason", &AFTER_REASON).unwrap_or_default();
        Ok(Self {
            name: line.need("NodeName")?.to_owned(),
            state: NodeState::read(line.need("State")?),
            reason: without_signature(reason).to_owned(),
            real_memory_mib: mib("RealMemory")?,
            mem_spec_limit_mib: mib("MemSpecLimit")?,
        })
    }
}

/// A reason without ` [root@2026-11-22T15:04:05]`: who gave it, and when.
fn without_signature(reason: &str) -> &str {
    let signed = reason.strip_suffix(']').and_then(|rest| rest.rsplit_once(" ["));
    match signed {
        Some((words, signature)) if signature.contains('@') => words.trim_end(),
        _ => reason,
    }
}

impl NodeState {
    /// Slurm's words for it: `*` (does not answer) and the like are signs on the first.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut words = text.split('+');
        let base = words.next().unwrap_or_default();
        let mut flags: Vec<_> = words.map(str::to_owned).collect();
        if base.ends_with('*') && !flags.iter().any(|flag| flag == "NOT_RESPONDING") {
            flags.push("NOT_RESPONDING".to_owned());
        }
        let base = base.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        Self { base: base.to_owned(), flags }
    }

    /// Whether it takes no new jobs because somebody said so.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        // In older releases the two together are one word.
        self.has("DRAIN") || matches!(self.base.as_str(), "DRAINED" | "DRAINING")
    }

    /// Whether it is out of use.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.base == "DOWN"
    }

    /// Whether it answers slurmctld.
    #[must_use]
    pub fn responds(&self) -> bool {
        !self.has("NOT_RESPONDING")
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Slurm 22.05 prints it.
    fn line(state: &str, end: &str) -> String {
        format!(
            "NodeName=n2 Arch=x86_64 CoresPerSocket=4  CPUAlloc=0 CPUEfctv=4 CPUTot=4 CPULoad=0.05 \
             AvailableFeatures=moreIOPS ActiveFeatures=moreIOPS Gres=(null) NodeAddr=n2 \
             NodeHostName=n2 Version=22.05.8 OS=Linux 6.1.0 #1 SMP Debian 6.1.76-1 (2024-02-01)  \
             RealMemory=900 AllocMem=0 FreeMem=812 Sockets=1 Boards=1 MemSpecLimit=200 State={state} \
             ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=main  \
             BootTime=2026-11-22T15:00:00 SlurmdStartTime=2026-11-22T15:00:09 \
             LastBusyTime=2026-11-22T15:01:00 CfgTRES=cpu=4,mem=900M,billing=4 AllocTRES= \
             CapWatts=n/a CurrentWatts=0 AveWatts=0 ExtSensorsJoules=n/s{end}\n"
        )
    }

    fn one(state: &str, end: &str) -> Node {
        Node::read_all(&line(state, end)).unwrap().remove(0)
    }

    #[test]
    fn a_node_is_read_with_its_reason() {
        let node = one("IDLE", "");
        assert_eq!((node.name.as_str(), node.reason.as_str()), ("n2", ""));
        assert_eq!((node.real_memory_mib, node.mem_spec_limit_mib), (900, 200));
        assert!(!node.state.is_drained() && !node.state.is_down());
        let ours = " Reason=rampool: memory of job 7 [not] free: a=b c [root@2026-11-22T15:04:05]";
        let node = one("IDLE+DRAIN", &format!("{ours} Comment=x y Extra=z"));
        assert_eq!(node.reason, "rampool: memory of job 7 [not] free: a=b c");
        assert!(node.state.is_drained());
        assert_eq!(one("IDLE+DRAIN", " Reason=broken [fan]").reason, "broken [fan]");
        assert_eq!(one("DOWN", " Reason=(null)").reason, "");
    }

    #[test]
    fn states_have_signs_and_flags() {
        for (text, drained, down, responds) in [
            ("IDLE", false, false, true),
            ("IDLE+DRAIN", true, false, true),
            ("MIXED+COMPLETING+DRAIN", true, false, true),
            ("ALLOCATED*+DRAIN", true, false, false),
            ("DOWN*", false, true, false),
            ("DOWN+NOT_RESPONDING", false, true, false),
            ("DRAINED", true, false, true),
            ("DOWN*+DRAIN", true, true, false),
            ("IDLE+CLOUD+POWERED_DOWN", false, false, true),
        ] {
            let state = NodeState::read(text);
            let read = (state.is_drained(), state.is_down(), state.responds());
            assert_eq!(read, (drained, down, responds), "{text}: {state:?}");
        }
        assert_eq!(NodeState::read("DOWN*+DRAIN").base, "DOWN");
    }

    #[test]
    fn no_node_is_an_error() {
        for text in ["", "No nodes in the system\n", "Node n9 not found\n", "NodeName=n2 Arch=x\n"]
        {
            assert!(Node::read_all(text).is_err(), "{text}");
        }
        let two =
            line("IDLE", "") + &line("DOWN*", " Reason=Not responding [slurm@2026-11-22T1:2:3]");
        let nodes = Node::read_all(&two).unwrap();
        assert_eq!(nodes[1].reason, "Not responding");
    }

    proptest! {
        #[test]
        fn every_reason_reads_back(reason in "rampool: [a-z ]{0,30}[a-z]") {
            let end = format!(" Reason={reason} [root@2026-11-22T15:04:05]");
            prop_assert_eq!(one("IDLE+DRAIN", &end).reason, reason);
        }

        #[test]
        fn no_line_is_too_odd(end in ".{0,60}") {
            let _ = Node::read_all(&format!("NodeName=n1 State={end}"));
        }
    }
}
