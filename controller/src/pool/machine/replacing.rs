//! One piece in another's place, while the pool is in use: memory of the new donor, a session,
//! then the head copies or rebuilds. What does not come about is owed by the new donor, and
//! given back as any debt is.

use rampool_proto::v1::{Failure, FailureKind};

use super::{Command, Machine, State, Step};
use crate::pool::record::{PoolRecord, Replacing};

impl Machine {
    pub(super) fn replace(&mut self, replacing: Replacing) -> Vec<Command> {
        if self.state != State::Ready || !self.settled() {
            return Vec::new();
        }
        self.refusal = None;
        let mut commands = vec![self.enter(State::Replacing(replacing), |_| {})];
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
        let placement = &self.record.placement;
        let joining = placement.pieces.len() + placement.spares.len();
        self.call([Step::CreateExport(joining)], false)
    }

    pub(super) fn after_replacing(&mut self, step: Step) -> Vec<Command> {
        match (step, self.stage.failed.remove(&step)) {
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

/// Whether what was asked for may have been done all the same.
fn is_uncertain(failure: &Failure) -> bool {
    matches!(failure.kind(), FailureKind::TimedOut | FailureKind::NotNow)
}
