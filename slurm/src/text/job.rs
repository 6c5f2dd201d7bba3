//! Rows of `squeue`, in formats of our own that no user writes into.

use rampool_proto::hostlist::HostList;

use super::time::TimeLeft;
use super::{LONGEST_LINE, TextError, given, lines};

/// `squeue --format` of [`Job::read_all`]: number (each task of an array has its own), state,
/// user's number, partition, nodes, time left, nodes that it must not have.
pub(crate) const FORMAT: &str = "%A|%T|%U|%P|%N|%L|%x";

/// The same, and then user, constraint and reason: Slurm's own word, or a plugin's sentence of any
/// lines. The signs that end a constraint and a row are in no feature's name.
pub(crate) const FORMAT_IN_FULL: &str = "%A|%T|%U|%P|%N|%L|%x|%u|%f\x1f%r\x1e";

/// A job that Slurm knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number; of an array's task, the task's own.
    pub id: u32,
    /// Slurm's word for its state.
    pub state: String,
    /// Whose it is.
    pub uid: u32,
    /// Where it is, or each of the partitions that it waits for, with commas.
    pub partition: String,
    /// Its nodes, in Slurm's order; empty while it waits.
    pub nodes: HostList,
    /// How long it may still run.
    pub left: TimeLeft,
    /// Nodes that it shall not be given.
    pub excluded: HostList,
    /// Its user's name; as the rest, only where it was asked for in full.
    pub user: String,
    /// Its `--constraint`.
    pub constraints: String,
    /// Why it waits.
    pub reason: String,
}

/// What a job's state means for its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has no nodes yet, or no more for now.
    Waiting,
    /// It has nodes, or something of it may still be on them.
    OnNodes,
    /// It never comes back.
    Over,
}

impl Job {
    /// All rows of [`FORMAT`]. No row at all is no job.
    ///
    /// # Errors
    /// Where a row is none.
    pub fn read_all(text: &str) -> Result<Vec<Self>, TextError> {
        lines(text).map(Self::read).collect()
    }

    /// All rows of [`FORMAT_IN_FULL`]. No row at all is no job.
    ///
    /// # Errors
    /// Where a row is none.
    pub fn read_all_in_full(text: &str) -> Result<Vec<Self>, TextError> {
        let rows = text.split('\x1e').map(str::trim_start).filter(|row| !row.is_empty());
        rows.map(Self::read_in_full).collect()
    }

    fn read_in_full(row: &str) -> Result<Self, TextError> {
        let odd = || TextError::new(row, "no user, constraint and reason");
        let (row, reason) = row.split_once('\x1f').ok_or_else(odd)?;
        let (more, _) = row.match_indices('|').nth(6).ok_or_else(odd)?;
        let (user, constraints) = row[more + 1..].split_once('|').ok_or_else(odd)?;
        Ok(Self {
            user: user.to_owned(),
            constraints: given(constraints).unwrap_or_default().to_owned(),
            reason: reason.split_whitespace().collect::<Vec<_>>().join(" "),
            ..Self::read(&row[..more])?
        })
    }

    fn read(row: &str) -> Result<Self, TextError> {
        let odd = |problem: String| TextError::new(row, problem);
        if row.len() > LONGEST_LINE {
            return Err(odd(format!("{} bytes: no row of squeue's", row.len())));
        }
        let fields: Vec<_> = row.trim_end().split('|').collect();
        let [id, state, uid, partition, nodes, left, excluded] = fields[..] else {
            return Err(odd(format!("{} fields instead of 7", fields.len())));
        };
        let number = |name: &str, text: &str| {
            text.parse().map_err(|_| odd(format!("no number for the {name}")))
        };
        if state.is_empty() || !state.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
            return Err(odd("no state".to_owned()));
        }
        Ok(Self {
            id: number("job", id)?,
            state: state.to_owned(),
            uid: number("user", uid)?,
            partition: partition.to_owned(),
            nodes: hosts(nodes).map_err(odd)?,
            left: TimeLeft::read(left),
            excluded: hosts(excluded).map_err(odd)?,
            user: String::new(),
            constraints: String::new(),
            reason: String::new(),
        })
    }

    /// What its state means. A state that is not known here may be of a job on its nodes.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state.as_str() {
            "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "RESV_DEL_HOLD"
            | "SPECIAL_EXIT" => Phase::Waiting,
            "BOOT_FAIL" | "CANCELLED" | "COMPLETED" | "DEADLINE" | "FAILED" | "NODE_FAIL"
            | "OUT_OF_MEMORY" | "PREEMPTED" | "REVOKED" | "TIMEOUT" => Phase::Over,
            _ => Phase::OnNodes,
        }
    }
}

