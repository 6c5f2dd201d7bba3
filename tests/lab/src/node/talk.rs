//! How a node is spoken to: through the lab's keeper about its power, through its exec server about all else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{BOOT_TIMEOUT, CONNECT_TIMEOUT, Node, deadline};
use crate::{
    exec::{
        Reply, Request,
        client::{Connection, Liveness},
    },
    files,
    keeper::control::{self, Ask, NodeStatus, Power},
};

impl Node {
    /// Sends a request to its exec server.
    pub(crate) fn request(&self, request: &Request) -> Result<Connection> {
        self.request_within(request, CONNECT_TIMEOUT)
    }

    /// The same, with less patience for a node that does not answer.
    pub(crate) fn request_within(
        &self,
        request: &Request,
        timeout: Duration,
    ) -> Result<Connection> {
        let status = self.status()?;
        ensure!(
            matches!(status.power, Power::On | Power::Paused),
            "node {} is {}",
            self.id,
            status.power
        );
        self.connect(request, status.boots, timeout.min(CONNECT_TIMEOUT))
    }

    /// Prints the ends of its console and logs to standard error.
    pub(crate) fn dump(&self) {
        eprintln!(
            "---- {}: console\n{}",
            self.id,
            files::tail(&self.lab.state.console(self.id), 60).trim_end()
        );
        let script = "cd /var/log/rampool && tail -n 80 -v *.log; \
                      [ ! -d /run/systemd/system ] || journalctl -q -b --no-pager -n 60 -u 'rampool*' -p debug";
        let on = self.status().is_ok_and(|status| status.power == Power::On);
        let logs = on
            .then(|| self.command(["sh", "-c", script]).timeout(Duration::from_secs(10)).output());
        match logs {
            Some(Ok(output)) => {
                eprintln!("---- {}: logs\n{}", self.id, output.stdout_text().trim_end());
            }
            Some(Err(e)) => eprintln!("---- {}: its logs cannot be had: {e:#}", self.id),
            None => eprintln!("---- {}: not running, its logs are gone", self.id),
        }
    }

    pub(super) fn ask(&self, ask: Ask) -> Result<NodeStatus> {
        let all = control::ask(self.lab.state.folder(), ask)?;
        all.into_iter()
            .find(|status| status.node == self.id)
            .with_context(|| format!("no node {}", self.id))
    }

    fn connect(&self, request: &Request, boots: u32, timeout: Duration) -> Result<Connection> {
        Connection::open(&self.lab.netns, self.id, request, timeout, self.liveness(boots))
    }

    /// Tells whether this node still runs, and in the boot that a connection was made to.
    fn liveness(&self, boots: u32) -> Liveness {
        let node = self.clone();
        Arc::new(move || {
            let status = node.status()?;
            match status.power {
                Power::On | Power::Paused if status.boots == boots => Ok(()),
                Power::On | Power::Paused => bail!("node {} was booted again meanwhile", node.id),
                Power::Off => bail!("node {} lost its power", node.id),
                Power::Ended => bail!("node {} halted or crashed (see its console)", node.id),
            }
        })
    }

    pub(super) fn hello(&self, boots: u32, timeout: Duration) -> Result<String> {
        let connection = self.connect(&Request::Hello, boots, timeout)?;
        match connection.reply(deadline(timeout.max(Duration::from_secs(5))))? {
            Reply::Hello { boot_id } => Ok(boot_id),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Nothing tells from outside when a kernel has booted, so its exec server is called until it answers.
    pub(super) fn wait_for_prompt(&self, boots: u32) -> Result<()> {
        let started = Instant::now();
        loop {
            // Short at first, for speed; longer later, for machines so busy that an answer takes its time.
            let patience = if started.elapsed() < Duration::from_secs(8) { 150 } else { 2000 };
            let Err(error) = self.hello(boots, Duration::from_millis(patience)) else {
                return Ok(());
            };
            let dead = self.liveness(boots)().err();
            if dead.is_some() || started.elapsed() > BOOT_TIMEOUT {
                let console = files::tail(&self.lab.state.console(self.id), 30);
                let error = dead.unwrap_or(error);
                return Err(error).with_context(|| {
                    format!("node {} did not come up; its console:\n{console}", self.id)
                });
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    pub(super) fn wait_for_systemd(&self) -> Result<()> {
        let wait = self.command(["systemctl", "is-system-running", "--wait"]).timeout(BOOT_TIMEOUT);
        let output =
            wait.output().with_context(|| format!("node {}: systemd does not come up", self.id))?;
        match output.stdout_text().trim() {
            "running" | "degraded" => Ok(()),
            other => {
                bail!("node {}: systemd is `{other}`: {}", self.id, output.stderr_text().trim())
            }
        }
    }

    pub(super) fn unexpected(&self, reply: &Reply) -> anyhow::Error {
        anyhow!("node {}: an unexpected reply: {reply:?}", self.id)
    }
}
