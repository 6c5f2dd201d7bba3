//! The words of the matrix, and a cell's name.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

/// Gives an enum its list of all values, and each value its word.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$each])* $value,)+ }

        impl $name {
            /// All of them, in the matrix's order.
            pub const ALL: &[Self] = &[$(Self::$value,)+];

            /// Its word in a cell's name.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }
        }
    };
}

words! {
    /// How the pool keeps its data.
    Pool {
        /// Striped without redundancy: any donor's loss is the pool's. By md; where pieces are
        /// moved by LVM, for md cannot.
        Plain = "plain",
        /// Two copies of everything, on different donors.
        Mirror = "mirror",
    }
}

words! {
    /// Who is hit.
    Victim {
        /// The controller's process.
        Controller = "controller",
        /// The agent's process on one donor.
        DonorAgent = "donor-agent",
        /// The agent's process on the head.
        HeadAgent = "head-agent",
        /// open-iscsi's daemon on the head.
        Iscsid = "iscsid",
        /// One donor as a whole.
        Donor = "donor",
        /// The head as a whole.
        Head = "head",
        /// One donor's link to the data network.
        DonorLink = "donor-link",
        /// The link of the controller's node.
        ControllerLink = "controller-link",
    }
}

words! {
    /// When. `Up...` and `Down...`: as that step of the operation begins.
    Moment {
        /// The head is looked at.
        UpCheck = "up-check",
        /// Donors set memory aside and export it.
        UpExport = "up-export",
        /// The head logs in.
        UpAttach = "up-attach",
        /// The volume is put together.
        UpAssemble = "up-assemble",
        /// The file system is made.
        UpFormat = "up-format",
        /// It is mounted.
        UpMount = "up-mount",
        /// The pool is mounted, with data, and nobody uses it.
        Idle = "idle",
        /// fio and the metadata checker are at work.
        Load = "load",
        /// The file system is unmounted.
        DownUnmount = "down-unmount",
        /// The volume is stopped.
        DownStop = "down-stop",
        /// The head logs out.
        DownDetach = "down-detach",
        /// Donors free their memory.
        DownFree = "down-free",
        /// A donor's piece is replaced: at one of the steps, by chance.
        Replace = "replace",
        /// A node's pieces are moved away: likewise.
        Evacuate = "evacuate",
    }
}

words! {
    /// How.
    Fault {
        /// A program: `kill -9`, started again as systemd would. A node: power cut, and it stays
        /// off until after `down`, or until another head has its place. A link: cut until after
        /// `down`.
        Killed = "killed",
        /// Stopped for 20 s, without its notice.
        Paused = "paused",
        /// Cut off for 20 s.
        Cut = "cut",
        /// A program: ended in order and started again. A node: power cut and booted at once,
        /// its memory empty.
        Rebooted = "rebooted",
    }
}

/// The part of a pool's life that a moment is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// While it is made, as this step begins.
    Up(&'static str),
    /// While nothing happens to it.
    Idle,
    /// While it is used.
    Load,
    /// While it is taken down, as this step begins.
    Down(&'static str),
    /// While its pieces are moved.
    Moving,
}

impl Moment {
    /// Its phase, with the step's name in events.
    #[must_use]
    pub fn phase(self) -> Phase {
        match self {
            Self::UpCheck => Phase::Up("check"),
            Self::UpExport => Phase::Up("export"),
            Self::UpAttach => Phase::Up("attach"),
            Self::UpAssemble => Phase::Up("assemble"),
            Self::UpFormat => Phase::Up("format"),
            Self::UpMount => Phase::Up("mount"),
            Self::Idle => Phase::Idle,
            Self::Load => Phase::Load,
            Self::DownUnmount => Phase::Down("unmount"),
            Self::DownStop => Phase::Down("stop"),
            Self::DownDetach => Phase::Down("detach"),
            Self::DownFree => Phase::Down("free"),
            Self::Replace | Self::Evacuate => Phase::Moving,
        }
    }
}

/// One cell of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct Cell {
    pub pool: Pool,
    pub victim: Victim,
    pub moment: Moment,
    pub fault: Fault,
}

impl Cell {
    /// Every cell, whether it makes sense or not.
    pub fn all() -> impl Iterator<Item = Self> {
        Pool::ALL.iter().flat_map(|&pool| {
            Victim::ALL.iter().flat_map(move |&victim| {
                Moment::ALL.iter().flat_map(move |&moment| {
                    Fault::ALL.iter().map(move |&fault| Self { pool, victim, moment, fault })
                })
            })
        })
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, victim, moment, fault } = self;
        let words = [pool.word(), victim.word(), moment.word(), fault.word()];
        f.write_str(&words.join("."))
    }
}

impl FromStr for Cell {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::all().find(|cell| cell.to_string() == text) {
            Some(cell) => Ok(cell),
            None => bail!("{text:?} is no cell; one is plain.donor.load.killed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_a_name_of_its_own_that_can_be_read() {
        let names: std::collections::BTreeSet<String> =
            Cell::all().map(|cell| cell.to_string()).collect();
        assert_eq!(names.len(), 2 * 8 * 14 * 4);
        for cell in Cell::all() {
            assert_eq!(cell.to_string().parse::<Cell>().unwrap(), cell);
        }
        assert!("plain.donor.load".parse::<Cell>().is_err());
    }

    #[test]
    fn names_stay_as_they_are() {
        // Results of other commits are compared by them.
        let cell = Cell {
            pool: Pool::Plain,
            victim: Victim::DonorLink,
            moment: Moment::DownFree,
            fault: Fault::Cut,
        };
        assert_eq!(cell.to_string(), "plain.donor-link.down-free.cut");
    }
}
