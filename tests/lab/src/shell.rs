//! An interactive shell on a node: the terminal here in raw mode, a terminal of the node's own there.

use std::{
    io::{self, IsTerminal, Write},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use rampool_lab::Node;

/// Runs a shell on a node until it ends.
pub(crate) fn run(node: &Node) -> Result<ExitCode> {
    ensure!(io::stdin().is_terminal(), "a shell needs a terminal: use exec for scripts");
    let prompt = format!("PS1='{}:\\w\\$ '", node.name());
    // script(1) makes the terminal there; `stty` tells it the size of the one here.
    let inside = format!("stty {} 2>/dev/null; cd; exec env {prompt} bash --norc -i", size());
    let command = node.command(["script", "-q", "-e", "-f", "-c", &inside, "/dev/null"]);
    let mut process = command.open_stdin().no_timeout().spawn()?;
    let _raw = Raw::enter()?;
    process.feed_stdin(io::stdin())?;
    while let Some((_, bytes)) = process.next_output()? {
        io::stdout()
            .write_all(&bytes)
            .and_then(|()| io::stdout().flush())
            .context("cannot write to the terminal")?;
    }
    let code = process.status().map_or(1, rampool_lab::ExitStatus::shell_code);
    Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)))
}

/// The terminal's size as arguments of stty(1), or nothing.
fn size() -> String {
    let said = Command::new("stty").arg("size").stdin(std::process::Stdio::inherit()).output();
    let said =
        said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    match said.split_whitespace().collect::<Vec<_>>()[..] {
        [rows, columns] => format!("rows {rows} columns {columns}"),
        _ => String::new(),
    }
}

/// The terminal in raw mode; as before when dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Result<Self> {
        let before = tcgetattr(io::stdin()).context("cannot read the terminal's mode")?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw).context("cannot set the terminal's mode")?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
