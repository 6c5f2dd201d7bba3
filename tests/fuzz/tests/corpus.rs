//! The short run of the fuzz targets: their whole corpus, and each of its inputs changed by chance.
//! Which changes is for the seed to say (`make unit SEED=N`).

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rampool_fuzz::TARGETS;

/// Changed inputs of each target: seconds for all of them.
const CHANGED: u32 = 4_000;

/// Changes of one input.
const CHANGES: std::ops::Range<usize> = 1..6;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let folder = corpus().join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One place of an input, and what becomes of it.
#[derive(Clone, Debug)]
enum Change {
    Byte(u8),
    Cut(usize),
    Twice(usize),
    Word(&'static str),
}

/// What parsers stumble over.
const WORDS: [&str; 14] = [
    "18446744073709551616",
    "-1",
    "0",
    "[1-99999999]",
    "\0",
    "\n",
    "=",
    "(null)",
    "\x1f",
    "\x1e",
    "../",
    "ä",
    "e308",
    "]",
];

fn change() -> impl Strategy<Value = (prop::sample::Index, Change)> {
    let what = prop_oneof![
        any::<u8>().prop_map(Change::Byte),
        (1..40_usize).prop_map(Change::Cut),
        (1..40_usize).prop_map(Change::Twice),
        prop::sample::select(&WORDS[..]).prop_map(Change::Word),
    ];
    (any::<prop::sample::Index>(), what)
}

fn changed(mut input: Vec<u8>, changes: &[(prop::sample::Index, Change)]) -> Vec<u8> {
    for (place, change) in changes {
        let at = place.index(input.len() + 1);
        let end = |length: &usize| (at + length).min(input.len());
        match change {
            Change::Byte(byte) => input.insert(at, *byte),
            Change::Cut(length) => drop(input.drain(at..end(length))),
            Change::Twice(length) => {
                let piece = input[at..end(length)].to_vec();
                input.splice(at..at, piece);
            }
            Change::Word(word) => drop(input.splice(at..at, word.bytes())),
        }
    }
    input
}

#[test]
fn every_target_has_a_corpus_and_a_program() {
    let listed = |folder: &Path, end: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.map(|name| name.trim_end_matches(end).to_owned()).collect()
    };
    let targets: BTreeSet<String> = TARGETS.map(|(name, _)| name.to_owned()).into();
    assert_eq!(listed(&corpus(), ""), targets);
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets");
    assert_eq!(listed(&programs, ".rs"), targets);
    assert!(targets.iter().all(|target| !inputs(target).is_empty()));
}

#[test]
fn no_input_of_the_corpus_and_no_change_of_one_is_too_odd() {
    for (name, target) in TARGETS {
        let inputs = inputs(name);
        inputs.iter().for_each(|input| target(input));
        let some = (prop::sample::select(inputs), prop::collection::vec(change(), CHANGES));
        let config = Config { cases: CHANGED, failure_persistence: None, ..Config::default() };
        let run = TestRunner::new(config).run(&some, |(input, changes)| {
            target(&changed(input, &changes));
            Ok(())
        });
        run.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
