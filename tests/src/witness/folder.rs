//! Writing and comparing, on a mounted pool.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::contents;
use super::log::{Fate, Line, Log};

/// So many files live at a time; then the oldest goes for each new one.
const LIVING: u64 = 400;

/// A file's removal is told so many files ahead, two seconds or more: what was told last may
/// still be on its way when the node loses its power, and the removal be on the disk.
const AHEAD: u64 = 100;

/// Between two files: the witness watches for what gets lost, and does not compete with fio.
pub const PAUSE: Duration = Duration::from_millis(20);

fn path_of(root: &Path, number: u64) -> PathBuf {
    root.join(contents::folder(number)).join(contents::name(number))
}

/// Makes files from `first` on, for ever or `count` of them, with a pause after each, and tells each line. Files of an
/// earlier run below `first` are left alone.
pub fn write(
    root: &Path,
    first: u64,
    count: Option<u64>,
    pause: Duration,
    mut tell: impl FnMut(Line) -> Result<()>,
) -> Result<()> {
    let end = count.map_or(u64::MAX, |count| first.saturating_add(count));
    for number in first..end {
        tell(Line::Keeping(number))?;
        let begin = Instant::now();
        let sum = keep(root, number).with_context(|| format!("make file {number}"))?;
        tell(Line::Kept { number, sum, took_ms: millis(begin) })?;
        let before = |files| number.checked_sub(files).filter(|earlier| *earlier >= first);
        if let Some(soon) = before(LIVING - AHEAD) {
            tell(Line::Dropping(soon))?;
        }
        if let Some(oldest) = before(LIVING) {
            let begin = Instant::now();
            drop_file(root, oldest).with_context(|| format!("remove file {oldest}"))?;
            tell(Line::Dropped { number: oldest, took_ms: millis(begin) })?;
        }
        std::thread::sleep(pause);
    }
    Ok(())
}

fn millis(begin: Instant) -> u64 {
    // A run lasts minutes.
    u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Makes one file as careful programs do: every second one under another name first.
fn keep(root: &Path, number: u64) -> Result<u64> {
    let path = path_of(root, number);
    let folder = path.parent().context("a file is in a folder")?;
    if !folder.is_dir() {
        fs::create_dir_all(folder)?;
        sync_folder(root)?;
    }
    let bytes = contents::bytes(number);
    let first_name =
        if number.is_multiple_of(2) { path.clone() } else { path.with_extension("new") };
    let mut file = File::create(&first_name)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    if first_name != path {
        fs::rename(&first_name, &path)?;
    }
    sync_folder(folder)?;
    Ok(contents::sum(&bytes))
}

fn drop_file(root: &Path, number: u64) -> Result<()> {
    let path = path_of(root, number);
    fs::remove_file(&path)?;
    sync_folder(path.parent().context("a file is in a folder")?)
}

fn sync_folder(folder: &Path) -> Result<()> {
    Ok(File::open(folder)?.sync_all()?)
}

/// Compares the folder with all that was acknowledged; a line for each difference.
pub fn compare(root: &Path, log: &Log) -> Vec<String> {
    let judge = |(number, fate): (&u64, &Fate)| {
        let found = fs::read(path_of(root, *number));
        let wrong = match (fate, found) {
            (Fate::Open, _) => return None,
            (Fate::There(sum), Ok(bytes)) if contents::sum(&bytes) == *sum => return None,
            (Fate::There(_), Ok(bytes)) => {
                format!("has other contents than were acknowledged ({} bytes)", bytes.len())
            }
            (Fate::There(_), Err(error)) => format!("was acknowledged: {error}"),
            (Fate::Gone, Err(error)) if error.kind() == ErrorKind::NotFound => return None,
            (Fate::Gone, Err(error)) => format!("was removed, yet: {error}"),
            (Fate::Gone, Ok(_)) => "is back, though its removal was acknowledged".to_owned(),
        };
        Some(format!("file {number} {wrong}"))
    };
    log.fates().iter().filter_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(root: &Path, count: u64) -> Log {
        let mut log = Log::default();
        write(root, 0, Some(count), Duration::ZERO, |line| {
            log.take(line);
            Ok(())
        })
        .unwrap();
        log
    }

    #[test]
    fn what_was_written_compares_equal_and_the_oldest_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let log = written(folder.path(), LIVING + 10);
        assert!(compare(folder.path(), &log).is_empty());
        assert_eq!(log.fates()[&9], Fate::Gone);
        assert_eq!(log.fates()[&10], Fate::Open);
        assert!(matches!(log.fates()[&(10 + AHEAD)], Fate::There(_)));
    }

    #[test]
    fn what_is_lost_changed_or_back_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let log = written(folder.path(), LIVING + 1);
        let path = |number| path_of(folder.path(), number);
        fs::remove_file(path(205)).unwrap();
        fs::write(path(206), "other").unwrap();
        fs::write(path(0), "back").unwrap();
        let found = compare(folder.path(), &log);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("file 0 is back"), "{found:?}");
        assert!(found[1].contains("file 205 was acknowledged"), "{found:?}");
        assert!(found[2].contains("file 206 has other contents"), "{found:?}");
    }
}
