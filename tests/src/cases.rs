//! Cases that run one after another on one booted cluster: to boot it costs more than most of
//! them.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::cluster::Cluster;

/// A case and its name.
pub type Case = (&'static str, fn(&Cluster) -> Result<()>);

/// The cases with their names, which say what is so.
#[macro_export]
macro_rules! cases {
    ($($case:path),+ $(,)?) => {
        &[$((stringify!($case), $case as fn(&$crate::cluster::Cluster) -> anyhow::Result<()>)),+]
    };
}

impl Cluster {
    /// Runs each of `cases`; each must leave every node with the objects that it had before. The
    /// first that fails ends it, and is named.
    ///
    /// The variable `CASE` chooses those whose names contain it, as a test's filter would.
    pub fn each(&self, cases: &[Case]) -> Result<()> {
        let chosen = std::env::var("CASE").unwrap_or_default();
        for (name, case) in cases.iter().filter(|(name, _)| name.contains(&chosen)) {
            let begin = Instant::now();
            let before = self.footprints()?;
            let outcome = case(self).and_then(|()| self.ensure_as_before(&before));
            let end = if outcome.is_ok() { "ok" } else { "FAILED" };
            println!("case {name} ... {end} <{:.1} s>", begin.elapsed().as_secs_f64());
            outcome.with_context(|| (*name).to_owned())?;
        }
        Ok(())
    }
}
