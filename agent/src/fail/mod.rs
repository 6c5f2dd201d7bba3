//! The end of a pool's patience: whoever waits for a silent donor gets an error instead.
//!
//! A donor that falls silent is found out by probes (some seconds), then its I/O is held back
//! until the pool's patience is over. Logging out of such a session ends that at once: what was
//! held fails as the kernel tells it of a disk that went (ENODEV for direct I/O), everything after
//! with EIO. The order matters: while I/O is held, whatever asks the file system may have to wait
//! for it too.

mod impatience;
mod shutdown;

use std::time::{Duration, Instant};

use rampool_proto::pool_name::Assembly;

use crate::attach::{self, sessions};
use crate::mount;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome};
use crate::volume;
pub use impatience::Impatience;

/// How long sessions may take to end: a logout takes half a second, or is refused while iscsid
/// tries to log in again, which takes as long.
const GRACE: Duration = Duration::from_secs(3);

/// Makes every use of the pool fail: ends the sessions whose donors are silent, then shuts the
/// file system down. Where none is mounted (a bare device), all sessions end.
///
/// It waits for no other call: what it is to end may be what they wait for.
pub fn volume(node: &Node, assembly: &Assembly) -> Outcome<Change> {
    let mounted = match volume::find(node, assembly) {
        Some(volume) => mount::of_volume(node, &volume)?,
        None => None,
    };
    let all = mounted.is_none();
    let ended = end_sessions(node, assembly, all).during("end the sessions");
    let shut = match &mounted {
        Some(mount) => shutdown::file_system(mount).during("shut the file system down")?,
        None => Change::Already,
    };
    Ok(if ended? == Change::Made || shut == Change::Made { Change::Made } else { Change::Already })
}

/// iscsid refuses a logout in the middle of a login: then it is asked again.
fn end_sessions(node: &Node, assembly: &Assembly, all: bool) -> Outcome<Change> {
    let patience = Instant::now() + GRACE;
    let mut change = Change::Already;
    loop {
        let mut sessions = sessions::of(node, assembly);
        sessions.retain(|session| all || !session.is_up());
        if sessions.is_empty() {
            break;
        }
        attach::end(node, &sessions)?;
        change = Change::Made;
        if Instant::now() > patience {
            tracing::warn!(%assembly, "sessions stay; they are asked to end again and again");
            break;
        }
    }
    Ok(change)
}
