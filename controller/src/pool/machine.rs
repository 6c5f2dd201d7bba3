//! One assembly of a pool as a pure state machine: what happened goes in, what to do comes
//! out. It knows neither nodes nor stores nor time, so that every order of faults, crashes,
//! repeats and lost replies can be tried in a test.
//!
//! ```text
//!  Creating: check, exports of all donors, attach, assemble, format, mount ---> Ready
//!      | a step failed, `down` came, or the controller was restarted            | `down`
//!      v                                                                        v
//!  Releasing: unmount, stop, detach on the head; then all donors at once ---> Released
//! ```
//! What it promises:
//! - a pool is Released only when the head and every donor answered that they hold nothing;
//! - a donor's memory is freed only after the head answered that it let go, unless a person
//!   forces it, or the pool never was ready, so that nobody's data can be in it;
//! - a refused `down` (the mount is in use) leaves the pool Ready;
//! - what is not known to be free stays Releasing; time alone changes nothing.

use std::collections::BTreeSet;

use rampool_proto::v1::{Failure, FailureKind};

use super::state::{Cause, Command, Input, Part, Release, State, Step};

/// The machine of one assembly.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    donors: usize,
    filesystem: bool,
    state: State,
    waiting: BTreeSet<Step>,
    refusal: Option<Failure>,
    /// The state before the last vital record, in case that cannot be written.
    before: Option<State>,
}

impl Machine {
    /// The machine of an assembly with this many donors, in `state`.
    #[must_use]
    pub fn new(donors: usize, filesystem: bool, state: State) -> Self {
        Self { donors, filesystem, state, waiting: BTreeSet::new(), refusal: None, before: None }
    }

    /// Where the pool is.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether no call is in flight: nothing more happens until someone asks for it.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Why the last `down` was refused, if it was.
    #[must_use]
    pub fn refusal(&self) -> Option<&Failure> {
        self.refusal.as_ref()
    }

    /// What follows from `input`.
    #[must_use]
    pub fn on(&mut self, input: Input) -> Vec<Command> {
        match input {
            Input::Begin => self.begin(),
            Input::Reply(step, result) if self.waiting.remove(&step) => self.reply(step, result),
            // A repeated or forgotten answer says nothing new.
            Input::Reply(..) => Vec::new(),
            Input::Down { force } => self.down(force),
            Input::Restarted => self.restarted(),
            Input::Retry => self.retry(),
            Input::StoreFailed(failure) => self.store_failed(failure),
        }
    }

    fn begin(&mut self) -> Vec<Command> {
        match self.state {
            State::Creating { .. } if self.settled() => self.call([Step::CheckHead], false),
            _ => Vec::new(),
        }
    }

    fn reply(&mut self, step: Step, result: Result<(), Failure>) -> Vec<Command> {
        match &mut self.state {
            State::Creating { trouble } => {
                if let Err(failure) = result {
                    trouble.get_or_insert(Cause::Failed(failure));
                }
                if self.settled() { self.after_making(step) } else { Vec::new() }
            }
            State::Releasing(_) => self.after_releasing(step, result),
            _ => Vec::new(),
        }
    }

    /// The calls of one stage of making ended.
    fn after_making(&mut self, step: Step) -> Vec<Command> {
        if let State::Creating { trouble: Some(cause) } = &self.state {
            let cause = cause.clone();
            // Until the check passed, nothing was made anywhere.
            return if step == Step::CheckHead {
                vec![self.enter(State::Released(cause))]
            } else {
                self.release(cause, false, false)
            };
        }
        match step {
            Step::CheckHead => self.call((0..self.donors).map(Step::CreateExport), false),
            Step::CreateExport(_) => self.call([Step::Attach], false),
            Step::Attach => self.call([Step::AssembleVolume], false),
            Step::AssembleVolume if self.filesystem => self.call([Step::MakeFilesystem], false),
            Step::MakeFilesystem => self.call([Step::Mount], false),
            _ => vec![self.enter(State::Ready)],
        }
    }

    /// Enters a state that counts only once it is written.
    fn enter(&mut self, state: State) -> Command {
        self.before = Some(std::mem::replace(&mut self.state, state));
        Command::Record { vital: true }
    }

    /// Enters Releasing and begins its first round.
    fn release(&mut self, cause: Cause, was_ready: bool, force: bool) -> Vec<Command> {
        let mut release = Release::new(cause, was_ready, force, self.donors);
        release.may_return = was_ready && !force;
        // A record of Creating says at start what this one would: release it. So only the
        // release of a pool in use must be written first.
        let mut commands = if was_ready {
            vec![self.enter(State::Releasing(release))]
        } else {
            self.state = State::Releasing(release);
            vec![Command::Record { vital: false }]
        };
        commands.extend(self.round());
        commands
    }

