//! Carries out what the machine says: calls agents, writes records, tells callers. All
//! decisions are the machine's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use rampool_proto::size::Size;
use rampool_proto::v1::{Event, EventKind, Export, Failure, FailureKind, Usage};
use tokio::sync::mpsc;

use super::machine::Machine;
use super::operation::{DownOrder, Kind, Operation};
use super::progress::ExportProgress;
use super::record::{Phase, PoolRecord};
use super::slot::Slot;
use super::state::{Command, Input, State, Step};
use super::{Env, steps};
use crate::agents::Answer;
use crate::clock::now_ms;

/// What became of an operation.
pub(super) struct Outcome {
    /// The pool's record at the end.
    pub(super) record: PoolRecord,
    /// Why it did not do what was asked, if it did not.
    pub(super) failure: Option<Failure>,
    /// Of the mounted pool, where it was just mounted.
    pub(super) usage: Option<Usage>,
}

type CallEnd = (Step, Result<Answer, Failure>);

/// One operation being driven.
pub(super) struct Drive {
    env: Arc<Env>,
    slot: Arc<Slot>,
    operation: Arc<Operation>,
    orders: mpsc::UnboundedReceiver<DownOrder>,
    record: PoolRecord,
    machine: Machine,
    calls: FuturesUnordered<BoxFuture<'static, CallEnd>>,
    stage: Stage,
    exports: BTreeMap<usize, Export>,
    usage: Option<Usage>,
}

/// The calls of one step that run at once.
struct Stage {
    began: Instant,
    calls: usize,
    left: usize,
    failed: bool,
}

impl Drive {
    pub(super) fn new(
        env: Arc<Env>,
        slot: Arc<Slot>,
        operation: Arc<Operation>,
        orders: mpsc::UnboundedReceiver<DownOrder>,
        record: PoolRecord,
    ) -> Self {
        Self {
            machine: record.machine(),
            env,
            slot,
            operation,
            orders,
            record,
            calls: FuturesUnordered::new(),
            stage: Stage { began: Instant::now(), calls: 0, left: 0, failed: false },
            exports: BTreeMap::new(),
            usage: None,
        }
    }

    /// Goes on from `first` until nothing is left to do.
    pub(super) async fn run(mut self, first: Input) -> Outcome {
        self.feed(first).await;
        while !(self.machine.settled() && self.orders.is_empty()) {
            tokio::select! {
                // Orders first: a `down` between two steps must not wait for the next one.
                biased;
                Some(order) = self.orders.recv() => {
                    self.feed(Input::Down { force: order.force }).await;
                }
                Some((step, result)) = self.calls.next() => self.ended(step, result).await,
            }
        }
        self.outcome()
    }

    /// Gives the machine an input and does what it says, until it says no more.
    async fn feed(&mut self, input: Input) {
        let was_creating = matches!(self.machine.state(), State::Creating { .. });
        let mut commands = self.machine.on(input);
        if was_creating {
            self.tell_undo();
        }
        while let Some(failure) = self.carry_out(commands).await {
            commands = self.machine.on(Input::StoreFailed(failure));
        }
    }

    /// Says that from here on all is undone, and why.
    fn tell_undo(&self) {
        if let State::Releasing(release) = self.machine.state() {
            let text = format!("undoing all of it: {}", release.cause);
            self.operation.tell(Event { kind: EventKind::Note.into(), text, ..Event::default() });
        }
    }

    /// Carries out commands in order, up to a vital record that the store refused.
    async fn carry_out(&mut self, commands: Vec<Command>) -> Option<Failure> {
        let mut calls = Vec::new();
        for command in commands {
            match command {
                Command::Call { step, force } => calls.push((step, force)),
                Command::Record { vital } => {
                    if let Err(failure) = self.write(vital).await {
                        tracing::error!(pool = %self.record.assembly, %failure, "not recorded");
                        if vital {
                            return Some(failure);
                        }
                    }
                }
            }
        }
        if let Some((step, _)) = calls.first() {
            self.begin_stage(*step, calls.len());
            let progress = self.export_progress(*step);
            for (step, force) in calls {
                self.call(step, force, progress.as_ref());
            }
        }
        None
    }

    /// Writes the machine's state to the store, then shows it to everybody.
    async fn write(&mut self, vital: bool) -> Result<(), Failure> {
        let mut record = self.record.clone();
        record.phase = Phase::of(self.machine.state());
        match record.phase {
            Phase::Ready if record.ready_ms == 0 => record.ready_ms = now_ms(),
            Phase::Released(_) => record.released_ms = now_ms(),
            _ => {}
        }
        let written = self.env.store.put(&record).await;
        // What is not vital is so, written or not; what is vital is taken back.
        if written.is_ok() || !vital {
            self.slot.publish(record.clone());
            self.record = record;
        }
        written.map_err(|error| {
            Failure::new(FailureKind::Failed, "write the pool's record")
                .saying(error)
                .advising("check the controller's state folder: is its file system full?")
        })
    }

    fn call(&mut self, step: Step, force: bool, progress: Option<&Arc<ExportProgress>>) {
        let node = steps::node_of(step, &self.record);
        let call = steps::call_of(step, force, &self.record, &self.exports, &self.env.settings);
        let told = match (step, progress) {
            (Step::CreateExport(donor), Some(progress)) => Some(progress.of(donor)),
            _ => None,
        };
        let asked = self.env.agents.call(node, call, told);
        self.calls.push(asked.map(move |result| (step, result)).boxed());
    }

