//! Sizes as people write them: `3T`, `512GiB`, `1.5T`.
//!
//! | written | means |
//! | --- | --- |
//! | `K` `M` `G` `T` `P` `E`, `KiB` ... `EiB`, `Ki` ... `Ei` | powers of 1024, as LVM and Slurm read bare letters |
//! | `KB` (or `kB`) ... `EB` | powers of 1000 |
//! | `B` | bytes |
//!
//! What could be read in two ways is refused with a sentence: a number alone (bytes to one
//! program, MiB to the next), lower-case letters (`m` is milli, `Gb` gigabits), a decimal comma,
//! a fraction that is no whole number of bytes. All arithmetic is on integers: a size is exact
//! or an error, up to 16 EiB less one byte.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// 1 KiB in bytes.
pub const KIB: u64 = 1 << 10;
/// 1 MiB in bytes.
pub const MIB: u64 = 1 << 20;
/// 1 GiB in bytes.
pub const GIB: u64 = 1 << 30;
/// 1 TiB in bytes.
pub const TIB: u64 = 1 << 40;

/// Memory that is lent costs the kernel a little more than its size: rd_mcp keeps 32 bytes of
/// scatter list for each 4 KiB page (0.8 %), tmpfs and brd a tree node for each 64 pages (0.2 %).
/// One part in this many is set aside for it.
pub const LENT_OVERHEAD_PART: u64 = 100;

/// The letters with their powers of 1024.
const UNITS: [(char, u64); 6] =
    [('K', KIB), ('M', MIB), ('G', GIB), ('T', TIB), ('P', 1 << 50), ('E', 1 << 60)];

/// Digits behind the decimal point beyond which nobody means what is written; 10^18 times
/// 2^60 still fits `u128`.
const MOST_FRACTION_DIGITS: usize = 18;

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("size {text:?}: {problem}")]
pub struct SizeError {
    text: String,
    problem: String,
}

impl Size {
    /// A form that reads back as exactly this size: `1536G`, `1000001B`.
    #[must_use]
    pub fn exact(self) -> String {
        let fits = |(_, unit): &&(char, u64)| self.0 != 0 && self.0.is_multiple_of(*unit);
        match UNITS.iter().rev().find(fits) {
            Some((letter, unit)) => format!("{}{letter}", self.0 / unit),
            None => format!("{}B", self.0),
        }
    }
}

/// A short form, never more than the size, at most 2.5 % less, and always one that can be typed
/// back in: `1.5 TiB`, `1996 MiB`, `62.75 GiB`. So an amount that a message offers can be had.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((letter, unit)) = UNITS.iter().rev().find(|(_, unit)| self.0 >= *unit) else {
            return write!(f, "{} B", self.0);
        };
        // Quarters are the two-digit decimals that are exact in every power of 1024.
        let quarters = self.0 / (unit / 4);
        if quarters < 40 && !self.0.is_multiple_of(unit / 4) {
            return match UNITS.iter().rev().find(|(_, smaller)| *smaller < *unit) {
                Some((letter, smaller)) => write!(f, "{} {letter}iB", self.0 / smaller),
                None => write!(f, "{} B", self.0),
            };
        }
        let fraction = ["", ".25", ".5", ".75"][usize::from((quarters % 4) as u8)];
        write!(f, "{}{fraction} {letter}iB", quarters / 4)
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).map_err(|problem| SizeError { text: text.chars().take(40).collect(), problem })
    }
}

fn read(text: &str) -> Result<Size, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err(no_number(text));
    }
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let multiple = multiple_of(unit, number)?;
    let (whole, fraction) = match number.split_once('.') {
        None => (number, ""),
        Some((whole, fraction)) => {
            if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
                return Err(format!(
                    "{number} is no number; a decimal point has digits on both sides"
                ));
            }
            (whole, fraction.trim_end_matches('0'))
        }
    };
    bytes(whole, fraction, multiple).map_err(|wrong| match wrong {
        Wrong::TooLarge => "more than 16 EiB less one byte, which no Linux volume can be".into(),
        Wrong::NotWhole => not_whole(number, unit, multiple),
    })
}

fn no_number(text: &str) -> String {
    match text.chars().next() {
        None => "a number and a unit are missing, e.g. 512G".into(),
        Some('-') => "a size cannot be negative".into(),
        Some(_) => "a size begins with a digit, e.g. 512G or 1.5T".into(),
    }
}

