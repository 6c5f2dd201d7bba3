//! The Unix socket on the controller's own host: the kernel says who calls. Root and the members of
//! one group are operators there, without certificates; others are users, where there are rules for
//! users, or are refused.
//!
//! Anybody may connect, so that who is refused is told why and the log has a line for the try. What
//! that may cost is bounded: one user's connections keep out nobody else's, and never root's.
//!
//! | module | idea |
//! | --- | --- |
//! | `connection` | such a connection |
//! | `desk` | who is served as what |

mod connection;
mod desk;

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rampool_proto::room::Room;
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use crate::person::Person;
pub use connection::{Local, LocalConnection};
pub use desk::Desk;

/// `socket` of controller.yaml.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketConfig {
    /// Where it is.
    #[serde(default = "default_path")]
    pub path: PathBuf,
    /// The group whose members are operators, beside root. None: root alone is.
    pub group: Option<String>,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self { path: default_path(), group: None }
    }
}

fn default_path() -> PathBuf {
    rampool_proto::local::SOCKET.into()
}

/// Connections at once, and of them one user's; root's are not counted. Each takes a descriptor of
/// the thousand that a process usually has.
const MOST: usize = 128;
const MOST_OF_ONE: usize = 32;

/// A process without a descriptor to spare has one some moments later.
const BREATH: Duration = Duration::from_millis(100);

/// Listens, open to everybody, in the place of a controller before this one.
pub fn listen(config: &SocketConfig) -> anyhow::Result<UnixListener> {
    let attempt = || -> io::Result<UnixListener> {
        make_folder(&config.path)?;
        let draft = config.path.with_extension("new");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&draft)?;
        fs::set_permissions(&draft, Permissions::from_mode(0o666))?;
        fs::rename(&draft, &config.path)?;
        Ok(listener)
    };
    attempt().with_context(|| format!("listen on {}", config.path.display()))
}

/// systemd makes the default path's; by hand it is made here, for everybody to look into.
fn make_folder(socket: &Path) -> io::Result<()> {
    let Some(folder) = socket.parent().filter(|folder| !folder.exists()) else { return Ok(()) };
    DirBuilder::new().mode(0o755).create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// Connections, each with who is at its other end. Ends with its reader.
pub fn incoming(
    listener: UnixListener,
    group: Option<String>,
) -> impl Stream<Item = io::Result<LocalConnection>> {
    let (known, incoming) = mpsc::channel(1);
    tokio::spawn(accept(listener, group.map(Arc::from), known));
    ReceiverStream::new(incoming)
}

type Known = mpsc::Sender<io::Result<LocalConnection>>;

async fn accept(listener: UnixListener, group: Option<Arc<str>>, known: Known) {
    let room = Room::of(MOST, MOST_OF_ONE);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = known.closed() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection by the socket could not be taken");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let Ok(peer) = stream.peer_cred() else { continue };
        let (uid, pid) = (peer.uid(), peer.pid());
        let place = (uid != 0).then(|| room.enter(uid));
        if let Some(None) = place {
            tracing::warn!(
                uid,
                "a caller by the socket was refused: too many connections are open"
            );
            continue;
        }
        let (group, known) = (group.clone(), known.clone());
        tokio::spawn(async move {
            let local = recognise(uid, pid, group.as_deref()).await;
            let connection = LocalConnection::new(stream, local, place.flatten());
            // A server that ended takes nobody.
            _ = known.send(Ok(connection)).await;
        });
    }
}

/// Root is known without the user database, which may be away when root is needed most.
async fn recognise(uid: u32, pid: Option<i32>, group: Option<&str>) -> Local {
    if uid == 0 {
        return Local::Operator { person: Arc::new(Person::root()), pid };
    }
    match Person::look_up(uid).await {
        Err(why) => Local::Unknown { uid, why },
        Ok(person) if group.is_some_and(|group| person.groups.contains(group)) => {
            Local::Operator { person: Arc::new(person), pid }
        }
        Ok(person) => Local::User { person: Arc::new(person), pid },
    }
}
