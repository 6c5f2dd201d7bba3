//! A controller without time and its nodes: calls are on their way until the test says that
//! they arrive.

use std::collections::BTreeSet;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{
    Client, Failure, FailureKind, Piece, Placement, PoolSpec, Redundancy, VolumeLayout,
};

use super::super::*;
use crate::agents::{Answer, Call};
use crate::planner::redundancy::survives;
use crate::pool::record::{Owed, Replacing, Seat, samples};
use crate::pool::steps::{self, Learned, Settings};
use crate::pool::takeover::{self, Standing};
use crate::tests::model::{GIB, ModelNodes};

/// n0 is the first head; n1 to n4 lend; n5 is a spare where there are any; the others are free.
pub(super) const NODES: [&str; 8] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"];

/// What one step asks, on its way.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) step: Step,
    calls: Vec<(String, Call)>,
    /// How often the controller was started before.
    life: usize,
}

/// A controller and its nodes.
pub(super) struct World {
    pub(super) nodes: ModelNodes,
    pub(super) machine: Machine,
    pub(super) stored: PoolRecord,
    learned: Learned,
    settings: Settings,
    life: usize,
    pub(super) released: BTreeSet<Assembly>,
    pub(super) in_flight: Vec<InFlight>,
    /// Given up by the controller, yet still on the way to a node.
    pub(super) late: Vec<InFlight>,
    pub(super) store_refuses: bool,
    /// Since the pool was begun: what excuses what is checked.
    pub(super) excuses: Excuses,
    redundancy: Redundancy,
    way: Begun,
}

/// What is known of a pool's users when it is begun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Begun {
    /// The head, which alone uses it.
    Alone,
    /// The head and its clients.
    Shared,
    /// Nobody: it is reserved first.
    Reserved,
}

/// What happened to a pool that excuses what would else be wrong.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Excuses {
    pub(super) was_ready: bool,
    pub(super) person_forced: bool,
    /// A person insisted on a change of heads.
    pub(super) head_forced: bool,
    /// It was failed once: what it lost then, another head may lack.
    pub(super) failed: bool,
    /// A head lost all that it held, or more memory is lost than the pool bears.
    pub(super) data_lost: bool,
    /// A record that is not vital was not written.
    pub(super) record_lost: bool,
    /// A call may yet be carried out behind the machine's back.
    pub(super) stragglers: bool,
}

/// The clients of a pool that is shared: n1, which lends too, and n6.
fn clients() -> Vec<Client> {
    // In the model, nodes are found by their names.
    let client = |node: &str| Client { node: node.into(), address: node.into() };
    ["n1", "n6"].map(client).to_vec()
}

/// The record of a pool to be made.
pub(super) fn placed(redundancy: Redundancy, way: Begun, generation: u32) -> PoolRecord {
    let piece = |donor: &str| Piece { donor: donor.into(), bytes: GIB, ..Piece::default() };
    let (layout, spares) = match redundancy {
        Redundancy::None => (VolumeLayout::Lvm, vec![]),
        _ => (VolumeLayout::Md, vec![piece("n5")]),
    };
    PoolRecord {
        spec: PoolSpec { name: "demo".into(), owner: "ada".into(), ..PoolSpec::default() },
        placement: Placement {
            head: if way == Begun::Reserved { String::new() } else { "n0".into() },
            pieces: ["n1", "n2", "n3", "n4"].map(piece).to_vec(),
            spares,
            redundancy: redundancy.into(),
            layout: layout.into(),
            mount_point: "/rampool/demo".into(),
            clients: if way == Begun::Shared { clients() } else { Vec::new() },
            head_address: "n0".into(),
            ..Placement::default()
        },
        phase: Phase::Creating,
        ..samples::ready(&format!("demo.{generation}"))
    }
}

fn timed_out() -> Failure {
    Failure::new(FailureKind::TimedOut, "model").saying("no answer")
}

