//! Sees to it that the nodes' clocks go on.
//!
//! A kernel in user mode asks the machine for one signal at the time of its next event. Debian's
//! (6.1) was seen to have lost that event, once in thousands of boots on a busy machine: it idled
//! for ever with no timer armed (`timer_gettime` told zero), answered the network, and no sleep on
//! it ended. The signal itself, sent from here, had it look what was due, and go on. Where nothing
//! is lost the kernel finds nothing due.

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context, Result};

use super::table::Table;

/// As long as a clock may stand still: far less than any patience that is tested.
const PERIOD: Duration = Duration::from_secs(1);

/// Begins it, for as long as the lab is there.
pub(super) fn keep_going(table: &Arc<Table>) -> Result<()> {
    let table = Arc::clone(table);
    let keeping = thread::Builder::new().name("clocks".to_owned()).spawn(move || {
        loop {
            thread::sleep(PERIOD);
            table.nudge_clocks();
        }
    });
    keeping.map(drop).context("cannot start a thread")
}
