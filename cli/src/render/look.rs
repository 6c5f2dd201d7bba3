//! How to print for people.

use std::io::IsTerminal;
use std::time::SystemTime;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The terminal's width in columns; none: lines are never broken.
    pub width: Option<u16>,
    /// Whether to colour.
    pub colour: bool,
    /// What ages are counted from.
    pub now: SystemTime,
}

impl Look {
    /// As stdout is: width and colour only for a terminal, and no colour where `NO_COLOR` is
    /// set to anything.
    #[must_use]
    pub fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let quiet = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            width: comfy_table::Table::new().width().filter(|_| terminal),
            colour: terminal && !quiet,
            now: SystemTime::now(),
        }
    }

    /// `text` in the colour of `tone`, where colours are wanted.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if self.colour { format!("\x1b[{}m{text}\x1b[0m", tone.code()) } else { text.to_owned() }
    }
}

/// What a word means to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Broken.
    Bad,
}

impl Tone {
    /// The terminal's code: green, yellow, red.
    fn code(self) -> u8 {
        match self {
            Self::Good => 32,
            Self::Warning => 33,
            Self::Bad => 31,
        }
    }
}