impl World {
    pub(super) fn new(redundancy: Redundancy, way: Begun) -> Self {
        let record = placed(redundancy, way, 1);
        let mut world = Self {
            nodes: ModelNodes::new(&NODES),
            machine: Machine::new(record.clone()),
            stored: record,
            learned: Learned::default(),
            settings: Settings {
                contact: "ops".into(),
                iqn_authority: "iqn.2026-11.org.rampool".into(),
                allow_swap: false,
            },
            life: 0,
            released: BTreeSet::new(),
            in_flight: Vec::new(),
            late: Vec::new(),
            store_refuses: false,
            excuses: Excuses::default(),
            redundancy,
            way,
        };
        world.input(Input::Begin);
        world
    }

    /// A pool in use.
    pub(super) fn ready(redundancy: Redundancy) -> Self {
        let mut world = Self::new(redundancy, Begun::Alone);
        world.run_quietly();
        assert_eq!(world.stored.phase, Phase::Ready);
        world
    }

    pub(super) fn record(&self) -> &PoolRecord {
        self.machine.record()
    }

    pub(super) fn input(&mut self, input: Input) {
        if let Input::Down { force } = input {
            self.excuses.person_forced |= force;
        }
        if let Input::Retry = input
            && self.machine.settled()
        {
            // Another operation, which asks for exports anew.
            self.learned = Learned::default();
        }
        for command in self.machine.on(input) {
            match command {
                Command::Record { vital } if std::mem::take(&mut self.store_refuses) => {
                    if vital {
                        let failure = Failure::new(FailureKind::Failed, "write the store");
                        return self.input(Input::StoreFailed(failure));
                    }
                    self.excuses.record_lost = true;
                }
                Command::Record { .. } => self.write(),
                Command::Call { step, force } => {
                    let record = self.machine.record();
                    let calls = steps::calls_of(step, force, record, &self.learned, &self.settings);
                    self.in_flight.push(InFlight { step, calls, life: self.life });
                }
                Command::Abandon => {
                    self.excuses.stragglers |= !self.in_flight.is_empty();
                    self.late.append(&mut self.in_flight);
                }
            }
        }
    }

    /// The job of a reserved pool has its nodes.
    pub(super) fn give(&mut self, shared: bool) {
        if self.record().phase != Phase::Reserved || !self.machine.settled() {
            return;
        }
        let spec = PoolSpec { head: "n0".into(), ..self.record().spec.clone() };
        let clients = if shared { clients() } else { Vec::new() };
        // What was learned goes with the operation that learned it.
        self.learned = Learned::default();
        let seat = Seat { spec, head_address: "n0".into(), clients, boot_ids: [].into() };
        self.input(Input::Give(Box::new(seat)));
    }

    fn write(&mut self) {
        self.stored = self.machine.record().clone();
        match self.stored.phase {
            Phase::Ready => self.excuses.was_ready = true,
            Phase::Failed(_) => self.excuses.failed = true,
            Phase::Released(_) => {
                let own: BTreeSet<Assembly> = self.stored.assemblies().collect();
                let held = self.held_of(&own);
                self.released.extend(own);
                assert!(self.excuses.stragglers || held.is_empty(), "Released, yet {held:?}");
            }
            _ => {}
        }
    }

    fn held_of(&self, assemblies: &BTreeSet<Assembly>) -> BTreeSet<String> {
        let ours = |held: &String| {
            let assembly = held.split_once(' ').unwrap().1.parse().unwrap();
            assemblies.contains(&assembly)
        };
        self.nodes.held().into_iter().filter(ours).collect()
    }

    pub(super) fn carry_out(&mut self, call: &InFlight) -> Result<Answer, Failure> {
        let mut answer = Answer::Done;
        for (node, call) in &call.calls {
            self.check_freeing(node, call);
            answer = self.nodes.carry_out(node, call)?;
            let writers = self.nodes.writers();
            let one = writers.len() <= 1 || self.excuses.head_forced;
            assert!(one, "two live generations: {writers:?} after {call:?}");
            let blank = self.nodes.blank_members();
            assert!(blank.is_empty(), "taken for what they were: {blank:?} after {call:?}");
        }
        Ok(answer)
    }

