//! Where the hooks of this node ask, any user among them: what each may cost is bounded, and the
//! kernel says who it is.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rampool_proto::job_socket::{Answer, LONGEST_QUESTION, Question, Task};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{begin_task, held, require_own};
use crate::node::Node;
use crate::outcome::Outcome;

/// Connections at once. Each takes a descriptor of the thousand that a process usually has.
const MOST: usize = 512;

/// Of them, one user's: the tasks that one job starts on a node at the same moment.
const MOST_OF_ONE: usize = 384;

/// A hook writes its question as soon as it is connected, and reads its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A process without a descriptor to spare has one some moments later.
const PAUSE: Duration = Duration::from_millis(100);

fn path(node: &Node) -> PathBuf {
    node.roots.run.join("jobs.sock")
}

/// Listens, open to everybody, in the place of an agent before this one: there is no moment
/// without a socket.
pub fn listen(node: &Node) -> anyhow::Result<UnixListener> {
    let path = path(node);
    let attempt = || -> std::io::Result<UnixListener> {
        let draft = path.with_extension("new");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&draft)?;
        fs::set_permissions(&draft, Permissions::from_mode(0o666))?;
        fs::rename(&draft, &path)?;
        Ok(listener)
    };
    attempt().with_context(|| format!("listen on {}", path.display()))
}

/// Answers whoever asks, until the agent ends.
pub async fn serve(node: Arc<Node>, listener: UnixListener) {
    let room = Arc::new(Semaphore::new(MOST));
    let users = Users::default();
    loop {
        let place = Arc::clone(&room).acquire_owned().await.expect("nobody closes the room");
        let stream = tokio::select! {
            () = node.stopped() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot let a hook of Slurm ask");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let Ok(uid) = stream.peer_cred().map(|who| who.uid()) else { continue };
        let Some(presence) = users.enter(uid) else {
            // As cheaply as can be; the socket is new, and has room for it.
            let why = format!("uid {uid} has {MOST_OF_ONE} questions under way already");
            let _ = stream.try_write(Answer::Refused(why).text().as_bytes());
            continue;
        };
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            // Who leaves early, or never asks, hears nothing.
            let _ = converse(&node, uid, stream).await;
            drop((presence, place));
        });
    }
}

async fn converse(node: &Arc<Node>, uid: u32, mut stream: UnixStream) -> std::io::Result<()> {
    let question = timeout(PATIENCE, hear(&mut stream)).await??;
    let reply = reply(node, uid, question).await;
    timeout(PATIENCE, stream.write_all(reply.text().as_bytes())).await??;
    stream.shutdown().await
}

/// One line; none where it is no question.
async fn hear(stream: &mut UnixStream) -> std::io::Result<Option<Question>> {
    let mut line = Vec::with_capacity(LONGEST_QUESTION);
    let mut limited = stream.take(LONGEST_QUESTION as u64);
    while !line.ends_with(b"\n") && limited.read_buf(&mut line).await? > 0 {}
    Ok(Question::parse(&line))
}

async fn reply(node: &Arc<Node>, uid: u32, question: Option<Question>) -> Answer {
    let outcome = match question {
        Some(Question::Task(job)) => task(node, job, uid).await.map(Answer::Task),
        Some(Question::Held) if uid == 0 => {
            node.read("look what is held of jobs", held).await.map(Answer::Held)
        }
        Some(Question::Held) => return Answer::Refused("only root may ask that".to_owned()),
        None => return Answer::Refused("that is no question".to_owned()),
    };
    outcome.unwrap_or_else(|failure| Answer::Refused(failure.to_string()))
}

/// Strangers are sent away before they make the job's own tasks wait, or write to the log.
async fn task(node: &Arc<Node>, job: u32, uid: u32) -> Outcome<Task> {
    require_own(node, job, uid)?;
    node.of_job(job, "let a task use the scratch", move |node| begin_task(node, job, uid)).await
}

/// How many connections each user has.
#[derive(Clone, Default)]
struct Users(Arc<Mutex<HashMap<u32, usize>>>);

/// One of them.
struct Presence {
    users: Users,
    uid: u32,
}

impl Users {
    fn enter(&self, uid: u32) -> Option<Presence> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(uid).or_default();
        if *count >= MOST_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Presence { users: self.clone(), uid })
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut counts = self.users.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::fake;
    use rampool_proto::job_socket::{AskError, ask_for_task, ask_what_is_held};
    use std::io::{Read, Write};

    const LONG: Duration = Duration::from_secs(30);

    /// Does `ask` on a thread, beside an agent that listens.
    async fn beside_agent<T: Send + 'static>(ask: impl FnOnce(PathBuf) -> T + Send + 'static) -> T {
        let folder = tempfile::tempdir().unwrap();
        let node = Arc::new(fake(folder.path()));
        super::super::prepare(&node).unwrap();
        fs::write(path(&node), "what an agent before it left").unwrap();
        let listener = listen(&node).unwrap();
        let mode = fs::metadata(path(&node)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        let serving = tokio::spawn(serve(Arc::clone(&node), listener));
        let socket = path(&node);
        let told = tokio::task::spawn_blocking(move || ask(socket)).await.unwrap();
        node.stop();
        serving.await.unwrap();
        told
    }

    #[tokio::test]
    async fn a_task_without_a_note_is_refused() {
        let told = beside_agent(|socket| ask_for_task(&socket, 17, LONG)).await.unwrap_err();
        assert!(matches!(&told, AskError::Refused(why) if why.contains("job 17")), "{told}");
    }

    #[tokio::test]
    async fn only_root_learns_what_is_held() {
        let told = beside_agent(|socket| ask_what_is_held(&socket, LONG)).await;
        let is_root = nix::unistd::getuid().is_root();
        // The fake node has no mount table to read: root hears of that, others of themselves.
        let why = if is_root { "mountinfo" } else { "only root" };
        assert!(told.unwrap_err().to_string().contains(why));
    }

    #[tokio::test]
    async fn who_asks_nothing_or_nonsense_is_sent_away() {
        beside_agent(|socket| {
            let connect = || std::os::unix::net::UnixStream::connect(&socket).unwrap();
            let mut silent = connect();
            let mut chatty = connect();
            // More than is read: the rest may meet a closed socket.
            let _ = chatty.write_all(&[b'x'; 100_000]);
            let mut told = String::new();
            let _ = chatty.read_to_string(&mut told);
            assert!(told.is_empty() || told.starts_with("refused"), "{told}");
            // Nothing is said to it, and it is not kept.
            assert_eq!(silent.read(&mut [0]).unwrap(), 0);
        })
        .await;
    }

    #[test]
    fn one_user_leaves_room_for_others() {
        let users = Users::default();
        let all: Vec<_> = (0..MOST_OF_ONE).map(|_| users.enter(7).unwrap()).collect();
        assert!(users.enter(7).is_none());
        assert!(users.enter(8).is_some());
        drop(all);
        assert!(users.enter(7).is_some());
        assert!(users.0.lock().unwrap().len() <= 1);
    }
}
