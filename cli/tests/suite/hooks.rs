//! `rampool slurm`: the real program with Slurm's environments, a controller and an agent that are
//! fakes. Here what it asks the controller; `hooks_of_nodes` tells of the agent and of Slurm.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rampool_proto::tls::Credentials;
use rampool_proto::v1::*;
use tokio::process::Command;

use crate::cluster::{Said, Serving, authority, finish, program, serve_jobs, tls_files};
use crate::fake_agent::FakeAgent;
use crate::fake_jobs::{Asked, FakeJobs, Next};
use crate::slurms_environment::{Variables, of_slurmctld, of_slurmd};

/// Where nobody listens: port 1 of loopback.
pub(crate) const NOWHERE: &str = "127.0.0.1:1";

pub(crate) const FAKE_COMMAND: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../slurm/tests/fake-command");

/// A configuration of hooks, with what it names.
pub(crate) struct Site {
    dir: tempfile::TempDir,
    pub(crate) agent: FakeAgent,
    controller: Option<Serving>,
}

impl Site {
    /// One whose controller is somewhere, and whose hooks wait no longer than some seconds.
    pub(crate) fn new(controller: &str, deadline: u64, agent: FakeAgent) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = authority(dir.path(), &["controller=mds1", "slurm=slurm"]);
        let site = Self { dir, agent, controller: None };
        std::fs::create_dir(site.commands()).unwrap();
        site.scontrol(
            "case \"$*\" in *show*) echo NodeName=n3 State=IDLE ;; *) \
             printf '%s\\n' \"SLURM_CONF=$SLURM_CONF\" \"$@\" >>called ;; esac",
        );
        let tls = tls_files(&pki, "slurm-slurm");
        let text = format!(
            "controller: {controller}\nname: mds1\ncluster: spike\nfeatures: [moreIOPS]\n\
             deadline: {deadline}s\nnode_deadline: {deadline}s\ncommands: {}\n\
             tls: {{ca: {}, cert: {}, key: {}}}\n",
            site.commands().display(),
            tls.ca.display(),
            tls.cert.display(),
            tls.key.display()
        );
        std::fs::write(site.config(), text).unwrap();
        site
    }

    /// One with a fake controller.
    pub(crate) fn with(jobs: &FakeJobs, agent: FakeAgent) -> Self {
        Self::patient(jobs, 30, agent)
    }

    pub(crate) fn patient(jobs: &FakeJobs, deadline: u64, agent: FakeAgent) -> Self {
        // The address is known only when it is served, and the certificates only before.
        let mut site = Self::new(NOWHERE, deadline, agent);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let controller = serve_jobs(&site.credentials(), any, jobs.clone());
        site.move_to(&controller.address.to_string());
        site.controller = Some(controller);
        site
    }

    pub(crate) fn move_to(&self, controller: &str) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        let text = text.replace(NOWHERE, controller);
        std::fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn credentials(&self) -> Credentials {
        tls_files(&self.dir.path().join("pki"), "controller-mds1").load().unwrap()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("slurm.yaml")
    }

    fn commands(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    /// A fake scontrol that runs a line of shell.
    pub(crate) fn scontrol(&self, line: &str) {
        self.command_of_slurm("scontrol", line);
    }

    /// Any of Slurm's commands that runs a line of shell.
    pub(crate) fn command_of_slurm(&self, name: &str, line: &str) {
        let path = self.commands().join(name);
        let called = self.dir.path().join("called").display().to_string();
        let line = line.replace("called", &called);
        std::fs::write(path.with_extension("does"), line).unwrap();
        if !path.is_symlink() {
            std::os::unix::fs::symlink(FAKE_COMMAND, path).unwrap();
        }
    }

    /// What the fake scontrol was called with, a word a line.
    pub(crate) fn called(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("called")).unwrap_or_default()
    }

    /// `hook` may have words of its own behind its name.
    pub(crate) fn command(&self, hook: &str, variables: &Variables) -> Command {
        let (config, agent) = (self.config(), self.agent.folder());
        let mut command = program(&["slurm"]);
        command.args(hook.split(' ')).args([
            OsStr::new("--config"),
            config.as_os_str(),
            "--agent".as_ref(),
            agent.as_os_str(),
        ]);
        command.env_clear().envs(variables.iter());
        command
    }

    pub(crate) async fn run(&self, hook: &str, variables: &Variables) -> Said {
        finish(self.command(hook, variables)).await
    }
}

