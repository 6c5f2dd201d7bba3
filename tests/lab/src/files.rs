//! Small helpers for files.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Stores a file in one step: a reader sees the old content or the new, never half.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let new = beside(path);
    let write = || -> Result<()> {
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(mode).open(&new)?;
        file.write_all(bytes)?;
        fs::rename(&new, path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A name of this process's own beside a path, on the same file system.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    name.into()
}

/// Makes `link` another name of the file `source`, or a copy where a hard link is impossible. Replaces what was there.
pub(crate) fn link_or_copy(source: &Path, link: &Path) -> Result<()> {
    let new = beside(link);
    let _ = fs::remove_file(&new);
    if fs::hard_link(source, &new).is_err() {
        fs::copy(source, &new)
            .with_context(|| format!("cannot copy {} to {}", source.display(), new.display()))?;
    }
    fs::rename(&new, link)
        .with_context(|| format!("cannot rename {} into its place", link.display()))?;
    // Renaming a file to another name of its own does nothing at all: then the new name is still there.
    let _ = fs::remove_file(&new);
    Ok(())
}

/// The last `count` lines of a text file, or why there are none.
pub(crate) fn tail(path: &Path, count: usize) -> String {
    match fs::read(path) {
        Ok(bytes) => last_lines(&String::from_utf8_lossy(&bytes), count).to_owned(),
        Err(e) => format!("(cannot read {}: {e})", path.display()),
    }
}

/// The last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> &str {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let start = body.rmatch_indices('\n').nth(count.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_counts_from_the_end() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last_lines("a\nb\nc", 1), "c");
        assert_eq!(last_lines("a\n", 5), "a\n");
        assert_eq!(last_lines("", 5), "");
    }

    #[test]
    fn replacing_leaves_no_other_file() {
        let folder = std::env::temp_dir().join(format!("rampool-lab-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("x");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        link_or_copy(&path, &folder.join("y")).unwrap();
        link_or_copy(&path, &folder.join("y")).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }
}