/// How many bytes the unit stands for.
fn multiple_of(unit: &str, number: &str) -> Result<u64, String> {
    let mut characters = unit.chars();
    let (first, rest) = (characters.next(), characters.as_str());
    let Some(first) = first else {
        return Err(format!(
            "{number} of what? Write the unit: {number}B for bytes, {number}M, {number}G, {number}T"
        ));
    };
    if unit == "B" {
        return Ok(1);
    }
    let power = |wanted| UNITS.iter().position(|(letter, _)| *letter == wanted);
    let step = match (first, rest) {
        ('k', "B") => (Some(0), 1000),
        (letter, "B") => (power(letter), 1000),
        (letter, "" | "i" | "iB") => (power(letter), 1024),
        _ => (None, 0),
    };
    match step {
        (Some(power), base) => {
            // At most 1024^6 = 2^60.
            Ok((0..=power).fold(1, |product: u64, _| product * base))
        }
        (None, _) => Err(unknown_unit(unit, first, rest, number)),
    }
}

fn unknown_unit(unit: &str, first: char, rest: &str, number: &str) -> String {
    let upper = first.to_ascii_uppercase();
    let known = UNITS.iter().any(|(letter, _)| *letter == upper);
    match (first, rest) {
        (',', _) => "a decimal point, not a comma: 1.5T".into(),
        (_, "b" | "ib") if known && first == upper => {
            format!("{unit} means bits; write {number}{upper} or {number}{upper}iB")
        }
        ('e' | 'E', _) if rest.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)) => {
            "an exponent is not allowed; write a plain number".into()
        }
        ('b', "") => format!("b means bits; write {number}B"),
        _ if known && first.is_ascii_lowercase() => {
            let end = if rest.eq_ignore_ascii_case("b") { "B" } else { "" };
            format!("{unit} is ambiguous in lower case; write {number}{upper}{end}")
        }
        _ if known && rest.eq_ignore_ascii_case("ib") => {
            format!("{unit} is no unit; write {number}{upper}iB")
        }
        _ => format!(
            "{unit:?} is no unit; K M G T P E (or KiB ...) are powers of 1024, KB MB ... powers \
             of 1000, B is bytes"
        ),
    }
}

enum Wrong {
    TooLarge,
    NotWhole,
}

/// `whole.fraction` times `multiple`, both in digits.
fn bytes(whole: &str, fraction: &str, multiple: u64) -> Result<Size, Wrong> {
    // Beyond u64 it is too large whatever the unit, so that the product fits u128.
    let whole: u64 = whole.parse().map_err(|_| Wrong::TooLarge)?;
    let mut total = u128::from(whole) * u128::from(multiple);
    if !fraction.is_empty() {
        if fraction.len() > MOST_FRACTION_DIGITS {
            return Err(Wrong::NotWhole);
        }
        let parts: u128 = fraction.parse().map_err(|_| Wrong::NotWhole)?;
        let scale = (0..fraction.len()).fold(1_u128, |scale, _| scale * 10);
        let product = parts * u128::from(multiple);
        if !product.is_multiple_of(scale) {
            return Err(Wrong::NotWhole);
        }
        total += product / scale;
    }
    u64::try_from(total).map(Size).map_err(|_| Wrong::TooLarge)
}

/// Says what can be written instead: the same amount in the next smaller unit, rounded down.
fn not_whole(number: &str, unit: &str, multiple: u64) -> String {
    let refusal = format!("{number}{unit} is not a whole number of bytes");
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let base: u64 = if multiple.is_multiple_of(1000) { 1000 } else { 1024 };
    let digits: String = fraction.chars().take(6).collect();
    let scale = (0..digits.len()).fold(1_u64, |scale, _| scale * 10);
    let (Ok(whole), Ok(parts)) = (whole.parse::<u64>(), digits.parse::<u64>()) else {
        return refusal;
    };
    let Some(smaller) = whole.checked_mul(base).map(|w| w + parts * base / scale) else {
        return refusal;
    };
    let suffix = if base == 1000 { "B" } else { "" };
    match UNITS.get((multiple.ilog(base) as usize).wrapping_sub(2)) {
        Some((letter, _)) => format!("{refusal}; write {smaller}{letter}{suffix}"),
        // The next smaller unit of K is the byte, and a byte has none.
        None if multiple == 1 => format!("{refusal}; write {whole}B"),
        None => format!("{refusal}; write {smaller}B"),
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl serde::de::Visitor<'_> for Reader {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size with its unit, e.g. 512G or 1.5T")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Size, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Size, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Size, E> {
                self.visit_str(&number.to_string())
            }
        }
        from.deserialize_any(Reader)
    }
}