pub(crate) fn id() -> Option<JobId> {
    Some(JobId { cluster: "spike".into(), job: 7 })
}

fn well() -> FakeJobs {
    FakeJobs::playing(vec![Next::Send(EventKind::Started), Next::Send(EventKind::Finished)])
}

pub(crate) fn no_wish(variables: Variables) -> Variables {
    variables.without("SLURM_JOB_COMMENT").without("SLURM_JOB_CONSTRAINTS")
}

#[tokio::test]
async fn a_jobs_pool_is_asked_for_in_the_jobs_own_words() {
    let jobs = well();
    let site = Site::with(&jobs, FakeAgent::absent());
    let said = site.run("prolog-slurmctld", &of_slurmctld()).await;
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (0, "", ""));
    let wish = JobWish {
        constraints: "moreIOPS".into(),
        comment: "rampool:size=20G".into(),
        licenses: "rampool:20".into(),
    };
    let start = StartJobRequest {
        id: id(),
        wish: Some(wish),
        nodes: "n[2-3]".into(),
        user: "alice".into(),
        uid: 1001,
        gid: 1001,
    };
    assert_eq!(jobs.asked(), [Asked::Start(start)]);
    let [allowed] = jobs.allowed()[..] else { panic!("{:?}", jobs.allowed()) };
    assert!(allowed > Duration::from_secs(20) && allowed <= Duration::from_secs(30), "{allowed:?}");
}

#[tokio::test]
async fn the_end_of_a_job_is_told() {
    let jobs = well();
    let site = Site::with(&jobs, FakeAgent::absent());
    let ended = of_slurmctld()
        .with("SLURM_SCRIPT_CONTEXT", "epilog_slurmctld")
        .with("SLURM_JOB_EXIT_CODE2", "0:0");
    let said = site.run("epilog-slurmctld", &ended).await;
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    assert_eq!(jobs.asked(), [Asked::End(EndJobRequest { id: id(), ..EndJobRequest::default() })]);
    // The controller's patience ends before the hook's, so that its words arrive.
    let [patience] = jobs.patience()[..] else { panic!("{:?}", jobs.patience()) };
    assert!((20..=28).contains(&patience), "{patience}");
}

/// What slurmctld gives burst_buffer.lua: nothing that a hook could read.
fn of_burst_buffer() -> Variables {
    Variables::none()
}

#[tokio::test]
async fn what_a_waiting_job_asks_for_is_reserved_for_whom_slurm_names() {
    let jobs = well();
    let site = Site::with(&jobs, FakeAgent::absent());
    let row = r"7\037alice\0371001\0371002\037moreIOPS\037mine rampool:size=2G\036\n";
    site.command_of_slurm("squeue", &format!("printf '{row}'"));
    let said = site.run("bb-setup 7", &of_burst_buffer()).await;
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    let wish = JobWish {
        constraints: "moreIOPS".into(),
        comment: "mine rampool:size=2G".into(),
        licenses: String::new(),
    };
    let reserve = ReserveJobRequest {
        id: id(),
        wish: Some(wish),
        user: "alice".into(),
        uid: 1001,
        gid: 1002,
        patience_seconds: 0,
    };
    assert_eq!(jobs.asked(), [Asked::Reserve(reserve)]);
    let [patience] = jobs.patience()[..] else { panic!("{:?}", jobs.patience()) };
    assert!((20..=28).contains(&patience), "{patience}");
}

#[tokio::test]
async fn a_setup_fails_where_slurm_does_not_say_what_the_job_wants_or_whose_it_is() {
    let jobs = well();
    let site = Site::with(&jobs, FakeAgent::absent());
    site.command_of_slurm("squeue", "echo Unable to contact slurm controller >&2; exit 1");
    let said = site.run("bb-setup 7", &of_burst_buffer()).await;
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("ask Slurm what job 7 wants"), "{said:?}");
    for words in ["bb-setup", "bb-setup 7", "bb-setup root"] {
        assert_ne!(site.run(words, &of_burst_buffer()).await.code, 0, "{words}");
    }
    assert_eq!(jobs.asked(), []);
}

