//! A donor outside that fails, or that refuses: the job is queued again, and its next try is without
//! that donor.

use anyhow::{Context, Result, ensure};
use rampool_e2e::slurm::SlurmCluster;
use rampool_e2e::until::until;

use crate::own::SOON;
use crate::pool::{donors_of, let_go, profiles, submit, until_facts, until_running};

/// Of each node's memory, what Slurm gives to nobody: two donors of three have enough for the job.
const KEPT_MIB: u64 = 200;

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn a_donor_that_fails_or_refuses_is_left_out_of_the_next_try() -> Result<()> {
    let cluster = SlurmCluster::builder("left-out", 5).profiles(&profiles("n[4-6]", "300MiB"));
    cluster.keeping_mib(KEPT_MIB).keeping_facts().licences(8).boot()?.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        until_facts(slurm)?;
        for (what, broken, mended, said) in [
            ("its port is taken", TAKE_PORT, GIVE_PORT, "10.77.0.15:3260"),
            (
                "its Slurm keeps less than the controller heard",
                KEEP_LESS,
                KEEP_AGAIN,
                "Slurm gives 10 MiB of this node to nobody (MemSpecLimit)",
            ),
            ("its Slurm is silent", SILENCE, KEEP_AGAIN, "Unable to contact slurm controller"),
        ] {
            left_out(slurm, (broken, mended), said).with_context(|| what.to_owned())?;
            slurm.ensure_given_back(&before, SOON).with_context(|| format!("after: {what}"))?;
        }
        doctor_names_an_agent_that_does_not_ask(slurm)
    })
}

fn doctor_names_an_agent_that_does_not_ask(slurm: &SlurmCluster) -> Result<()> {
    let doctor = || -> Result<String> {
        let findings = slurm.cluster.rampool(&["doctor"])?;
        Ok(String::from_utf8_lossy(&findings.stdout).into_owned())
    };
    let words = "its agent does not ask Slurm how much it may";
    let findings = doctor()?;
    ensure!(!findings.contains(words), "{findings}");
    slurm.cluster.node("n5").sh("sed -i /^slurm_commands/d /etc/rampool/agent.yaml")?;
    slurm.cluster.kill_program("n5", "rampool-agent")?;
    slurm.cluster.start_agent("n5")?;
    until("a finding", SOON, || {
        let findings = doctor()?;
        let said = findings.lines().any(|line| line.contains("n5") && line.contains(words));
        Ok(if said { Ok(()) } else { Err(findings) })
    })
}

const TAKE_PORT: &str = "perl -e 'use Socket; socket(S,PF_INET,SOCK_STREAM,6); \
     bind(S,sockaddr_in(3260,INADDR_ANY)) or die; listen(S,1); sleep 600' </dev/null >/dev/null 2>&1 & \
     until ss -ltn | grep -q :3260; do sleep 0.1; done";
const GIVE_PORT: &str = "kill $(pidof perl); while pidof perl; do sleep 0.1; done";

/// What the node's agent alone asks.
const KEEP_LESS: &str = "mv /usr/bin/scontrol /usr/bin/scontrol.site; printf '%s\\n' '#!/bin/sh' \
     '/usr/bin/scontrol.site \"$@\" | sed s/MemSpecLimit=200/MemSpecLimit=10/' >/usr/bin/scontrol; \
     chmod 755 /usr/bin/scontrol";
const SILENCE: &str = "mv /usr/bin/scontrol /usr/bin/scontrol.site; printf '%s\\n' '#!/bin/sh' \
     'echo slurm_load_node error: Unable to contact slurm controller >&2; exit 1' \
     >/usr/bin/scontrol; chmod 755 /usr/bin/scontrol";
const KEEP_AGAIN: &str = "mv /usr/bin/scontrol.site /usr/bin/scontrol";

/// What is `broken` on n5, which says so, does not stop the job twice.
fn left_out(slurm: &SlurmCluster, (broken, mended): (&str, &str), said: &str) -> Result<()> {
    let n5 = slurm.cluster.node("n5");
    n5.sh(broken)?;
    let job = submit(slurm, &["-N2", "-wn2,n3"])?;
    let tried = job.until("queued again", SOON, |fields| {
        fields.get("Reason") == "BeginTime" && fields.get("Restarts") == "1"
    });
    let tried = tried.and_then(|fields| {
        let comment = fields.get("AdminComment");
        ensure!(comment.starts_with("rampool: its pool failed: n5: "), "{fields}");
        ensure!(comment.contains(said), "wanted {said:?}: {fields}");
        job.update("StartTime=now")?;
        until_running(&job)?;
        donors_of(slurm, &job)
    });
    n5.sh(mended)?;
    let donors = tried?;
    ensure!(donors == ["n4", "n6"], "{donors:?}");
    let_go(slurm, &job)?;
    let fields = job.until_over(SOON)?;
    ensure!(fields.get("JobState") == "COMPLETED", "{fields}\n{}", job.output()?);
    ensure!(fields.get("Restarts") == "1", "{fields}");
    Ok(())
}
