//! Slurm's commands as scripts of a test: they say what it wrote down, and note how they are
//! called.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use super::Commands;

const FAKE_COMMAND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-command");

/// Long for a script that ends, short for one that does not.
const DEADLINE: Duration = Duration::from_secs(2);

pub(super) struct FakeSlurm(tempfile::TempDir);

impl FakeSlurm {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn commands(&self) -> Commands {
        Commands::of(self.0.path(), DEADLINE).configured_by(Some("/etc/slurm/slurm.conf"))
    }

    /// Has a command run a line of shell.
    pub(super) fn runs(&self, command: &str, line: &str) {
        let called = self.path("called");
        let note = format!("echo \"{command} $*\" >>{}", called.display());
        std::fs::write(self.path(&format!("{command}.does")), format!("{note}\n{line}\n")).unwrap();
        if !self.path(command).is_symlink() {
            symlink(FAKE_COMMAND, self.path(command)).unwrap();
        }
    }

    /// Has a command say a text and end well.
    pub(super) fn says(&self, command: &str, text: &str) {
        let said = self.path(&format!("{command}.said"));
        std::fs::write(&said, text).unwrap();
        self.runs(command, &format!("cat {}", said.display()));
    }

    /// Has scontrol show a text, and be silent where it is to change something.
    pub(super) fn shows(&self, text: &str) {
        let said = self.path("shown");
        std::fs::write(&said, text).unwrap();
        let line = format!("case \"$*\" in *show*) cat {} ;; esac", said.display());
        self.runs("scontrol", &line);
    }

    /// How commands were called, a line each.
    pub(super) fn called(&self) -> String {
        std::fs::read_to_string(self.path("called")).unwrap_or_default()
    }
}
