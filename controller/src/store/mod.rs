//! What the controller must not forget: pools, their events, and the last generation of each
//! name, in one file that survives a crash at any line.
//!
//! One thread writes. It takes all that waits, writes it in one transaction, and answers once
//! that is on disk; so a record's write carries the events that came before it, and many pools
//! share one sync. A file lock keeps a second controller out.

mod codec;
mod file;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::Event;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use tokio::sync::oneshot;

use crate::jobs::failures::Failures;
use crate::lease::Lease;
use crate::pool::record::PoolRecord;
use file::Locked;
use writer::{Write, Writer};

/// The form of the store's tables. A store of a greater one is refused, never touched; one of a
/// lesser one is read, and marked as this one's before anything is written that an older
/// controller could not read. 2: records of pools that are replaced, failed over or failed.
const SCHEMA: u64 = 2;

/// Events kept of each pool name.
pub const EVENTS_KEPT: u64 = 1000;

/// Assemblies kept of each pool name: what is older was released long since.
pub const ASSEMBLIES_KEPT: u32 = 100;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const POOLS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("pools");
const EVENTS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("events");
const GENERATIONS: TableDefinition<'_, &str, u32> = TableDefinition::new("generations");
/// Nodes that take no new pieces, and why. Absent from stores of before there were such.
const DRAINED: TableDefinition<'_, &str, &str> = TableDefinition::new("drained");
/// What became of pools' leases: the generation they were formed under, then from when (in
/// milliseconds since the Unix epoch), how long (in seconds), and how much of the end was told.
/// Absent likewise.
const LEASES: TableDefinition<'_, &str, (u32, u64, u64, u8)> = TableDefinition::new("leases");
/// Nodes off which all that they lend is being moved. Absent likewise.
const EVACUATED: TableDefinition<'_, &str, ()> = TableDefinition::new("evacuated");
/// Failures of Slurm's jobs, by their numbers. Absent likewise.
const FAILURES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("failures");

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state folder or a file in it.
    #[error("{path}: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Another process holds the lock.
    #[error("{path} is locked: another controller (process {holder}) uses this state folder")]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// What the lock file says.
        holder: String,
    },
    /// The file is from a newer controller.
    #[error(
        "{path} has schema {found}, this controller knows {SCHEMA}: it was written by a newer \
         rampool-controller; install that version. Nothing was changed"
    )]
    TooNew {
        /// The store.
        path: PathBuf,
        /// Its schema.
        found: u64,
    },
    /// The file is no store, or a damaged one.
    #[error(
        "{path} cannot be read as a store: {said}. Nothing was changed; restore it from a \
         backup, or move it away to begin with an empty one (pools that nodes hold are then \
         kept and shown as unknown)"
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What is wrong.
        said: String,
    },
    /// A read or write failed.
    #[error("the store: {0}")]
    Io(String),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Io(error.into().to_string())
    }
}

/// What was in the store at start.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The last assembly of each name. All before it are released.
    pub records: Vec<PoolRecord>,
    /// Every assembly known to be released.
    pub released: Vec<Assembly>,
    /// The greatest generation given to each name.
    pub generations: BTreeMap<String, u32>,
    /// The nodes that take no new pieces, and why.
    pub drained: BTreeMap<String, String>,
    /// The leases that were renewed or told of.
    pub leases: BTreeMap<String, Lease>,
    /// The nodes that were being evacuated.
    pub evacuated: BTreeSet<String>,
    /// What is known of the failures of Slurm's jobs.
    pub failures: BTreeMap<u32, Failures>,
}

/// The open store. Clones share it; the last one's end writes what waits and closes it.
#[derive(Clone)]
pub struct Store(Arc<Open>);

// The order of the fields is the order of their end: the writer, the file, the lock.
struct Open {
    writer: Writer,
    database: Arc<Database>,
    _lock: Locked,
}

impl Store {
    /// Opens the store in `folder`, or makes an empty one, and reads what is in it.
    pub fn open(folder: &Path) -> Result<(Self, Loaded), StoreError> {
        let lock = Locked::take(folder)?;
        let (database, path) = file::open(folder)?;
        let loaded = load(&database).map_err(|error| match error {
            StoreError::Io(said) => StoreError::Damaged { path, said },
            other => other,
        })?;
        file::mark(&database)?;
        let database = Arc::new(database);
        let writer = Writer::start(Arc::clone(&database))?;
        Ok((Self(Arc::new(Open { writer, database, _lock: lock })), loaded))
    }

