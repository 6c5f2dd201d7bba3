//! Where the programs under test are: beside the running one, as cargo builds them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// The programs that a node needs.
pub const PROGRAMS: [&str; 3] = ["rampool", "rampool-agent", "rampool-controller"];

/// The path of one program that cargo built.
pub fn path(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("where am I?")?;
    let mut folder = own.parent().context("a program is in a folder")?;
    // Test programs are one folder deeper than the others.
    if folder.ends_with("deps") {
        folder = folder.parent().context("`deps` is in a folder")?;
    }
    let path = folder.join(name);
    ensure!(
        path.is_file(),
        "{} is missing; `cargo build --workspace --bins` makes it (with --release, where this \
         program was)",
        path.display()
    );
    Ok(path)
}
