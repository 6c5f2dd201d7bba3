//! What Slurm's hooks and the agent of their own node say to each other on a Unix socket, which
//! any user may open: the agent knows from the kernel who asks.
//!
//! One question a connection, one line; the answer is lines too, the last of which is `end`. No
//! more than that, and no TLS: the socket never leaves the node, and what a stranger sends is read
//! by as little code as can be.
//!
//! | question | who may ask | answer |
//! | --- | --- | --- |
//! | `task JOB` | the job's user, root | `path PATH`, any of `print LINE`, `remark TEXT` |
//! | `held` | root | a `pool NAME` for each pool of a job that the node holds anything of |
//!
//! Instead of an answer there may be `refused TEXT`: a sentence for the job's user.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// Where agents listen, unless their configuration names another folder.
pub const SOCKET: &str = "/run/rampool/jobs.sock";

/// Where agents note the jobs that have a pool on their node, one file a job id: a node without a
/// job's note has nothing for it.
pub const NOTES: &str = "/run/rampool/jobs";

/// Beside them, the folder where a node's Prolog leaves its word for the tasks of each job.
pub const SIGNS: &str = "prolog";

/// The longest question, its newline included.
pub const LONGEST_QUESTION: usize = 32;

/// The longest answer: far more than any that an agent gives.
const LONGEST_ANSWER: u64 = 64 * 1024;

const END: &str = "end";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A task of this job is about to start.
    Task(u32),
    /// Of which jobs' pools this node holds anything.
    Held,
}

