//! What breaks while a job waits with its memory reserved: it ends with that memory free, or with
//! its job in it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::CONTROLLER;
use rampool_e2e::slurm::{Job, SlurmCluster};
use rampool_e2e::until::until;

use crate::burst::{block, cluster, unblock, until_pool, until_state};
use crate::own::SOON;
use crate::pool::{donors_of, ensure_completed, let_go, submit, until_running};

/// Each on the same cluster, while another job has all nodes.
type Case = fn(&SlurmCluster) -> Result<()>;

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn whatever_becomes_of_a_job_that_waits_its_donors_have_their_memory_back() -> Result<()> {
    cluster("burst-lost", 2, "400MiB\n    backend: brd")?.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        let cases: [(&str, Case); 6] = [
            ("cancelled with its memory reserved", cancelled_while_it_waits),
            ("cancelled during setup", cancelled_during_setup),
            ("the controller is killed during setup", controller_killed_during_setup),
            ("the controller is killed with memory reserved", controller_killed_while_it_waits),
            ("a donor refuses", a_donor_refuses),
            ("slurmctld is killed with memory reserved", slurmctld_killed_while_it_waits),
        ];
        for (name, case) in cases {
            println!("{name}");
            let blocker = block(slurm).context(name)?;
            case(slurm).context(name)?;
            unblock(slurm)?;
            blocker.until_over(SOON).context(name)?;
            slurm.ensure_given_back(&before, SOON).with_context(|| format!("after {name}"))?;
            until_pool(slurm, "is free", |pool| pool.get("UsedSpace") == "0").context(name)?;
        }
        Ok(())
    })
}

fn reserved<'a>(slurm: &'a SlurmCluster, options: &[&str]) -> Result<Job<'a>> {
    let job = submit(slurm, &[&["-N2"], options].concat())?;
    until_state(slurm, &job, Some("reserved"))?;
    Ok(job)
}

/// It runs in what was reserved, and to its end.
fn ensure_runs(slurm: &SlurmCluster, job: &Job<'_>) -> Result<()> {
    unblock(slurm)?;
    until_running(job)?;
    let_go(slurm, job)?;
    ensure_completed(job)
}

fn cancelled_while_it_waits(slurm: &SlurmCluster) -> Result<()> {
    let job = reserved(slurm, &[])?;
    job.cancel()?;
    until_state(slurm, &job, None)
}

/// In front of the node's modprobe, by which a donor takes memory for a disk of backend brd: waits
/// while there is a file.
const WAITING_MODPROBE: &str = "#!/bin/sh
case \"$*\" in *brd*) while [ -e /run/hold ]; do sleep 0.1; done;; esac
exec /opt/kmod/modprobe \"$@\"
";

/// A job of whose setup one donor has done its part, and the other takes its time; then this
/// happens, and that one goes on.
fn during_setup<'a>(
    slurm: &'a SlurmCluster,
    act: impl FnOnce(&Job<'a>) -> Result<()>,
) -> Result<Job<'a>> {
    let donor = slurm.cluster.node("n5");
    donor.sh("mkdir -p /opt/kmod; ln -sf /usr/bin/kmod /opt/kmod/modprobe; \
              rm -f /usr/sbin/modprobe; touch /run/hold")?;
    donor.write_file("/usr/sbin/modprobe", 0o755, WAITING_MODPROBE)?;
    let job = submit(slurm, &["-N2", "--comment=rampool:size=560M"])?;
    let acted = until_state(slurm, &job, Some("creating")).and_then(|()| act(&job));
    donor.sh("rm /run/hold")?;
    acted.map(|()| job)
}

fn cancelled_during_setup(slurm: &SlurmCluster) -> Result<()> {
    let job = during_setup(slurm, Job::cancel)?;
    until_state(slurm, &job, None)?;
    if is_leaked(slurm, &job)? {
        println!("Slurm leaked the share of job {}", job.id);
        doctor_names_the_leak(slurm, &job)?;
        slurm.kill_slurmctld()?;
        slurm.start_slurmctld()?;
    }
    Ok(())
}

/// Longer than a teardown takes whose memory is free.
const TORN_DOWN: Duration = Duration::from_secs(20);

