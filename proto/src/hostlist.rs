//! Host lists: `n[001-040],mds1`.
//!
//! A list is names divided by commas. A name may hold any number of bracket groups, each of
//! numbers and ascending ranges: `r[1-2]n[1,3,5-7]`. A range is padded with zeros to the width
//! of its first number, so `n[001-040]` begins with `n001` and `n[8-11]` with `n8`. Where there
//! are several groups, the last one varies fastest.
//!
//! | module | idea |
//! | --- | --- |
//! | `parse` | text to names, with the column of what is wrong |
//! | `fold` | names back to the shortest text that reads as the same names in the same order |

mod fold;
mod parse;

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::by_text::ByText;

/// The most names one list may stand for. The largest clusters have some ten thousand nodes;
/// a slip like `n[1-99999999]` must not fill memory.
pub const MOST_NAMES: usize = 65_536;

/// The longest node name, in bytes: `HOST_NAME_MAX` of Linux.
pub const LONGEST_NODE_NAME: usize = 64;

/// Node names, in the order written, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostList(Vec<String>);

/// Why a text is no host list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host list {excerpt:?}, column {column}: {problem}")]
pub struct HostListError {
    excerpt: String,
    column: usize,
    problem: String,
}

/// How much of a wrong list an error repeats, in characters.
const EXCERPT: usize = 80;

impl HostListError {
    fn new(text: &str, column: usize, problem: impl Into<String>) -> Self {
        let mut excerpt: String = text.chars().take(EXCERPT).collect();
        if excerpt.len() < text.len() {
            excerpt.push('…');
        }
        Self { excerpt, column, problem: problem.into() }
    }

    /// Where the list goes wrong: in characters, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }
}

impl HostList {
    /// A list of these names, in this order.
    pub fn from_names<I>(names: I) -> Result<Self, HostListError>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let mut seen = HashSet::with_capacity(names.len());
        for name in &names {
            check_name(name).map_err(|problem| HostListError::new(name, 1, problem))?;
            if !seen.insert(name) {
                return Err(HostListError::new(name, 1, twice(name)));
            }
        }
        if names.len() > MOST_NAMES {
            return Err(HostListError::new(&names[0], 1, too_many()));
        }
        Ok(Self(names))
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no name: true only of the default list, since no text reads as that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `name` is in the list.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|own| own == name)
    }
}

/// Checks one node name: lower-case letters, digits, hyphens and dots, each part between dots
/// beginning and ending with a letter or digit. Says what is wrong.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a node name is missing".into());
    }
    check_length(name.len())?;
    if let Some(odd) = name.chars().find(|c| !is_name_character(*c)) {
        return Err(odd_character(odd));
    }
    for part in name.split('.') {
        if part.is_empty() || part.starts_with('-') || part.ends_with('-') {
            return Err(format!(
                "{name:?} is no node name: each part of it begins and ends with a letter or digit"
            ));
        }
    }
    Ok(())
}

fn check_length(bytes: usize) -> Result<(), String> {
    if bytes > LONGEST_NODE_NAME {
        return Err(format!(
            "a node name of {bytes} bytes; a host's has at most {LONGEST_NODE_NAME}"
        ));
    }
    Ok(())
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.'
}

fn odd_character(found: char) -> String {
    match found {
        'A'..='Z' => format!(
            "{found:?} is upper-case; node names are written in lower case, {:?} here",
            found.to_ascii_lowercase()
        ),
        c if c.is_whitespace() => "a blank; a host list has none: n1,n2".into(),
        c => format!("{c:?} is not allowed in a node name (a-z, 0-9, '-' and '.' are)"),
    }
}

fn twice(name: &str) -> String {
    format!("node {name} is there twice")
}

fn too_many() -> String {
    format!("the list stands for more than {MOST_NAMES} nodes")
}

impl FromStr for HostList {
    type Err = HostListError;

    /// Reads a list. The empty text is refused: where an empty list has a meaning, the caller
    /// knows it and must ask first.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::names(text).map(Self)
    }
}

/// Folds the names back into ranges.
impl fmt::Display for HostList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&fold::text(&self.0))
    }
}

impl<'de> Deserialize<'de> for HostList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        ByText::deserialize(from).map(|read| read.0)
    }
}

impl Serialize for HostList {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_given_one_by_one_are_checked_too() {
        assert_eq!(HostList::from_names(["n1", "n2"]).unwrap().to_string(), "n[1-2]");
        for bad in [vec!["n1", "n1"], vec!["N1"], vec!["a", ""], vec!["a/../b"], vec!["a..b"]] {
            assert!(HostList::from_names(bad.clone()).is_err(), "{bad:?}");
        }
        let long = "a".repeat(LONGEST_NODE_NAME + 1);
        assert!(HostList::from_names([long.as_str()]).is_err());
        assert!(HostList::from_names([&long[1..]]).is_ok());
    }

    #[test]
    fn yaml_reads_and_writes_it_as_text() {
        #[derive(Deserialize, Serialize)]
        struct File {
            nodes: HostList,
        }
        let file: File = serde_yaml::from_str("nodes: n[1-3],mds1").unwrap();
        assert_eq!(file.nodes.len(), 4);
        assert!(file.nodes.contains("n3") && !file.nodes.contains("n4"));
        assert_eq!(serde_yaml::to_string(&file).unwrap().trim(), "nodes: n[1-3],mds1");
        let Err(error) = serde_yaml::from_str::<File>("\nnodes: n[1-") else { panic!("taken") };
        assert!(error.to_string().contains("column 5: expected a number"), "{error}");
        assert!(error.to_string().contains("line 2 column 8"), "{error}");
    }

    proptest! {
        #[test]
        fn a_folded_list_reads_back_as_the_same_names_in_the_same_order(
            names in prop::collection::hash_set("[ab][0-9]{0,3}(-r[0-2])?([.][0-9]{1,10})?", 1..60)
        ) {
            let list = HostList::from_names(names).unwrap();
            prop_assert_eq!(list.to_string().parse::<HostList>(), Ok(list));
        }

        #[test]
        fn a_written_list_survives_folding(
            text in "r\\[[1-3]-[3-6]\\]n\\[0?[1-9]-1[0-2],0?2[0-9],[3-9][0-9]{2}\\](,mds[1-9])?"
        ) {
            let list: HostList = text.parse().unwrap();
            let folded = list.to_string();
            prop_assert!(folded.len() <= text.len(), "{} became {}", text, folded);
            prop_assert_eq!(folded.parse::<HostList>(), Ok(list));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*", listlike in "[n0-9,\\[\\]-]{0,40}") {
            for text in [text, listlike] {
                if let Ok(list) = text.parse::<HostList>() {
                    prop_assert!(!list.is_empty() && list.len() <= MOST_NAMES);
                    prop_assert_eq!(list.to_string().parse::<HostList>(), Ok(list));
                }
            }
        }
    }
}
