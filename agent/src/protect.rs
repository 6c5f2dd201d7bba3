//! How the agent stays alive and moving when memory is short: a pool's data lies in memory, and
//! only the agent can give it back in order.

use std::fs;
use std::path::Path;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, configure_io_flusher_behavior, set_dumpable_behavior};

/// The OOM killer takes nearly everybody else first (proc_pid_oom_score_adj(5): from -1000,
/// never, to 1000). Never would leave a node whose agent itself went wrong without a cure.
const OOM_SCORE: i32 = -900;

/// Protects this process; called before it has threads, which inherit it. What a kernel or a
/// container refuses is logged, and done without.
pub fn ourselves(proc: &Path) {
    let path = proc.join("self/oom_score_adj");
    let now = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<i32>().ok());
    // systemd may have set it lower still.
    if now.is_none_or(|now| now > OOM_SCORE)
        && let Err(error) = fs::write(&path, OOM_SCORE.to_string())
    {
        tracing::info!(%error, "the OOM killer may take this agent as soon as anybody else");
    }
    // Who reads a core dump would read the secrets of exports.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::info!(%error, "a core dump of this agent would have secrets in it");
    }
    // What we touch stays in memory; what we only map takes none.
    let what = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if let Err(error) = mlockall(what) {
        tracing::info!(%error, "this agent may be swapped out");
    }
    // Linux 5.6: our allocations never wait for I/O, which may be that of a pool of ours.
    if let Err(error) = configure_io_flusher_behavior(true) {
        tracing::info!(%error, "this agent's allocations may wait for I/O");
    }
}

/// Does `work`, which takes memory on purpose, as any other process would: the kernel may write
/// out and drop what others can do without.
pub(crate) fn not_at_all<T>(work: impl FnOnce() -> T) -> T {
    // Refused where it was refused at the beginning: then there is nothing to undo.
    let _ = configure_io_flusher_behavior(false);
    let done = work();
    let _ = configure_io_flusher_behavior(true);
    done
}
