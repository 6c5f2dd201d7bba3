//! The one thread that writes: all that waits, in one transaction.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use redb::{Database, ReadableTable, WriteTransaction};
use tokio::sync::oneshot;

use super::{
    ASSEMBLIES_KEPT, DRAINED, EVACUATED, EVENTS, EVENTS_KEPT, FAILURES, GENERATIONS, LEASES, POOLS,
    StoreError, codec,
};
use crate::lease::Lease;

type Done = oneshot::Sender<Result<(), StoreError>>;

/// Something to write.
pub(super) enum Write {
    Pool { name: String, generation: u32, given: u32, bytes: Vec<u8>, done: Done },
    Event { name: String, sequence: u64, bytes: Vec<u8> },
    Forget { name: String, done: Done },
    Drain { nodes: Vec<String>, reason: Option<String>, done: Done },
    Evacuate { node: String, begun: bool, done: Done },
    Lease { name: String, lease: Lease, done: Done },
    Failures { job: u32, bytes: Option<Vec<u8>>, done: Done },
    Flush { done: Done },
}

/// Old events go away in batches of this many, not one by one.
const TRIM_EVERY: u64 = 64;

/// The most that one transaction takes, so that nobody waits for an endless one.
const BATCH: usize = 1024;

/// The thread. Its end writes what waits.
pub(super) struct Writer {
    sender: Option<mpsc::Sender<Write>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(database: Arc<Database>) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || run(&database, &receiver))
            .map_err(|error| StoreError::Io(format!("cannot start its thread: {error}")))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Hands something over; `false` if the thread has ended.
    pub(super) fn send(&self, write: Write) -> bool {
        self.sender.as_ref().is_some_and(|sender| sender.send(write).is_ok())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread ends when no sender is left.
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread had panicked");
        }
    }
}

fn run(database: &Database, receiver: &mpsc::Receiver<Write>) {
    while let Ok(first) = receiver.recv() {
        let mut batch = vec![first];
        batch.extend(receiver.try_iter().take(BATCH));
        let outcome = commit(database, &batch);
        if let Err(error) = &outcome {
            tracing::error!(%error, "the store was not written");
        }
        let said = outcome.err().map(|error| error.to_string());
        for write in batch {
            if let Write::Pool { done, .. }
            | Write::Forget { done, .. }
            | Write::Drain { done, .. }
            | Write::Evacuate { done, .. }
            | Write::Lease { done, .. }
            | Write::Failures { done, .. }
            | Write::Flush { done } = write
            {
                let answer = said.clone().map_or(Ok(()), |said| Err(StoreError::Io(said)));
                // Who asked may have gone.
                _ = done.send(answer);
            }
        }
    }
}

fn commit(database: &Database, batch: &[Write]) -> Result<(), redb::Error> {
    if batch.iter().all(|write| matches!(write, Write::Flush { .. })) {
        return Ok(());
    }
    let writing = database.begin_write()?;
    for write in batch {
        apply(&writing, write)?;
    }
    writing.commit()?;
    Ok(())
}

fn apply(writing: &WriteTransaction, write: &Write) -> Result<(), redb::Error> {
    match write {
        Write::Pool { name, generation, given, bytes, .. } => {
            let mut pools = writing.open_table(POOLS)?;
            pools.insert((&**name, *generation), &**bytes)?;
            let keep_from = generation.saturating_sub(ASSEMBLIES_KEPT);
            pools.retain_in((&**name, 0)..(&**name, keep_from), |_, _| false)?;
            let mut generations = writing.open_table(GENERATIONS)?;
            let last = generations.get(&**name)?.map_or(0, |last| last.value());
            if *given > last {
                generations.insert(&**name, *given)?;
            }
        }
        Write::Event { name, sequence, bytes } => {
            let mut events = writing.open_table(EVENTS)?;
            events.insert((&**name, *sequence), &**bytes)?;
            if sequence % TRIM_EVERY == 0 {
                let keep_from = sequence.saturating_sub(EVENTS_KEPT);
                events.retain_in((&**name, 0)..(&**name, keep_from), |_, _| false)?;
            }
        }
        Write::Forget { name, .. } => {
            let mut pools = writing.open_table(POOLS)?;
            pools.retain_in((&**name, 0)..=(&**name, u32::MAX), |_, _| false)?;
            let mut events = writing.open_table(EVENTS)?;
            events.retain_in((&**name, 0)..=(&**name, u64::MAX), |_, _| false)?;
            writing.open_table(LEASES)?.remove(&**name)?;
        }
        Write::Drain { nodes, reason, .. } => {
            let mut drained = writing.open_table(DRAINED)?;
            for node in nodes {
                match reason {
                    Some(reason) => drop(drained.insert(&**node, &**reason)?),
                    None => drop(drained.remove(&**node)?),
                }
            }
        }
        Write::Evacuate { node, begun, .. } => {
            let mut evacuated = writing.open_table(EVACUATED)?;
            if *begun {
                evacuated.insert(&**node, ())?;
            } else {
                evacuated.remove(&**node)?;
            }
        }
        Write::Lease { name, lease, .. } => {
            writing.open_table(LEASES)?.insert(&**name, codec::lease_out(*lease))?;
        }
        Write::Failures { job, bytes, .. } => {
            let mut failures = writing.open_table(FAILURES)?;
            match bytes {
                Some(bytes) => drop(failures.insert(job, &**bytes)?),
                None => drop(failures.remove(job)?),
            }
        }
        Write::Flush { .. } => {}
    }
    Ok(())
}
