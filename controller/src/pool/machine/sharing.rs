//! The head's file system on other nodes: shared and mounted when the pool is made, and again
//! where a client lost its mount, or a refused `down` took it away.

use super::{Command, Machine, State, Step};

impl Machine {
    /// The clients' places.
    pub(super) fn clients(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.record.placement.clients.len()
    }

    /// Sees to it that every client has the pool of one in use. What is there already answers at
    /// once.
    pub(super) fn share(&mut self) -> Vec<Command> {
        match self.state {
            State::Ready if self.settled() && self.record.is_shared() => self.share_again(),
            _ => Vec::new(),
        }
    }

    pub(super) fn share_again(&mut self) -> Vec<Command> {
        self.call([Step::Share], false)
    }

    pub(super) fn mount_on_clients(&mut self) -> Vec<Command> {
        let mounts = self.clients().map(Step::MountShare);
        self.call(mounts, false)
    }

    /// The calls of a stage of sharing a pool in use ended.
    pub(super) fn after_sharing(&mut self, step: Step) -> Vec<Command> {
        match self.stage.failed.values().next().cloned() {
            // What was asked for was refused before, and that is what its caller hears.
            Some(failure) => {
                self.refusal.get_or_insert(failure);
                Vec::new()
            }
            None if step == Step::Share => self.mount_on_clients(),
            None => Vec::new(),
        }
    }
}
