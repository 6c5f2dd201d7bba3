//! From one head to another. First every donor is asked to end the old head's access; only a
//! head that is known to be without a usable set of donors is followed by another. Then the
//! confirmed donors' memory is exported anew, attached, put together and mounted, with all that
//! was synchronised to it. Donors that did not confirm take no part and owe their memory.

use std::collections::BTreeSet;

use rampool_proto::v1::Failure;

use super::{Command, Machine, State, Step};
use crate::pool::record::{FailingOver, PoolRecord};
use crate::pool::takeover::{self, Standing};

impl Machine {
    pub(super) fn fail_over(&mut self, head: String, generation: u32, force: bool) -> Vec<Command> {
        let (joining, failed) = match &self.state {
            State::Ready => (None, None),
            State::Failed(failed) => (None, Some(failed.why.clone())),
            State::Replacing(replacing) => (Some(replacing.clone()), None),
            State::FailingOver(over) => (over.joining.clone(), over.failed.clone()),
            _ => return Vec::new(),
        };
        if !self.settled() {
            return Vec::new();
        }
        self.refusal = None;
        let over = FailingOver {
            head,
            generation,
            force,
            fenced: false,
            failed,
            joining,
            remains: Vec::new(),
        };
        let note = |record: &mut PoolRecord| record.given = record.given().max(generation);
        let mut commands = vec![self.enter(State::FailingOver(over), note)];
        commands.extend(self.fail_over_on());
        commands
    }

    /// From the first step that may not be done: each answers at once where it was.
    pub(super) fn fail_over_on(&mut self) -> Vec<Command> {
        let State::FailingOver(over) = &self.state else { return Vec::new() };
        let live: Vec<usize> = self.record.live().collect();
        if over.fenced {
            return self.call(live.into_iter().map(Step::CreateExport), false);
        }
        let remote = |number: &usize| !self.record.member(*number).local;
        let remote: Vec<usize> = live.into_iter().filter(remote).collect();
        if remote.is_empty() {
            self.fenced(&BTreeSet::new())
        } else {
            self.call(remote.into_iter().map(Step::FenceExport), false)
        }
    }

    pub(super) fn after_failing_over(&mut self, step: Step) -> Vec<Command> {
        let filesystem = self.record.has_filesystem();
        match (step, self.stage.failed.get(&step).cloned()) {
            (Step::FenceExport(_), _) => {
                let confirmed = self.stage.done.iter().filter_map(number).collect();
                self.fenced(&confirmed)
            }
            (Step::CreateExport(_), _) => self.exported(),
            (_, Some(failure)) => self.stay(vec![failure]),
            (Step::Attach, None) => self.call([Step::AssembleVolume], false),
            (Step::AssembleVolume, None) if filesystem => self.call([Step::Mount], false),
            (_, None) => self.taken_over(),
        }
    }

    /// It does not go on, for these reasons.
    fn stay(&mut self, remains: Vec<Failure>) -> Vec<Command> {
        let State::FailingOver(over) = &mut self.state else { return Vec::new() };
        let Some(first) = remains.first().cloned() else { return Vec::new() };
        over.remains = remains;
        self.refuse(first)
    }

    /// All were asked to end the old head's access, and these confirmed.
    fn fenced(&mut self, confirmed: &BTreeSet<usize>) -> Vec<Command> {
        let State::FailingOver(over) = &self.state else { return Vec::new() };
        let silent = std::mem::take(&mut self.stage.failed).into_values();
        // Who has its memory is known when it exports it.
        let known = Standing::confirmed(confirmed.clone());
        if let Err(why) = takeover::decide(&self.record, &known, over.force) {
            return self.stay(std::iter::once(why).chain(silent).collect());
        }
        let absent: BTreeSet<usize> =
            self.record.live().filter(|number| !confirmed.contains(number)).collect();
        let mut commands = vec![self.change(|record| {
            // Who did not confirm owes what it held under the old head.
            takeover::leave_out(record, &absent);
            takeover::move_on(record);
        })];
        commands.extend(self.fail_over_on());
        commands
    }

    /// The confirmed donors were asked to export to the new head. Where the pool works without
    /// those that were lost since, it comes up without them: they are faulty members like any,
    /// taken back or replaced later. One that had failed comes up whole.
    fn exported(&mut self) -> Vec<Command> {
        let State::FailingOver(over) = &self.state else { return Vec::new() };
        let lost: BTreeSet<usize> = self.stage.failed.keys().filter_map(number).collect();
        match takeover::decide_exported(&self.record, &lost, over.force) {
            Ok(()) => self.call([Step::Attach], false),
            Err(why) => {
                let failures = std::mem::take(&mut self.stage.failed).into_values();
                self.stay(std::iter::once(why).chain(failures).collect())
            }
        }
    }

    /// It is mounted on the new head.
    fn taken_over(&mut self) -> Vec<Command> {
        let State::FailingOver(over) = &self.state else { return Vec::new() };
        let next = over.joining.clone().map_or(State::Ready, State::Replacing);
        let mut commands = vec![self.enter(next, |_| {})];
        if self.state == State::Ready {
            commands.extend(self.pay());
        }
        commands
    }
}

/// The piece that a step of this room is about.
fn number(step: &Step) -> Option<usize> {
    match step {
        Step::FenceExport(number) | Step::CreateExport(number) => Some(*number),
        _ => None,
    }
}
