//! Carries out what the machine says: calls agents, writes records, tells callers. All
//! decisions are the machine's.

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use rampool_proto::size::Size;
use rampool_proto::v1::{Event, EventKind, Failure, FailureKind, Piece, Usage};
use tokio::sync::mpsc;

use super::Env;
use super::machine::Machine;
use super::operation::{Operation, Order};
use super::outcome::{self, Outcome};
use super::patience::{Patience, may_ask_again};
use super::progress::ByteProgress;
use super::record::{Phase, PoolRecord};
use super::slot::Slot;
use super::state::{Command, Input, State, Step};
use super::steps::{self, Learned};
use crate::agents::{Agents, Answer, Call, Progress};
use crate::clock::now_ms;

type CallEnd = (Step, Result<Answer, Failure>);

/// One operation being driven.
pub(super) struct Drive {
    env: Arc<Env>,
    slot: Arc<Slot>,
    operation: Arc<Operation>,
    orders: mpsc::UnboundedReceiver<Order>,
    machine: Machine,
    calls: FuturesUnordered<BoxFuture<'static, CallEnd>>,
    stage: Stage,
    learned: Learned,
    usage: Option<Usage>,
    patience: Arc<Patience>,
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
        orders: mpsc::UnboundedReceiver<Order>,
        record: PoolRecord,
    ) -> Self {
        let nodes = Arc::clone(&env.nodes);
        Self {
            patience: Patience::new(nodes, Arc::clone(&operation), env.patience),
            machine: Machine::new(record),
            env,
            slot,
            operation,
            orders,
            calls: FuturesUnordered::new(),
            stage: Stage { began: Instant::now(), calls: 0, left: 0, failed: false },
            learned: Learned::default(),
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
                    self.feed(match order {
                        Order::Down { force } => Input::Down { force },
                        Order::Fail(why) => Input::Fail(why),
                    })
                    .await;
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
                Command::Abandon => self.calls = FuturesUnordered::new(),
                Command::Call { step, force } => calls.push((step, force)),
                Command::Record { vital } => {
                    if let Err(failure) = self.write(vital).await {
                        let pool = &self.machine.record().assembly;
                        tracing::error!(%pool, %failure, "not recorded");
                        if vital {
                            return Some(failure);
                        }
                    }
                }
            }
        }
        if let Some((step, _)) = calls.first() {
            self.begin_stage(*step, calls.len());
            let progress = self.progress(*step);
            for (step, force) in calls {
                self.call(step, force, progress.as_ref());
            }
        }
        None
    }

    /// Writes the machine's record to the store, then shows it to everybody. The last one is
    /// shown with the operation's end: who sees it may begin the next operation at once.
    async fn write(&mut self, vital: bool) -> Result<(), Failure> {
        self.machine.note(|record| match record.phase {
            Phase::Ready if record.ready_ms == 0 => record.ready_ms = now_ms(),
            Phase::Released(_) => record.released_ms = now_ms(),
            _ => {}
        });
        let record = self.machine.record();
        let written = self.env.store.put(record).await;
        // What is not vital is so, written or not; what is vital is taken back.
        if (written.is_ok() || !vital) && !self.machine.settled() {
            self.slot.publish(record.clone());
        }
        written.map_err(|error| {
            Failure::new(FailureKind::Failed, "write the pool's record")
                .saying(error)
                .advising("check the controller's state folder: is its file system full?")
        })
    }

    fn call(&mut self, step: Step, force: bool, progress: Option<&Arc<ByteProgress>>) {
        let record = self.machine.record();
        let calls = steps::calls_of(step, force, record, &self.learned, &self.env.settings);
        let told = match (step, progress) {
            (Step::CreateExport(number), Some(progress)) => Some(progress.of(number)),
            (Step::ReplaceMember, Some(progress)) => Some(progress.of(0)),
            _ => None,
        };
        let unknown = matches!(step, Step::PayDebt(_)).then(|| self.silent_debtor(step)).flatten();
        let agents = Arc::clone(&self.env.agents);
        let again = may_ask_again(step, self.machine.state());
        let patience = again.then(|| Arc::clone(&self.patience));
        let asked = async move {
            match unknown {
                Some(failure) => Err(failure),
                None => ask(&agents, calls, told, patience).await,
            }
        };
        self.calls.push(asked.map(move |result| (step, result)).boxed());
    }

    /// Why a debtor is not even asked: a node known to be silent is not waited for.
    fn silent_debtor(&self, step: Step) -> Option<Failure> {
        let node = steps::node_of(step, self.machine.record());
        let known = self.env.nodes.get(node);
        let why = known.as_ref().map_or("it is not a known node", |known| known.why_not());
        (!why.is_empty()).then(|| {
            Failure::new(FailureKind::NotNow, "ask for what it still holds").on(node).saying(why)
        })
    }

    fn progress(&self, step: Step) -> Option<Arc<ByteProgress>> {
        let record = self.machine.record();
        let operation = Arc::clone(&self.operation);
        let name = steps::name_of(step);
        match step {
            Step::CreateExport(_) => {
                // The one that joins counts alone.
                let alone = matches!(record.phase, Phase::Replacing(_));
                let counts = |number: usize| !alone || number + 1 == record.members().count();
                let size = |(number, piece): (usize, &Piece)| {
                    if counts(number) { piece.bytes } else { 0 }
                };
                let sizes = record.members().enumerate().map(size);
                Some(ByteProgress::new(operation, name, sizes))
            }
            Step::ReplaceMember => {
                let size = record.replacing().map_or(0, |replacing| replacing.new.bytes);
                Some(ByteProgress::new(operation, name, std::iter::once(size)))
            }
            _ => None,
        }
    }

    async fn ended(&mut self, step: Step, result: Result<Answer, Failure>) {
        self.tell_end(step, &result);
        let result = result.and_then(|answer| self.keep(step, answer));
        self.feed(Input::Reply(step, result)).await;
    }

    /// Keeps what later steps need of an answer.
    fn keep(&mut self, step: Step, answer: Answer) -> Result<(), Failure> {
        match (step, answer) {
            (Step::CreateExport(number), Answer::Export(export)) => {
                let piece = self.machine.record().member(number);
                if export.bytes < piece.bytes || export.serial.is_empty() {
                    return Err(Failure::new(FailureKind::Failed, "reserve and export memory")
                        .on(&piece.donor)
                        .saying(format!("{} asked for, {} exported", piece.bytes, export.bytes)));
                }
                let (donor, serial) = (piece.donor.clone(), export.serial.clone());
                self.learned.exports.insert(donor.clone(), export);
                self.machine.note(|record| _ = record.serials.insert(donor, serial));
            }
            // All that is known of a bare block device; a mount tells more.
            (_, Answer::Volume(device, bytes_total)) => {
                self.usage = Some(Usage { device, bytes_total, ..Usage::default() });
            }
            (_, Answer::Usage(usage)) => self.usage = Some(usage),
            (_, Answer::Shared(path)) => self.learned.share = path,
            (Step::ReaddMembers, Answer::Readded(answer)) if answer.readded.is_empty() => {
                if let Some(why) = answer.refused.into_iter().next() {
                    return Err(Failure::new(FailureKind::Failed, "take donors back")
                        .on(&self.machine.record().placement.head)
                        .saying(why));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn begin_stage(&mut self, step: Step, calls: usize) {
        self.stage = Stage { began: Instant::now(), calls, left: calls, failed: false };
        self.operation.tell(Event {
            step: steps::name_of(step).to_owned(),
            node: if calls == 1 {
                steps::node_of(step, self.machine.record()).to_owned()
            } else {
                String::new()
            },
            kind: EventKind::Started.into(),
            text: steps::words_of(step, calls, self.machine.record()),
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
            node: steps::node_of(step, self.machine.record()).to_owned(),
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
            Answer::Done | Answer::Inventory(_) | Answer::Readded(_) | Answer::Shared(_) => {
                String::new()
            }
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
        let failure = outcome::failure(&self.operation.kind, &self.machine);
        Outcome { failure, usage: self.usage, record: self.machine.record().clone() }
    }
}

/// Makes these calls one after the other; the last one's answer is the answer. With patience, one
/// that was not answered is made once more when its node is back.
async fn ask(
    agents: &Arc<dyn Agents>,
    calls: Vec<(String, Call)>,
    told: Option<Progress>,
    patience: Option<Arc<Patience>>,
) -> Result<Answer, Failure> {
    let mut answer = Answer::Done;
    for (node, call) in calls {
        let first = agents.call(&node, call.clone(), told.clone()).await;
        answer = match (first, &patience) {
            (Err(failure), Some(patience)) if patience.sees_back(&node, &failure).await => {
                agents.call(&node, call, told.clone()).await?
            }
            (first, _) => first?,
        };
    }
    Ok(answer)
}
