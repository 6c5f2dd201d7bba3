//! The command line.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use rampool_lab::{
    Init, Lab, Stream, doctor,
    guest::{init, server},
    image::{
        build::{ensure_image, machine_recipe},
        kernel::Kernel,
    },
    keeper, memory, state,
};

use crate::shell;

/// Prints a line; a reader that has gone (`| head`) is no reason to fail.
macro_rules! say {
    ($($text:tt)*) => {
        drop(writeln!(io::stdout(), $($text)*))
    };
}

/// A cluster of real Linux kernels in plain processes: nodes n1, n2, ... of a lab, in a network of their own.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Which lab.
    #[arg(long, global = true, env = "RAMPOOL_LAB", default_value = "default")]
    name: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a lab and boot its nodes; it stays until `down`.
    Up(Up),
    /// Run a program on a node: its output, input and exit code are passed through.
    Exec {
        /// The node.
        node: String,
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Open a shell on a node.
    Shell {
        /// The node.
        node: String,
    },
    /// Copy a file to a node.
    Put {
        /// The node.
        node: String,
        /// The file here.
        local: PathBuf,
        /// Its path there.
        remote: String,
    },
    /// Copy a file from a node.
    Get {
        /// The node.
        node: String,
        /// The file there.
        remote: String,
        /// Its path here.
        local: PathBuf,
    },
    /// Take a node's power away.
    Kill {
        /// The node.
        node: String,
    },
    /// Stop a node without its notice: it answers nobody, and loses nothing.
    Pause {
        /// The node.
        node: String,
    },
    /// Let a paused node go on.
    Resume {
        /// The node.
        node: String,
    },
    /// Take a node's data link away, silently. `exec` still reaches it.
    Cut {
        /// The node.
        node: String,
    },
    /// Give a node's data link back.
    Heal {
        /// The node.
        node: String,
    },
    /// Switch a node on again: memory and files are empty.
    Boot {
        /// The node.
        node: String,
    },
    /// Print what a node's kernel and first process have said.
    Console {
        /// The node.
        node: String,
        /// Go on printing until interrupted.
        #[arg(short, long)]
        follow: bool,
    },
    /// Make a program visible to all nodes in /opt/rampool/bin, first in their PATH.
    Stage {
        /// The programs here.
        #[arg(required = true)]
        programs: Vec<PathBuf>,
    },
    /// Show all labs and their nodes.
    Status,
    /// End a lab: nothing of it stays.
    Down,
    /// Build the root image, if the cache does not have it.
    Image,
    /// Say what this machine lacks to run a lab.
    Doctor,
    /// (Internal) The parent of a lab's keeper.
    #[command(hide = true)]
    Keeper(Keeper),
    /// (Internal) A lab's keeper.
    #[command(hide = true)]
    Keep(Keeper),
    /// (Internal) A node's first process.
    #[command(hide = true)]
    GuestInit,
    /// (Internal) A node's exec server.
    #[command(hide = true)]
    Guest,
}

