//! A pool whose data is lost or out of reach for good: its head makes every use of it end with
//! an error instead of waiting, and `down` frees the rest.

use super::{Command, Machine, Pending, State, Step};
use crate::pool::record::{Failed, PoolRecord};

impl Machine {
    pub(super) fn fail(&mut self, why: String) -> Vec<Command> {
        match self.state {
            State::Ready | State::Replacing(_) if self.may_abandon() => {
                self.refusal = None;
                let mut commands = self.abandon();
                let failed = State::Failed(Failed { why, shut: false });
                commands.push(self.enter(failed, PoolRecord::owe_joining));
                commands.extend(self.fail_on());
                commands
            }
            State::Ready | State::Replacing(_) => {
                // A `down` goes further.
                self.pending.get_or_insert(Pending::Fail(why));
                Vec::new()
            }
            State::Failed(_) if self.settled() => self.fail_on(),
            _ => Vec::new(),
        }
    }

    pub(super) fn fail_on(&mut self) -> Vec<Command> {
        match &self.state {
            State::Failed(failed) if !failed.shut => self.call([Step::FailVolume], false),
            State::Failed(_) => self.pay(),
            _ => Vec::new(),
        }
    }

    pub(super) fn after_failing(&mut self, step: Step) -> Vec<Command> {
        let State::Failed(failed) = &mut self.state else { return Vec::new() };
        if step != Step::FailVolume {
            return self.after_paying();
        }
        match self.stage.failed.remove(&step) {
            Some(failure) => self.refuse(failure),
            None => {
                failed.shut = true;
                self.refusal = None;
                vec![Command::Record { vital: false }]
            }
        }
    }
}
