//! The cluster, the pool on it, and who plays which part.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use rampool_lab::Node;

use super::cell::{Cell, Phase, Pool, Victim};
use super::table::{self, stays_away};
use crate::cluster::{CONTROLLER, Cluster};
use crate::dice::Dice;

/// The pool of every cell.
pub const POOL: &str = "demo";

/// Its head: another node than the controller's, so that each can be hit alone.
pub const HEAD: &str = "n2";

/// Where it is mounted.
pub const MOUNT: &str = "/rampool/demo";

/// The head after the first one is lost.
pub const OTHER_HEAD: &str = CONTROLLER;

/// Its donors.
const DONORS: [&str; 2] = ["n3", "n4"];

/// The donor whose piece is moved.
pub const LEAVING: &str = DONORS[0];

/// The node that takes a lost or leaving donor's place: a spare, or the only one that is free.
pub const JOINING: &str = "n5";

/// The controller's node, the head, the donors, one that is free.
const NODES: u8 = 5;

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
    /// The step at which the fault comes, where a piece is moved.
    pub step: &'static str,
}

/// The steps of a move. Copying is all but a moment of it.
const STEPS: [&str; 4] = ["export", "attach", "rebuild", "rebuild"];

impl Cast {
    /// The parts of a cell under this seed: the same whenever and wherever it is played.
    #[must_use]
    pub fn of(cell: Cell, seed: u64) -> Self {
        let mut dice = Dice::of(seed, &cell.to_string());
        let donor = if dice.below(2) == 0 { DONORS[0] } else { DONORS[1] };
        let delay = Duration::from_millis(dice.below(150));
        let cast = Self { cell, donor, delay, seed: dice.roll(), step: STEPS[0] };
        if cell.moment.phase() != Phase::Moving {
            return cast;
        }
        let donor = *dice.pick(&[DONORS[0], DONORS[1], JOINING]);
        let step = *dice.pick(&STEPS);
        // Copying takes seconds.
        let delay = if step == "rebuild" { delay * 10 } else { delay };
        Self { donor, delay, step, ..cast }
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
        let cell = &self.cell;
        let moving = cell.moment.phase() == Phase::Moving;
        let kind: &[&str] = match cell.pool {
            Pool::Plain if moving => &["--layout", "lvm"],
            Pool::Plain => &[],
            // Who stays away is missed at once by a spare, and after a minute by everybody else.
            Pool::Mirror if stays_away(cell) && !moving => {
                &["--redundancy", "mirror", "--spares", "1"]
            }
            Pool::Mirror => &["--redundancy", "mirror"],
        };
        let spare = Some(JOINING).filter(|_| kind.contains(&"--spares"));
        let donors: Vec<&str> = DONORS.into_iter().chain(spare).collect();
        let mut words = up_words(HEAD, &donors, kind);
        if let Some(patience) = table::patience(cell) {
            words.extend(["--patience".to_owned(), format!("{}s", patience.as_secs())]);
        }
        words
    }
}

/// The words after `rampool` that make the pool of these nodes.
fn up_words(head: &str, donors: &[&str], kind: &[&str]) -> Vec<String> {
    let donors = donors.join(",");
    let words = ["up", POOL, "--size", SIZE, "--head", head, "--donors", &donors];
    words.iter().chain(kind).map(|word| (*word).to_owned()).collect()
}

/// The words after `rampool` that make a plain pool, with the product's defaults.
#[must_use]
pub fn plain_words() -> Vec<String> {
    up_words(HEAD, &DONORS, &[])
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

    /// Pools up and down again, after nodes were booted: each node in each of its parts.
    pub fn warm_up(&self) -> Result<()> {
        self.open_other_head()?;
        let donors = [LEAVING, JOINING];
        let mirror = ["--redundancy", "mirror"];
        for (head, words) in [
            (HEAD, plain_words()),
            (HEAD, up_words(HEAD, &donors, &["--layout", "lvm"])),
            (OTHER_HEAD, up_words(OTHER_HEAD, &donors, &mirror)),
        ] {
            self.rampool(&words)?.ok().context("warm up")?;
            let write = format!("echo 1 > {MOUNT}/file && sync");
            self.cluster.node(head).sh(&write).context("warm up")?;
            self.rampool(&["down", POOL])?.ok().context("warm up")?;
        }
        Ok(())
    }

    /// Lets no pool take memory of the controller's node: it might take a lost donor's place,
    /// and could not be hit alone any more.
    pub fn shut_other_head(&self) -> Result<()> {
        let words = ["drain", OTHER_HEAD, "--reason", "it runs the controller"];
        self.rampool(&words)?.ok().map(drop)
    }

    /// Lets it be a head.
    pub fn open_other_head(&self) -> Result<()> {
        self.rampool(&["resume", OTHER_HEAD])?.ok().map(drop)
    }

    /// The pool as `rampool status` shows it.
    pub fn pool(&self) -> Result<serde_json::Value> {
        self.cluster.rampool_json(&["status", POOL])
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