/// What a task may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Where it finds its scratch.
    pub path: String,
    /// For the job's output: these once a job, so mostly none.
    pub lines: Vec<String>,
    /// What the job's administrator should know: no fault of the job's.
    pub remarks: Vec<String>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Task`].
    Task(Task),
    /// To [`Question::Held`]: names of pools.
    Held(Vec<String>),
    /// To either.
    Refused(String),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("the rampool-agent of this node cannot be asked at {0}: {1}")]
    Unreachable(PathBuf, io::Error),
    /// It took too long.
    #[error("the rampool-agent of this node did not answer within {0:?}")]
    TimedOut(Duration),
    /// It said what no agent says.
    #[error("the rampool-agent of this node gave an answer that makes no sense: {0:?}")]
    Odd(String),
    /// It said no, and why.
    #[error("{0}")]
    Refused(String),
}

impl Question {
    /// The line, with its newline.
    #[must_use]
    pub fn line(self) -> String {
        match self {
            Self::Task(job) => format!("task {job}\n"),
            Self::Held => "held\n".to_owned(),
        }
    }

    /// The question of a line, with or without its newline.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let question = match text.split_once(' ') {
            Some(("task", job)) => Self::Task(job.parse().ok()?),
            None if text == "held" => Self::Held,
            _ => return None,
        };
        // Only what is written in the one way: no "+7", no "007".
        (question.line().trim_end() == text).then_some(question)
    }
}

impl Answer {
    /// All of its lines. Control characters, which would make other lines of it, become blanks.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        match self {
            Self::Task(task) => {
                lines.push(("path", &task.path));
                lines.extend(task.lines.iter().map(|line| ("print", line)));
                lines.extend(task.remarks.iter().map(|remark| ("remark", remark)));
            }
            Self::Held(pools) => lines.extend(pools.iter().map(|pool| ("pool", pool))),
            Self::Refused(why) => lines.push(("refused", why)),
        }
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let mut text = String::new();
        for (word, value) in lines {
            text.push_str(word);
            text.push(' ');
            text.extend(value.chars().map(plain));
            text.push('\n');
        }
        text.push_str(END);
        text.push('\n');
        text
    }

    /// The answer to `question` that a text is, whole.
    #[must_use]
    pub fn parse(question: Question, text: &str) -> Option<Self> {
        let body = text.strip_suffix('\n')?.strip_suffix(END)?;
        let mut lines = Vec::new();
        for line in body.split_inclusive('\n') {
            lines.push(line.strip_suffix('\n')?.split_once(' ')?);
        }
        match (question, lines.as_slice()) {
            (_, [("refused", why)]) => Some(Self::Refused((*why).to_owned())),
            (Question::Held, pools) => {
                let name = |(word, name): &(&str, &str)| (*word == "pool").then(|| (*name).into());
                pools.iter().map(name).collect::<Option<_>>().map(Self::Held)
            }
            (Question::Task(_), [("path", path), rest @ ..]) => {
                let mut task = Task { path: (*path).to_owned(), ..Task::default() };
                for (word, value) in rest {
                    match *word {
                        "print" => task.lines.push((*value).to_owned()),
                        "remark" => task.remarks.push((*value).to_owned()),
                        _ => return None,
                    }
                }
                Some(Self::Task(task))
            }
            (Question::Task(_), _) => None,
        }
    }
}

/// Asks the agent that listens on `socket` on behalf of a task of `job`, which must not start
/// unless this succeeds. Blocks for `patience` at most.
///
/// # Errors
///
/// Whatever stands in the way, as a sentence.
pub fn ask_for_task(socket: &Path, job: u32, patience: Duration) -> Result<Task, AskError> {
    match ask(socket, Question::Task(job), patience)? {
        Answer::Task(task) => Ok(task),
        Answer::Refused(why) => Err(AskError::Refused(why)),
        Answer::Held(pools) => Err(AskError::Odd(format!("{pools:?}"))),
    }
}

/// Asks the agent that listens on `socket` of which jobs' pools this node holds anything: their
/// names. Blocks for `patience` at most.
///
/// # Errors
///
/// Whatever stands in the way, as a sentence; also for anybody but root.
pub fn ask_what_is_held(socket: &Path, patience: Duration) -> Result<Vec<String>, AskError> {
    match ask(socket, Question::Held, patience)? {
        Answer::Held(pools) => Ok(pools),
        Answer::Refused(why) => Err(AskError::Refused(why)),
        Answer::Task(task) => Err(AskError::Odd(format!("{task:?}"))),
    }
}

fn ask(socket: &Path, question: Question, patience: Duration) -> Result<Answer, AskError> {
    let (tell, hear) = mpsc::channel();
    let to = socket.to_owned();
    // On a thread of its own: connecting to an agent that hangs would wait without an end.
    std::thread::spawn(move || {
        // Nobody hears it who has run out of patience.
        let _ = tell.send(exchange(&to, question));
    });
    let text = hear
        .recv_timeout(patience)
        .map_err(|_| AskError::TimedOut(patience))?
        .map_err(|error| AskError::Unreachable(socket.to_owned(), error))?;
    Answer::parse(question, &text).ok_or(AskError::Odd(text))
}

fn exchange(socket: &Path, question: Question) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(question.line().as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// An agent of one connection that says `answer`, whatever it is asked.
    fn fake_agent(answer: &'static str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.sock");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = String::new();
            stream.read_to_string(&mut question).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        (folder, path)
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_task_hears_its_path_or_why_not() {
        let (_folder, socket) = fake_agent("path /rampool/17\nprint 3 GiB\nend\n");
        let task = ask_for_task(&socket, 17, PATIENCE).unwrap();
        assert_eq!((task.path.as_str(), task.lines), ("/rampool/17", vec!["3 GiB".to_owned()]));
        let (_folder, socket) = fake_agent("refused not yours\nend\n");
        let told = ask_for_task(&socket, 17, PATIENCE).unwrap_err();
        assert!(matches!(&told, AskError::Refused(why) if why == "not yours"), "{told}");
        let (_folder, socket) = fake_agent("pool job-17-1\npool job-18-2\nend\n");
        assert_eq!(ask_what_is_held(&socket, PATIENCE).unwrap(), ["job-17-1", "job-18-2"]);
    }

    #[test]
    fn half_an_answer_is_none() {
        for odd in ["path /rampool/17\n", "", "end\n", "path\nend\n", "pool x\nend\n", "x y\nend\n"]
        {
            let (_folder, socket) = fake_agent(odd);
            let told = ask_for_task(&socket, 17, PATIENCE).unwrap_err();
            assert!(matches!(told, AskError::Odd(_)), "{odd:?}: {told}");
        }
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.sock");
        let told = ask_what_is_held(&path, PATIENCE).unwrap_err();
        assert!(matches!(told, AskError::Unreachable(..)), "{told}");
        // Connections wait in its queue, and nobody takes them.
        let _listener = UnixListener::bind(&path).unwrap();
        let told = ask_what_is_held(&path, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(told, AskError::TimedOut(_)), "{told}");
    }

    #[test]
    fn questions_have_one_way_to_be_written() {
        assert_eq!(Question::parse(b"task 17\n"), Some(Question::Task(17)));
        assert_eq!(Question::parse(b"held"), Some(Question::Held));
        for odd in ["task 017", "task +1", "task", "task -1", "held 1", "Held", "task 1 ", "\nheld"]
        {
            assert_eq!(Question::parse(odd.as_bytes()), None, "{odd:?}");
        }
    }

    proptest! {
        #[test]
        fn every_question_reads_back_and_fits(job in any::<u32>()) {
            let question = Question::Task(job);
            prop_assert!(question.line().len() <= LONGEST_QUESTION);
            prop_assert_eq!(Question::parse(question.line().as_bytes()), Some(question));
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Question::parse(&bytes);
            let text = String::from_utf8_lossy(&bytes);
            let _ = Answer::parse(Question::Held, &text);
            let _ = Answer::parse(Question::Task(1), &text);
        }

        #[test]
        fn every_answer_reads_back(
            path in "[^\\p{Cc}]{1,40}",
            lines in proptest::collection::vec("[^\\p{Cc}]{0,40}", 0..4),
            remarks in proptest::collection::vec("[^\\p{Cc}]{0,40}", 0..3),
        ) {
            let held = Answer::Held(lines.clone());
            prop_assert_eq!(Answer::parse(Question::Held, &held.text()), Some(held));
            let refused = Answer::Refused(path.clone());
            prop_assert_eq!(Answer::parse(Question::Held, &refused.text()), Some(refused));
            let task = Answer::Task(Task { path, lines, remarks });
            prop_assert_eq!(Answer::parse(Question::Task(1), &task.text()), Some(task));
        }

        #[test]
        fn what_a_line_says_never_becomes_another_line(odd in any::<String>()) {
            let task = Task { path: "/p".into(), lines: vec![odd], remarks: Vec::new() };
            let text = Answer::Task(task).text();
            let read = Answer::parse(Question::Task(1), &text);
            prop_assert!(
                matches!(&read, Some(Answer::Task(task)) if task.lines.len() == 1), "{:?}", read
            );
        }
    }
}