    /// Memory of the present generation is not freed under a mount unless somebody insists.
    fn check_freeing(&self, node: &str, call: &Call) {
        let Call::DestroyExport(request) = call else { return };
        let under = Assembly::try_from(request.pool.as_ref().unwrap()).unwrap();
        let generation = if request.carved == 0 { under.generation } else { request.carved };
        let carved = Assembly { name: under.name.clone(), generation };
        let free = self.excuses.person_forced
            || self.excuses.data_lost
            || self.excuses.stragglers
            || !self.excuses.was_ready
            || under != self.stored.assembly;
        let in_use = self.nodes.is_in_use(node, &carved, &under);
        assert!(free || !in_use, "memory under a mounted pool was freed: {node} {call:?}");
    }

    pub(super) fn answer(&mut self, call: &InFlight, result: Result<Answer, Failure>) {
        if call.life != self.life {
            return;
        }
        let result = result.map(|answer| self.keep(call.step, answer));
        self.input(Input::Reply(call.step, result));
    }

    /// What the driver keeps of an answer.
    fn keep(&mut self, step: Step, answer: Answer) {
        match (step, answer) {
            (Step::CreateExport(_), Answer::Export(export)) => {
                let (donor, serial) = (export.donor.clone(), export.serial.clone());
                self.learned.exports.insert(donor.clone(), export);
                self.machine.note(|record| _ = record.serials.insert(donor, serial));
            }
            (_, Answer::Shared(path)) => self.learned.share = path,
            _ => {}
        }
    }

    pub(super) fn take(list: &mut Vec<InFlight>, pick: usize) -> Option<InFlight> {
        if list.is_empty() { None } else { Some(list.remove(pick % list.len())) }
    }

    /// One call arrives and is answered.
    pub(super) fn deliver(&mut self, pick: usize, twice: bool) {
        if let Some(call) = Self::take(&mut self.in_flight, pick) {
            let result = self.carry_out(&call);
            self.answer(&call, result.clone());
            // Debts are named by their places, which change as they are paid; the driver takes
            // one answer of a call.
            if twice && !matches!(call.step, Step::PayDebt(_)) {
                self.answer(&call, result);
            }
        }
    }

    /// One call, or only its answer, is lost.
    pub(super) fn lose(&mut self, pick: usize, request_too: bool) {
        if let Some(call) = Self::take(&mut self.in_flight, pick) {
            if !request_too {
                _ = self.carry_out(&call);
            }
            self.answer(&call, Err(timed_out()));
        }
    }

    /// One call is given up, and arrives later.
    pub(super) fn delay(&mut self, pick: usize) {
        if let Some(call) = Self::take(&mut self.in_flight, pick) {
            self.excuses.stragglers = true;
            self.late.push(call.clone());
            self.answer(&call, Err(timed_out()));
        }
    }

    pub(super) fn run_quietly(&mut self) {
        while !self.in_flight.is_empty() {
            self.deliver(0, false);
        }
    }

    /// The controller is killed and started again on its store. Of the calls on their way, those
    /// of `pick`'s bits arrive later.
    pub(super) fn crash(&mut self, pick: usize) {
        let lost = std::mem::take(&mut self.in_flight);
        self.excuses.stragglers |= !lost.is_empty();
        let kept = lost.into_iter().enumerate().filter(|(at, _)| (pick >> (at % 16)) & 1 == 1);
        self.late.extend(kept.map(|(_, call)| call));
        self.life += 1;
        self.learned = Learned::default();
        self.machine = Machine::new(self.stored.clone());
        self.input(Input::Restarted);
    }