#[tokio::test]
async fn a_killed_setup_is_known_to_the_controller_at_once() {
    let jobs = FakeJobs::playing(vec![Next::Send(EventKind::Started), Next::Hang]);
    let site = Site::with(&jobs, FakeAgent::absent());
    site.command_of_slurm("squeue", r"printf '7\037alice\0371001\0371002\037moreIOPS\037\036\n'");
    let mut child = site.command("bb-setup 7", &of_burst_buffer()).spawn().unwrap();
    jobs.hear().await;
    child.kill().await.unwrap();
    jobs.lose().await;
}

#[tokio::test]
async fn a_teardown_takes_what_is_reserved_too() {
    let jobs = well();
    let site = Site::with(&jobs, FakeAgent::absent());
    let said = site.run("bb-teardown 7", &of_burst_buffer()).await;
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    let end = EndJobRequest { id: id(), reserved_too: true, ..EndJobRequest::default() };
    assert_eq!(jobs.asked(), [Asked::End(end)]);
}

#[tokio::test]
async fn a_job_without_a_wish_needs_neither_controller_nor_configuration() {
    let site = Site::new(NOWHERE, 30, FakeAgent::holding(&[]));
    let other =
        |variables: Variables| no_wish(variables).with("SLURM_JOB_CONSTRAINTS", "moreIOPS_big&ssd");
    for hook in ["prolog-slurmctld", "epilog-slurmctld"] {
        let said = site.run(hook, &other(of_slurmctld())).await;
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{hook}: {said:?}");
    }
    for hook in ["prolog", "epilog"] {
        let said = site.run(hook, &other(of_slurmd())).await;
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{hook}: {said:?}");
    }
    std::fs::remove_file(site.config()).unwrap();
    let mut commands = Vec::new();
    for hook in ["prolog-slurmctld", "epilog-slurmctld"] {
        commands.push((hook, no_wish(of_slurmctld())));
    }
    for hook in ["prolog", "epilog"] {
        commands.push((hook, no_wish(of_slurmd())));
    }
    for (hook, variables) in commands {
        let said = site.run(hook, &variables).await;
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{hook}: {said:?}");
    }
}

#[tokio::test]
async fn what_the_controller_refuses_fails_the_prolog_in_its_words() {
    let refusal = Failure::new(FailureKind::NotNow, "place 9 TiB").saying("2 TiB can be lent");
    let streamed = FakeJobs::playing(vec![Next::GiveUp(refusal.clone())]);
    for jobs in [FakeJobs::refusing(refusal), streamed] {
        let site = Site::with(&jobs, FakeAgent::absent());
        let said = site.run("prolog-slurmctld", &of_slurmctld()).await;
        assert_eq!(said.code, 1);
        assert_eq!(said.stderr, "rampool: place 9 TiB: 2 TiB can be lent\n");
        assert_eq!(jobs.asked().len(), 1, "a refusal is an answer");
    }
}

#[tokio::test]
async fn a_start_that_does_not_end_is_given_up_at_the_deadline() {
    let jobs = FakeJobs::playing(vec![Next::Send(EventKind::Started), Next::Hang]);
    let site = Site::patient(&jobs, 1, FakeAgent::absent());
    let said = site.run("prolog-slurmctld", &of_slurmctld()).await;
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("make the pool of job 7: no answer within 1 s"), "{said:?}");
    jobs.lose().await;
}

#[tokio::test]
async fn a_killed_prolog_is_known_to_the_controller_at_once() {
    let jobs = FakeJobs::playing(vec![Next::Send(EventKind::Started), Next::Hang]);
    let site = Site::with(&jobs, FakeAgent::absent());
    let mut child = site.command("prolog-slurmctld", &of_slurmctld()).spawn().unwrap();
    jobs.hear().await;
    child.kill().await.unwrap();
    jobs.lose().await;
}

