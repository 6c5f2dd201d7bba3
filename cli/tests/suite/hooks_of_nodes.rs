//! `rampool slurm` on a node: what its agent knows, and what Slurm is told where nobody knows.

use rampool_proto::job_socket::{Answer, Question, Task};
use rampool_proto::v1::*;

use crate::fake_agent::FakeAgent;
use crate::fake_jobs::{Asked, FakeJobs};
use crate::hooks::{NOWHERE, Site, id, no_wish};
use crate::slurms_environment::{of_slurmd, of_task};

fn refusing() -> FakeJobs {
    FakeJobs::refusing(
        Failure::new(FailureKind::Busy, "let job 7 start on n3").saying("job 5 is still there"),
    )
}

#[tokio::test]
async fn a_node_that_holds_something_is_asked_about_for_every_job() {
    for agent in [FakeAgent::holding(&["job-5-1"]), FakeAgent::killed().noting(5)] {
        let jobs = FakeJobs::default();
        let site = Site::with(&jobs, agent);
        assert_eq!(site.run("prolog", &no_wish(of_slurmd())).await.code, 0);
        let admit =
            AdmitNodeRequest { id: id(), node: "n3".into(), wish: None, patience_seconds: 0 };
        assert_eq!(jobs.asked(), [Asked::Admit(admit)]);

        let site = Site::with(&refusing(), FakeAgent::holding(&["job-5-1"]));
        let said = site.run("prolog", &no_wish(of_slurmd())).await;
        assert_eq!(said.code, 1);
        assert_eq!(said.stderr, "rampool: let job 7 start on n3: job 5 is still there\n");
    }
}

#[tokio::test]
async fn a_silent_agent_without_notes_stops_no_job_that_wants_nothing() {
    let site = Site::new(NOWHERE, 30, FakeAgent::killed());
    let said = site.run("prolog", &no_wish(of_slurmd())).await;
    assert_eq!(said.code, 0);
    assert!(said.stderr.contains("it has no note of a job: this one starts"), "{said:?}");
    let site = Site::new(NOWHERE, 30, FakeAgent::absent());
    let said = site.run("prolog", &no_wish(of_slurmd())).await;
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "no agent ever ran here");
}

#[tokio::test]
async fn a_task_is_told_its_path_once_with_the_lines_for_the_output() {
    let task = Task {
        path: "/rampool/7".into(),
        lines: vec!["20 GiB on n2".into(), "it is volatile".into()],
        remarks: vec!["no memory limit here".into()],
    };
    let agent = FakeAgent::answering(&Answer::Task(task)).noting(7);
    let site = Site::new(NOWHERE, 30, agent);
    let said = site.run("task-prolog", &of_task()).await;
    assert_eq!(said.code, 0, "{said:?}");
    let told = "export RAMPOOL_DIR=/rampool/7\nprint 20 GiB on n2\nprint it is volatile\n";
    assert_eq!(said.stdout, told);
    assert_eq!(said.stderr, "rampool: no memory limit here\n");
    assert_eq!(site.agent.asked(), [Question::Task(7)]);
}

#[tokio::test]
async fn a_task_of_a_job_without_a_pool_asks_nobody() {
    let site = Site::new(NOWHERE, 30, FakeAgent::holding(&[]).noting(5).signed(7, "without\n"));
    let said = site.run("task-prolog", &of_task()).await;
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (0, "", ""));
    assert_eq!(site.agent.asked(), []);
}

#[tokio::test]
async fn a_task_does_not_start_where_the_prolog_did_not_let_its_job_in() {
    let task = Answer::Task(Task { path: "/rampool/7".into(), ..Task::default() });
    for sign in ["closed\n", "ope", ""] {
        let site = Site::new(NOWHERE, 30, FakeAgent::answering(&task).noting(7).signed(7, sign));
        let said = site.run("task-prolog", &of_task()).await;
        assert_eq!(said.code, 1, "{sign:?}: {said:?}");
        assert!(said.stdout.contains("Prolog did not let the job in"), "{said:?}");
    }
    let site = Site::new(NOWHERE, 30, FakeAgent::answering(&task).signed(7, "open\n"));
    let said = site.run("task-prolog", &of_task()).await;
    assert_eq!((said.code, said.stdout.as_str()), (0, "export RAMPOOL_DIR=/rampool/7\n"));
}