    /// A power cut.
    pub(super) fn reboot(&mut self, node: &str) {
        self.nodes.node(node).reboot();
        let record = self.machine.record();
        let (head, over) = match &record.phase {
            Phase::FailingOver(over) => (&over.head, !over.fenced),
            _ => (&record.placement.head, false),
        };
        // What is reserved is no data yet.
        if record.awaits_nodes() {
            return;
        }
        let heads = *head == node || record.placement.head == node;
        // A fenced head's volume no longer counts.
        let broken = !over && self.nodes.works(head, &record.assembly) == Some(false);
        self.excuses.data_lost |= heads || broken || !self.can_be_mended();
    }

    /// Whether enough of the pool's memory is there, and the record can know that it is.
    fn can_be_mended(&self) -> bool {
        let record = self.machine.record();
        let live = record.live().map(|number| record.member(number));
        let filled =
            live.filter_map(|piece| self.nodes.filled(&piece.donor, &record.carved(piece)));
        let places: BTreeSet<usize> = filled.map(|(place, _)| place).collect();
        let width = record.placement.pieces.len();
        let there = |number: &usize| {
            let piece = record.member(*number);
            self.nodes.has(&piece.donor, &record.carved(piece))
        };
        let absent = record.live().filter(|number| !there(number)).collect();
        survives(self.redundancy, width, |place| !places.contains(&place))
            && takeover::works_without(record, &absent)
    }

    /// A donor that lost its memory takes its own place again, if it may.
    pub(super) fn begin_anew(&mut self, slot: usize) {
        let record = self.record();
        let Some(piece) = record.placement.pieces.get(slot) else { return };
        let (Some(head), donor) = (record.head(), piece.donor.clone()) else { return };
        let (carved, target) = (record.carved(piece), &record.assembly);
        let lost = record.lacking.contains(&slot) || !self.nodes.has_piece(&donor, &carved, target);
        // As the room that asks for it checks.
        let may = lost
            && self.nodes.0[&donor].alive
            && self.nodes.0[head].alive
            && self.redundancy != Redundancy::None
            && self.nodes.works(head, target) == Some(true)
            && !record.owes(&donor)
            && donor != head;
        if may {
            self.take_place(slot, Piece { donor, bytes: GIB, ..Piece::default() }, false);
        }
    }

    pub(super) fn begin_replace(&mut self, slot: usize, new: &str) {
        let record = self.record();
        let free = !record.members().any(|piece| piece.donor == new) && !record.owes(new);
        let spare = record.placement.spares.iter().find(|spare| spare.donor == new).cloned();
        let local = new == record.placement.head;
        let fresh = Piece { donor: new.into(), bytes: GIB, local, ..Piece::default() };
        match spare {
            Some(spare) => self.take_place(slot, spare, true),
            None if free => self.take_place(slot, fresh, false),
            None => {}
        }
    }

    fn take_place(&mut self, slot: usize, new: Piece, from_spare: bool) {
        let record = self.record();
        if record.phase != Phase::Ready || !self.machine.settled() {
            return;
        }
        let carved = if from_spare { new.carved } else { record.given() + 1 };
        let new = Piece { carved, ..new };
        self.learned = Learned::default();
        self.input(Input::Replace(Replacing {
            slot,
            new,
            from_spare,
            copying: false,
            trouble: None,
        }));
    }

    /// A pool does without a spare, as somebody asks for it.
    pub(super) fn give_up_spare(&mut self, pick: usize) {
        let spares = &self.record().placement.spares;
        if let Some(spare) = spares.get(pick % spares.len().max(1)) {
            let donor = spare.donor.clone();
            self.input(Input::GiveUpSpare(donor));
        }
    }

    /// As the room that looks after pools asks for it: a client lost its mount.
    pub(super) fn share_again(&mut self) {
        let record = self.record();
        let lacks = |client: &Client| !self.nodes.mounts_share(&client.node, &record.assembly);
        if record.placement.clients.iter().any(lacks) {
            self.input(Input::Share);
        }
    }

