//! How a pool in use is, and what should be done about it.
//!
//! | module | idea |
//! | --- | --- |
//! | `condition` | what became of each of its pieces |
//! | `last_word` | whether those who kept their memory have all that was acknowledged |
//! | `verdict` | what should be done: nothing, repair, or give it up |

mod condition;
mod last_word;
mod verdict;

pub use condition::{
    Condition, Knows, conditions, holds, lacking_client, lost, lost_memory, volume, waited_for,
};
pub use last_word::have_all;
pub use verdict::{GRACE_MS, Verdict, Watched, lost_spare, may_begin_anew};
