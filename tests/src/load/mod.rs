//! Use of a pool that notices what a fault does to it: fio with verify beside the metadata
//! checker, on a mounted pool, until told to end.
//!
//! | module | idea |
//! | --- | --- |
//! | [`blocks`] | fio's command line and report |
//! | [`stream`] | a program on a node whose output is collected while it runs |

pub mod blocks;
pub mod stream;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rampool_lab::Node;

use crate::witness::log::Log;
use stream::Streamed;

/// Where the witness works, below the mount.
const FOLDER: &str = "witness";

/// Work that runs while a fault happens.
pub struct Load {
    blocks: Streamed,
    witness: Streamed,
    mount: String,
    seed: u64,
}

/// What the load met.
#[derive(Debug)]
pub struct Report {
    /// fio's part.
    pub blocks: blocks::Report,
    /// All that the witness told.
    pub log: Log,
    /// What the two said that ended with an error, or were cut off.
    pub errors: Vec<String>,
}

impl Report {
    /// The longest that one request took, by fio's completion latencies and by the witness's
    /// acknowledgements.
    #[must_use]
    pub fn longest_stall(&self) -> Duration {
        self.blocks.longest.max(self.log.longest())
    }
}

impl Load {
    /// Begins on the pool mounted at `mount` of `head`.
    pub fn begin(head: &Node, mount: &str, seed: u64) -> Result<Self> {
        head.sh(&format!("rm -f {}", blocks::END))?;
        let script = blocks::script(mount, seed);
        Ok(Self {
            blocks: Streamed::spawn(head, ["sh", "-c", &script])?,
            witness: Streamed::spawn(head, witness_words(mount, 0).as_slice())?,
            mount: mount.to_owned(),
            seed,
        })
    }

    /// Waits until this many files were acknowledged.
    pub fn wait_acknowledged(&self, count: usize, deadline: Duration) -> Result<()> {
        let begin = Instant::now();
        while Log::parse(&self.witness.text())?.acknowledged() < count {
            ensure!(begin.elapsed() < deadline, "the witness is slow: {}", self.witness.text());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends it in order: fio sees its last round through and reads all of it back.
    pub fn end(self, head: &Node, deadline: Duration) -> Result<Report> {
        head.sh(&format!("touch {}", blocks::END))?;
        let begin = Instant::now();
        ensure!(
            self.blocks.wait_end(deadline),
            "fio did not see its round through within {deadline:?}: {}",
            self.blocks.text()
        );
        self.witness.stop(deadline.saturating_sub(begin.elapsed()))?;
        self.report()
    }

    /// Waits until both met an error: they must not hang. What still runs afterwards is named.
    pub fn wait_errors(self, deadline: Duration) -> Result<Report> {
        let begin = Instant::now();
        for (name, part) in [("fio", &self.blocks), ("the witness", &self.witness)] {
            ensure!(
                part.wait_end(deadline.saturating_sub(begin.elapsed())),
                "{name} still hangs {deadline:?} after the fault instead of getting an error"
            );
        }
        self.report()
    }

    fn report(self) -> Result<Report> {
        let (blocks, witness) = (self.blocks.text(), self.witness.text());
        let errors = [("fio", self.blocks.trouble()), ("the witness", self.witness.trouble())];
        let errors =
            errors.into_iter().filter_map(|(name, said)| Some(format!("{name}: {}", said?)));
        Ok(Report {
            errors: errors.collect(),
            blocks: blocks::Report::parse(&blocks, self.seed)
                .with_context(|| format!("fio on {}", self.mount))?,
            log: Log::parse(&witness)?,
        })
    }
}

fn witness_words(mount: &str, first: u64) -> Vec<String> {
    let folder = format!("{mount}/{FOLDER}");
    ["rampool-witness", "write", &folder, "--first", &first.to_string()].map(str::to_owned).to_vec()
}

/// Writes `count` files more, each acknowledged, onto what `log` tells of.
pub fn add_files(head: &Node, mount: &str, log: &mut Log, count: u64) -> Result<()> {
    let mut words = witness_words(mount, log.next_number());
    words.extend(["--count".to_owned(), count.to_string()]);
    let told = head.exec(words)?.ok()?;
    for line in told.lines() {
        log.take(line.parse()?);
    }
    Ok(())
}

/// Compares the pool with what was acknowledged, read from the donors and not from a cache.
pub fn compare_files(head: &Node, mount: &str, log: &Log) -> Result<()> {
    head.sh("echo 3 > /proc/sys/vm/drop_caches")?;
    let folder = format!("{mount}/{FOLDER}");
    let words = ["rampool-witness", "compare", &folder];
    head.command(words).stdin(log.to_string()).output()?.ok().map(drop)
}

/// Reads back all blocks of fio's last whole round.
pub fn compare_blocks(head: &Node, mount: &str, report: &blocks::Report) -> Result<()> {
    let seed = report.last_seed.context("fio finished no round")?;
    head.sh("echo 3 > /proc/sys/vm/drop_caches")?;
    let said = head.sh(&blocks::compare_script(mount, seed))?;
    let again = blocks::Report::parse(&said, seed)?;
    ensure!(again.error.is_none(), "fio reads back other blocks than it wrote: {said}");
    ensure!(again.requests > 0, "fio read nothing back: {said}");
    Ok(())
}
