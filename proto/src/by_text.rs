//! Values that are written as text and have their own reader (`FromStr`): read within a
//! visitor, so that an error carries the line and column of the text in its file.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A value read from text by its `FromStr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByText<T>(pub T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for ByText<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Reader(PhantomData))
    }
}

struct Reader<T>(PhantomData<T>);

impl<T: FromStr<Err: Display>> Visitor<'_> for Reader<T> {
    type Value = ByText<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ByText<T>, E> {
        text.parse().map(ByText).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool_name::PoolName;

    #[derive(serde::Deserialize, Debug)]
    struct File {
        name: Option<ByText<PoolName>>,
    }

    #[test]
    fn an_error_carries_line_and_column() {
        let said = serde_yaml::from_str::<File>("\nname: Demo").unwrap_err().to_string();
        assert!(said.contains("'D' is not allowed"), "{said}");
        assert!(said.contains("line 2 column 7"), "{said}");
        let file: File = serde_yaml::from_str("name: demo").unwrap();
        assert_eq!(file.name.unwrap().0.as_str(), "demo");
    }
}