    /// As the room that looks after pools asks for it.
    pub(super) fn give_up_lost_spares(&mut self) {
        let record = self.record();
        let (Some(head), target) = (record.head(), &record.assembly) else { return };
        let lost =
            |spare: &&Piece| !self.nodes.has_piece(&spare.donor, &record.carved(spare), target);
        let lost = record.placement.spares.iter().find(lost).map(|spare| spare.donor.clone());
        let heads = self.nodes.0[head].alive && self.nodes.works(head, target).is_some();
        if let Some(donor) = lost.filter(|donor| heads && self.nodes.0[donor].alive) {
            self.input(Input::GiveUpSpare(donor));
        }
    }

    pub(super) fn begin_failover(&mut self, head: &str, force: bool) {
        let record = self.record();
        let open = matches!(
            record.phase,
            Phase::Ready | Phase::Replacing(_) | Phase::FailingOver(_) | Phase::Failed(_)
        );
        let fit = !record.owes(head) && record.placement.head != head && !record.is_shared();
        if !open || !self.machine.settled() || !fit {
            return;
        }
        // As the room that asks for it checks.
        let answers = |number: &usize| {
            let piece = record.member(*number);
            !piece.local && self.nodes.0[&piece.donor].alive
        };
        let shut: BTreeSet<usize> = record.live().filter(answers).collect();
        let has = |number: &usize| {
            let piece = record.member(*number);
            self.nodes.has(&piece.donor, &record.carved(piece))
        };
        let kept = shut.iter().copied().filter(has).collect();
        // No member is ever behind the others here.
        if takeover::decide(record, &Standing { shut, kept, whole: true }, force).is_err() {
            return;
        }
        let generation = record.given() + 1;
        self.excuses.head_forced |= force;
        self.learned = Learned::default();
        self.input(Input::FailOver { head: head.to_owned(), generation, force });
    }

    pub(super) fn up_again(&mut self) {
        if self.record().is_released() && self.machine.settled() {
            let record = placed(self.redundancy, self.way, self.record().given() + 1);
            self.machine = Machine::new(record.clone());
            self.stored = record;
            self.learned = Learned::default();
            self.excuses = Excuses::default();
            self.life += 1;
            self.input(Input::Begin);
        }
    }

    /// What reconciling does with objects of assemblies known to be released, and with memory
    /// that a pool in use knows nothing of.
    pub(super) fn sweep(&mut self) {
        let inventories: Vec<_> =
            NODES.iter().filter_map(|node| self.nodes.inventory(node).ok()).collect();
        let record = self.record().clone();
        let settled = self.machine.settled();
        let gone = |node: &str, assembly: &Assembly, kind| {
            self.released.contains(assembly)
                || (settled && record.has_no_use_for(node, assembly, kind))
        };
        for left in crate::reconcile::leftovers(&inventories, gone) {
            for call in crate::reconcile::removal(&left) {
                if self.nodes.carry_out(&left.node, &call).is_err() {
                    break;
                }
            }
        }
    }

    /// All nodes answer again, nobody uses the mount, and everything under way arrives.
    pub(super) fn heal(&mut self) {
        for node in self.nodes.0.values_mut() {
            node.alive = true;
            node.mount_in_use = false;
        }
        self.store_refuses = false;
        while let Some(call) = Self::take(&mut self.late, 0) {
            _ = self.carry_out(&call);
        }
        for round in 0..20 {
            self.run_quietly();
            assert!(self.machine.settled(), "calls are awaited that nobody makes");
            self.sweep();
            self.input(Input::Retry);
            self.run_quietly();
            self.begin_anew(round % 4);
            self.run_quietly();
            self.give_up_lost_spares();
            self.run_quietly();
            self.share_again();
        }
        self.run_quietly();
        self.sweep();
    }

    /// What the record says that nodes hold, as [`ModelNodes::lends`] says it.
    pub(super) fn owed_by(&self, node: &str) -> bool {
        let piece = |owed: &Owed| matches!(owed, Owed::Piece { .. });
        self.record().debts.iter().any(|debt| debt.node == node && piece(&debt.what))
    }
}
