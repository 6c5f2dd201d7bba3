//! From nothing to Ready, step by step; to Reserved, where no head is known yet. Whatever fails,
//! all of it is undone.

use super::{Command, Machine, State, Step};
use crate::pool::record::Seat;

impl Machine {
    pub(super) fn begin(&mut self) -> Vec<Command> {
        match self.state {
            State::Creating { .. } if self.settled() && self.record.awaits_nodes() => self.export(),
            State::Creating { .. } if self.settled() => self.check(),
            _ => Vec::new(),
        }
    }

    /// The nodes of the job that a pool was reserved for are known: the rest of it is made.
    pub(super) fn give(&mut self, seat: Seat) -> Vec<Command> {
        if self.state != State::Reserved {
            return Vec::new();
        }
        let creating = State::Creating { trouble: None, reserved: true };
        let mut commands = vec![self.enter(creating, |record| record.sit(seat))];
        commands.extend(self.check());
        commands
    }

    fn check(&mut self) -> Vec<Command> {
        let clients = self.clients().map(Step::CheckClient);
        let checks: Vec<Step> = std::iter::once(Step::CheckHead).chain(clients).collect();
        self.call(checks, false)
    }

    fn export(&mut self) -> Vec<Command> {
        let exports: Vec<Step> = self.record.live().map(Step::CreateExport).collect();
        self.call(exports, false)
    }

    /// The calls of one stage of making ended.
    pub(super) fn after_making(&mut self, step: Step) -> Vec<Command> {
        if let State::Creating { trouble: Some(cause), reserved } = &self.state {
            let (cause, reserved) = (cause.clone(), *reserved);
            // Until the checks passed, nothing was made anywhere, but for what was reserved.
            let checking = matches!(step, Step::CheckHead | Step::CheckClient(_));
            return if checking && !reserved {
                vec![self.enter(State::Released(cause), |_| {})]
            } else {
                self.release(cause, false, false)
            };
        }
        let filesystem = self.record.has_filesystem();
        match step {
            Step::CheckHead | Step::CheckClient(_) => self.export(),
            Step::CreateExport(_) if self.record.awaits_nodes() => {
                vec![self.enter(State::Reserved, |_| {})]
            }
            Step::CreateExport(_) => self.call([Step::Attach], false),
            Step::Attach => self.call([Step::AssembleVolume], false),
            Step::AssembleVolume if filesystem => self.call([Step::MakeFilesystem], false),
            Step::MakeFilesystem => self.call([Step::Mount], false),
            Step::Mount if self.record.is_shared() => self.call([Step::Share], false),
            Step::Share => self.mount_on_clients(),
            _ => vec![self.enter(State::Ready, |_| {})],
        }
    }
}