#[derive(Debug, Args)]
struct Up {
    /// How many nodes.
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// Memory of each node, like 512M or 1G.
    #[arg(long, visible_alias = "memory", default_value = "1G", value_parser = memory::parse_mib)]
    mem: u64,
    /// A root image of one's own.
    #[arg(long)]
    image: Option<PathBuf>,
    /// What runs as each node's first process.
    #[arg(long, value_enum, default_value_t = InitArg::Plain)]
    init: InitArg,
    /// A program to make visible to all nodes (may be given several times).
    #[arg(long)]
    stage: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum InitArg {
    /// A small init of the lab's own: at the prompt within seconds.
    Plain,
    /// systemd with udev and all that Debian starts by default for disks.
    Systemd,
}

#[derive(Debug, Args)]
struct Keeper {
    /// The lab's state folder.
    folder: PathBuf,
}

impl Cli {
    /// Does what the command line says.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let name = self.name.as_str();
        let lab = || Lab::attach(name);
        match self.what {
            What::Up(up) => up.run(name)?,
            What::Exec { node, command } => return exec(&lab()?, &node, command),
            What::Shell { node } => return shell::run(lab()?.node(&node)?),
            What::Put { node, local, remote } => lab()?.node(&node)?.put(local, &remote)?,
            What::Get { node, remote, local } => lab()?.node(&node)?.get(&remote, local)?,
            What::Kill { node } => lab()?.node(&node)?.kill()?,
            What::Pause { node } => lab()?.node(&node)?.pause()?,
            What::Resume { node } => lab()?.node(&node)?.resume()?,
            What::Cut { node } => lab()?.node(&node)?.cut()?,
            What::Heal { node } => lab()?.node(&node)?.heal()?,
            What::Boot { node } => lab()?.node(&node)?.boot()?,
            What::Console { node, follow } => return console(&lab()?, &node, follow),
            What::Stage { programs } => {
                let lab = lab()?;
                programs.iter().try_for_each(|program| lab.stage_binary(program))?;
            }
            What::Status => status()?,
            What::Down => down(name)?,
            What::Image => say!("{}", image()?.display()),
            What::Doctor => return Ok(examine()),
            What::Keeper(keeper) => return keeper::enter(&keeper.folder),
            What::Keep(keeper) => keeper::keep(&keeper.folder)?,
            What::GuestInit => init::run()?,
            What::Guest => server::serve()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Up {
    fn run(self, name: &str) -> Result<()> {
        let started = Instant::now();
        let init = match self.init {
            InitArg::Plain => Init::Plain,
            InitArg::Systemd => Init::Systemd,
        };
        let mut builder = Lab::builder(name)
            .nodes(self.nodes)
            .memory_mib(self.mem)
            .init(init)
            .binaries(self.stage);
        if let Some(image) = self.image {
            builder = builder.image(image);
        }
        builder.detached().boot()?;
        say!("lab {name}: {} nodes up in {:.1} s", self.nodes, started.elapsed().as_secs_f64());
        say!("enter one:  rampool-lab --name {name} shell n1");
        say!("end it:     rampool-lab --name {name} down");
        Ok(())
    }
}

fn exec(lab: &Lab, node: &str, command: Vec<String>) -> Result<ExitCode> {
    let mut process = lab.node(node)?.command(command).open_stdin().no_timeout().spawn()?;
    process.feed_stdin(io::stdin())?;
    while let Some((stream, bytes)) = process.next_output()? {
        let written = match stream {
            Stream::Stdout => io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush()),
            Stream::Stderr => io::stderr().write_all(&bytes),
        };
        if written.is_err() {
            // Whoever read our output has gone (`| head`): the program is killed as this process hangs up.
            break;
        }
    }
    let code = process.status().map_or(141, rampool_lab::ExitStatus::shell_code);
    Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)))
}

fn console(lab: &Lab, node: &str, follow: bool) -> Result<ExitCode> {
    let path = lab.state_folder().join(format!("{}.console.log", lab.node(node)?.id()));
    let mut command = std::process::Command::new(if follow { "tail" } else { "cat" });
    if follow {
        command.args(["-n", "+1", "-F"]);
    }
    let status =
        command.arg(&path).status().with_context(|| format!("cannot print {}", path.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn status() -> Result<()> {
    let labs = state::all()?;
    if labs.is_empty() {
        say!("no lab");
    }
    for (name, state) in labs {
        if !state.is_alive()? {
            say!("{name}: dead (the next up or down removes it)");
            continue;
        }
        say!("{name}: {}", state.folder().display());
        for node in Lab::attach(&name).and_then(|lab| lab.status())? {
            let link = if node.cut { "cut" } else { "linked" };
            say!(
                "  {:<5} {:<7} {link:<7} {}  boots {}",
                node.node,
                node.power,
                node.node.data_addr(),
                node.boots
            );
        }
    }
    Ok(())
}

fn down(name: &str) -> Result<()> {
    let named = state::State::of(name)?;
    let was_there = named.folder().exists();
    if named.is_alive()? {
        Lab::attach(name)?.take_down()?;
        say!("lab {name}: gone");
    }
    for removed in state::remove_dead()? {
        say!("lab {removed}: was dead, removed what it left");
    }
    ensure!(was_there, "there is no lab `{name}`: rampool-lab status shows which there are");
    Ok(())
}

fn image() -> Result<PathBuf> {
    let recipe = machine_recipe(&Kernel::find()?.release)?;
    ensure_image(&recipe, |step| eprintln!("rampool-lab: {step}"))
}

fn examine() -> ExitCode {
    let colour = io::stdout().is_terminal();
    let mut lacking = 0_u32;
    for finding in doctor::examine() {
        let (word, code, text) = match &finding.result {
            Ok(text) => ("ok", 32, text),
            Err(text) => ("MISSING", 31, text),
        };
        lacking += u32::from(finding.result.is_err());
        if colour {
            say!("\x1b[{code}m{word:<8}\x1b[0m{:<22}{text}", finding.what);
        } else {
            say!("{word:<8}{:<22}{text}", finding.what);
        }
    }
    if lacking == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
