//! A pool in use does without one of its spares: its head lets go of it, then its donor owes its
//! memory.

use super::{Command, Machine, State, Step};

impl Machine {
    pub(super) fn give_up_spare(&mut self, donor: &str) -> Vec<Command> {
        if self.state != State::Ready || !self.settled() {
            return Vec::new();
        }
        self.refusal = None;
        let placement = &self.record.placement;
        match placement.spares.iter().position(|spare| spare.donor == donor) {
            Some(at) => self.call([Step::GiveUpSpare(placement.pieces.len() + at)], false),
            None => Vec::new(),
        }
    }

    /// The head has let go of it.
    pub(super) fn without_spare(&mut self, number: usize) -> Vec<Command> {
        let mut commands = vec![self.change(|record| {
            let at = number - record.placement.pieces.len();
            let spare = record.placement.spares.remove(at);
            record.owe_piece(&spare);
        })];
        commands.extend(self.pay());
        commands
    }
}
