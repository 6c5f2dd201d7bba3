//! The UML kernel of this machine and its modules.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// The folder in which Debian's package `user-mode-linux` keeps its modules, by kernel release.
pub const MODULES: &str = "/usr/lib/uml/modules";

/// An installed UML kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The program that is the kernel.
    pub program: PathBuf,
    /// Its release, as in `6.1.176`.
    pub release: String,
}

impl Kernel {
    /// Finds the machine's UML kernel.
    ///
    /// # Errors
    /// Names the package to install when there is none.
    pub fn find() -> Result<Self> {
        let program = PathBuf::from("/usr/bin/linux.uml");
        ensure!(
            program.is_file(),
            "there is no UML kernel at {}: apt-get install user-mode-linux",
            program.display()
        );
        let said = Command::new(&program)
            .arg("--version")
            .output()
            .context("cannot run linux.uml --version")?;
        let release = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        let kernel = Self { program, release };
        ensure!(
            kernel.modules().is_dir(),
            "{} says that it is `{}`, but there are no modules at {}: apt-get install --reinstall user-mode-linux",
            kernel.program.display(),
            kernel.release,
            kernel.modules().display()
        );
        Ok(kernel)
    }

    /// Where its modules are.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        Path::new(MODULES).join(&self.release)
    }

    /// The files of these modules and of all that they need, in the order in which to load them.
    ///
    /// # Errors
    /// When the kernel has no such module.
    pub fn load_order(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let path = self.modules().join("modules.dep");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let files = load_order(&text, names)?;
        Ok(files.into_iter().map(|file| self.modules().join(file)).collect())
    }
}

/// Reads the load order out of the text of `modules.dep`: `file: dependency dependency ...`, the nearest one first.
fn load_order(modules_dep: &str, names: &[&str]) -> Result<Vec<String>> {
    let lines: HashMap<&str, (&str, &str)> = modules_dep
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(file, needs)| {
            Some((Path::new(file).file_name()?.to_str()?.strip_suffix(".ko")?, (file, needs)))
        })
        .collect();
    let mut order: Vec<String> = Vec::new();
    for name in names {
        let (file, needs) =
            lines.get(name).with_context(|| format!("the UML kernel has no module {name}"))?;
        for file in needs.split_whitespace().rev().chain([*file]) {
            if !order.iter().any(|known| known == file) {
                order.push(file.to_owned());
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_first() {
        let text = "k/a.ko: k/b.ko k/c.ko\nk/b.ko: k/c.ko\nk/c.ko:\nk/d.ko: k/c.ko\n";
        assert_eq!(
            load_order(text, &["a", "d"]).unwrap(),
            ["k/c.ko", "k/b.ko", "k/a.ko", "k/d.ko"]
        );
        assert!(load_order(text, &["e"]).unwrap_err().to_string().contains("no module e"));
    }
}
