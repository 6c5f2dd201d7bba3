//! A program on a node whose output is collected while it runs, so that nothing told is lost
//! with the node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rampool_lab::{ExitStatus, Node, Stream};

/// Longer than any cell: a program that hangs is found by whoever waits for it.
const LONGEST: Duration = Duration::from_secs(1800);

/// What `kill` sends.
const SIGTERM: i32 = 15;

#[derive(Default)]
struct State {
    stdout: String,
    stderr: String,
    end: Option<Result<ExitStatus, String>>,
    pid: Option<u32>,
    /// Whether it was told to end: by whom it is killed is then no riddle.
    stopping: bool,
}

/// A running program, or one that ended.
pub struct Streamed {
    state: Arc<Mutex<State>>,
    node: Node,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Each change is one assignment: a panic elsewhere leaves nothing half written.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Streamed {
    /// Starts it, by a shell that first tells its process id.
    pub fn spawn(node: &Node, argv: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let tell_id = ["sh", "-c", "echo $$ >&2; exec \"$@\"", "sh"].map(str::to_owned);
        let argv = argv.into_iter().map(|word| word.as_ref().to_owned());
        let mut process = node.command(tell_id.into_iter().chain(argv)).timeout(LONGEST).spawn()?;
        let state = Arc::new(Mutex::new(State::default()));
        let told = Arc::clone(&state);
        let collect = move || {
            let ended = process.stream_lines(|stream, line| lock(&told).take(stream, line));
            lock(&told).end = Some(ended.map_err(|error| format!("{error:#}")));
        };
        std::thread::Builder::new().name("streamed".into()).spawn(collect).context("a thread")?;
        Ok(Self { state, node: node.clone() })
    }

    /// Its standard output so far.
    #[must_use]
    pub fn text(&self) -> String {
        lock(&self.state).stdout.clone()
    }

    /// What it met, if it ended otherwise than with code 0 or because it was told to.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let state = lock(&self.state);
        let how = match state.end.as_ref()? {
            Ok(status) if status.success() => return None,
            Ok(status) if state.stopping && status.signal == Some(SIGTERM) => return None,
            Ok(status) => status.to_string(),
            Err(error) => error.clone(),
        };
        Some(format!("{how}: {}", state.stderr.trim()))
    }

    /// Waits for its end; whether it came.
    #[must_use]
    pub fn wait_end(&self, deadline: Duration) -> bool {
        let begin = Instant::now();
        while lock(&self.state).end.is_none() {
            if begin.elapsed() > deadline {
                return false;
            }
            // The collecting thread has no other way to tell than the state that is looked at.
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }

    /// Ends a program that would go on for ever.
    pub fn stop(&self, deadline: Duration) -> Result<()> {
        let pid = {
            let mut state = lock(&self.state);
            state.stopping = true;
            state.pid.filter(|_| state.end.is_none())
        };
        let Some(pid) = pid else { return Ok(()) };
        self.node.sh(&format!("kill {pid} 2>/dev/null || :"))?;
        ensure!(self.wait_end(deadline), "process {pid} did not end within {deadline:?}");
        Ok(())
    }
}

impl State {
    fn take(&mut self, stream: Stream, line: &str) {
        match stream {
            Stream::Stdout => {
                self.stdout.push_str(line);
                self.stdout.push('\n');
            }
            Stream::Stderr if self.pid.is_none() => self.pid = line.trim().parse().ok(),
            Stream::Stderr => {
                self.stderr.push_str(line);
                self.stderr.push('\n');
            }
        }
    }
}
