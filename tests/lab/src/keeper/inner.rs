//! The keeper proper: mounts, network, nodes; then it answers requests until its owner is gone.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::{fs::DirBuilderExt, net::UnixStream},
    path::Path,
    process::exit,
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, ensure};
use nix::{
    mount::{MsFlags, mount},
    sys::{prctl::set_pdeathsig, signal::Signal},
};

use super::{
    clocks,
    control::{self, Answer, Ask, LabSpec, PROTOCOL},
    links,
    table::Table,
    uml::{IMAGE, INITRAMFS, MEMORY, SHARE, SHIM, UML_DIR},
};
use crate::{
    image::{initramfs, kernel::Kernel},
    launch::{READY, RELEASE},
    state::State,
};

/// The library that lets UML run on CPUs with a large XSAVE area (see `xsave_shim.c`).
const XSAVE_SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/xsave_shim.so"));

/// Runs `rampool-lab keep`: process 1 of the lab. Returns only with an error; it ends by [`exit`], and all with it.
///
/// # Errors
/// When the lab cannot be set up.
pub fn keep(folder: &Path) -> Result<()> {
    ensure!(
        std::process::id() == 1,
        "`rampool-lab keep` is for process 1 of a lab alone: use `rampool-lab up`"
    );
    // Its parent waits for it, and is what others know. One must not live without the other.
    set_pdeathsig(Signal::SIGKILL).context("cannot tie the keeper to its parent")?;
    thread::Builder::new().spawn(end_with_owner).context("cannot start a thread")?;
    let state = State::at(folder);
    let spec = read_spec(&state)?;
    mount_own(&spec, &state)?;
    links::make(spec.nodes)?;
    let listener = control::listen(folder)?;
    let table = Arc::new(Table::new(spec, state));
    clocks::keep_going(&table)?;

    let mut stdout = std::io::stdout();
    writeln!(stdout, "{READY}").and_then(|()| stdout.flush()).context("cannot tell the owner")?;

    for stream in listener.incoming() {
        let stream = stream.context("cannot accept a request")?;
        let table = Arc::clone(&table);
        thread::Builder::new()
            .spawn(move || serve(stream, &table))
            .context("cannot start a thread")?;
    }
    Ok(())
}

/// Waits until the owner has hung up, by its own will or because it is dead; then ends the lab. An owner that wants the
/// lab to stay says so first.
fn end_with_owner() {
    let mut word = [0_u8];
    if std::io::stdin().read_exact(&mut word).is_ok() && word == [RELEASE] {
        return;
    }
    eprintln!("rampool-lab: the lab's owner is gone");
    exit(0);
}

fn serve(mut stream: UnixStream, table: &Arc<Table>) {
    let ask = control::receive::<Ask>(&stream);
    let answer: Answer = match &ask {
        Ok(ask) => table.carry_out(*ask).map_err(|e| format!("{e:#}")),
        Err(e) => Err(format!("{e:#}")),
    };
    // Who asked may be gone: the answer is then nobody's.
    let _ = control::send(&mut stream, &answer);
    if matches!(ask, Ok(Ask::Shutdown)) {
        exit(0);
    }
}

fn read_spec(state: &State) -> Result<LabSpec> {
    let text = fs::read(state.spec())
        .with_context(|| format!("cannot read {}", state.spec().display()))?;
    let spec: LabSpec = serde_json::from_slice(&text).context("lab.json is not understood")?;
    ensure!(
        spec.protocol == PROTOCOL,
        "this rampool-lab is of another build than the program that uses it: cargo build -p rampool-lab"
    );
    Ok(spec)
}

/// Mounts what the kernels need, where only the lab's processes see it: nothing of it can be left behind.
///
/// Their memory files are on a tmpfs of the lab's own, because `/dev/shm` may be as small as 64 MB in a container.
fn mount_own(spec: &LabSpec, state: &State) -> Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("cannot make the mounts private")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none)
        .context("cannot mount /proc")?;

    let run = state.run();
    make_folder(&run)?;
    let size = format!("size={}m,mode=700", 64 + u64::from(spec.nodes) * (spec.memory_mib + 16));
    mount(Some("rampool-lab"), &run, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
        .with_context(|| format!("cannot mount a tmpfs on {}", run.display()))?;
    for folder in [MEMORY, UML_DIR, SHARE, "share/bin", "share/modules", "share/nodes"] {
        make_folder(&run.join(folder))?;
    }
    bind(&state.binaries(), &run.join("share/bin"))?;
    bind(&state.nodes(), &run.join("share/nodes"))?;
    bind(&spec.modules, &run.join("share/modules"))?;
    let image = run.join(IMAGE);
    File::create(&image).with_context(|| format!("cannot make {}", image.display()))?;
    bind(&spec.image, &image)?;

    let kernel = Kernel::find()?;
    write(&run.join(INITRAMFS), &initramfs::make(&kernel)?)?;
    write(&run.join(SHIM), XSAVE_SHIM)
}

fn make_folder(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

/// Shows `source` at `target` as well, for reading alone.
fn bind(source: &Path, target: &Path) -> Result<()> {
    let none = None::<&str>;
    let bound = mount(Some(source), target, none, MsFlags::MS_BIND, none);
    bound.with_context(|| format!("cannot bind {} to {}", source.display(), target.display()))?;
    let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, target, none, read_only, none)
        .with_context(|| format!("cannot protect {}", source.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
