//! What the machine withheld from nodes of a lab: a time that the product promises cannot be judged
//! by the clock alone where many kernels share few cores with who knows what.
//!
//! A node's kernel that could run and had no core has waited for the machine, and Linux counts for
//! how long. Each moment counts once, by the node that waited longest of those that do the work in
//! question; so does a moment in which nobody ran, not even who looks at this.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    keeper::{control, uml::umid},
    lab::Lab,
    names::NodeId,
};

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(100);

/// A look that comes later than this was withheld, too.
const SLACK: Duration = Duration::from_millis(20);

/// Watches for as long as it is there.
pub struct Pace {
    seen: Arc<Mutex<Timeline>>,
}

/// What was withheld, from its beginning on.
struct Timeline {
    begin: Instant,
    /// The end of each stretch that was looked at, since the beginning, and how much of it was withheld.
    stretches: Vec<(Duration, Duration)>,
}

impl Lab {
    /// Begins to watch what the machine withholds from those nodes whose work is judged.
    ///
    /// # Errors
    /// When the nodes' processes cannot be looked at.
    pub fn pace(&self, nodes: &[&str]) -> Result<Pace> {
        let keeper = control::keeper_pid(self.state_folder())?;
        let nodes: Vec<NodeId> = nodes.iter().map(|name| name.parse()).collect::<Result<_>>()?;
        let begin = Instant::now();
        let seen = Arc::new(Mutex::new(Timeline { begin, stretches: Vec::new() }));
        let watched = Arc::downgrade(&seen);
        let mut waited = waits(keeper, &nodes)?;
        thread::Builder::new()
            .name("lab-pace".to_owned())
            .spawn(move || watch((keeper, &nodes), &mut waited, &watched))
            .context("cannot start a thread")?;
        Ok(Pace { seen })
    }
}

impl Pace {
    /// The time since then, less what was withheld.
    #[must_use]
    pub fn since(&self, then: Instant) -> Duration {
        let seen = self.seen();
        let elapsed = then.elapsed();
        elapsed.saturating_sub(seen.withheld(then.saturating_duration_since(seen.begin), None))
    }

    /// Some stretch of this length while it was watched, less the most that was withheld in any: what something took at
    /// least that took so long by the clock, nobody knows when.
    #[must_use]
    pub fn of_a_stretch(&self, length: Duration) -> Duration {
        length.saturating_sub(self.seen().most_withheld(length))
    }

    fn seen(&self) -> MutexGuard<'_, Timeline> {
        lock(&self.seen)
    }
}

fn lock(seen: &Mutex<Timeline>) -> MutexGuard<'_, Timeline> {
    // Each change is one push: a panic elsewhere leaves nothing half written.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Timeline {
    /// What was withheld from `begin` to `end`, or to the last look.
    fn withheld(&self, begin: Duration, end: Option<Duration>) -> Duration {
        let within =
            |(at, _): &&(Duration, Duration)| *at > begin && end.is_none_or(|end| *at <= end);
        self.stretches.iter().filter(within).map(|(_, withheld)| *withheld).sum()
    }

    fn most_withheld(&self, length: Duration) -> Duration {
        let begins =
            std::iter::once(Duration::ZERO).chain(self.stretches.iter().map(|(at, _)| *at));
        begins.map(|begin| self.withheld(begin, Some(begin + length))).max().unwrap_or_default()
    }
}

/// Looks until nobody is interested any more, or the lab is gone.
fn watch(
    (keeper, nodes): (i32, &[NodeId]),
    waited: &mut BTreeMap<i32, Duration>,
    seen: &Weak<Mutex<Timeline>>,
) {
    let mut before = Instant::now();
    loop {
        thread::sleep(PERIOD);
        let Ok(now_waited) = waits(keeper, nodes) else { return };
        let Some(seen) = seen.upgrade() else { return };
        let now = Instant::now();
        let late = (now - before).saturating_sub(PERIOD + SLACK);
        let more = |(pid, now): (&i32, &Duration)| Some(now.saturating_sub(*waited.get(pid)?));
        let longest = now_waited.iter().filter_map(more).max().unwrap_or_default();
        let mut seen = lock(&seen);
        let at = now - seen.begin;
        seen.stretches.push((at, longest.max(late).min(now - before)));
        (before, *waited) = (now, now_waited);
    }
}

/// How long each of these nodes' kernels, children of the keeper's, could have run and did not: the
/// second number of `/proc/PID/schedstat`, in nanoseconds (sched-stats of the kernel's
/// documentation).
fn waits(keeper: i32, nodes: &[NodeId]) -> Result<BTreeMap<i32, Duration>> {
    let mut waits = BTreeMap::new();
    let tasks = format!("/proc/{keeper}/task");
    for task in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))?.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            // Gone between the two looks: then nothing is withheld from it.
            let read = |file: &str| fs::read_to_string(format!("/proc/{child}/{file}"));
            let (Ok(words), Ok(stat)) = (read("cmdline"), read("schedstat")) else { continue };
            let is_of = |node: &NodeId| words.split('\0').any(|word| word == umid(*node));
            if nodes.iter().any(is_of) {
                let nanoseconds = stat.split(' ').nth(1).and_then(|number| number.parse().ok());
                let nanoseconds =
                    nanoseconds.with_context(|| format!("schedstat says {stat:?}"))?;
                waits.insert(child.parse()?, Duration::from_nanos(nanoseconds));
            }
        }
    }
    Ok(waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn timeline() -> Timeline {
        let withheld = [0, 0, 1, 1, 1, 0, 0, 1, 0, 0];
        let stretches = (1..).map(seconds).zip(withheld.map(seconds)).collect();
        Timeline { begin: Instant::now(), stretches }
    }

    #[test]
    fn only_what_was_withheld_in_the_time_asked_about_counts() {
        let seen = timeline();
        assert_eq!(seen.withheld(seconds(0), None), seconds(4));
        assert_eq!(seen.withheld(seconds(4), None), seconds(2));
        assert_eq!(seen.withheld(seconds(3), Some(seconds(5))), seconds(2));
        assert_eq!(seen.withheld(seconds(8), None), seconds(0));
    }

    #[test]
    fn a_stretch_is_forgiven_no_more_than_its_length_could_hold() {
        let seen = timeline();
        assert_eq!(seen.most_withheld(seconds(2)), seconds(2));
        assert_eq!(seen.most_withheld(seconds(4)), seconds(3));
        assert_eq!(seen.most_withheld(seconds(30)), seconds(4));
    }
}
