//! `rampool` typed, with something done when it comes to a step.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rampool_lab::{ExitStatus, Stream};

use crate::cluster::{CONTROLLER, Cluster};

/// What a command came to.
#[derive(Debug)]
pub struct Told {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it printed.
    pub said: String,
    /// How long it took.
    pub took: Duration,
}

impl Told {
    /// Whether it could not know how the operation ended: the command says so itself.
    #[must_use]
    pub fn knows_not(&self) -> bool {
        self.said.contains("whether it succeeds is not known here")
    }
}

/// Runs `rampool` on the controller's node, and `at_step` as soon as it tells that `step` begins;
/// waits for both. An error if the command ends without having come to the step.
pub fn follow(
    cluster: &Cluster,
    words: &[&str],
    step: &str,
    at_step: impl FnOnce() -> Result<()>,
) -> Result<Told> {
    let (lines, told) = mpsc::channel::<String>();
    let mark = format!("] {step}");
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let typed = scope.spawn(move || {
            let argv = std::iter::once("rampool").chain(words.iter().copied());
            cluster.node(CONTROLLER).exec_streaming(argv, |_: Stream, line| {
                // Whoever stopped listening has an error of his own to tell.
                _ = lines.send(line.to_owned());
            })
        });
        let mut said = String::new();
        let mut at_step = Some(at_step);
        let mut done = Ok(());
        while let Ok(line) = told.recv() {
            if line.contains(&mark)
                && let Some(act) = at_step.take()
            {
                done = act();
            }
            said.push_str(&line);
            said.push('\n');
        }
        let status = typed.join().map_err(|_| anyhow!("a thread broke off"))??;
        done.with_context(|| format!("at {step} of `rampool {}`", words.join(" ")))?;
        if at_step.is_some() {
            return Err(anyhow!("`rampool {}` never came to {step}: {said}", words.join(" ")));
        }
        Ok(Told { status, said, took: begin.elapsed() })
    })
}
