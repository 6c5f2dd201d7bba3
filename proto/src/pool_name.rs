//! What a pool may be called, and what one assembly of it is called in the kernel.
//!
//! The tightest of all the places a name must fit is a block device's: 31 bytes
//! (`DISK_NAME_LEN`, include/linux/blkdev.h), of which `md_rp.` takes six and the dot before
//! the generation one. Sixteen for the name and seven digits for the generation fit there, and
//! so in md's 32-byte superblock name too.

use std::fmt;
use std::str::FromStr;

use crate::v1::PoolId;

/// The longest pool name, in bytes.
pub const LONGEST_NAME: usize = 16;

/// The greatest generation: seven digits.
pub const GREATEST_GENERATION: u32 = 9_999_999;

/// A pool's name: lower-case letters, digits and hyphens, beginning with a letter, not ending
/// in a hyphen, at most [`LONGEST_NAME`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolName(String);

/// Why a text is no pool name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolNameError {
    /// No text at all.
    #[error("a pool needs a name")]
    Empty,
    /// Longer than fits.
    #[error(
        "pool name {0:?} has {1} bytes; at most {LONGEST_NAME} fit beside the generation in \
         the kernel's name for its block device"
    )]
    TooLong(String, usize),
    /// A character that some layer could not carry.
    #[error(
        "pool name {0:?}: {1:?} is not allowed; use lower-case letters, digits and hyphens, \
         beginning with a letter and not ending in a hyphen"
    )]
    OddCharacter(String, char),
}

/// Begins the names of the pools of Slurm's jobs.
pub const OF_JOB: &str = "job-";

impl PoolName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pool of a job's `run`, which the controller counts from 1: `job-<job id>-<run>`. Slurm's
    /// greatest job id (`MAX_JOB_ID`) has eight digits: three are left for the run.
    ///
    /// # Errors
    ///
    /// Where the numbers do not fit.
    pub fn of_job(job: u32, run: u32) -> Result<Self, PoolNameError> {
        format!("{OF_JOB}{job}-{run}").parse()
    }

    /// The job and its run, where this is the pool of one.
    #[must_use]
    pub fn job(&self) -> Option<(u32, u32)> {
        let (job, run) = self.0.strip_prefix(OF_JOB)?.split_once('-')?;
        let (job, run) = (job.parse().ok()?, run.parse().ok()?);
        // Only what is written in the one way: no "007".
        (Self::of_job(job, run).as_ref() == Ok(self)).then_some((job, run))
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PoolName {
    type Err = PoolNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let odd = |c| Err(PoolNameError::OddCharacter(text.to_owned(), c));
        if let Some(c) = text.chars().find(|c| !allowed(*c)) {
            return odd(c);
        }
        match (text.chars().next(), text.chars().last()) {
            (None, _) | (_, None) => return Err(PoolNameError::Empty),
            (Some(first), _) if !first.is_ascii_lowercase() => return odd(first),
            (_, Some('-')) => return odd('-'),
            _ => {}
        }
        if text.len() > LONGEST_NAME {
            return Err(PoolNameError::TooLong(text.to_owned(), text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// One assembly of a pool, checked: written `name.generation`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Assembly {
    /// The pool.
    pub name: PoolName,
    /// Which assembly of it: 1 to [`GREATEST_GENERATION`].
    pub generation: u32,
}

/// Why a text or message names no assembly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// The pool's name is wrong.
    #[error(transparent)]
    Name(#[from] PoolNameError),
    /// The generation is missing, zero, too great, or not written plainly.
    #[error("{0:?} is no generation: a number from 1 to {GREATEST_GENERATION} is")]
    Generation(String),
}

impl fmt::Display for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.generation)
    }
}

impl FromStr for Assembly {
    type Err = AssemblyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digits) = text.split_once('.').unwrap_or((text, ""));
        let name = name.parse()?;
        // `parse` alone would take "+7" and "007": names that we never write are not ours.
        match digits.parse::<u32>() {
            Ok(generation)
                if (1..=GREATEST_GENERATION).contains(&generation)
                    && generation.to_string() == digits =>
            {
                Ok(Self { name, generation })
            }
            _ => Err(AssemblyError::Generation(digits.to_owned())),
        }
    }
}

impl TryFrom<&PoolId> for Assembly {
    type Error = AssemblyError;

    fn try_from(id: &PoolId) -> Result<Self, Self::Error> {
        format!("{}.{}", id.name, id.generation).parse()
    }
}

impl From<&Assembly> for PoolId {
    fn from(assembly: &Assembly) -> Self {
        Self { name: assembly.name.to_string(), generation: assembly.generation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_names_pass_and_odd_ones_say_which_character() {
        for good in ["a", "demo", "job-123456", "a234567890123456"] {
            assert_eq!(good.parse::<PoolName>().unwrap().as_str(), good);
        }
        for (bad, odd) in
            [("Demo", 'D'), ("a b", ' '), ("a/b", '/'), ("a.b", '.'), ("1a", '1'), ("a-", '-')]
        {
            assert_eq!(bad.parse::<PoolName>(), Err(PoolNameError::OddCharacter(bad.into(), odd)));
        }
        assert_eq!("".parse::<PoolName>(), Err(PoolNameError::Empty));
        assert!(matches!(
            "a2345678901234567".parse::<PoolName>(),
            Err(PoolNameError::TooLong(_, 17))
        ));
    }

    #[test]
    fn a_name_that_merely_looks_like_a_jobs_is_none() {
        for other in ["job", "job-17", "job-17-a", "job-017-1", "job-17-01", "job--1", "ajob-1-1"] {
            assert_eq!(other.parse::<PoolName>().unwrap().job(), None, "{other}");
        }
        assert!(PoolName::of_job(u32::MAX, u32::MAX).is_err());
    }

    #[test]
    fn only_plainly_written_generations_are_ours() {
        for bad in ["demo", "demo.", "demo.0", "demo.007", "demo.+7", "demo.10000000", "demo.7.8"] {
            assert!(matches!(bad.parse::<Assembly>(), Err(AssemblyError::Generation(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_assembly_reads_back_as_written_and_fits_the_kernels_names(
            name in "[a-z]([a-z0-9-]{0,14}[a-z0-9])?", generation in 1..=GREATEST_GENERATION
        ) {
            let assembly = Assembly { name: name.parse().unwrap(), generation };
            prop_assert_eq!(assembly.to_string().parse::<Assembly>(), Ok(assembly.clone()));
            prop_assert_eq!(Assembly::try_from(&PoolId::from(&assembly)), Ok(assembly.clone()));
            let device = format!("md_rp.{assembly}");
            prop_assert!(device.len() <= 31, "{}", device);
        }

        #[test]
        fn the_pool_of_any_job_says_whose_it_is(job in 1..=0x03ff_ffff_u32, run in 1..=999_u32) {
            let pool = PoolName::of_job(job, run).unwrap();
            prop_assert_eq!(pool.job(), Some((job, run)));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = text.parse::<PoolName>();
            let _ = text.parse::<Assembly>();
        }
    }
}
