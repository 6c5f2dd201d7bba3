//! Who makes a call, by whichever door it came.

use std::fmt::{self, Display};
use std::sync::Arc;

use rampool_proto::tls::Peer;
use rampool_proto::v1::{Failure, FailureKind, PoolSpec};
use tonic::Request;

use crate::person::Person;

/// A user who is known by the kernel or by MUNGE, and is no operator.
#[derive(Clone, Debug)]
pub struct User {
    /// Who.
    pub person: Arc<Person>,
    /// From where, for the audit trail.
    pub from: String,
}

/// Root or a member of the operators' group, on the controller's host.
#[derive(Clone, Debug)]
pub struct LocalOperator {
    /// Who, by the kernel.
    pub person: Arc<Person>,
    /// By which process, where the kernel says so.
    pub pid: Option<i32>,
}

/// Who makes a call.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The holder of a certificate.
    Certificate(Peer),
    /// An operator without one.
    Local(LocalOperator),
    /// A user.
    User(User),
}

impl Caller {
    /// Who makes this call.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Failure> {
        let known = request.extensions();
        let by_certificate = || known.get::<Peer>().cloned().map(Self::Certificate);
        let local = || known.get::<LocalOperator>().cloned().map(Self::Local);
        let user = || known.get::<User>().cloned().map(Self::User);
        user().or_else(local).or_else(by_certificate).ok_or_else(|| {
            Failure::new(FailureKind::Denied, "recognise the caller").saying("it is not known")
        })
    }

    /// From where.
    #[must_use]
    pub fn from(&self) -> String {
        match self {
            Self::Certificate(peer) => peer.address.to_string(),
            Self::Local(LocalOperator { pid: Some(pid), .. }) => format!("socket, process {pid}"),
            Self::Local(_) => "socket".to_owned(),
            Self::User(user) => user.from.clone(),
        }
    }

    /// The spec, with the owner whom this caller may name. Programs of certificates' holders and of
    /// root say whose a pool is (by sudo root asks for others); of anybody else the kernel said it.
    #[must_use]
    pub fn owns(&self, spec: PoolSpec) -> PoolSpec {
        match self {
            Self::Local(LocalOperator { person, .. }) if person.uid != 0 => owned(spec, person),
            Self::User(user) => owned(spec, &user.person),
            Self::Local(_) | Self::Certificate(_) => spec,
        }
    }
}

fn owned(spec: PoolSpec, person: &Person) -> PoolSpec {
    PoolSpec { owner: person.name.clone(), uid: person.uid, gid: person.gid, ..spec }
}

/// As the audit trail names them.
impl Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(peer) => write!(f, "{}", peer.identity),
            Self::Local(local) => write!(f, "operator {}", local.person),
            Self::User(user) => write!(f, "user {}", user.person),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> PoolSpec {
        PoolSpec { owner: "bob".into(), uid: 7, gid: 8, ..PoolSpec::default() }
    }

    fn local(uid: u32) -> Caller {
        let person = Person { name: "ada".into(), gid: 100, uid, groups: [].into() };
        Caller::Local(LocalOperator { person: Arc::new(person), pid: Some(3) })
    }

    #[test]
    fn only_root_names_another_owner() {
        assert_eq!(local(0).owns(spec()), spec());
        let own = local(1000).owns(spec());
        assert_eq!((&*own.owner, own.uid, own.gid), ("ada", 1000, 100));
        assert_eq!(local(1000).to_string(), "operator ada (uid 1000)");
        assert_eq!(local(1000).from(), "socket, process 3");
    }
}
