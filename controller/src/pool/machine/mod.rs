//! One pool as a pure state machine: what happened goes in, what to do comes out. It knows
//! neither nodes nor stores nor time, so that every order of faults, crashes, repeats and lost
//! replies can be tried in a test. It owns the pool's record, and says when to write it.
//!
//! ```text
//!  Creating --------> Ready <------------------> Replacing      one piece in another's place
//!    ^ | \            |  ^  \                        |
//!    | |  Reserved    |  |   \--> FailingOver <------+          another head, next generation
//!    | |   |   |      |  \------------/  |           |
//!    +-|---+   |      v                  |           |
//!      |       |    Failed <-------------|-----------+          lost: uses end with an error
//!      v              v                  v           |
//!  Releasing <-----------------------------------------         unmount on clients; unmount,
//!      v                                                        stop, detach on the head; then
//!      |                                                        all donors at once
//!  Released
//! ```
//! What it promises:
//! - a pool is Released only when the head, every donor, every client and every node that owes it
//!   something answered that they hold nothing;
//! - a donor's memory is freed only after the head answered that it let go of it, unless a
//!   person forces it, or the pool never was ready, so that nobody's data can be in it;
//! - a refused `down` (the mount is in use) leaves the pool as it was;
//! - a donor serves the head of the generation that it was last exported under, and a new head
//!   begins only when the old one is without a usable set of donors, or a person insists;
//! - new memory joins a pool in use under a number never given before, and a donor lends anew
//!   only when what it had is given back and the head let go of it;
//! - what is not known to be free stays Releasing, or owed; time alone changes nothing.
//!
//! | module | idea |
//! | --- | --- |
//! | `making` | from nothing to Ready, or to Reserved while no head is known |
//! | `replacing` | one piece in another's place |
//! | `sparing` | a pool that does without a spare |
//! | `sharing` | the head's file system on other nodes |
//! | `failing_over` | from one head to another |
//! | `failing` | a pool whose data is lost |
//! | `debts` | what nodes outside the pool must give back |
//! | `releasing` | from anything to nothing |

mod debts;
mod failing;
mod failing_over;
mod making;
mod releasing;
mod replacing;
mod sharing;
mod sparing;

use std::collections::{BTreeMap, BTreeSet};

use rampool_proto::v1::Failure;

use super::record::{Phase, PoolRecord};
use super::state::{Cause, Command, Input, State, Step};

/// The machine of one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// As it would be written now.
    record: PoolRecord,
    state: State,
    waiting: BTreeSet<Step>,
    stage: Stage,
    /// What begins once the calls in flight have ended.
    pending: Option<Pending>,
    refusal: Option<Failure>,
    /// State and record before the last vital record, in case that cannot be written.
    before: Option<Box<(State, PoolRecord)>>,
}

/// How the calls that were made together ended, so far.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stage {
    done: BTreeSet<Step>,
    failed: BTreeMap<Step, Failure>,
}

/// What makes the operation in flight give way.
#[derive(Clone, Debug, PartialEq)]
enum Pending {
    Down { force: bool },
    Fail(String),
}

impl Machine {
    /// The machine that goes on where the record stands.
    #[must_use]
    pub fn new(record: PoolRecord) -> Self {
        Self {
            state: record.phase.to_state(&record),
            record,
            waiting: BTreeSet::new(),
            stage: Stage::default(),
            pending: None,
            refusal: None,
            before: None,
        }
    }

    /// Where the pool is.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What is to be written of it.
    #[must_use]
    pub fn record(&self) -> &PoolRecord {
        &self.record
    }

    /// Takes note of what a written record has beside the state: moments and serials.
    pub fn note(&mut self, note: impl FnOnce(&mut PoolRecord)) {
        note(&mut self.record);
    }

    /// Whether no call is in flight: nothing more happens until someone asks for it.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Why what was asked for last did not come about, if it did not.
    #[must_use]
    pub fn refusal(&self) -> Option<&Failure> {
        self.refusal.as_ref()
    }

    /// What follows from `input`.
    #[must_use]
    pub fn on(&mut self, input: Input) -> Vec<Command> {
        let commands = match input {
            Input::Begin => self.begin(),
            Input::Give(seat) => self.give(*seat),
            Input::Reply(step, result) if self.waiting.remove(&step) => self.reply(step, result),
            // A repeated or forgotten answer says nothing new.
            Input::Reply(..) => Vec::new(),
            Input::Down { force } => self.down(force),
            Input::Replace(replacing) => self.replace(replacing),
            Input::FailOver { head, generation, force } => self.fail_over(head, generation, force),
            Input::Fail(why) => self.fail(why),
            Input::Readd => self.readd(),
            Input::Share => self.share(),
            Input::GiveUpSpare(donor) => self.give_up_spare(&donor),
            Input::Restarted => self.restarted(),
            Input::Retry => self.retry(),
            Input::StoreFailed(failure) => self.store_failed(failure),
        };
        self.record.phase = Phase::of(&self.state);
        commands
    }

