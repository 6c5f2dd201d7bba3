//! What the documents say of the tests is so.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Where a test that a document names may be.
const SUITES: [&str; 5] =
    ["tests/e2e", "agent/tests/lab", "tests/slurm", "cli/tests/suite", "controller/src/tests"];

#[test]
fn every_test_that_the_table_of_failures_names_is_there() -> Result<()> {
    names_tests_that_exist("docs/failures.md", 20)
}

#[test]
fn every_test_that_the_threat_model_names_is_there() -> Result<()> {
    names_tests_that_exist("docs/threat-model.md", 12)
}

/// What a document names exists; it names more than `few` tests.
fn names_tests_that_exist(document: &str, few: usize) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = read(&root.join(document))?;
    let named: Vec<_> = table.split('`').skip(1).step_by(2).filter_map(test_of).collect();
    ensure!(named.len() > few, "only {} tests are named", named.len());
    for (suite, test) in named {
        let sources = SUITES.map(|folder| root.join(folder).join(format!("{suite}.rs")));
        let sources: Vec<_> = sources.iter().filter(|path| path.exists()).collect();
        ensure!(!sources.is_empty(), "no suite is called {suite}");
        let words = format!("fn {test}");
        let has = sources.into_iter().map(|path| Ok(read(path)?.contains(&words)));
        let has: Vec<bool> = has.collect::<Result<_>>()?;
        ensure!(has.contains(&true), "{suite} has no test {test}");
    }
    Ok(())
}

/// The suite, and how the test's name begins, of `suite::how_it_begins…`. Unit tests have no dots.
fn test_of(code: &str) -> Option<(&str, &str)> {
    code.strip_suffix('…')?.split_once("::")
}

fn read(path: &PathBuf) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
