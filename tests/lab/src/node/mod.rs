//! One node: power, network, commands; its files are in `files`, processes' memory in `memory`, what all of it is made of in `talk`.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    command::Command,
    exec::{
        CommandSpec, ExitStatus, Reply, Request,
        process::{Output, Stream},
    },
    guest::config::GuestConfig,
    keeper::control::{Ask, NodeStatus},
    lab::{Init, Shared},
    names::NodeId,
};

/// How long a node may take to answer a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a node may take from power to prompt. (Seconds are normal; a busy machine may need more.)
const BOOT_TIMEOUT: Duration = Duration::from_secs(120);

mod files;
mod memory;
mod talk;

/// A handle on a node of a lab. Cheap to clone; of no use once the lab is gone.
#[derive(Clone)]
pub struct Node {
    id: NodeId,
    lab: Arc<Shared>,
}

impl Node {
    pub(crate) fn new(id: NodeId, lab: &Arc<Shared>) -> Self {
        Self { id, lab: Arc::clone(lab) }
    }

    /// Which node it is.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Its name, which is its host name too.
    #[must_use]
    pub fn name(&self) -> String {
        self.id.to_string()
    }

    /// Its address on the data network.
    #[must_use]
    pub fn data_addr(&self) -> Ipv4Addr {
        self.id.data_addr()
    }

    /// Its address on its management link, which is never cut.
    #[must_use]
    pub fn management_addr(&self) -> Ipv4Addr {
        self.id.management_addr()
    }

    /// How it is.
    ///
    /// # Errors
    /// When the lab's keeper does not answer.
    pub fn status(&self) -> Result<NodeStatus> {
        self.ask(Ask::Status)
    }

    /// Switches it on, memory and file system empty, and waits until it is at its prompt, has its persistent files, and
    /// has run its boot scripts. Under systemd: until that has started all it wants to start.
    ///
    /// # Errors
    /// When it runs already, does not come up (the error quotes its console), or a boot script fails.
    pub fn boot(&self) -> Result<()> {
        let boots = self.ask(Ask::Boot(self.id))?.boots;
        self.wait_for_prompt(boots)?;
        if self.lab.spec.init == Init::Systemd {
            self.wait_for_systemd()?;
        }
        for script in GuestConfig::read(&self.lab.state.node(self.id))?.on_boot {
            self.sh(&script).with_context(|| format!("node {}: a boot script failed", self.id))?;
        }
        Ok(())
    }

    /// Takes its power away.
    ///
    /// # Errors
    /// When the lab's keeper cannot do it.
    pub fn kill(&self) -> Result<()> {
        self.ask(Ask::Kill(self.id)).map(drop)
    }

    /// Stops it without its notice: it answers nobody, and loses nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.ask(Ask::Pause(self.id)).map(drop)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.ask(Ask::Resume(self.id)).map(drop)
    }

    /// Takes its data link away, silently: its interface stays up. Commands still reach it.
    ///
    /// # Errors
    /// When the lab's keeper cannot do it.
    pub fn cut(&self) -> Result<()> {
        self.ask(Ask::Cut(self.id)).map(drop)
    }

    /// Gives it back.
    ///
    /// # Errors
    /// When the lab's keeper cannot do it.
    pub fn heal(&self) -> Result<()> {
        self.ask(Ask::Heal(self.id)).map(drop)
    }

    /// A program to run there; say more about it, then [`Command::output`], [`Command::spawn`] or [`Command::stream`].
    pub fn command(&self, argv: impl IntoIterator<Item = impl Into<String>>) -> Command {
        Command::new(self, argv.into_iter().map(Into::into).collect())
    }

    /// Runs a program and collects what it says.
    ///
    /// # Errors
    /// Those of [`Command::output`].
    pub fn exec(&self, argv: impl IntoIterator<Item = impl Into<String>>) -> Result<Output> {
        self.command(argv).output()
    }

    /// Runs a program and gives each line of its output to `on_line` as it comes.
    ///
    /// # Errors
    /// Those of [`Command::output`].
    pub fn exec_streaming(
        &self,
        argv: impl IntoIterator<Item = impl Into<String>>,
        on_line: impl FnMut(Stream, &str),
    ) -> Result<ExitStatus> {
        self.command(argv).stream(on_line)
    }

    /// Runs a shell script and returns its standard output, without white space at both ends.
    ///
    /// # Errors
    /// When it does not end with code 0: names node, script, how it ended and what it said.
    pub fn sh(&self, script: &str) -> Result<String> {
        self.exec(["sh", "-c", script])?.ok()
    }

    /// Starts a program that stays when nobody is connected: output to `/var/log/rampool/<log>.log`. Returns its
    /// process id there.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn daemon(
        &self,
        log: &str,
        argv: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<u32> {
        let argv = argv.into_iter().map(Into::into).collect();
        let command = CommandSpec { argv, ..CommandSpec::default() };
        match self
            .request(&Request::Daemon { command, log: log.to_owned() })?
            .reply(deadline(CONNECT_TIMEOUT))?
        {
            Reply::Started { pid } => Ok(pid),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Its kernel's boot id: another one after each boot.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn boot_id(&self) -> Result<String> {
        self.hello(self.status()?.boots, CONNECT_TIMEOUT)
    }
}

fn deadline(timeout: Duration) -> Option<Instant> {
    Some(Instant::now() + timeout)
}
