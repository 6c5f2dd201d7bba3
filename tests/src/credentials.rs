//! The cluster's CA and certificates, made as an admin makes them: by `rampool pki`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::programs;

/// A folder with a CA; gone with the value.
pub struct Credentials {
    folder: tempfile::TempDir,
}

/// One party's three files.
pub struct Files {
    /// The CA's certificate.
    pub ca: Vec<u8>,
    /// The party's certificate.
    pub cert: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

impl Credentials {
    /// Makes a CA.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("make a folder for the CA")?;
        let made = Self { folder };
        made.pki(&["init", &made.folder().display().to_string()])?;
        Ok(made)
    }

    /// Where they are: `ca.pem`, and each party's `.pem` and `.key`.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("pki")
    }

    /// Issues a certificate for `name`, reachable at `addresses`.
    pub fn issue(&self, role: &str, name: &str, addresses: &[String]) -> Result<Files> {
        let folder = self.folder().display().to_string();
        let party = format!("{role}={name}");
        let mut arguments = vec!["issue", &party, "--dir", &folder];
        for address in addresses {
            arguments.extend(["--address", address]);
        }
        self.pki(&arguments)?;
        let read = |file: String| {
            let path: &Path = &self.folder().join(file);
            std::fs::read(path).with_context(|| format!("read {}", path.display()))
        };
        Ok(Files {
            ca: read("ca.pem".into())?,
            cert: read(format!("{role}-{name}.pem"))?,
            key: read(format!("{role}-{name}.key"))?,
        })
    }

    fn pki(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new(programs::path("rampool")?)
            .arg("pki")
            .args(arguments)
            .output()
            .context("run rampool pki")?;
        ensure!(
            output.status.success(),
            "rampool pki {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}