    fn reply(&mut self, step: Step, result: Result<(), Failure>) -> Vec<Command> {
        match &result {
            Ok(()) => _ = self.stage.done.insert(step),
            Err(failure) => _ = self.stage.failed.insert(step, failure.clone()),
        }
        if let State::Releasing(_) = self.state {
            return self.after_releasing(step, result);
        }
        if let (State::Creating { trouble, .. }, Err(failure)) = (&mut self.state, result) {
            trouble.get_or_insert(Cause::Failed(failure));
        }
        if !self.settled() {
            return Vec::new();
        }
        if let Some(pending) = self.pending.take() {
            return self.make_way(pending);
        }
        match self.state {
            State::Creating { .. } => self.after_making(step),
            State::Ready => self.after_caring(step),
            State::Replacing(_) => self.after_replacing(step),
            State::FailingOver(_) => self.after_failing_over(step),
            State::Failed(_) => self.after_failing(step),
            State::Reserved | State::Releasing(_) | State::Released(_) => Vec::new(),
        }
    }

    fn make_way(&mut self, pending: Pending) -> Vec<Command> {
        self.take_paid();
        match pending {
            Pending::Down { force } => self.release(Cause::Down, true, force),
            Pending::Fail(why) => self.fail(why),
        }
    }

    /// The calls of caring for a pool in use ended.
    fn after_caring(&mut self, step: Step) -> Vec<Command> {
        match (step, self.stage.failed.get(&step)) {
            (Step::ReaddMembers | Step::GiveUpSpare(_), Some(failure)) => {
                self.refusal = Some(failure.clone());
            }
            (Step::GiveUpSpare(number), None) => return self.without_spare(number),
            (Step::Share | Step::MountShare(_), _) => return self.after_sharing(step),
            _ => {}
        }
        self.after_paying()
    }

    fn readd(&mut self) -> Vec<Command> {
        match self.state {
            State::Ready if self.settled() => self.call([Step::ReaddMembers], false),
            _ => Vec::new(),
        }
    }

    fn restarted(&mut self) -> Vec<Command> {
        match &mut self.state {
            State::Creating { .. } => self.release(Cause::Restarted, false, false),
            State::Releasing(release) => {
                // An unmount asked before the restart may still be carried out.
                release.back = None;
                self.round()
            }
            State::Replacing(_) => self.replace_on(),
            State::FailingOver(_) => self.fail_over_on(),
            State::Failed(_) => self.fail_on(),
            State::Reserved | State::Ready | State::Released(_) => Vec::new(),
        }
    }

    fn retry(&mut self) -> Vec<Command> {
        if !self.settled() {
            return Vec::new();
        }
        match &self.state {
            // A failed check whose record could not be written.
            State::Creating { trouble: Some(cause), .. } => {
                let cause = cause.clone();
                self.release(cause, false, false)
            }
            State::Ready => self.pay(),
            State::Replacing(_) => self.replace_on(),
            State::FailingOver(_) => self.fail_over_on(),
            State::Failed(_) => self.fail_on(),
            State::Releasing(_) => self.round(),
            State::Creating { trouble: None, .. } | State::Reserved | State::Released(_) => {
                Vec::new()
            }
        }
    }

    /// Back to what was before the record that failed: none of the commands after it were
    /// carried out.
    fn store_failed(&mut self, failure: Failure) -> Vec<Command> {
        let Some(before) = self.before.take() else { return Vec::new() };
        (self.state, self.record) = *before;
        self.waiting.clear();
        match &self.state {
            // Everything is made, yet would be undone at the next start: so now.
            State::Creating { trouble: None, .. } => {
                self.release(Cause::Failed(failure), false, false)
            }
            _ => {
                self.refusal = Some(failure);
                Vec::new()
            }
        }
    }

    /// Enters a state that counts only once it is written, with this change to the record.
    fn enter(&mut self, state: State, change: impl FnOnce(&mut PoolRecord)) -> Command {
        self.before = Some(Box::new((self.state.clone(), self.record.clone())));
        change(&mut self.record);
        self.set(state);
        Command::Record { vital: true }
    }

    /// Changes the record, and with it the state, which counts only once it is written.
    fn change(&mut self, change: impl FnOnce(&mut PoolRecord)) -> Command {
        self.before = Some(Box::new((self.state.clone(), self.record.clone())));
        change(&mut self.record);
        self.state = self.record.phase.to_state(&self.record);
        Command::Record { vital: true }
    }

    fn set(&mut self, state: State) {
        self.record.phase = Phase::of(&state);
        self.state = state;
    }

    /// Says why what was asked for did not come about, and keeps the record's account of it.
    fn refuse(&mut self, failure: Failure) -> Vec<Command> {
        self.refusal = Some(failure);
        vec![Command::Record { vital: false }]
    }

    fn call(&mut self, steps: impl IntoIterator<Item = Step>, force: bool) -> Vec<Command> {
        let steps = steps.into_iter().collect::<Vec<_>>();
        self.stage = Stage::default();
        self.waiting.extend(&steps);
        steps.into_iter().map(|step| Command::Call { step, force }).collect()
    }

    /// Whether the calls in flight may be left to themselves: what each of them does is undone
    /// or done again by whatever comes next.
    fn may_abandon(&self) -> bool {
        let free = |step: &Step| {
            matches!(
                step,
                Step::PayDebt(_) | Step::ReaddMembers | Step::GiveUpSpare(_) | Step::ReplaceMember
            )
        };
        self.waiting.iter().all(free)
    }

    fn abandon(&mut self) -> Vec<Command> {
        self.take_paid();
        if self.settled() {
            return Vec::new();
        }
        self.waiting.clear();
        vec![Command::Abandon]
    }
}

#[cfg(test)]
mod tests;
