//! What the file of a number is called and holds.

use crate::dice::{Dice, fnv1a};

/// A folder has at most so many files, so that folders are made too.
const FOLDER_FILES: u64 = 64;

/// Most bytes of a file: some are within a block, some are larger.
const LARGEST: u64 = 12_000;

/// Its folder, below the witness's own.
#[must_use]
pub fn folder(number: u64) -> String {
    format!("d{:06}", number / FOLDER_FILES)
}

/// Its name in the folder.
#[must_use]
pub fn name(number: u64) -> String {
    format!("w{number:08}")
}

/// What it holds: never the same for two numbers.
#[must_use]
pub fn bytes(number: u64) -> Vec<u8> {
    let mut dice = Dice::new(number);
    let words = 1 + dice.below(LARGEST / 8);
    let head = number.to_le_bytes();
    head.into_iter().chain((0..words).flat_map(|_| dice.roll().to_le_bytes())).collect()
}

/// The checksum of what it holds.
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    fnv1a(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_name_and_contents_of_its_own() {
        let files: std::collections::BTreeSet<_> = (0..500)
            .map(|n| (folder(n), name(n)))
            .chain((0..500).map(|n| (String::new(), sum(&bytes(n)).to_string())))
            .collect();
        assert_eq!(files.len(), 1000);
        assert_eq!(bytes(17), bytes(17));
        assert!((0..500).all(|n| bytes(n).len() as u64 <= LARGEST + 8));
    }
}