    /// Writes a pool's record, and the greatest generation given to it. Answers once that is on disk.
    pub async fn put(&self, record: &PoolRecord) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        let name = record.assembly.name.to_string();
        let (generation, given) = (record.assembly.generation, record.given());
        self.send(Write::Pool { name, generation, given, bytes: codec::encode(record), done })?;
        wait.await.map_err(|_| stopped())?
    }

    /// Takes an event to be written soon, before any record put later.
    pub fn append(&self, event: &Event) {
        let name = event.pool.as_ref().map(|id| id.name.clone()).unwrap_or_default();
        // The pool as it was at an operation's end is not history, and can be large.
        let stored = Event { result: None, ..event.clone() };
        let bytes = stored.encode_to_vec();
        if let Err(error) = self.send(Write::Event { name, sequence: event.sequence, bytes }) {
            tracing::error!(%error, "an event was not stored");
        }
    }

    /// Waits until all that was taken so far is on disk.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        self.send(Write::Flush { done })?;
        wait.await.map_err(|_| stopped())?
    }

    /// Forgets a name whose pool was released long since, but for the generations given.
    pub async fn forget(&self, name: &str) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        self.send(Write::Forget { name: name.to_owned(), done })?;
        wait.await.map_err(|_| stopped())?
    }

    /// Notes that nodes take no new pieces, for a reason; or with `None` that they do again.
    pub async fn drain(&self, nodes: &[String], reason: Option<&str>) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        let reason = reason.map(str::to_owned);
        self.send(Write::Drain { nodes: nodes.to_vec(), reason, done })?;
        wait.await.map_err(|_| stopped())?
    }

    /// Notes that a node is being evacuated, or is no more.
    pub async fn evacuate(&self, node: &str, begun: bool) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        self.send(Write::Evacuate { node: node.to_owned(), begun, done })?;
        wait.await.map_err(|_| stopped())?
    }

    /// Writes the lease of a pool name's last pool.
    pub async fn put_lease(&self, name: &str, lease: Lease) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        self.send(Write::Lease { name: name.to_owned(), lease, done })?;
        wait.await.map_err(|_| stopped())?
    }

    /// Takes what is known of a job's failures to be written, `None` to forget it. The answer comes
    /// once that is on disk.
    pub fn put_failures(
        &self,
        job: u32,
        failures: Option<&Failures>,
    ) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let (done, wait) = oneshot::channel();
        let sent =
            self.send(Write::Failures { job, bytes: failures.map(codec::failures_out), done });
        async move {
            sent?;
            wait.await.map_err(|_| stopped())?
        }
    }

    fn send(&self, write: Write) -> Result<(), StoreError> {
        if self.0.writer.send(write) { Ok(()) } else { Err(stopped()) }
    }

    /// The events kept of a pool, oldest first.
    pub async fn events(&self, name: &str) -> Result<Vec<Event>, StoreError> {
        self.flush().await?;
        let (database, name) = (Arc::clone(&self.0.database), name.to_owned());
        let read = move || {
            let table = database.begin_read()?.open_table(EVENTS)?;
            let mut events = Vec::new();
            for entry in table.range((&*name, 0)..=(&*name, u64::MAX))? {
                let event = Event::decode(entry?.1.value());
                events.push(event.map_err(|error| StoreError::Io(error.to_string()))?);
            }
            Ok(events)
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| StoreError::Io(error.to_string()))?
    }

    /// The sequence number that the next event of this name shall have.
    pub fn next_sequence(&self, name: &str) -> Result<u64, StoreError> {
        let table = self.0.database.begin_read()?.open_table(EVENTS)?;
        let last = table.range((name, 0)..=(name, u64::MAX))?.next_back().transpose()?;
        Ok(last.map_or(1, |(key, _)| key.value().1 + 1))
    }
}

fn stopped() -> StoreError {
    StoreError::Io("its writer has ended".into())
}

fn load(database: &Database) -> Result<Loaded, StoreError> {
    let reading = database.begin_read()?;
    let mut loaded = Loaded::default();
    let mut last: BTreeMap<String, PoolRecord> = BTreeMap::new();
    for entry in reading.open_table(POOLS)?.iter()? {
        let (key, bytes) = entry?;
        let record = codec::decode(bytes.value()).map_err(|problem| {
            let (name, generation) = key.value();
            StoreError::Io(format!("the record of {name}.{generation}: {problem}"))
        })?;
        if record.is_released() {
            loaded.released.extend(record.assemblies());
        }
        // In the table's order generations go up, so the last one seen is the latest.
        last.insert(record.assembly.name.to_string(), record);
    }
    loaded.records.extend(last.into_values());
    for entry in reading.open_table(GENERATIONS)?.iter()? {
        let (name, generation) = entry?;
        loaded.generations.insert(name.value().to_owned(), generation.value());
    }
    if let Some(drained) = newer(reading.open_table(DRAINED))? {
        for entry in drained.iter()? {
            let (node, reason) = entry?;
            loaded.drained.insert(node.value().to_owned(), reason.value().to_owned());
        }
    }
    if let Some(leases) = newer(reading.open_table(LEASES))? {
        for entry in leases.iter()? {
            let (name, lease) = entry?;
            loaded.leases.insert(name.value().to_owned(), codec::lease_in(lease.value()));
        }
    }
    if let Some(evacuated) = newer(reading.open_table(EVACUATED))? {
        for entry in evacuated.iter()? {
            loaded.evacuated.insert(entry?.0.value().to_owned());
        }
    }
    if let Some(failures) = newer(reading.open_table(FAILURES))? {
        for entry in failures.iter()? {
            let (job, bytes) = entry?;
            let known = codec::failures_in(bytes.value()).map_err(|problem| {
                StoreError::Io(format!("failures of job {}: {problem}", job.value()))
            })?;
            loaded.failures.insert(job.value(), known);
        }
    }
    Ok(loaded)
}

/// A table that stores of before there was such do not have.
fn newer<T>(opened: Result<T, TableError>) -> Result<Option<T>, StoreError> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
