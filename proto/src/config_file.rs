//! Configuration files: YAML, every field known or refused, errors with line and column.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a configuration file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The file is larger than any configuration is.
    #[error("{0} is larger than 1 MiB: not a configuration file")]
    TooLarge(PathBuf),
    /// The text is no YAML, or not of this file's form; the words carry line and column.
    #[error("{path}: {source}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// The parser's words.
        source: serde_yaml::Error,
    },
}

/// No configuration comes near this; a mistaken path to a disk image does not fill memory.
const LARGEST: u64 = 1 << 20;

/// Reads the YAML file at `path`.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    use std::io::Read;
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(read)?;
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() as u64 > LARGEST {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    serde_yaml::from_str(&text)
        .map_err(|source| ConfigError::Parse { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code)]
        listen: String,
    }

    fn error_of(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.yaml");
        std::fs::write(&path, text).unwrap();
        load::<Sample>(&path).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let unknown = error_of("listen: a\nlisten_port: 1\n");
        assert!(unknown.contains("unknown field `listen_port`"), "{unknown}");
        assert!(unknown.contains("line 2 column 1"), "{unknown}");
        let broken = error_of("listen: [a\n");
        assert!(broken.contains("sample.yaml") && broken.contains("line"), "{broken}");
    }
}
