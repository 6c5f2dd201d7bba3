//! What nodes outside the pool must give back: paid whenever they answer, whatever else the
//! pool does.

use rampool_proto::v1::Piece;

use super::{Command, Machine, State, Step};
use crate::pool::record::{Debt, Owed, PoolRecord};

impl Machine {
    /// Asks for what may be given back now.
    pub(super) fn pay(&mut self) -> Vec<Command> {
        let steps: Vec<Step> = self.payable().into_iter().map(Step::PayDebt).collect();
        self.call(steps, false)
    }

    /// The places of the debts that may be asked for now.
    pub(super) fn payable(&self) -> Vec<usize> {
        let debts = self.record.debts.iter().enumerate();
        debts.filter(|(_, debt)| self.is_payable(debt)).map(|(at, _)| at).collect()
    }

    fn is_payable(&self, debt: &Debt) -> bool {
        let Owed::Piece { generation, .. } = debt.what else { return true };
        let in_use =
            |other: &Debt| other.node == debt.node && matches!(other.what, Owed::Head { .. });
        match self.state {
            // A lost head's own piece: that head lets go of it first.
            _ if self.record.debts.iter().any(in_use) => false,
            // The head gives it up on the way, or has done so already.
            State::Ready | State::Releasing(_) => true,
            // The head may still hold it; of earlier generations it holds nothing.
            _ => generation < self.record.assembly.generation,
        }
    }

    /// The calls of a stage of paying ended.
    pub(super) fn after_paying(&mut self) -> Vec<Command> {
        if self.take_paid() { vec![Command::Record { vital: false }] } else { Vec::new() }
    }

    /// Strikes what was paid off the record; says whether anything was.
    pub(super) fn take_paid(&mut self) -> bool {
        let done = std::mem::take(&mut self.stage.done);
        let before = self.record.debts.len();
        let mut at = 0;
        self.record.debts.retain(|_| {
            at += 1;
            !done.contains(&Step::PayDebt(at - 1))
        });
        self.record.debts.len() < before
    }
}

impl PoolRecord {
    /// Notes that the donor of a piece of the present generation must give it back.
    pub(in crate::pool) fn owe_piece(&mut self, piece: &Piece) {
        let generation = self.assembly.generation;
        let what = Owed::Piece { generation, carved: piece.carved };
        self.debts.push(Debt { node: piece.donor.clone(), what });
    }

    /// Notes that whatever was about to join must be given back.
    pub(super) fn owe_joining(&mut self) {
        if let Some(piece) = self.joining().cloned() {
            self.owe_piece(&piece);
        }
    }
}
