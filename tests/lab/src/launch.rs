//! Starts and ends keepers: the owner's side.

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    files,
    keeper::control::{self, Ask},
    state::State,
};

/// What a keeper prints when it can be asked.
pub(crate) const READY: &str = "ready";

/// What an owner sends before it hangs up, if the lab shall stay.
pub(crate) const RELEASE: u8 = b'r';

/// How long a lab may take to go away.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// A keeper that lives no longer than this process.
pub(crate) struct TiedKeeper {
    child: Child,
    /// Closed, by whatever ends this process too, it ends the keeper.
    tie: Option<ChildStdin>,
}

impl TiedKeeper {
    /// Ends the lab and waits until every process of it is gone.
    pub(crate) fn end(&mut self) -> Result<()> {
        drop(self.tie.take());
        self.child.wait().context("cannot wait for the lab's keeper").map(drop)
    }

    /// Lets the lab stay when this process ends.
    pub(crate) fn release(mut self) -> Result<()> {
        let Some(mut tie) = self.tie.take() else { return Ok(()) };
        tie.write_all(&[RELEASE]).context("cannot release the lab's keeper")
    }
}

/// Starts the keeper of a lab whose state is written. `lock` is what [`State::claim`] gave.
///
/// # Errors
/// When it does not come up; the error quotes its log.
pub(crate) fn start(state: &State, lock: File) -> Result<TiedKeeper> {
    let program = program()?;
    let mut command = Command::new(&program);
    command.arg("keeper").arg(state.folder());
    // The lock goes with the open file: the keeper holds it as its standard error.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(lock);
    let mut child =
        command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    drop(command);
    let tie = child.stdin.take();
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).context("cannot read from the lab's keeper")?;
    }
    if line.trim() != READY {
        drop(tie);
        let status = child.wait().context("cannot wait for the lab's keeper")?;
        bail!(
            "the lab's keeper did not come up ({status}): {}",
            files::tail(&state.log(), 20).trim()
        );
    }
    Ok(TiedKeeper { child, tie })
}

/// Ends a lab that somebody else owns, and waits until it is gone.
///
/// # Errors
/// When it does not go.
pub(crate) fn end(state: &State) -> Result<()> {
    // An error here means that it is on its way out, or does not listen; the lock tells.
    let _ = control::ask(state.folder(), Ask::Shutdown);
    let deadline = Instant::now() + END_TIMEOUT;
    // A lock that becomes free is no event that can be waited for with a time-out.
    while state.is_alive()? {
        ensure!(
            Instant::now() < deadline,
            "the lab in {} does not end: see keeper.log there",
            state.folder().display()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The program `rampool-lab`: this very one, or the one built beside it (tests lie one folder deeper, in `deps`).
pub(crate) fn program() -> Result<PathBuf> {
    if let Some(named) = env::var_os("RAMPOOL_LAB_BIN").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        ensure!(named.is_file(), "RAMPOOL_LAB_BIN names {}, which is no file", named.display());
        return std::path::absolute(&named)
            .with_context(|| format!("{} is no usable path", named.display()));
    }
    let current = env::current_exe().context("cannot find this program's own path")?;
    let beside = current.ancestors().skip(1).take(2).map(|folder| folder.join("rampool-lab"));
    let Some(found) = beside.into_iter().find(|path| path.is_file()) else {
        bail!(
            "there is no rampool-lab beside {}: cargo build -p rampool-lab with the same profile, or name it in \
             RAMPOOL_LAB_BIN",
            current.display()
        );
    };
    Ok(found)
}
