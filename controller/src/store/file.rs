//! The store's files: the lock, and how a store comes to be and is opened.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase};

use super::{EVENTS, GENERATIONS, META, POOLS, SCHEMA, StoreError};

const STORE: &str = "controller.redb";
const UNFINISHED: &str = "controller.redb.new";
const LOCK: &str = "controller.lock";

/// The lock on a state folder, given back when dropped (and by the kernel if we are killed).
#[derive(Debug)]
pub(super) struct Locked {
    _file: File,
}

impl Locked {
    /// Makes the folder if need be, and locks it.
    pub(super) fn take(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(LOCK);
        let failed = |source| StoreError::Folder { path: path.clone(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message: a lock file that cannot be read names nobody.
                _ = file.take(20).read_to_string(&mut holder);
                let holder = holder.trim().to_owned();
                return Err(StoreError::InUse { path, holder });
            }
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Opens the store of a locked folder. A new one comes to be under another name and is renamed
/// when whole, so that a file of the store's name is always one.
pub(super) fn open(folder: &Path) -> Result<(Database, PathBuf), StoreError> {
    let path = folder.join(STORE);
    let failed = |source| StoreError::Folder { path: path.clone(), source };
    if !path.try_exists().map_err(failed)? {
        make(folder, &path)?;
    }
    let damaged = |said: String| StoreError::Damaged { path: path.clone(), said };
    if std::fs::metadata(&path).map_err(failed)?.len() == 0 {
        // The library would take an empty file for a new store.
        return Err(damaged("it is empty".into()));
    }
    let found = look(&path).map_err(damaged)?;
    if let Some(found) = found.filter(|found| *found > SCHEMA) {
        return Err(StoreError::TooNew { path, found });
    }
    let database = caught(|| Database::open(&path)).map_err(damaged)?;
    let found = schema(&database).map_err(|error| damaged(error.to_string()))?;
    if found > SCHEMA {
        return Err(StoreError::TooNew { path, found });
    }
    Ok((database, path))
}

/// Marks a store whose contents were all understood as one of this schema, so that an older
/// controller refuses it instead of misreading what this one writes.
pub(super) fn mark(database: &Database) -> Result<(), StoreError> {
    if schema(database)? == SCHEMA {
        return Ok(());
    }
    let writing = database.begin_write()?;
    writing.open_table(META)?.insert("schema", SCHEMA)?;
    writing.commit()?;
    Ok(())
}

/// The schema of a store, read without writing a byte; `None` where a crash left it to be
/// repaired first (which opening it for writing does).
fn look(path: &Path) -> Result<Option<u64>, String> {
    let opened = caught(|| match ReadOnlyDatabase::open(path) {
        Ok(database) => Ok(Some(database)),
        Err(DatabaseError::RepairAborted) => Ok(None),
        Err(error) => Err(error),
    })?;
    opened.map(|database| schema(&database)).transpose().map_err(|error| error.to_string())
}

/// What the library says of a file. It may panic on bytes that no version of it ever wrote.
fn caught<T>(open: impl FnOnce() -> Result<T, DatabaseError>) -> Result<T, String> {
    match std::panic::catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => opened.map_err(|error| error.to_string()),
        Err(_) => Err("its contents make no sense".into()),
    }
}

fn schema(database: &impl ReadableDatabase) -> Result<u64, redb::Error> {
    let table = database.begin_read()?.open_table(META)?;
    Ok(table.get("schema")?.map_or(0, |found| found.value()))
}

fn make(folder: &Path, path: &Path) -> Result<(), StoreError> {
    let unfinished = folder.join(UNFINISHED);
    let failed = |source| StoreError::Folder { path: unfinished.clone(), source };
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(failed)?;
    let database = Database::create(&unfinished)?;
    let writing = database.begin_write()?;
    writing.open_table(META)?.insert("schema", SCHEMA)?;
    writing.open_table(POOLS)?;
    writing.open_table(EVENTS)?;
    writing.open_table(GENERATIONS)?;
    writing.commit()?;
    drop(database);
    std::fs::rename(&unfinished, path).map_err(failed)?;
    // The name itself must survive a crash too.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}
