//! The exec server of a node: one thread a connection, one request a connection.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    config::{GuestConfig, NODE_FOLDER},
    program,
};
use crate::exec::{
    CommandSpec, LOGS, PATH, PORT, Reply, Request,
    frame::{self, Kind},
};

/// The sending side of a connection, shared by the threads that have something to say on it.
pub(super) type Answers = Arc<Mutex<TcpStream>>;

/// The receiving side of a connection.
pub(super) type Asks = BufReader<TcpStream>;

/// Serves requests for ever.
///
/// # Errors
/// When it cannot listen on the node's management address.
pub fn serve() -> Result<()> {
    let config = GuestConfig::read(Path::new(NODE_FOLDER))?;
    let addr = SocketAddr::from((config.node.management_addr(), PORT));
    let listener =
        TcpListener::bind(addr).with_context(|| format!("exec server: cannot listen on {addr}"))?;
    for stream in listener.incoming() {
        let handled = stream.map_err(anyhow::Error::from).and_then(|stream| {
            thread::Builder::new()
                .spawn(move || handle(stream))
                .context("cannot start a thread")
                .map(drop)
        });
        if let Err(e) = handled {
            eprintln!("rampool-lab: exec server: {e:#}");
        }
    }
    Ok(())
}

fn handle(stream: TcpStream) {
    let answers = stream.try_clone().map(|s| Arc::new(Mutex::new(s)));
    let Ok(answers) = answers else { return };
    let _ = stream.set_nodelay(true);
    let mut asks = BufReader::with_capacity(frame::CHUNK, stream);
    let reply = match read_request(&mut asks) {
        Ok(Some(request)) => carry_out(request, asks, &answers),
        Ok(None) => return,
        Err(e) => Err(e),
    };
    // The lab may have hung up meanwhile: then there is nobody to tell.
    let _ = match reply {
        Ok(reply) => match serde_json::to_vec(&reply) {
            Ok(json) => answer(&answers, Kind::Reply, &json),
            Err(e) => answer(&answers, Kind::Failed, e.to_string().as_bytes()),
        },
        Err(e) => answer(&answers, Kind::Failed, format!("{e:#}").as_bytes()),
    };
    if let Ok(stream) = answers.lock() {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}

/// Sends one frame to the lab.
pub(super) fn answer(answers: &Answers, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let mut stream = answers.lock().unwrap_or_else(PoisonError::into_inner);
    frame::write(&mut *stream, kind, payload)
}

fn read_request(asks: &mut Asks) -> Result<Option<Request>> {
    let Some(frame) = frame::read(asks).context("cannot read a request")? else { return Ok(None) };
    ensure!(frame.kind == Kind::Request, "a {:?} frame came where a request was due", frame.kind);
    serde_json::from_slice(&frame.payload).context("the request is not understood").map(Some)
}

fn carry_out(request: Request, mut asks: Asks, answers: &Answers) -> Result<Reply> {
    match request {
        Request::Hello => {
            let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .context("cannot read the boot id")?;
            Ok(Reply::Hello { boot_id: boot_id.trim().to_owned() })
        }
        Request::Exec { command, stdin } => {
            program::run(&command, stdin, asks, answers).map(Reply::Ended)
        }
        Request::Daemon { command, log } => daemon(&command, &log),
        Request::Put { path, mode } => put(Path::new(&path), mode, &mut asks),
        Request::Get { path } => get(Path::new(&path), answers),
    }
}

/// A command with the environment that programs in a node have.
pub(super) fn command(spec: &CommandSpec) -> Result<Command> {
    let (program, args) = spec.argv.split_first().context("no program was named")?;
    let mut command = Command::new(find_program(program));
    command.args(args).env_clear();
    command.envs([("PATH", PATH), ("HOME", "/root"), ("USER", "root"), ("LOGNAME", "root")]);
    command.envs([("SHELL", "/bin/bash"), ("TERM", "xterm"), ("LANG", "C.UTF-8")]);
    command.envs(&spec.env);
    let cwd = spec.cwd.as_deref().unwrap_or("/root");
    ensure!(Path::new(cwd).is_dir(), "the working directory {cwd} does not exist");
    command.current_dir(cwd);
    Ok(command)
}

/// Looks a program up in the `PATH` it will have, which is not this server's own.
fn find_program(name: &str) -> PathBuf {
    if name.contains('/') {
        return name.into();
    }
    let candidates = PATH.split(':').map(|folder| Path::new(folder).join(name));
    candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| name.into())
}

/// Starts a program that stays: a session of its own, output to a log.
fn daemon(spec: &CommandSpec, log: &str) -> Result<Reply> {
    ensure!(!log.contains('/'), "a log's name has no `/`: {log}");
    fs::create_dir_all(LOGS).with_context(|| format!("cannot make {LOGS}"))?;
    let path = Path::new(LOGS).join(format!("{log}.log"));
    let log = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;

    let program = spec.argv.first().context("no program was named")?;
    let found = find_program(program);
    ensure!(found.is_file(), "cannot start `{program}`: no such program in {PATH}");
    // setsid(1) becomes the program: the process id stays.
    let mut argv = vec!["setsid".to_owned(), found.to_string_lossy().into_owned()];
    argv.extend_from_slice(&spec.argv[1..]);
    let mut command = command(&CommandSpec { argv, ..spec.clone() })?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot clone a log file")?)
        .stderr(log);
    let mut child =
        command.spawn().with_context(|| format!("cannot start `{}`", spec.argv.join(" ")))?;
    let pid = child.id();
    // This server stays its parent, and so has to take note of its end.
    thread::Builder::new().spawn(move || child.wait()).context("cannot start a thread")?;
    Ok(Reply::Started { pid })
}

fn put(path: &Path, mode: u32, asks: &mut Asks) -> Result<Reply> {
    ensure!(path.is_absolute(), "{}: a path in a node must be absolute", path.display());
    let folder = path.parent().context("a file's path is needed, not `/`")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut name = path.as_os_str().to_owned();
    name.push(".rampool-lab-new");
    let new = PathBuf::from(name);
    let stored = receive(&new, asks).and_then(|()| {
        fs::set_permissions(&new, fs::Permissions::from_mode(mode))
            .context("cannot set its permissions")?;
        fs::rename(&new, path).context("cannot rename it into its place")
    });
    if stored.is_err() {
        let _ = fs::remove_file(&new);
    }
    stored.with_context(|| format!("cannot store {}", path.display()))?;
    Ok(Reply::Done { mode })
}

fn receive(path: &Path, asks: &mut Asks) -> Result<()> {
    let mut file = File::create(path).context("cannot create it")?;
    loop {
        let frame = frame::read(asks).context("cannot read its content")?;
        match frame.as_ref().map(|f| f.kind) {
            Some(Kind::Stdin) => file
                .write_all(&frame.map(|f| f.payload).unwrap_or_default())
                .context("cannot write")?,
            Some(Kind::StdinEnd) => return Ok(()),
            Some(other) => bail!("a {other:?} frame came where content was due"),
            None => bail!("the lab hung up in the middle of the content"),
        }
    }
}

fn get(path: &Path, answers: &Answers) -> Result<Reply> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let meta = file.metadata().with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(!meta.is_dir(), "{} is a folder: only files can be fetched", path.display());
    let mut chunk = vec![0; frame::CHUNK];
    loop {
        let n = file.read(&mut chunk).with_context(|| format!("cannot read {}", path.display()))?;
        if n == 0 {
            return Ok(Reply::Done { mode: meta.permissions().mode() & 0o7777 });
        }
        answer(answers, Kind::Stdout, &chunk[..n]).context("cannot send")?;
    }
}
