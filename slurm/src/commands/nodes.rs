//! Slurm's nodes. A node may be drained by others too, for reasons that are theirs: those are
//! never taken over, nor undone.

use rampool_proto::v1::Failure;

use super::{Commands, OURS, plain};
use crate::text::node::Node;

/// Characters of a reason: it is read in the narrow columns of `sinfo`.
const LONGEST_REASON: usize = 300;

/// How a node came to take no new jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drained {
    /// By us, now or before.
    Ours,
    /// Somebody else had taken it out of use before, for this reason, which stays.
    Before(String),
}

/// What became of a node that was ours to resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It takes jobs again.
    Now,
    /// It took jobs already.
    Before,
    /// Somebody else keeps it out of use, for this reason.
    NotOurs(String),
}

impl Commands {
    /// All nodes.
    ///
    /// # Errors
    /// Where Slurm does not say.
    pub async fn nodes(&self) -> Result<Vec<Node>, Failure> {
        self.show("list Slurm's nodes", &["-o", "show", "node"], Node::read_all).await
    }

    /// One node.
    ///
    /// # Errors
    /// Where Slurm does not say.
    pub async fn node(&self, name: &str) -> Result<Node, Failure> {
        let step = format!("look at {name} in Slurm");
        let nodes = self.show(&step, &["-o", "show", "node", name], Node::read_all).await?;
        let named = nodes.into_iter().find(|node| node.name == name);
        named.ok_or_else(|| self.odd(&step, "scontrol", &"it tells of another node"))
    }

    /// Keeps new jobs off a node, for a reason that people read; [`OURS`] is put before it.
    ///
    /// # Errors
    /// Where Slurm did not confirm it.
    pub async fn drain_node(&self, name: &str, why: &str) -> Result<Drained, Failure> {
        let node = self.node(name).await?;
        let out_of_use = node.state.is_drained() || node.state.is_down();
        if out_of_use && !node.reason.is_empty() && !is_ours(&node) {
            return Ok(Drained::Before(node.reason));
        }
        let step = format!("drain {name} in Slurm");
        let named = format!("nodename={name}");
        let reason = format!("reason={}", reason(why));
        self.change(&step, &["update", &named, "state=drain", &reason]).await?;
        Ok(Drained::Ours)
    }

    /// Lets jobs on a node again that was drained by [`drain_node`](Self::drain_node). One that
    /// anybody else drained stays so. Between the look and the change somebody could drain it for
    /// a reason of theirs: Slurm has no way to ask for both at once.
    ///
    /// # Errors
    /// Where Slurm did not confirm it.
    pub async fn resume_node(&self, name: &str) -> Result<Resumed, Failure> {
        let node = self.node(name).await?;
        if !node.state.is_drained() {
            return Ok(Resumed::Before);
        }
        if !is_ours(&node) {
            return Ok(Resumed::NotOurs(node.reason));
        }
        let step = format!("resume {name} in Slurm");
        self.change(&step, &["update", &format!("nodename={name}"), "state=resume"]).await?;
        Ok(Resumed::Now)
    }
}

/// Whether what keeps a node out of use is a reason that we gave.
fn is_ours(node: &Node) -> bool {
    node.reason.starts_with(OURS)
}

/// A reason as it stands in Slurm: ours, in one line, of a length that can be read.
fn reason(why: &str) -> String {
    let why: String = plain(why).chars().take(LONGEST_REASON).collect();
    format!("{OURS}{}", why.strip_prefix(OURS).unwrap_or(&why))
}

#[cfg(test)]
mod tests {
    use super::super::fake_slurm::FakeSlurm;
    use super::*;

    fn line(state: &str, reason: &str) -> String {
        format!("NodeName=n2 Arch=x86_64  State={state} ThreadsPerCore=1{reason}")
    }

    const OF_ADMIN: &str = " Reason=fan is broken [root@2026-11-22T15:04:05]";
    const OF_OURS: &str = " Reason=rampool: memory of job 7 [slurm@2026-11-22T15:04:05]";

    #[tokio::test]
    async fn a_node_is_drained_with_a_reason() {
        let slurm = FakeSlurm::new();
        for (state, reason) in [("IDLE", ""), ("IDLE+DRAIN", OF_OURS), ("IDLE+DRAIN", "")] {
            slurm.shows(&line(state, reason));
            let drained = slurm.commands().drain_node("n2", "memory of\n\"job\" 7").await.unwrap();
            assert_eq!(drained, Drained::Ours);
            let words = "update nodename=n2 state=drain reason=rampool: memory of 'job' 7\n";
            assert!(slurm.called().ends_with(words), "{}", slurm.called());
        }
    }

    #[tokio::test]
    async fn what_others_took_out_of_use_stays_theirs() {
        let slurm = FakeSlurm::new();
        for state in ["IDLE+DRAIN", "DOWN", "DOWN*+DRAIN"] {
            slurm.shows(&line(state, OF_ADMIN));
            let drained = slurm.commands().drain_node("n2", "x").await.unwrap();
            assert_eq!(drained, Drained::Before("fan is broken".to_owned()));
        }
        slurm.shows(&line("IDLE+DRAIN", OF_ADMIN));
        let resumed = slurm.commands().resume_node("n2").await.unwrap();
        assert_eq!(resumed, Resumed::NotOurs("fan is broken".to_owned()));
        slurm.shows(&line("IDLE+DRAIN", ""));
        let resumed = slurm.commands().resume_node("n2").await.unwrap();
        assert_eq!(resumed, Resumed::NotOurs(String::new()));
        assert!(!slurm.called().contains("update"), "{}", slurm.called());
    }

    #[tokio::test]
    async fn a_node_that_is_ours_is_resumed() {
        let slurm = FakeSlurm::new();
        slurm.shows(&line("IDLE+DRAIN", OF_OURS));
        assert_eq!(slurm.commands().resume_node("n2").await.unwrap(), Resumed::Now);
        assert!(slurm.called().ends_with("scontrol update nodename=n2 state=resume\n"));
        slurm.shows(&line("IDLE", OF_OURS));
        assert_eq!(slurm.commands().resume_node("n2").await.unwrap(), Resumed::Before);
    }

    #[tokio::test]
    async fn what_slurm_does_not_confirm_is_a_failure() {
        let slurm = FakeSlurm::new();
        for script in [
            "echo 'slurm_update error: Invalid user id' >&2; exit 1",
            "echo NodeName=n9 State=IDLE",
        ] {
            slurm.runs("scontrol", script);
            assert!(slurm.commands().drain_node("n2", "x").await.is_err(), "{script}");
            assert!(slurm.commands().resume_node("n2").await.is_err(), "{script}");
        }
    }

    #[test]
    fn a_reason_is_short_and_ours_once() {
        assert_eq!(reason("rampool: x"), "rampool: x");
        assert_eq!(reason(&"é".repeat(1000)).chars().count(), OURS.len() + LONGEST_REASON);
    }
}
