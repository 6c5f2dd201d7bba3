//! Results, kept as they come (one JSON object a line, the last of each cell) and shown as a
//! table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::table::{Verdict, verdict};

/// What one cell came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The cell's name, or `cycles`.
    pub cell: String,
    /// The run's seed.
    pub seed: u64,
    /// What was tested.
    pub commit: String,
    /// Whether all that is promised was held.
    pub passed: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The longest that one request took, where load is promised to go on, in milliseconds.
    pub stall_ms: Option<u64>,
    /// What else was seen, or what was not held.
    pub note: String,
}

/// A file of results.
pub struct Ledger {
    path: PathBuf,
}

impl Ledger {
    /// At this path; made when the first result comes.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Adds one result, in the place of an earlier one of the same cell. One caller at a time.
    pub fn add(&self, entry: &Entry) -> Result<BTreeMap<String, Entry>> {
        let mut latest = self.latest()?;
        latest.insert(entry.cell.clone(), entry.clone());
        let mut text = String::new();
        for entry in latest.values() {
            text.push_str(&serde_json::to_string(entry)?);
            text.push('\n');
        }
        // A run that is killed leaves the old file or the new one.
        let new = self.path.with_extension("new");
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &self.path))
            .with_context(|| format!("write {}", self.path.display()))?;
        Ok(latest)
    }

    /// The last result of each cell.
    pub fn latest(&self) -> Result<BTreeMap<String, Entry>> {
        if !self.path.exists() {
            return Ok(BTreeMap::new());
        }
        let text = std::fs::read_to_string(&self.path);
        let text = text.with_context(|| format!("read {}", self.path.display()))?;
        text.lines()
            .map(|line| {
                let entry: Entry = serde_json::from_str(line)
                    .with_context(|| format!("{}: {line}", self.path.display()))?;
                Ok((entry.cell.clone(), entry))
            })
            .collect()
    }
}

/// The commit under test; with `+` where the tree differs from it.
pub fn commit() -> Result<String> {
    let git = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(arguments)
            .output()
            .context("run git")?;
        ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short", "HEAD"])?;
    // What these runs write themselves is no change of what is tested.
    let changed = git(&["status", "--porcelain", "--", "..", ":!../docs/chaos.*"])?;
    Ok(if changed.is_empty() { head } else { format!("{head}+") })
}

/// The results as a page: what failed first, then every cell tried, then what is not.
#[must_use]
pub fn page(latest: &BTreeMap<String, Entry>) -> String {
    let runs: Vec<Cell> =
        Cell::all().filter(|cell| matches!(verdict(cell), Verdict::Runs(_))).collect();
    let names: BTreeSet<String> = runs.iter().map(Cell::to_string).collect();
    // The cycles are no cell.
    let tried = || names.iter().filter_map(|name| latest.get(name));
    let failed = tried().filter(|entry| !entry.passed).count();
    let mut page = String::from(HEAD);
    _ = writeln!(
        page,
        "{} cells make sense: {} held, {failed} did not, {} were not tried yet.\n",
        names.len(),
        tried().count() - failed,
        names.len() - tried().count()
    );
    page.push_str("| cell | result | s | longest stall | commit | seed | |\n");
    page.push_str("| --- | --- | ---: | ---: | --- | --- | --- |\n");
    let (held, not): (Vec<&Entry>, Vec<&Entry>) = latest.values().partition(|entry| entry.passed);
    for entry in not.into_iter().chain(held) {
        _ = writeln!(page, "{}", row(entry));
    }
    page.push_str("\n## Cells that make no sense\n\n");
    page.push_str("| cells | why |\n| ---: | --- |\n");
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for cell in Cell::all() {
        if let Verdict::NotApplicable(reason) = verdict(&cell) {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    for (reason, cells) in reasons {
        _ = writeln!(page, "| {cells} | {reason} |");
    }
    page
}

const HEAD: &str = "# The fault matrix\n\n\
    Written by `make chaos`. Each cell brings a pool up on a cluster of real kernels, hits somebody\n\
    at a moment (`up-export`: as `up` comes to that step), heals it, compares all that was\n\
    acknowledged, takes the pool down, and compares every node with before: objects, and memory\n\
    within 8 MiB and 8 MiB of slabs. What each cell promises: `tests/src/chaos/table.rs`. One again:\n\
    `make chaos CHAOS='--only CELL --seed SEED'`.\n\n";

fn row(entry: &Entry) -> String {
    let result = if entry.passed { "held" } else { "**not held**" };
    let stall = entry.stall_ms.map_or(String::new(), |ms| format!("{:.1} s", ms as f64 / 1000.0));
    let Entry { cell, seconds, commit, seed, .. } = entry;
    let note = entry.note.replace(['\n', '|'], " ");
    let note: String = note.chars().take(300).collect();
    format!("| {cell} | {result} | {seconds:.0} | {stall} | {commit} | {seed} | {note} |")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cell: &str, passed: bool) -> Entry {
        Entry {
            cell: cell.into(),
            seed: 7,
            commit: "abc".into(),
            passed,
            seconds: 12.3,
            stall_ms: Some(1500),
            note: "a | b\nc".into(),
        }
    }

    #[test]
    fn the_last_result_of_a_cell_counts() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(&folder.path().join("results"));
        assert!(ledger.latest().unwrap().is_empty());
        ledger.add(&entry("a", false)).unwrap();
        ledger.add(&entry("b", true)).unwrap();
        ledger.add(&entry("a", true)).unwrap();
        let latest = ledger.latest().unwrap();
        assert_eq!((latest.len(), latest["a"].passed), (2, true));
    }

    #[test]
    fn what_was_not_held_comes_first_on_a_line_of_its_own() {
        let held = ["plain.donor.idle.killed", "cycles"].map(|name| entry(name, true));
        let entries = held.into_iter().chain([entry("plain.head.idle.cut", false)]);
        let latest = entries.map(|entry| (entry.cell.clone(), entry)).collect();
        let page = page(&latest);
        let rows: Vec<&str> = page.lines().filter(|line| line.contains("abc")).collect();
        assert_eq!(
            rows[0],
            "| plain.head.idle.cut | **not held** | 12 | 1.5 s | abc | 7 | a   b c |"
        );
        assert!(rows[1].contains("| held |"), "{}", rows[1]);
        assert!(page.contains("343 cells make sense: 1 held, 1 did not, 341 were"), "{page}");
        assert!(page.contains("| 28 | the same as donor-link cut |"), "{page}");
    }
}