#[tokio::test]
async fn where_no_prolog_ran_slurm_says_what_the_job_wants() {
    let refused = || FakeAgent::answering(&Answer::Refused("no scratch for job 7".into()));
    for (row, code, words) in [
        ("moreIOPS&ssd\\037(null)", 1, "no scratch for job 7"),
        ("(null)\\037mine rampool:size=1G", 1, "no scratch for job 7"),
        ("ssd|x\\037mine\\tand another\\nof two lines", 0, ""),
        ("(null)\\037(null)", 0, ""),
    ] {
        let site = Site::new(NOWHERE, 30, refused());
        let row = format!("7\\037alice\\0371001\\0371001\\037{row}\\036\\n");
        site.command_of_slurm("squeue", &format!("printf '{row}'"));
        let said = site.run("task-prolog", &of_task()).await;
        assert_eq!(said.code, code, "{row}: {said:?}");
        assert!(said.stdout.contains(words), "{row}: {said:?}");
        assert!(said.stdout.is_empty() || said.stdout.starts_with("print rampool: "), "{said:?}");
    }
    let site = Site::new(NOWHERE, 30, refused());
    for row in ["8\\037eve\\0371002\\0371002\\037\\037\\036", ""] {
        site.command_of_slurm("squeue", &format!("printf '{row}'"));
        let said = site.run("task-prolog", &of_task()).await;
        assert_eq!(said.code, 1, "{row}: {said:?}");
        assert!(said.stdout.contains("no row of job 7"), "{row}: {said:?}");
    }
    site.command_of_slurm("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1");
    let said = site.run("task-prolog", &of_task()).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.contains("ask Slurm what job 7 wants"), "{said:?}");
}

#[tokio::test]
async fn a_prolog_leaves_its_word_for_the_tasks_and_an_epilog_takes_it_away() {
    let (well, silent) = (FakeJobs::default(), Site::new(NOWHERE, 1, FakeAgent::absent()));
    for (site, variables, code, sign) in [
        (Site::with(&well, FakeAgent::absent()), of_slurmd(), 0, "open\n"),
        (Site::with(&refusing(), FakeAgent::absent()), of_slurmd(), 1, "closed\n"),
        (silent, of_slurmd(), 1, "closed\n"),
        (Site::new(NOWHERE, 30, FakeAgent::holding(&[])), no_wish(of_slurmd()), 0, "without\n"),
        // Of a run before.
        (
            Site::with(&refusing(), FakeAgent::absent().signed(7, "open\n")),
            of_slurmd(),
            1,
            "closed\n",
        ),
    ] {
        assert_eq!(site.run("prolog", &variables).await.code, code);
        assert_eq!(site.agent.sign(7).as_deref(), Some(sign));
        site.run("epilog", &variables).await;
        assert_eq!(site.agent.sign(7), None);
    }
}

#[tokio::test]
async fn a_sign_that_cannot_be_left_stops_no_job_that_wants_nothing() {
    let agent = || {
        let agent = FakeAgent::holding(&[]);
        std::fs::write(agent.folder().join("prolog"), "").unwrap();
        agent
    };
    let site = Site::new(NOWHERE, 30, agent());
    let said = site.run("prolog", &no_wish(of_slurmd())).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("leave a sign for the job's tasks"), "{said:?}");
    let site = Site::with(&FakeJobs::default(), agent());
    assert_eq!(site.run("prolog", &of_slurmd()).await.code, 1, "this one is not let in");
}

#[tokio::test]
async fn a_task_does_not_start_without_its_scratch() {
    let refused = FakeAgent::answering(&Answer::Refused("the mount is gone".into()));
    let nowhere = Answer::Task(Task { path: "rampool/7".into(), ..Task::default() });
    for (agent, words) in [
        (refused, "the mount is gone"),
        (FakeAgent::killed(), "cannot be asked"),
        (FakeAgent::answering(&nowhere), "\"rampool/7\" is none"),
    ] {
        let site = Site::new(NOWHERE, 30, agent.noting(7));
        let said = site.run("task-prolog", &of_task()).await;
        assert_eq!(said.code, 1, "{words}: {said:?}");
        assert!(said.stderr.contains(words), "{said:?}");
        let print = said.stdout.strip_prefix("print rampool: ").unwrap();
        assert!(print.contains(words) && print.lines().count() == 1, "{said:?}");
        assert!(!said.stdout.contains("export"), "{said:?}");
    }
}

