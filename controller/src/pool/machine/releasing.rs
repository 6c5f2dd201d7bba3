//! From anything to nothing: unmount on all clients at once; unmount, stop, detach on the head;
//! then all donors at once, and what nodes outside the pool owe. A client that does not answer
//! keeps nothing back but itself: the head's own unmount says whether it is still connected.

use rampool_proto::v1::{Failure, FailureKind};

use super::{Cause, Command, Machine, Pending, State, Step};
use crate::pool::record::PoolRecord;
use crate::pool::state::{Part, Release};

impl Machine {
    pub(super) fn down(&mut self, insist: bool) -> Vec<Command> {
        self.refusal = None;
        let idle = self.settled();
        match &mut self.state {
            State::Creating { trouble, .. } => {
                let cause = trouble.get_or_insert(Cause::Cancelled).clone();
                if idle { self.release(cause, false, insist) } else { Vec::new() }
            }
            State::Reserved => self.release(Cause::Down, false, insist),
            State::Ready | State::Replacing(_) | State::FailingOver(_) | State::Failed(_) => {
                if !self.may_abandon() {
                    let force = insist || self.pending == Some(Pending::Down { force: true });
                    self.pending = Some(Pending::Down { force });
                    return Vec::new();
                }
                let mut commands = self.abandon();
                commands.extend(self.release(Cause::Down, true, insist));
                commands
            }
            State::Releasing(release) => {
                let new = insist && !release.force;
                release.force |= insist;
                if idle {
                    return self.round();
                }
                release.again |= new;
                Vec::new()
            }
            State::Released(_) => Vec::new(),
        }
    }

    /// Enters Releasing and begins its first round.
    pub(super) fn release(&mut self, cause: Cause, was_ready: bool, force: bool) -> Vec<Command> {
        let mut release = Release::new(cause, was_ready, force, &self.record);
        let may_return = was_ready && !force;
        release.back = may_return.then(|| Box::new((self.state.clone(), self.record.clone())));
        // A record of Creating says at start what this one would: release it. So only the
        // release of a pool in use must be written first.
        let mut commands = if was_ready {
            vec![self.enter(State::Releasing(release), PoolRecord::owe_joining)]
        } else {
            self.set(State::Releasing(release));
            vec![Command::Record { vital: false }]
        };
        commands.extend(self.round());
        commands
    }

    /// One attempt at all that remains.
    pub(super) fn round(&mut self) -> Vec<Command> {
        let State::Releasing(release) = &mut self.state else { return Vec::new() };
        release.again = false;
        release.owed.clear();
        let force = release.force;
        if release.head != Part::Clean {
            // Until the head has let go, a mount that was asked for before may come about late.
            release.clients.fill(Part::Held);
        }
        let held = release.clients.iter().enumerate().filter(|(_, part)| **part != Part::Clean);
        let clients: Vec<Step> = held.map(|(client, _)| Step::UnmountShare(client)).collect();
        if clients.is_empty() { self.free_head() } else { self.call(clients, force) }
    }

    fn free_head(&mut self) -> Vec<Command> {
        let State::Releasing(release) = &self.state else { return Vec::new() };
        let force = release.force;
        if release.head == Part::Clean {
            self.free_donors()
        } else {
            self.call([Step::Unmount], force)
        }
    }

    /// Back to a pool in use, on all its clients, because it is used.
    fn back(&mut self, busy: Failure) -> Vec<Command> {
        let State::Releasing(release) = &mut self.state else { return Vec::new() };
        if let Some(back) = release.back.take() {
            (self.state, self.record) = *back;
        }
        let mut commands = self.refuse(busy);
        if self.state == State::Ready && self.record.is_shared() {
            commands.extend(self.share_again());
        }
        commands
    }

    /// All clients were asked.
    fn after_clients(&mut self) -> Vec<Command> {
        let State::Releasing(release) = &self.state else { return Vec::new() };
        let busy = |part: &Part| match part {
            Part::Stuck(failure) if failure.kind() == FailureKind::Busy => Some(failure.clone()),
            _ => None,
        };
        match release.clients.iter().find_map(busy) {
            Some(busy) if !release.force && release.back.is_some() => self.back(busy),
            _ => self.free_head(),
        }
    }

    fn free_donors(&mut self) -> Vec<Command> {
        let State::Releasing(release) = &self.state else { return Vec::new() };
        // Once the head said that it let go, a session that a donor still shows is a dead one.
        let force = release.force || release.head == Part::Clean;
        let held = release.donors.iter().enumerate().filter(|(_, part)| **part != Part::Clean);
        let held = held.map(|(donor, _)| Step::DestroyExport(donor));
        let steps: Vec<Step> = held.chain(self.payable().into_iter().map(Step::PayDebt)).collect();
        if steps.is_empty() { self.round_over() } else { self.call(steps, force) }
    }

    pub(super) fn after_releasing(
        &mut self,
        step: Step,
        result: Result<(), Failure>,
    ) -> Vec<Command> {
        let State::Releasing(release) = &mut self.state else { return Vec::new() };
        match (step, result) {
            (Step::Unmount, Err(failure))
                if failure.kind() == FailureKind::Busy
                    && !release.force
                    && release.back.is_some() =>
            {
                self.back(failure)
            }
            (Step::UnmountShare(client), result) => {
                release.clients[client] = result.map_or_else(Part::Stuck, |()| Part::Clean);
                if self.settled() { self.after_clients() } else { Vec::new() }
            }
            (Step::Unmount, Ok(())) => {
                release.back = None;
                self.call([Step::StopVolume], false)
            }
            (Step::StopVolume, Ok(())) => self.call([Step::Detach], false),
            (Step::Detach, Ok(())) => {
                release.head = Part::Clean;
                self.free_donors()
            }
            (Step::Unmount | Step::StopVolume | Step::Detach, Err(failure)) => {
                release.back = None;
                release.head = Part::Stuck(failure);
                // The head may still write. Only where nobody's data can be in the pool, or
                // somebody insists, is the memory freed all the same.
                if release.force || !release.was_ready {
                    self.free_donors()
                } else {
                    self.round_over()
                }
            }
            (Step::DestroyExport(_) | Step::PayDebt(_), result) => {
                match (step, result) {
                    (Step::DestroyExport(donor), Ok(())) => release.donors[donor] = Part::Clean,
                    (Step::DestroyExport(donor), Err(failure)) => {
                        release.donors[donor] = Part::Stuck(failure);
                    }
                    (_, Err(failure)) => release.owed.push(failure),
                    (_, Ok(())) => {}
                }
                if self.settled() { self.round_over() } else { Vec::new() }
            }
            _ => Vec::new(),
        }
    }

    /// A round of releasing ended: all is clean, or something remains.
    fn round_over(&mut self) -> Vec<Command> {
        let paid = self.take_paid();
        let State::Releasing(release) = &self.state else { return Vec::new() };
        let clean = |part: &Part| *part == Part::Clean;
        let mut others = release.donors.iter().chain(&release.clients);
        let all_clean = clean(&release.head) && others.all(clean);
        if all_clean && self.record.debts.is_empty() {
            let released = State::Released(release.cause.clone());
            return vec![self.enter(released, |_| {})];
        }
        // A debt may have waited for another of the same node.
        let more = all_clean && paid && release.owed.is_empty() && !self.payable().is_empty();
        if release.again || more {
            return self.round();
        }
        vec![Command::Record { vital: false }]
    }
}
