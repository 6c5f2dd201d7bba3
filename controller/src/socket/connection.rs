//! A connection by the socket, and who is at its other end.

use std::sync::Arc;

use rampool_proto::tls::Connection;
use tokio::net::UnixStream;

use crate::person::Person;

/// Who is at the other end, by the kernel and the user database, when the connection was made.
#[derive(Clone, Debug)]
pub enum Local {
    /// Root, or a member of the operators' group.
    Operator {
        /// Who.
        person: Arc<Person>,
        /// By which process.
        pid: Option<i32>,
    },
    /// Anybody else.
    User {
        /// Who.
        person: Arc<Person>,
        /// By which process.
        pid: Option<i32>,
    },
    /// Nobody whom the user database knows.
    Unknown {
        /// The number that the kernel says.
        uid: u32,
        /// Why not.
        why: String,
    },
}

/// The controller's end of it; a place in the room is its user's, and root has none.
pub type LocalConnection = Connection<Local, UnixStream, u32>;
