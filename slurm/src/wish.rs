//! What a job asks for beyond its profile: `size=200G redundancy=mirror`.
//!
//! A batch script says it in lines `#RAMPOOL size=200G redundancy=mirror`. `srun` and `salloc`
//! have no script: there it is one word of `--comment`, `rampool:size=200G,redundancy=mirror`.
//! `job_submit.lua` makes the word of the lines, since a job's comment is all that Slurm hands to
//! every hook.

use std::fmt;
use std::str::FromStr;

use rampool_proto::size::Size;
use rampool_proto::v1::Redundancy;

/// What begins the word in a job's comment.
const MARK: &str = "rampool:";

/// Slurm's licence, of which a job of donors outside takes one for each GiB of their memory.
pub const LICENCE: &str = "rampool";

/// The options of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Usable size of the whole pool. None: as the profile says.
    pub size: Option<Size>,
    /// What the pool bears the loss of. None: as the profile says.
    pub redundancy: Option<Redundancy>,
}

/// The words of a job's comment that are meant for us, and no others.
pub(crate) fn words_of(comment: &str) -> String {
    let words = comment.split_whitespace().filter(|word| word.starts_with(MARK));
    words.collect::<Vec<_>>().join(" ")
}

/// Why a text is no wish. The words are for the job's user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rampool: {0}")]
pub struct WishError(String);

impl Wish {
    /// The wish in a job's comment; nothing asked for where the comment has no word of it.
    ///
    /// # Errors
    /// When the word cannot be read, or there are two.
    pub fn of_comment(comment: &str) -> Result<Self, WishError> {
        let mut words = comment.split_whitespace().filter_map(|word| word.strip_prefix(MARK));
        let Some(word) = words.next() else { return Ok(Self::default()) };
        match words.next() {
            None => word.parse(),
            Some(_) => Err(WishError(format!("the job's comment has two words \"{MARK}...\""))),
        }
    }

    /// This wish, with the size that licences give where it has none: `rampool:200` is 200 GiB.
    ///
    /// # Errors
    /// When their number cannot be read.
    pub fn with_licences(self, licences: &str) -> Result<Self, WishError> {
        let mut own = licences.split(',').filter_map(|licence| {
            // A licence of another cluster's server is written NAME@SERVER:COUNT.
            let (name, count) = licence.split_once(':').unwrap_or((licence, "1"));
            (name.split('@').next() == Some(LICENCE)).then_some(count)
        });
        match (self.size, own.next()) {
            (None, Some(count)) => Ok(Self { size: Some(size(&format!("{count}G"))?), ..self }),
            _ => Ok(self),
        }
    }

    /// As a word of a job's comment.
    #[must_use]
    pub fn word(&self) -> String {
        format!("{MARK}{self}")
    }

    fn set(&mut self, option: &str) -> Result<(), WishError> {
        let Some((name, value)) = option.split_once('=') else {
            return Err(WishError(format!("\"{option}\" is no option: write NAME=VALUE")));
        };
        let given_before = match name {
            "size" => self.size.replace(size(value)?).is_some(),
            "redundancy" => self.redundancy.replace(redundancy(value)?).is_some(),
            _ => {
                return Err(WishError(format!(
                    "there is no option \"{name}\": size and redundancy can be given"
                )));
            }
        };
        if given_before {
            return Err(WishError(format!("\"{name}\" is given twice")));
        }
        Ok(())
    }
}

fn size(text: &str) -> Result<Size, WishError> {
    let size: Size = text.parse().map_err(|error| WishError(format!("{error}")))?;
    if size.0 == 0 {
        return Err(WishError("a size of nothing is no size: leave it out".to_owned()));
    }
    Ok(size)
}

/// The names that jobs use, which are those of `rampool up --redundancy`.
const REDUNDANCIES: [(&str, Redundancy); 4] = [
    ("none", Redundancy::None),
    ("mirror", Redundancy::Mirror),
    ("parity", Redundancy::Parity),
    ("double-parity", Redundancy::DoubleParity),
];

/// As jobs write it.
pub(crate) fn name_of(redundancy: Redundancy) -> &'static str {
    let known = REDUNDANCIES.iter().find(|(_, known)| *known == redundancy);
    known.map_or("none", |(name, _)| name)
}

fn redundancy(text: &str) -> Result<Redundancy, WishError> {
    let known = REDUNDANCIES.iter().find(|(name, _)| *name == text);
    known.map(|(_, redundancy)| *redundancy).ok_or_else(|| {
        WishError(format!(
            "redundancy \"{text}\": none, mirror, parity or double-parity can be given"
        ))
    })
}

/// Options with commas between them.
impl FromStr for Wish {
    type Err = WishError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut wish = Self::default();
        text.split(',').filter(|option| !option.is_empty()).try_for_each(|o| wish.set(o))?;
        Ok(wish)
    }
}

/// A form that reads back as the same wish.
impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size.map(|size| format!("size={}", size.exact()));
        let redundancy = self.redundancy.map(|kind| format!("redundancy={}", name_of(kind)));
        let options: Vec<_> = size.into_iter().chain(redundancy).collect();
        f.write_str(&options.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_comment_may_say_other_things_too() {
        let mirror = Wish { redundancy: Some(Redundancy::Mirror), ..Wish::default() };
        for (comment, wish) in [
            ("", Wish::default()),
            ("(null)", Wish::default()),
            ("for paper 7; rampool is nice", Wish::default()),
            ("rampool:redundancy=mirror", mirror),
            ("for paper 7 rampool:redundancy=mirror", mirror),
            ("rampool: whatever", Wish::default()),
        ] {
            assert_eq!(Wish::of_comment(comment), Ok(wish), "{comment}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_a_sentence() {
        for (text, words) in [
            ("size=200", "Write the unit"),
            ("size=", "size"),
            ("size=0G", "no size"),
            ("size=1G,size=1G", "given twice"),
            ("redundancy=raid1", "mirror, parity or double-parity"),
            ("speed=high", "no option \"speed\""),
            ("mirror", "NAME=VALUE"),
        ] {
            let said = text.parse::<Wish>().unwrap_err().to_string();
            assert!(said.contains(words) && said.starts_with("rampool: "), "{text}: {said}");
        }
        let twice = Wish::of_comment("rampool:size=1G rampool:size=2G").unwrap_err();
        assert!(twice.to_string().contains("two words"), "{twice}");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            size in proptest::option::of(1u64..),
            redundancy in proptest::option::of(0..REDUNDANCIES.len()),
        ) {
            let redundancy = redundancy.map(|index| REDUNDANCIES[index].1);
            let wish = Wish { size: size.map(Size), redundancy };
            prop_assert_eq!(Wish::of_comment(&format!("mine {}", wish.word())), Ok(wish));
        }

        #[test]
        fn no_comment_is_too_odd(comment in ".{0,80}|rampool:.{0,40}") {
            let _ = Wish::of_comment(&comment);
        }
    }
}
