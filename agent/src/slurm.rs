//! What this node may lend to jobs that run elsewhere, where it runs jobs of Slurm itself: what
//! Slurm gives to nobody (MemSpecLimit). The rest may be another job's any moment. What the node
//! lends to its own jobs is part of those jobs' memory.

use std::path::Path;

use rampool_proto::v1::{Failure, FailureKind};
use rampool_slurm::commands::{Commands, DEADLINE};

use crate::jobs;
use crate::memory::MIB;
use crate::node::Node;
use crate::outcome::Outcome;
use crate::ramdisk;

/// What fails, in the failures of this room.
const STEP: &str = "admit the ramdisk beside Slurm";

/// Whether `more` bytes may be lent to a job elsewhere. Slurm that does not answer is never taken
/// for "no limit".
pub(crate) fn admit(node: &Node, more: u64) -> Outcome<()> {
    let Some(commands) = &node.config.slurm_commands else { return Ok(()) };
    let kept = kept(&node.config.node, commands)?;
    let own = jobs::pools(node);
    let elsewhere = ramdisk::list(node)?.into_iter().filter(|it| !own.contains(&it.assembly.name));
    within(kept, elsewhere.map(|ramdisk| ramdisk.bytes).sum(), more)
}

/// What Slurm gives to nobody of the node of this name, in bytes.
fn kept(name: &str, commands: &Path) -> Outcome<u64> {
    let commands = Commands::of(commands, DEADLINE);
    let told = tokio::runtime::Handle::current().block_on(commands.node(name))?;
    Ok(told.mem_spec_limit_mib.saturating_mul(MIB))
}

fn within(kept: u64, lent: u64, more: u64) -> Outcome<()> {
    if lent.saturating_add(more) <= kept {
        return Ok(());
    }
    let said = format!(
        "{} MiB more are wanted for a job elsewhere; Slurm gives {} MiB of this node to nobody \
         (MemSpecLimit), of which {} MiB are lent: the rest may be a job's here any moment",
        more / MIB,
        kept / MIB,
        lent / MIB
    );
    let advice = "ask for less, or use more donors; slurm.conf: a larger MemSpecLimit";
    Err(Failure::new(FailureKind::NotNow, STEP).saying(said).advising(advice).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slurm_gives_to_nobody_is_lent_and_a_mebibyte_more_is_not() {
        assert!(within(200 * MIB, 150 * MIB, 50 * MIB).is_ok());
        let told = within(200 * MIB, 150 * MIB, 51 * MIB).unwrap_err();
        assert_eq!(told.kind(), FailureKind::NotNow);
        for number in ["51 MiB", "200 MiB", "150 MiB"] {
            assert!(told.said.contains(number), "{number}: {told}");
        }
        assert!(within(0, 0, MIB).is_err(), "Slurm may give all of it away");
        assert!(within(u64::MAX, u64::MAX, u64::MAX).is_ok());
        assert!(within(MIB, 2 * MIB, 0).is_err(), "what admins took counts too");
    }
}