#[tokio::test]
async fn a_job_leaves_its_node_where_there_is_any_sign_of_its_pool() {
    let no_words = no_wish(of_slurmd());
    for (agent, variables) in [
        (FakeAgent::absent(), of_slurmd()),
        (FakeAgent::absent().noting(7), no_words.clone()),
        (FakeAgent::holding(&["job-5-1", "job-7-2"]), no_words.clone()),
    ] {
        let jobs = FakeJobs::default();
        let site = Site::with(&jobs, agent);
        let said = site.run("epilog", &variables).await;
        assert_eq!((said.code, said.stderr.as_str()), (0, ""));
        let leave = LeaveNodeRequest { id: id(), node: "n3".into(), patience_seconds: 0 };
        assert_eq!(jobs.asked(), [Asked::Leave(leave)]);
        assert_eq!(site.called(), "");
    }
    for agent in [FakeAgent::holding(&["job-5-1", "demo"]), FakeAgent::killed().noting(5)] {
        let site = Site::new(NOWHERE, 30, agent);
        let said = site.run("epilog", &no_words).await;
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "nothing of this job is here");
    }
}

#[tokio::test]
async fn a_node_that_is_not_known_to_be_free_is_drained_with_the_reason() {
    let silent = Site::patient(&FakeJobs::silent(), 1, FakeAgent::absent());
    let nowhere = Site::new(NOWHERE, 1, FakeAgent::absent());
    let refused = Site::with(&refusing(), FakeAgent::absent());
    for (site, words) in [
        (silent, "free what job 7 had on n3"),
        (nowhere, "free what job 7 had on n3"),
        (refused, "job 5 is still there"),
    ] {
        let said = site.run("epilog", &of_slurmd()).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.stderr.starts_with("rampool: ") && said.stderr.lines().count() == 1);
        let called = site.called();
        let begins = "SLURM_CONF=/etc/slurm/slurm.conf\nupdate\nnodename=n3\nstate=drain\n\
                      reason=rampool: memory of job 7 not known to be free: ";
        assert!(called.starts_with(begins) && called.contains(words), "{called}");
    }
}

#[tokio::test]
async fn a_hook_that_cannot_be_configured_drains_its_node_too() {
    let site = Site::new(NOWHERE, 30, FakeAgent::absent());
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), text.replace("slurm.key", "none.key")).unwrap();
    let said = site.run("epilog", &of_slurmd()).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("none.key"), "{said:?}");
    assert!(site.called().contains("state=drain"), "{}", site.called());
}

#[tokio::test]
async fn a_node_that_slurm_does_not_drain_fails_its_epilog_with_both_sentences() {
    for (line, words) in [
        ("echo 'slurm_update error: Invalid user id' >&2; exit 1", "Invalid user id"),
        ("case $* in *show*) echo NodeName=n3 State=IDLE ;; *) echo odd ;; esac", "odd"),
        ("echo odd", "no NodeName="),
    ] {
        let site = Site::new(NOWHERE, 1, FakeAgent::absent());
        site.scontrol(line);
        let said = site.run("epilog", &of_slurmd()).await;
        assert_eq!(said.code, 1, "{said:?}");
        let sentences: Vec<_> = said.stderr.lines().collect();
        assert_eq!(sentences.len(), 2, "{said:?}");
        assert!(sentences[0].contains("not reached within 1 s"), "{said:?}");
        assert!(sentences[1].contains("n3 in Slurm") && sentences[1].contains(words), "{said:?}");
    }
}

#[tokio::test]
async fn a_node_that_its_admin_drained_keeps_the_admins_reason() {
    let site = Site::new(NOWHERE, 1, FakeAgent::absent());
    site.scontrol(
        "case $* in *show*) echo 'NodeName=n3 State=IDLE+DRAIN Reason=fan [root@now]' ;; \
         *) echo \"$*\" >>called ;; esac",
    );
    let said = site.run("epilog", &of_slurmd()).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stderr.ends_with("rampool: n3 was out of use before: fan\n"), "{said:?}");
    assert_eq!(site.called(), "");
}
