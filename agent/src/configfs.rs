//! The few moves that configfs knows. Each names the path it was refused on.
//!
//! configfs is peculiar: a file takes one value in one `write`, some files keep a trailing
//! newline as part of the value (CHAP names and secrets), folders are objects that only `mkdir`
//! makes and only `rmdir` removes, and their inner files come and go with them.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use rampool_proto::v1::FailureKind;

use crate::outcome::{Change, Outcome, failure, refused};

/// Makes the object `path`, unless it is there.
pub(crate) fn make(path: &Path) -> Outcome<Change> {
    match fs::create_dir(path) {
        Ok(()) => Ok(Change::Made),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Change::Already),
        Err(error) => Err(refused(path, "make it", error)),
    }
}

/// Removes the object `path`, unless it is gone.
pub(crate) fn remove(path: &Path) -> Outcome<Change> {
    match fs::remove_dir(path) {
        Ok(()) => Ok(Change::Made),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Change::Already),
        Err(error) => Err(refused(path, "remove it", error)),
    }
}

/// Writes `value` in one `write`, with no newline.
pub(crate) fn write(path: &Path, value: &str) -> Outcome<()> {
    let no = |error| refused(path, &format!("write {value:?}"), error);
    write_raw(path, value).map_err(no)
}

/// Like [`write`], for a value that must not appear in any message.
pub(crate) fn write_secret(path: &Path, value: &str) -> Outcome<()> {
    write_raw(path, value).map_err(|error| refused(path, "write it", error))
}

fn write_raw(path: &Path, value: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    match file.write(value.as_bytes())? {
        written if written == value.len() => Ok(()),
        written => {
            let said = format!("the kernel took {written} of {} bytes", value.len());
            Err(std::io::Error::other(said))
        }
    }
}

/// The value of a file, without the newline that ends it.
pub(crate) fn read(path: &Path) -> Outcome<String> {
    let text = fs::read_to_string(path).map_err(|error| refused(path, "read it", error))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Writes `value` and reads it back: the kernel rounds or ignores some.
pub(crate) fn set(path: &Path, value: &str) -> Outcome<()> {
    if read(path)? == value {
        return Ok(());
    }
    write(path, value)?;
    let now = read(path)?;
    if now == value {
        return Ok(());
    }
    let said = format!("took {value:?} and holds {now:?}");
    Err(failure(FailureKind::Failed, said).by(path.display().to_string()).into())
}

/// Links `link` to the object `to`, unless it is so.
pub(crate) fn link(to: &Path, link: &Path) -> Outcome<Change> {
    match fs::read_link(link) {
        Ok(_) if same_object(link, to) => Ok(Change::Already),
        Ok(other) => {
            let said = format!("links to {} instead of {}", other.display(), to.display());
            Err(failure(FailureKind::Conflict, said).by(link.display().to_string()).into())
        }
        Err(_) => std::os::unix::fs::symlink(to, link)
            .map(|()| Change::Made)
            .map_err(|error| refused(link, &format!("link it to {}", to.display()), error)),
    }
}

/// configfs rewrites links as relative ones, so the two paths are resolved.
fn same_object(link: &Path, to: &Path) -> bool {
    matches!((fs::canonicalize(link), fs::canonicalize(to)), (Ok(a), Ok(b)) if a == b)
}

/// Removes every link within `folder`, whatever its name.
pub(crate) fn unlink_all(folder: &Path) -> Outcome<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(folder, "list it", error)),
    };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_symlink()) {
        fs::remove_file(&path).map_err(|error| refused(&path, "unlink it", error))?;
    }
    Ok(())
}

/// Names of the folders within `folder`, sorted; none where it does not exist.
pub(crate) fn folders(folder: &Path) -> Vec<String> {
    entries(folder, |kind| kind.is_dir())
}

/// Names of all entries of `folder`, sorted; none where it does not exist.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    entries(folder, |_| true)
}

fn entries(folder: &Path, wanted: impl Fn(fs::FileType) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(&wanted))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn making_and_removing_twice_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rd_mcp_1");
        assert_eq!(make(&path).unwrap(), Change::Made);
        assert_eq!(make(&path).unwrap(), Change::Already);
        assert_eq!(folders(folder.path()), ["rd_mcp_1"]);
        assert_eq!(remove(&path).unwrap(), Change::Made);
        assert_eq!(remove(&path).unwrap(), Change::Already);
    }

    #[test]
    fn a_refusal_names_the_path_and_the_value_unless_it_is_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent").join("enable");
        let told = write(&path, "1").unwrap_err();
        assert!(told.program.ends_with("absent/enable"), "{told}");
        assert!(told.said.contains("write \"1\""), "{told}");
        let told = write_secret(&path, "hidden").unwrap_err();
        assert!(!told.to_string().contains("hidden"), "{told}");
    }

    #[test]
    fn a_link_to_another_object_is_a_conflict() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, seg) =
            (folder.path().join("a"), folder.path().join("b"), folder.path().join("seg"));
        make(&a).unwrap();
        make(&b).unwrap();
        assert_eq!(link(&a, &seg).unwrap(), Change::Made);
        assert_eq!(link(&a, &seg).unwrap(), Change::Already);
        assert_eq!(link(&b, &seg).unwrap_err().kind(), FailureKind::Conflict);
        unlink_all(folder.path()).unwrap();
        assert!(!seg.is_symlink());
    }
}