    /// One attempt at all that remains.
    fn round(&mut self) -> Vec<Command> {
        let State::Releasing(release) = &mut self.state else { return Vec::new() };
        release.again = false;
        let force = release.force;
        if release.head == Part::Clean {
            self.free_donors()
        } else {
            self.call([Step::Unmount], force)
        }
    }

    fn free_donors(&mut self) -> Vec<Command> {
        let State::Releasing(release) = &self.state else { return Vec::new() };
        // Once the head said that it let go, a session that a donor still shows is a dead one.
        let force = release.force || release.head == Part::Clean;
        let held = release.donors.iter().enumerate().filter(|(_, part)| **part != Part::Clean);
        let steps: Vec<Step> = held.map(|(donor, _)| Step::DestroyExport(donor)).collect();
        if steps.is_empty() { self.round_over() } else { self.call(steps, force) }
    }

    fn after_releasing(&mut self, step: Step, result: Result<(), Failure>) -> Vec<Command> {
        let State::Releasing(release) = &mut self.state else { return Vec::new() };
        match (step, result) {
            (Step::Unmount, Err(failure))
                if release.may_return && failure.kind() == FailureKind::Busy && !release.force =>
            {
                self.state = State::Ready;
                self.refusal = Some(failure);
                vec![Command::Record { vital: false }]
            }
            (Step::Unmount, Ok(())) => {
                release.may_return = false;
                self.call([Step::StopVolume], false)
            }
            (Step::StopVolume, Ok(())) => self.call([Step::Detach], false),
            (Step::Detach, Ok(())) => {
                release.head = Part::Clean;
                self.free_donors()
            }
            (Step::Unmount | Step::StopVolume | Step::Detach, Err(failure)) => {
                release.may_return = false;
                release.head = Part::Stuck(failure);
                // The head may still write. Only where nobody's data can be in the pool, or
                // somebody insists, is the memory freed all the same.
                if release.force || !release.was_ready {
                    self.free_donors()
                } else {
                    self.round_over()
                }
            }
            (Step::DestroyExport(donor), result) => {
                release.donors[donor] = match result {
                    Ok(()) => Part::Clean,
                    Err(failure) => Part::Stuck(failure),
                };
                if self.settled() { self.round_over() } else { Vec::new() }
            }
            _ => Vec::new(),
        }
    }

    /// A round of releasing ended: all is clean, or something remains.
    fn round_over(&mut self) -> Vec<Command> {
        let State::Releasing(release) = &self.state else { return Vec::new() };
        let clean = |part: &Part| *part == Part::Clean;
        if clean(&release.head) && release.donors.iter().all(clean) {
            let released = State::Released(release.cause.clone());
            return vec![self.enter(released)];
        }
        if release.again {
            return self.round();
        }
        vec![Command::Record { vital: false }]
    }

    fn down(&mut self, insist: bool) -> Vec<Command> {
        self.refusal = None;
        let idle = self.settled();
        match &mut self.state {
            State::Creating { trouble } => {
                let cause = trouble.get_or_insert(Cause::Cancelled).clone();
                if idle { self.release(cause, false, insist) } else { Vec::new() }
            }
            State::Ready | State::Replacing(_) | State::FailingOver(_) | State::Failed(_) => {
                self.release(Cause::Down, true, insist)
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

    fn restarted(&mut self) -> Vec<Command> {
        match &mut self.state {
            State::Creating { .. } => self.release(Cause::Restarted, false, false),
            State::Releasing(release) => {
                // An unmount asked before the restart may still be carried out.
                release.may_return = false;
                self.round()
            }
            _ => Vec::new(),
        }
    }

    fn retry(&mut self) -> Vec<Command> {
        match &self.state {
            // A failed check whose record could not be written.
            State::Creating { trouble: Some(cause) } if self.settled() => {
                let cause = cause.clone();
                self.release(cause, false, false)
            }
            State::Releasing(_) if self.settled() => self.round(),
            _ => Vec::new(),
        }
    }

    /// Back to the state before the record that failed: none of the commands after it were
    /// carried out.
    fn store_failed(&mut self, failure: Failure) -> Vec<Command> {
        let Some(before) = self.before.take() else { return Vec::new() };
        self.state = before;
        self.waiting.clear();
        match &self.state {
            // Everything is made, yet would be undone at the next start: so now.
            State::Creating { trouble: None } => self.release(Cause::Failed(failure), false, false),
            _ => {
                self.refusal = Some(failure);
                Vec::new()
            }
        }
    }

    fn call(&mut self, steps: impl IntoIterator<Item = Step>, force: bool) -> Vec<Command> {
        let steps = steps.into_iter().collect::<Vec<_>>();
        self.waiting.extend(&steps);
        steps.into_iter().map(|step| Command::Call { step, force }).collect()
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
