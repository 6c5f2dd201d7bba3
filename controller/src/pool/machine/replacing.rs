//! One piece in another's place, while the pool is in use: memory of the new donor, a session,
//! then the head copies or rebuilds. What does not come about is owed by the new donor, and
//! given back as any debt is.
//!
//! A donor that lost its memory may take its own place again. It is left out first: the head lets
//! go of it, and what it may still hold is given back, before new memory is taken. That has a
//! number, and so a serial, that none had before: nobody can take it for the old.

use std::collections::BTreeSet;

use rampool_proto::v1::{Failure, FailureKind};

use super::{Command, Machine, State, Step};
use crate::pool::record::{PoolRecord, Replacing};
use crate::pool::takeover;

impl Machine {
    pub(super) fn replace(&mut self, replacing: Replacing) -> Vec<Command> {
        if self.state != State::Ready || !self.settled() {
            return Vec::new();
        }
        let slot = BTreeSet::from([replacing.slot]);
        let begins_anew = self.record.placement.pieces[replacing.slot].donor == replacing.new.donor;
        if begins_anew && !takeover::works_without(&self.record, &slot) {
            return self.refuse(lacks_already(&replacing));
        }
        self.refusal = None;
        let carved = replacing.new.carved;
        let begin = |record: &mut PoolRecord| {
            record.given = record.given().max(carved);
            let live = slot.difference(&record.lacking).copied().collect();
            if begins_anew {
                takeover::leave_out(record, &live);
            }
        };
        let mut commands = vec![self.enter(State::Replacing(replacing), begin)];
        commands.extend(self.replace_on());
        commands
    }

    /// From the first step: each answers at once where it was done before. Once the head was
    /// asked to copy, it is asked again, whatever the new donor says.
    pub(super) fn replace_on(&mut self) -> Vec<Command> {
        let State::Replacing(replacing) = &mut self.state else { return Vec::new() };
        replacing.trouble = None;
        if replacing.copying {
            return self.call([Step::ReplaceMember], false);
        }
        if replacing.from_spare {
            return self.copy();
        }
        let debts = self.record.debts.iter().enumerate();
        let own = debts.filter(|(_, debt)| debt.node == replacing.new.donor);
        let owed: Vec<Step> = own.map(|(at, _)| Step::PayDebt(at)).collect();
        if owed.is_empty() { self.take_memory() } else { self.call(owed, false) }
    }

    fn take_memory(&mut self) -> Vec<Command> {
        let placement = &self.record.placement;
        let joining = placement.pieces.len() + placement.spares.len();
        self.call([Step::CreateExport(joining)], false)
    }

    pub(super) fn after_replacing(&mut self, step: Step) -> Vec<Command> {
        self.take_paid();
        match (step, self.stage.failed.pop_first().map(|(_, failure)| failure)) {
            (Step::PayDebt(_), None) => self.take_memory(),
            (Step::CreateExport(_), None) => self.call([Step::Attach], false),
            (Step::Attach, None) => self.copy(),
            (_, None) => self.replaced(),
            // The head may have gone on by itself, even to the end: only it can say.
            (Step::ReplaceMember, Some(failure)) if is_uncertain(&failure) => {
                if let State::Replacing(replacing) = &mut self.state {
                    replacing.trouble = Some(failure.clone());
                }
                self.refuse(failure)
            }
            (_, Some(failure)) => {
                self.refusal = Some(failure);
                let mut commands = vec![self.enter(State::Ready, PoolRecord::owe_joining)];
                commands.extend(self.pay());
                commands
            }
        }
    }

    /// Written first: a controller that forgot it would take the new piece back from under the
    /// volume.
    fn copy(&mut self) -> Vec<Command> {
        let State::Replacing(replacing) = &self.state else { return Vec::new() };
        let copying = State::Replacing(Replacing { copying: true, ..replacing.clone() });
        let mut commands = vec![self.enter(copying, |_| {})];
        commands.extend(self.call([Step::ReplaceMember], false));
        commands
    }

    fn replaced(&mut self) -> Vec<Command> {
        let State::Replacing(Replacing { slot, new, from_spare, .. }) = self.state.clone() else {
            return Vec::new();
        };
        let put = |record: &mut PoolRecord| {
            let old = std::mem::replace(&mut record.placement.pieces[slot], new.clone());
            // What was lacking is owed already.
            if !record.lacking.remove(&slot) {
                record.owe_piece(&old);
            }
            if from_spare {
                record.placement.spares.retain(|spare| spare.donor != new.donor);
            }
        };
        let mut commands = vec![self.enter(State::Ready, put)];
        commands.extend(self.pay());
        commands
    }
}

/// The place may not be given up, not even for a moment.
fn lacks_already(replacing: &Replacing) -> Failure {
    Failure::new(FailureKind::NotNow, "take new memory in the place of what was lost")
        .on(&replacing.new.donor)
        .saying("the pool lacks as many donors as it bears")
}

/// Whether what was asked for may have been done all the same.
fn is_uncertain(failure: &Failure) -> bool {
    matches!(failure.kind(), FailureKind::TimedOut | FailureKind::NotNow)
}