/// Whether Slurm forgot to tear the job's share down: it sometimes kills the teardown that it has
/// just begun, together with the setup.
fn is_leaked(slurm: &SlurmCluster, job: &Job<'_>) -> Result<bool> {
    let own = format!("JobID={} ", job.id);
    let mut shown = String::new();
    let torn_down = until("torn down", TORN_DOWN, || {
        shown = slurm.slurm(&["scontrol", "show", "burst"])?;
        Ok(if shown.contains(&own) { Err(shown.clone()) } else { Ok(()) })
    });
    match torn_down {
        Ok(()) => Ok(false),
        Err(_) if shown.contains(&own) => Ok(true),
        Err(error) => Err(error),
    }
}

fn doctor_names_the_leak(slurm: &SlurmCluster, job: &Job<'_>) -> Result<()> {
    let words = format!("the burst buffer still counts the share of job {}", job.id);
    until("named by doctor", SOON, || {
        let findings = slurm.cluster.rampool(&["doctor"])?;
        let findings = String::from_utf8_lossy(&findings.stdout).into_owned();
        Ok(if findings.contains(&words) { Ok(()) } else { Err(findings) })
    })
}

fn restart_controller(slurm: &SlurmCluster) -> Result<()> {
    slurm.cluster.kill_program(CONTROLLER, "rampool-controller")?;
    slurm.cluster.start_controller()?;
    slurm.cluster.wait_reachable(&["n4", "n5"])
}

/// The hook asks again, of the next one.
fn controller_killed_during_setup(slurm: &SlurmCluster) -> Result<()> {
    let job = during_setup(slurm, |_| restart_controller(slurm))?;
    until_state(slurm, &job, Some("reserved"))?;
    ensure_runs(slurm, &job)
}

fn controller_killed_while_it_waits(slurm: &SlurmCluster) -> Result<()> {
    let job = reserved(slurm, &[])?;
    restart_controller(slurm)?;
    until_state(slurm, &job, Some("reserved"))?;
    ensure_runs(slurm, &job)
}

/// How long Slurm takes to set up anew what waited when it was killed.
const ANEW: Duration = Duration::from_secs(300);

/// Slurm tears down what waited, and sets it up again, a minute later at the soonest; or it has
/// forgotten its share, of which the controller learns by looking.
fn slurmctld_killed_while_it_waits(slurm: &SlurmCluster) -> Result<()> {
    let n1 = slurm.cluster.node(CONTROLLER);
    n1.sh("touch /tmp/submitted")?;
    let job = reserved(slurm, &[])?;
    // A job that is newer than what slurmctld wrote last is lost with it.
    until("in slurmctld's state", SOON, || {
        let saved = "test /var/lib/slurm/slurmctld/job_state -nt /tmp/submitted";
        let saved = n1.exec(["sh", "-c", saved])?.status.success();
        Ok(if saved { Ok(()) } else { Err("older") })
    })?;
    slurm.kill_slurmctld()?;
    slurm.start_slurmctld()?;
    unblock(slurm)?;
    job.until("running", ANEW, |fields| fields.get("JobState") == "RUNNING")?;
    ensure_runs(slurm, &job)
}

/// The job is held, and says why; its next try is without that donor.
fn a_donor_refuses(slurm: &SlurmCluster) -> Result<()> {
    let donor = slurm.cluster.node("n4");
    let squat = "use Socket; socket(S,PF_INET,SOCK_STREAM,6); \
                 bind(S,sockaddr_in(3260,INADDR_ANY)) or die; listen(S,1); sleep 600";
    donor.daemon("squatter", ["perl", "-e", squat])?;
    donor.sh("until ss -ltn | grep -q :3260; do sleep 0.05; done")?;
    let job = submit(slurm, &["-N2", "--comment=rampool:size=300M"])?;
    let held = job.until("held", SOON, |fields| fields.get("Priority") == "0")?;
    donor.sh("kill $(pidof perl)")?;
    for field in ["Reason", "SystemComment"] {
        let said = held.get(field);
        ensure!(said.contains("setup:") && said.contains("n4"), "{field}: {held}");
    }
    until_state(slurm, &job, None)?;
    slurm.slurm(&["scontrol", "release", &job.id.to_string()])?;
    until_state(slurm, &job, Some("reserved"))?;
    let donors = donors_of(slurm, &job)?;
    ensure!(donors == ["n5"], "{donors:?}");
    ensure_runs(slurm, &job)
}
