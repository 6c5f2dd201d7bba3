//! One error for everything that crosses a wire: which node, which step, which program, what
//! it said, and what to do. It travels in the details of a gRPC status and arrives whole.

use std::fmt;

use prost::Message;
use tonic::{Code, Status};

use crate::v1::{Failure, FailureKind};

impl Failure {
    /// A failure of `step`, to be completed with [`on`](Self::on), [`by`](Self::by),
    /// [`saying`](Self::saying) and [`advising`](Self::advising).
    #[must_use]
    pub fn new(kind: FailureKind, step: impl Into<String>) -> Self {
        Self { kind: kind.into(), step: step.into(), ..Self::default() }
    }

    /// The node it happened on.
    #[must_use]
    pub fn on(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self
    }

    /// The program or kernel file that refused.
    #[must_use]
    pub fn by(mut self, program: impl Into<String>) -> Self {
        self.program = program.into();
        self
    }

    /// What was said.
    #[must_use]
    pub fn saying(mut self, said: impl fmt::Display) -> Self {
        self.said = said.to_string();
        self
    }

    /// What the reader can do.
    #[must_use]
    pub fn advising(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// The failure within a gRPC status, or one made of the status itself where it came from
    /// the transport (a refused connection, a deadline, a peer that is no rampool). `node` and
    /// `step` are filled in where the sender left them empty.
    #[must_use]
    pub fn from_status(status: &Status, node: &str, step: &str) -> Self {
        let mut failure = match Self::decode(status.details()) {
            Ok(failure) if failure.kind() != FailureKind::Unspecified => failure,
            _ => Self::new(kind_of(status.code()), step).saying(transport_words(status)),
        };
        if failure.node.is_empty() {
            node.clone_into(&mut failure.node);
        }
        if failure.step.is_empty() {
            step.clone_into(&mut failure.step);
        }
        failure
    }
}

/// A transport's words and those of its causes: tonic's own message is often only
/// "transport error".
fn transport_words(status: &Status) -> String {
    let mut words = if status.message().is_empty() {
        status.code().to_string()
    } else {
        status.message().to_owned()
    };
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = error.source();
    }
    words
}

fn kind_of(code: Code) -> FailureKind {
    match code {
        Code::InvalidArgument | Code::OutOfRange => FailureKind::Invalid,
        Code::NotFound => FailureKind::NotFound,
        Code::ResourceExhausted | Code::FailedPrecondition | Code::Unavailable => {
            FailureKind::NotNow
        }
        Code::DeadlineExceeded => FailureKind::TimedOut,
        Code::AlreadyExists => FailureKind::Conflict,
        Code::PermissionDenied | Code::Unauthenticated => FailureKind::Denied,
        _ => FailureKind::Failed,
    }
}

fn code_of(kind: FailureKind) -> Code {
    match kind {
        FailureKind::Invalid => Code::InvalidArgument,
        FailureKind::NotFound => Code::NotFound,
        FailureKind::NotNow | FailureKind::Busy => Code::FailedPrecondition,
        FailureKind::Conflict => Code::AlreadyExists,
        FailureKind::TimedOut => Code::DeadlineExceeded,
        FailureKind::Denied => Code::PermissionDenied,
        FailureKind::Failed | FailureKind::Unspecified => Code::Internal,
    }
}

/// `n3: log in to n4's export: /usr/sbin/iscsiadm said: ...; do: ...`
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.node.is_empty() {
            write!(f, "{}: ", self.node)?;
        }
        f.write_str(&self.step)?;
        match (self.program.is_empty(), self.said.is_empty()) {
            (false, false) => write!(f, ": {} said: {}", self.program, self.said)?,
            (false, true) => write!(f, ": {}", self.program)?,
            (true, false) => write!(f, ": {}", self.said)?,
            (true, true) => {}
        }
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let details = failure.encode_to_vec();
        Status::with_details(code_of(failure.kind()), failure.to_string(), details.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_crosses_the_wire_whole() {
        let failure = Failure::new(FailureKind::NotNow, "reserve 4 GiB")
            .on("n3")
            .by("/sys/kernel/config/target/core")
            .saying("Cannot allocate memory (os error 12)")
            .advising("ask for less");
        let status = Status::from(failure.clone());
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(Failure::from_status(&status, "other", "other"), failure);
    }

    #[test]
    fn a_transports_own_error_is_named_with_node_and_step() {
        let failure = Failure::from_status(&Status::unavailable("refused"), "n3", "watch");
        assert_eq!(failure.kind(), FailureKind::NotNow);
        assert_eq!(failure.to_string(), "n3: watch: refused");
    }
}