/// As text, in the exact form.
impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.exact())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letters_are_binary_and_letters_with_b_decimal() {
        for (text, bytes) in [
            ("3T", 3 * TIB),
            ("512GiB", 512 * GIB),
            ("1.5T", 3 * TIB / 2),
            ("1.5 TiB", 3 * TIB / 2),
            ("1.50T", 3 * TIB / 2),
            ("64K", 64 * KIB),
            ("2Mi", 2 * MIB),
            ("0.5K", 512),
            ("3.5TB", 3_500_000_000_000),
            ("1kB", 1000),
            ("1KB", 1000),
            ("1024B", 1024),
            ("0B", 0),
            ("15E", 15 << 60),
            ("18446744073709551615B", u64::MAX),
            ("18.446744073709551615EB", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused_with_what_to_write() {
        for (text, words) in [
            ("", "e.g. 512G"),
            ("1024", "1024 of what?"),
            ("5m", "write 5M"),
            ("5gb", "write 5GB"),
            ("5g", "write 5G"),
            ("5gib", "write 5G"),
            ("5GIB", "write 5GiB"),
            ("3Tb", "means bits; write 3T"),
            ("3Gib", "means bits"),
            ("8b", "means bits; write 8B"),
            ("1,5T", "a decimal point"),
            ("-3T", "negative"),
            ("+3T", "begins with a digit"),
            ("T", "begins with a digit"),
            (".5T", "both sides"),
            ("5.T", "both sides"),
            ("1.2.3T", "both sides"),
            ("1e3", "exponent"),
            ("1E3", "exponent"),
            ("1e+3", "exponent"),
            ("1_000G", "no unit"),
            ("3 T B", "no unit"),
            ("3X", "no unit"),
            ("16E", "more than 16 EiB"),
            ("99999999999999999999999T", "more than 16 EiB"),
            ("1.2T", "not a whole number of bytes; write 1228G"),
            ("1.3K", "write 1331B"),
            ("1.5B", "write 1B"),
            ("1.0000001KB", "write 1000B"),
            ("1.2345678901234567891TB", "write 1234GB"),
        ] {
            let said = text.parse::<Size>().unwrap_err().to_string();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn display_is_short_and_exact_says_all() {
        for (bytes, short, exact) in [
            (0, "0 B", "0B"),
            (1000, "1000 B", "1000B"),
            (1536, "1.5 KiB", "1536B"),
            (1500, "1500 B", "1500B"),
            (3 * TIB / 2, "1.5 TiB", "1536G"),
            (1996 * MIB, "1996 MiB", "1996M"),
            (64_333 * MIB, "62.75 GiB", "64333M"),
            (1023 * MIB, "1023 MiB", "1023M"),
            (u64::MAX, "15.75 EiB", "18446744073709551615B"),
        ] {
            assert_eq!(
                (Size(bytes).to_string().as_str(), Size(bytes).exact().as_str()),
                (short, exact)
            );
        }
    }

    #[test]
    fn yaml_takes_text_and_says_why_it_takes_no_number() {
        assert_eq!(serde_yaml::from_str::<Size>("1.5T").unwrap(), Size(3 * TIB / 2));
        assert_eq!(serde_yaml::to_string(&Size(3 * TIB)).unwrap().trim(), "3T");
        for text in ["1024", "1.5"] {
            let said = serde_yaml::from_str::<Size>(text).unwrap_err().to_string();
            assert!(said.contains("of what?"), "{said}");
        }
        let said = serde_yaml::from_str::<Size>("-5").unwrap_err().to_string();
        assert!(said.contains("negative"), "{said}");
        assert!(serde_yaml::from_str::<Size>("[1]").is_err());
    }

    proptest! {
        #[test]
        fn the_exact_form_reads_back_as_the_same_size(
            bytes in any::<u64>(), count in 0_u64..16_000, shift in 0_u32..50
        ) {
            for bytes in [bytes, count << shift] {
                prop_assert_eq!(Size(bytes).exact().parse(), Ok(Size(bytes)));
            }
        }

        #[test]
        fn what_display_offers_can_be_typed_and_is_never_more(bytes in any::<u64>(), shift in 0_u32..64) {
            let size = Size(bytes >> shift);
            let shown: Size = size.to_string().parse().unwrap();
            prop_assert!(shown <= size);
            let lost = u128::from(size.0 - shown.0);
            prop_assert!(lost * 40 <= u128::from(size.0), "{} shown as {}", size.0, size);
        }

        #[test]
        fn a_greater_number_is_never_a_smaller_size(a in 0_u64..1 << 20, b in 0_u64..1 << 20) {
            let read = |n| format!("{n}G").parse::<Size>().unwrap();
            prop_assert_eq!(a.cmp(&b), read(a).cmp(&read(b)));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*", sizelike in "[0-9]{0,30}[.]?[0-9]{0,30} ?[kKmMGTPEib]{0,3}") {
            for text in [text, sizelike] {
                if let Err(error) = text.parse::<Size>() {
                    prop_assert!(error.to_string().len() < 1000);
                }
            }
        }
    }
}