/// A host list that may be empty.
fn hosts(text: &str) -> Result<HostList, String> {
    given(text)
        .filter(|text| *text != "None assigned")
        .map_or(Ok(HostList::default()), |text| text.parse().map_err(|error| format!("{error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn rows_of_squeue_are_jobs() {
        let text = "7|RUNNING|1001|main|n[2-3]|59:58|\n\
                    8|PENDING|1001|main,debug||1:00:00|n2\n\
                    57|COMPLETING|0|main|n3|UNLIMITED|(null)\n\n";
        let jobs = Job::read_all(text).unwrap();
        assert_eq!(jobs[0].nodes.names(), ["n2", "n3"]);
        assert_eq!(jobs[0].left, TimeLeft::Some(Duration::from_secs(3598)));
        assert_eq!((jobs[1].id, jobs[1].excluded.names()), (8, &["n2".to_owned()][..]));
        assert!(jobs[1].nodes.is_empty() && jobs[2].excluded.is_empty());
        let phases: Vec<_> = jobs.iter().map(Job::phase).collect();
        assert_eq!(phases, [Phase::OnNodes, Phase::Waiting, Phase::OnNodes]);
        assert_eq!(Job::read_all("").unwrap(), []);
    }

    #[test]
    fn a_reason_may_say_anything() {
        let text = "8|PENDING|1001|main||1:00:00||alice|a|b\x1fburst_buffer/lua: a|b\n\
                    9|COMPLETED| c\x1e\n9|RUNNING|0|main|n2|1:00||root|(null)\x1fNone\x1e\n";
        let jobs = Job::read_all_in_full(text).unwrap();
        assert_eq!((jobs[0].id, jobs[0].phase()), (8, Phase::Waiting));
        assert_eq!((jobs[0].user.as_str(), jobs[0].constraints.as_str()), ("alice", "a|b"));
        assert_eq!(jobs[0].reason, "burst_buffer/lua: a|b 9|COMPLETED| c");
        assert_eq!((jobs[1].user.as_str(), jobs[1].constraints.as_str()), ("root", ""));
        assert_eq!(Job::read_all_in_full("\n").unwrap(), []);
    }

    #[test]
    fn what_is_no_row_is_never_taken_for_no_job() {
        for text in [
            "slurm_load_jobs error: Unable to contact slurm controller\n",
            "7|RUNNING\n",
            "7|RUNNING|1001|main|n[2-|59:58|\n",
            "x|RUNNING|1001|main||59:58|\n",
            "7|R 7|1001|main||59:58|\n",
            "7||1001|main||59:58|\n",
            "7|RUNNING|1001|main||59:58||\n",
        ] {
            assert!(Job::read_all(text).is_err(), "{text}");
            assert!(Job::read_all_in_full(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_state_of_another_release_is_no_end() {
        for (state, phase) in [
            ("OUT_OF_MEMORY", Phase::Over),
            ("EXPEDITING", Phase::OnNodes),
            ("STAGE_OUT", Phase::OnNodes),
        ] {
            let row = format!("7|{state}|1001|main||59:58|");
            assert_eq!(Job::read_all(&row).unwrap()[0].phase(), phase, "{state}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "(.{0,30}\\|){0,9}.{0,30}(\x1f.{0,9}\x1e){0,2}") {
            let _ = (Job::read_all(&text), Job::read_all_in_full(&text));
        }

        #[test]
        fn a_reason_never_changes_what_the_job_is(reason in "[^\x1e]{0,60}") {
            let row = "7|RUNNING|1001|main|n2|59:58|";
            let text = format!("{row}|alice|a&b\x1f{reason}\x1e\n");
            let job = Job::read_all_in_full(&text).unwrap().remove(0);
            prop_assert_eq!((job.user.as_str(), job.constraints.as_str()), ("alice", "a&b"));
            let none = String::new;
            let plain = Job { reason: none(), user: none(), constraints: none(), ..job };
            prop_assert_eq!(plain, Job::read_all(row).unwrap().remove(0));
        }
    }
}
