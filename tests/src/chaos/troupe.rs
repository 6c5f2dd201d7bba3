//! Cells one after the other, on clusters that are used again while they are clean.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::cell::{Cell, Phase, Pool};
use super::ledger::Entry;
use super::play::play;
use super::stage::Stage;
use super::table::{Verdict, boots_a_node, verdict};
use crate::dice::Dice;

/// A run over cells.
pub struct Run {
    /// Which, in this order.
    pub cells: Vec<Cell>,
    /// Chance.
    pub seed: u64,
    /// What is tested, for the results.
    pub commit: String,
    /// How many clusters side by side.
    pub jobs: usize,
    /// No cell begins after this.
    pub budget: Duration,
    /// Where a failed cell's logs go.
    pub logs: PathBuf,
}

/// Every cell that makes sense, in an order that the seed decides: each stretch of it is a sample,
/// with as many of each kind as there are left.
#[must_use]
pub fn sensible(seed: u64) -> Vec<Cell> {
    let mut cells: Vec<Cell> =
        Cell::all().filter(|cell| matches!(verdict(cell), Verdict::Runs(_))).collect();
    Dice::of(seed, "order").shuffle(&mut cells);
    deal(cells)
}

/// Parts of the matrix of very different sizes, and of equal worth in a sample.
fn kind(cell: &Cell) -> usize {
    match (cell.pool, cell.moment.phase()) {
        (_, Phase::Moving) => 0,
        (Pool::Mirror, _) => 1,
        (Pool::Plain, Phase::Up(_)) => 2,
        (Pool::Plain, Phase::Idle | Phase::Load) => 3,
        (Pool::Plain, Phase::Down(_)) => 4,
    }
}

/// One of each kind in turn, those of one kind in the order that they have; the kind of the very
/// first begins.
fn deal(cells: Vec<Cell>) -> Vec<Cell> {
    let first = cells.first().map_or(0, kind);
    let mut hands: [VecDeque<Cell>; 5] = Default::default();
    for cell in cells {
        hands[kind(&cell)].push_back(cell);
    }
    hands.rotate_left(first);
    let mut dealt = Vec::new();
    while hands.iter().any(|hand| !hand.is_empty()) {
        dealt.extend(hands.iter_mut().filter_map(VecDeque::pop_front));
    }
    dealt
}

fn millis(stall: Duration) -> u64 {
    // A stall lasts minutes at most.
    u64::try_from(stall.as_millis()).unwrap_or(u64::MAX)
}

impl Run {
    /// Plays them, and tells each result as it comes. An error is of the machinery: a cluster that
    /// does not boot, a result that cannot be told.
    pub fn play(&self, tell: impl Fn(&Entry) -> Result<()> + Sync) -> Result<()> {
        let queue = Mutex::new(self.cells.iter().copied().collect::<VecDeque<_>>());
        let begin = Instant::now();
        let next = || {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            if begin.elapsed() < self.budget { queue.pop_front() } else { None }
        };
        std::thread::scope(|scope| {
            let (next, tell) = (&next, &tell);
            let players: Vec<_> = (0..self.jobs.max(1))
                .map(|_| scope.spawn(move || self.play_in_turn(next, tell)))
                .collect();
            let ended = players.into_iter().map(std::thread::ScopedJoinHandle::join);
            let ended: Vec<_> = ended.collect();
            ended.into_iter().try_for_each(|end| end.map_err(|_| anyhow!("a player broke off"))?)
        })
    }

    fn play_in_turn(
        &self,
        next: &(impl Fn() -> Option<Cell> + Sync),
        tell: &(impl Fn(&Entry) -> Result<()> + Sync),
    ) -> Result<()> {
        let mut kept: Option<Stage> = None;
        while let Some(cell) = next() {
            let stage = match kept.take() {
                Some(stage) => stage,
                None => Stage::boot("chaos")?,
            };
            let begin = Instant::now();
            let outcome = play(&stage, cell, self.seed);
            let seconds = begin.elapsed().as_secs_f64();
            let passed = outcome.is_ok();
            let (stall_ms, note) = match outcome {
                Ok(found) => (found.stall.map(millis), found.note),
                Err(error) => {
                    let note = format!("{error:#}");
                    self.keep_logs(&stage, cell, &note)?;
                    (None, note)
                }
            };
            let (seed, commit) = (self.seed, self.commit.clone());
            let cell_name = cell.to_string();
            tell(&Entry { cell: cell_name, seed, commit, passed, seconds, stall_ms, note })?;
            if passed {
                // Kernels that were booted anew have not played yet.
                let warmed = if boots_a_node(&cell) { stage.warm_up() } else { Ok(()) };
                kept = warmed.is_ok().then_some(stage);
            }
        }
        Ok(())
    }

    fn keep_logs(&self, stage: &Stage, cell: Cell, note: &str) -> Result<()> {
        let path = self.logs.join(format!("{cell}.log"));
        let text = format!("{cell}, seed {}\n\n{note}\n\n{}", self.seed, stage.testimony());
        std::fs::create_dir_all(&self.logs)
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_cells_in_a_row_are_of_five_kinds_and_none_is_forgotten() {
        for seed in 0..100 {
            let mut kinds: Vec<usize> = sensible(seed).iter().take(5).map(kind).collect();
            kinds.sort_unstable();
            assert_eq!(kinds, [0, 1, 2, 3, 4]);
        }
        let all = Cell::all().filter(|cell| matches!(verdict(cell), Verdict::Runs(_))).count();
        assert_eq!(sensible(7).len(), all);
        assert_ne!(sensible(7), sensible(8));
    }
}
