//! The cluster, the pool on it, and who plays which part.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use rampool_lab::Node;

use super::cell::{Cell, Victim};
use super::table;
use crate::cluster::{CONTROLLER, Cluster};
use crate::dice::Dice;

/// The pool of every cell.
pub const POOL: &str = "demo";

/// Its head: another node than the controller's, so that each can be hit alone.
pub const HEAD: &str = "n2";

/// Where it is mounted.
pub const MOUNT: &str = "/rampool/demo";

/// Its donors.
const DONORS: [&str; 2] = ["n3", "n4"];

/// The controller's node, the head, the donors.
const NODES: u8 = 4;

/// The product's default.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// XFS takes no less than 300 MiB.
const SIZE: &str = "320MiB";

/// A booted cluster, used for one cell after the other.
pub struct Stage {
    /// The cluster.
    pub cluster: Cluster,
}

/// One cell's parts: which donor is hit, and how chance falls.
pub struct Cast {
    /// The cell.
    pub cell: Cell,
    /// The donor that is hit, where one is.
    pub donor: &'static str,
    /// The moment within the moment.
    pub delay: Duration,
    /// The load's seed.
    pub seed: u64,
}

impl Cast {
    /// The parts of a cell under this seed: the same whenever and wherever it is played.
    #[must_use]
    pub fn of(cell: Cell, seed: u64) -> Self {
        let mut dice = Dice::of(seed, &cell.to_string());
        let donor = if dice.below(2) == 0 { DONORS[0] } else { DONORS[1] };
        Self { cell, donor, delay: Duration::from_millis(dice.below(150)), seed: dice.roll() }
    }

    /// The node that is hit, or whose program or link is.
    #[must_use]
    pub fn victim(&self) -> &'static str {
        match self.cell.victim {
            Victim::Controller | Victim::ControllerLink => CONTROLLER,
            Victim::HeadAgent | Victim::Iscsid | Victim::Head => HEAD,
            Victim::DonorAgent | Victim::Donor | Victim::DonorLink => self.donor,
        }
    }

    /// The words after `rampool` that make the cell's pool.
    #[must_use]
    pub fn up(&self) -> Vec<String> {
        up_words(table::patience(&self.cell))
    }
}

/// The words after `rampool` that make a pool of this patience.
#[must_use]
pub fn up_words(patience: Duration) -> Vec<String> {
    let donors = DONORS.join(",");
    let patience = format!("{}s", patience.as_secs());
    let words = ["up", POOL, "--size", SIZE, "--head", HEAD, "--donors", &donors];
    words.into_iter().chain(["--patience", &patience]).map(str::to_owned).collect()
}

impl Stage {
    /// Boots one, and has every node play its part once: what kernels load and programs keep
    /// from then on is not a cell's.
    pub fn boot(name: &str) -> Result<Self> {
        let cluster = Cluster::builder(name, NODES).boot().context("boot")?;
        let witness = crate::programs::path("rampool-witness")?;
        cluster.lab.stage_binary(witness)?;
        let stage = Self { cluster };
        stage.warm_up()?;
        Ok(stage)
    }

    /// A pool up and down again, after nodes were booted.
    pub fn warm_up(&self) -> Result<()> {
        self.rampool(&up_words(PATIENCE))?.ok().context("warm up")?;
        self.head().sh(&format!("echo 1 > {MOUNT}/file && sync")).context("warm up")?;
        self.rampool(&["down", POOL])?.ok().context("warm up")?;
        Ok(())
    }

    /// The head.
    #[must_use]
    pub fn head(&self) -> &Node {
        self.cluster.node(HEAD)
    }

    /// Runs `rampool` with these words.
    pub fn rampool(&self, words: &[impl AsRef<str>]) -> Result<rampool_lab::Output> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        self.cluster.rampool(&words)
    }

    /// Waits until the controller hears every node.
    pub fn wait_all_reachable(&self) -> Result<()> {
        let names: Vec<&str> = self.cluster.nodes().iter().map(String::as_str).collect();
        self.cluster.wait_reachable(&names)
    }

    /// What everybody has to say, for the report of a failure. What cannot be asked is left out.
    #[must_use]
    pub fn testimony(&self) -> String {
        let mut text = String::new();
        for words in [&["status"][..], &["events", POOL], &["nodes"]] {
            if let Ok(output) = self.cluster.rampool(words) {
                let (out, err) = (output.stdout_text(), output.stderr_text());
                _ = writeln!(text, "==== rampool {}\n{out}{err}", words.join(" "));
            }
        }
        for name in self.cluster.nodes() {
            let node = self.cluster.node(name);
            let probe = crate::footprint::Footprint::probe();
            let script = format!(
                "tail -n 120 /var/log/rampool/*.log; dmesg | tail -n 60; cat /proc/mdstat\n{probe}"
            );
            let asked = node.command(["sh", "-c", &script]).timeout(Duration::from_secs(20));
            if let Ok(output) = asked.output() {
                _ = writeln!(text, "==== {name}\n{}", output.stdout_text());
            }
        }
        text
    }
}
