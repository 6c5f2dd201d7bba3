//! Waiting for what happens by itself: the command line is all that an outsider can ask, and it
//! has no "wait" for it. How long is waited says when something hangs, and is no promise: it is
//! long enough for any machine, and whoever judges a time measures it.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;

/// Between two questions: the controller has work with each, and an answer is late by no more
/// than this.
const PAUSE: Duration = Duration::from_millis(250);

/// Asks until the answer is `Ok`; `Err` is what is so instead, for the reader of the failure.
///
/// # Errors
/// When it is not so `within` that time, or when it cannot be asked.
pub fn until<T, I: Display>(
    what: &str,
    within: Duration,
    mut ask: impl FnMut() -> Result<Result<T, I>>,
) -> Result<T> {
    let begin = Instant::now();
    loop {
        match ask()? {
            Ok(answer) => return Ok(answer),
            Err(instead) => {
                ensure!(begin.elapsed() <= within, "not {what} after {within:?}: {instead}");
            }
        }
        std::thread::sleep(PAUSE);
    }
}

impl Cluster {
    /// The pool's status, once it is so.
    ///
    /// # Errors
    /// When it is not so `within` that time, with its status then.
    pub fn until_pool(
        &self,
        name: &str,
        what: &str,
        within: Duration,
        so: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        until(&format!("{name} {what}"), within, || {
            let pool = self.rampool_json(&["status", name])?;
            Ok(if so(&pool) { Ok(pool) } else { Err(pool) })
        })
    }

    /// Returns once nodes are as the controller should see them.
    ///
    /// # Errors
    /// When it is not so `within` that time, with what the controller says of them.
    pub fn until_nodes(
        &self,
        nodes: &[&str],
        what: &str,
        within: Duration,
        so: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        until(&format!("{} {what}", nodes.join(", ")), within, || {
            let answer = self.rampool(&["nodes", "-o", "json"])?;
            // A controller that was just started does not answer yet.
            let Ok(listing) = serde_json::from_slice::<Value>(&answer.stdout) else {
                return Ok(Err(String::from_utf8_lossy(&answer.stderr).into_owned()));
            };
            let named = |name: &&str| {
                let all = listing["nodes"].as_array().into_iter().flatten();
                all.filter(|node| node["node"] == **name).any(&so)
            };
            Ok(if nodes.iter().all(named) { Ok(()) } else { Err(listing.to_string()) })
        })
    }

    /// Waits until the controller hears these nodes' agents.
    ///
    /// # Errors
    /// When some are still missing after [`READY_DEADLINE`].
    pub fn wait_reachable(&self, nodes: &[&str]) -> Result<()> {
        self.until_nodes(nodes, "reachable", READY_DEADLINE, |node| node["reachable"] == true)
    }
}

/// How long programs may take from their start until every agent answers the controller.
const READY_DEADLINE: Duration = Duration::from_secs(120);
