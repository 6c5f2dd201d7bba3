//! An agent that knows nothing of its node: it answers what a test wrote down on a socket of its
//! own, and its notes are the test's.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use rampool_proto::job_socket::{Answer, Question};

pub(crate) struct FakeAgent {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl FakeAgent {
    /// One that is not there, and never was.
    pub(crate) fn absent() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), asked: Arc::default() }
    }

    /// One that was killed: its socket is there, and nobody listens.
    pub(crate) fn killed() -> Self {
        let agent = Self::absent();
        drop(UnixListener::bind(agent.folder().join("jobs.sock")).unwrap());
        agent
    }

    /// One that answers so, whatever it is asked.
    pub(crate) fn answering(answer: &Answer) -> Self {
        let agent = Self::absent();
        let listener = UnixListener::bind(agent.folder().join("jobs.sock")).unwrap();
        let (asked, text) = (Arc::clone(&agent.asked), answer.text());
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut line = Vec::new();
                connection.read_to_end(&mut line).unwrap();
                asked.lock().unwrap().push(Question::parse(&line).unwrap());
                connection.write_all(text.as_bytes()).unwrap();
            }
        });
        agent
    }

    pub(crate) fn holding(pools: &[&str]) -> Self {
        Self::answering(&Answer::Held(pools.iter().map(|&pool| pool.to_owned()).collect()))
    }

    /// Has it note a job.
    pub(crate) fn noting(self, job: u32) -> Self {
        let notes = self.folder().join("jobs");
        std::fs::create_dir_all(&notes).unwrap();
        std::fs::write(notes.join(job.to_string()), "").unwrap();
        self
    }

    /// Has the node's Prolog leave a sign for a job.
    pub(crate) fn signed(self, job: u32, sign: &str) -> Self {
        let signs = self.folder().join("prolog");
        std::fs::create_dir_all(&signs).unwrap();
        std::fs::write(signs.join(job.to_string()), sign).unwrap();
        self
    }

    /// The sign that a job has.
    pub(crate) fn sign(&self, job: u32) -> Option<String> {
        std::fs::read_to_string(self.folder().join("prolog").join(job.to_string())).ok()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }
}
