//! How a pool in use is, and what should be done about it.
//!
//! | module | idea |
//! | --- | --- |
//! | `condition` | what became of each of its pieces |
//! | `verdict` | what should be done: nothing, repair, or give it up |

mod condition;
mod verdict;

pub use condition::{Condition, Knows, conditions, holds, lost, lost_memory, volume};
pub use verdict::{GRACE_MS, Verdict, Watched, lost_spare, may_begin_anew};
