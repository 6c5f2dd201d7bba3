//! Cases that run one after another on one booted cluster: kernels take seconds to boot, most
//! cases less.

use std::time::Instant;

/// A case and its name.
pub(crate) type Case<T> = (&'static str, fn(&T));

/// The cases with their names, which say what is so.
macro_rules! cases {
    ($($case:path),+ $(,)?) => {
        &[$((stringify!($case), $case as fn(&_))),+]
    };
}
pub(crate) use cases;

/// Runs each of `cases` by `run`. The first that fails ends the test, and is named.
///
/// The variable `CASE` chooses those whose names contain it, as a test's filter would.
pub(crate) fn in_turn<T>(cases: &[Case<T>], run: impl Fn(fn(&T))) {
    let chosen = std::env::var("CASE").unwrap_or_default();
    for (name, case) in cases.iter().filter(|(name, _)| name.contains(&chosen)) {
        let _named = Running { name, since: Instant::now() };
        run(*case);
    }
}

/// Tells how the case ended, also while its panic goes on.
struct Running {
    name: &'static str,
    since: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        let end = if std::thread::panicking() { "FAILED" } else { "ok" };
        eprintln!("case {} ... {end} <{:.1} s>", self.name, self.since.elapsed().as_secs_f64());
    }
}
