//! From nothing to Ready, step by step. Whatever fails, all of it is undone.

use super::{Command, Machine, State, Step};

impl Machine {
    pub(super) fn begin(&mut self) -> Vec<Command> {
        match self.state {
            State::Creating { .. } if self.settled() => {
                let clients = self.clients().map(Step::CheckClient);
                let checks: Vec<Step> = std::iter::once(Step::CheckHead).chain(clients).collect();
                self.call(checks, false)
            }
            _ => Vec::new(),
        }
    }

    /// The calls of one stage of making ended.
    pub(super) fn after_making(&mut self, step: Step) -> Vec<Command> {
        if let State::Creating { trouble: Some(cause) } = &self.state {
            let cause = cause.clone();
            // Until the checks passed, nothing was made anywhere.
            return if matches!(step, Step::CheckHead | Step::CheckClient(_)) {
                vec![self.enter(State::Released(cause), |_| {})]
            } else {
                self.release(cause, false, false)
            };
        }
        let filesystem = self.record.has_filesystem();
        match step {
            Step::CheckHead | Step::CheckClient(_) => {
                let exports: Vec<Step> = self.record.live().map(Step::CreateExport).collect();
                self.call(exports, false)
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