    fn export_progress(&self, step: Step) -> Option<Arc<ExportProgress>> {
        matches!(step, Step::CreateExport(_)).then(|| {
            let sizes = self.record.placement.pieces.iter().map(|piece| piece.bytes);
            ExportProgress::new(Arc::clone(&self.operation), sizes)
        })
    }

    async fn ended(&mut self, step: Step, result: Result<Answer, Failure>) {
        self.tell_end(step, &result);
        let result = result.and_then(|answer| self.keep(step, answer));
        self.feed(Input::Reply(step, result)).await;
    }

    /// Keeps what later steps need of an answer.
    fn keep(&mut self, step: Step, answer: Answer) -> Result<(), Failure> {
        match (step, answer) {
            (Step::CreateExport(donor), Answer::Export(export)) => {
                let piece = &self.record.placement.pieces[donor];
                if export.bytes < piece.bytes || export.serial.is_empty() {
                    return Err(Failure::new(FailureKind::Failed, "reserve and export memory")
                        .on(&piece.donor)
                        .saying(format!("{} asked for, {} exported", piece.bytes, export.bytes)));
                }
                self.exports.insert(donor, export);
            }
            // All that is known of a bare block device; a mount tells more.
            (_, Answer::Volume(device, bytes_total)) => {
                self.usage = Some(Usage { device, bytes_total, ..Usage::default() });
            }
            (_, Answer::Usage(usage)) => self.usage = Some(usage),
            _ => {}
        }
        Ok(())
    }

    fn begin_stage(&mut self, step: Step, calls: usize) {
        self.stage = Stage { began: Instant::now(), calls, left: calls, failed: false };
        self.operation.tell(Event {
            step: steps::name_of(step).to_owned(),
            node: if calls == 1 {
                steps::node_of(step, &self.record).to_owned()
            } else {
                String::new()
            },
            kind: EventKind::Started.into(),
            text: steps::words_of(step, calls, &self.record),
            total: calls as u64,
            ..Event::default()
        });
    }

    /// Tells how one call ended, and the whole stage with its last one.
    fn tell_end(&mut self, step: Step, result: &Result<Answer, Failure>) {
        let took_ms = u64::try_from(self.stage.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.stage.left = self.stage.left.saturating_sub(1);
        self.stage.failed |= result.is_err();
        let event = Event {
            step: steps::name_of(step).to_owned(),
            node: steps::node_of(step, &self.record).to_owned(),
            done: (self.stage.calls - self.stage.left) as u64,
            total: self.stage.calls as u64,
            took_ms,
            ..Event::default()
        };
        self.operation.tell(match result {
            Ok(answer) => Event {
                kind: EventKind::Done.into(),
                text: self.words_of_answer(answer),
                ..event.clone()
            },
            Err(failure) => Event {
                kind: EventKind::Failed.into(),
                text: failure.to_string(),
                failure: Some(failure.clone()),
                ..event.clone()
            },
        });
        if self.stage.calls > 1 && self.stage.left == 0 && !self.stage.failed {
            let text = format!("all {} nodes done", self.stage.calls);
            self.operation.tell(Event {
                kind: EventKind::Done.into(),
                node: String::new(),
                text,
                ..event
            });
        }
    }

    fn words_of_answer(&self, answer: &Answer) -> String {
        match answer {
            Answer::Done | Answer::Inventory(_) | Answer::Readded(_) => String::new(),
            Answer::Export(export) => format!("{} reserved and exported", Size(export.bytes)),
            Answer::Volume(device, bytes) => format!("{device}, {}", Size(*bytes)),
            Answer::Freed(bytes) => format!("{} freed", Size(*bytes)),
            Answer::Usage(usage) => format!("{} free", Size(usage.bytes_free)),
            Answer::Unmounted(terminated) if terminated.is_empty() => String::new(),
            Answer::Unmounted(terminated) => {
                let named: Vec<String> = terminated
                    .iter()
                    .map(|holder| format!("{} ({}, {})", holder.pid, holder.command, holder.user))
                    .collect();
                format!("terminated {}", named.join(", "))
            }
        }
    }

    fn outcome(self) -> Outcome {
        let failure = match (self.machine.state(), &self.operation.kind) {
            (State::Ready, Kind::Up(_)) => None,
            (State::Released(_), Kind::Down | Kind::Release) => None,
            (State::Released(cause), Kind::Up(_)) => Some(cause.failure()),
            (State::Releasing(release), kind) => {
                let remains = release.remains();
                let first = match kind {
                    Kind::Up(_) => release.cause.failure(),
                    Kind::Down | Kind::Release => remains
                        .first()
                        .or(self.machine.refusal())
                        .cloned()
                        .unwrap_or_else(|| release.cause.failure()),
                };
                Some(with_remains(first, &remains))
            }
            _ => Some(self.refusal()),
        };
        Outcome { failure, usage: self.usage, record: self.record }
    }

    /// Why the pool is as it was before.
    fn refusal(&self) -> Failure {
        self.machine.refusal().cloned().unwrap_or_else(|| {
            Failure::new(FailureKind::NotNow, self.operation.kind.name())
                .saying("the pool is as it was before")
        })
    }
}

/// Adds what is still held, and when it goes.
fn with_remains(failure: Failure, remains: &[Failure]) -> Failure {
    const SHOWN: usize = 5;
    if remains.is_empty() {
        return failure;
    }
    let nodes: Vec<&str> = remains.iter().take(SHOWN).map(|left| left.node.as_str()).collect();
    let more = remains.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let held = format!(
        "still held on {}{more}: it is tried again when the node answers; see `rampool status`",
        nodes.join(", ")
    );
    let advice = match failure.advice.as_str() {
        "" => held,
        advice => format!("{advice}; {held}"),
    };
    Failure { advice, ..failure }
}