#[tokio::test]
async fn a_controller_that_starts_meanwhile_is_found() {
    let site = Site::new(NOWHERE, 60, FakeAgent::absent());
    // A port that is free: it was just bound.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.move_to(&free.to_string());
    let hook = site.command("prolog-slurmctld", &of_slurmctld()).spawn().unwrap();
    let jobs = FakeJobs::playing(vec![Next::Hang]);
    let controller = serve_jobs(&site.credentials(), free, jobs.clone());
    jobs.hear().await;
    // It is lost in the middle, and asked again when it is back.
    controller.stop().await;
    let back = well();
    let _controller = serve_jobs(&site.credentials(), free, back.clone());
    let output = hook.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(back.asked().len(), 1);
}

#[tokio::test]
async fn a_controller_that_is_nowhere_fails_the_prolog_with_what_to_do() {
    let site = Site::new(NOWHERE, 1, FakeAgent::absent());
    let said = site.run("prolog-slurmctld", &of_slurmctld()).await;
    assert_eq!(said.code, 1);
    for words in ["make the pool of job 7", "not reached within 1 s", "is rampool-controller"] {
        assert!(said.stderr.contains(words), "{said:?}");
    }
    assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
}

#[tokio::test]
async fn a_controller_without_jobs_is_no_reason_to_wait() {
    let unable = FakeJobs::refusing(Failure::new(FailureKind::Failed, "x").saying("broken"));
    let site = Site::with(&unable, FakeAgent::absent());
    let said = site.run("epilog-slurmctld", &of_slurmctld()).await;
    assert_eq!((said.code, said.stderr.as_str()), (1, "rampool: x: broken\n"));
}

#[tokio::test]
async fn a_heterogeneous_job_is_refused_and_held() {
    let jobs = well();
    let site = Site::with(&jobs, FakeAgent::absent());
    let component = of_slurmctld().with("SLURM_HET_JOB_ID", "7").with("SLURM_HET_JOB_OFFSET", "0");
    let said = site.run("prolog-slurmctld", &component).await;
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("a heterogeneous job has no one set of nodes"), "{said:?}");
    assert_eq!(jobs.asked(), []);
    let called = site.called();
    assert!(called.contains("requeuehold\n7\n"), "{called}");
    assert!(called.contains("update\njobid=7\nadmincomment=rampool: make the pool"), "{called}");
    let without = no_wish(component);
    assert_eq!(site.run("prolog-slurmctld", &without).await.code, 0);
}

#[tokio::test]
async fn what_is_missing_is_said_in_one_sentence() {
    let site = Site::new(NOWHERE, 30, FakeAgent::absent());
    for (variables, words) in [
        (of_slurmctld().without("SLURM_JOB_ID"), "SLURM_JOB_ID is not set"),
        (of_slurmctld().with("SLURM_JOB_UID", "alice"), "SLURM_JOB_UID is \"alice\""),
        (of_slurmctld().with("SLURM_CLUSTER_NAME", "other"), "cluster is \"spike\""),
    ] {
        let said = site.run("prolog-slurmctld", &variables).await;
        assert_eq!(said.code, 1);
        assert!(said.stderr.contains(words), "{said:?}");
        assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
    }
    std::fs::remove_file(site.config()).unwrap();
    let said = site.run("prolog-slurmctld", &of_slurmctld()).await;
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("examples/slurm.yaml"), "{said:?}");
}

#[tokio::test]
async fn a_nodes_prolog_asks_whether_the_job_may_start_there() {
    let jobs = well();
    let site = Site::with(&jobs, FakeAgent::absent());
    let said = site.run("prolog", &of_slurmd()).await;
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    let wish = JobWish {
        constraints: "moreIOPS".into(),
        comment: "rampool:size=20G".into(),
        licenses: String::new(),
    };
    let admit =
        AdmitNodeRequest { id: id(), node: "n3".into(), wish: Some(wish), patience_seconds: 0 };
    assert_eq!(jobs.asked(), [Asked::Admit(admit)]);
    let [patience] = jobs.patience()[..] else { panic!("{:?}", jobs.patience()) };
    assert!((20..=28).contains(&patience), "less than the hook's own: {patience}");
}
