//! What the real Slurm says to rampool's questions: its commands are run as the controller runs
//! them, each carried to the cluster's first node.

use std::future::Future;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rampool_e2e::programs;
use rampool_e2e::slurm::SlurmCluster;
use rampool_e2e::slurm::cluster::USER;
use rampool_slurm::commands::{Commands, Drained, Resumed};
use rampool_slurm::doctor::{self, Deadlines};
use rampool_slurm::text::job::Phase;
use rampool_slurm::text::time::TimeLeft;
use tempfile::TempDir;

const MINUTE: Duration = Duration::from_secs(60);

const FAKE_COMMAND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../slurm/tests/fake-command");

/// Slurm's commands in a folder of the host's.
fn carried(slurm: &SlurmCluster) -> Result<(TempDir, Commands)> {
    let folder = tempfile::tempdir()?;
    let lab = programs::path("rampool-lab")?;
    for command in ["scontrol", "squeue"] {
        let path = folder.path().join(command);
        let name = slurm.cluster.lab.name();
        let text = format!("exec {} --name {name} exec n1 -- {command} \"$@\"\n", lab.display(),);
        std::fs::write(path.with_extension("does"), text)?;
        symlink(FAKE_COMMAND, path)?;
    }
    let commands = Commands::of(folder.path(), MINUTE);
    Ok((folder, commands))
}

fn wait_for<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn slurm_is_understood() -> Result<()> {
    SlurmCluster::builder("words", 2).boot()?.run(|slurm| {
        let (_folder, commands) = carried(slurm)?;
        wait_for(async {
            cluster(&commands).await?;
            jobs(slurm, &commands).await?;
            nodes(slurm, &commands).await
        })?
    })
}

async fn cluster(slurm: &Commands) -> Result<()> {
    let config = slurm.config().await?;
    ensure!(config.cluster() == "lab" && config.memory_is_consumable(), "{config:?}");
    ensure!(config.prolog_epilog_timeout().is_some(), "{config:?}");
    ensure!(config.message_timeout() == Some(Duration::from_secs(10)), "{config:?}");
    ensure!(config.has("PrologFlags", "DeferBatch"), "{config:?}");
    ensure!(config.licenses("rampool").is_some(), "{config:?}");
    let partitions = slurm.partitions().await?;
    ensure!(partitions.iter().any(|partition| partition.name == "main"), "{partitions:?}");
    let brief = Deadlines { start: Duration::from_secs(9), node: Duration::from_secs(9) };
    let found = doctor::examine(&config, &partitions, "lab", Some(brief));
    ensure!(found.len() == 1 && found[0].text.contains("fit for jobs"), "{found:?}");
    Ok(())
}

/// Jobs, one of them with a name that pretends to be another.
async fn jobs(slurm: &SlurmCluster, commands: &Commands) -> Result<()> {
    ensure!(commands.job(4_000_000).await?.is_none(), "no such job");
    let script = "#!/bin/sh\nsleep 600\n";
    let forged = ["-N2", "-t5", "-J", "x JobState=COMPLETED|y", "--comment=a|b"];
    let running = slurm.submit(&forged, script)?;
    running.until("runs", MINUTE, |fields| fields.get("JobState") == "RUNNING")?;
    let waiting = slurm.submit(&["-N1", "--hold", "--exclude=n3", "-Cssd&moreIOPS"], script)?;

    let all = commands.jobs().await?;
    let of = |id| all.iter().find(|job| job.id == id).with_context(|| format!("{all:?}"));
    let job = of(running.id)?;
    ensure!(job.phase() == Phase::OnNodes && job.uid == 1001, "{job:?}");
    ensure!(job.nodes.to_string() == "n[2-3]" && job.partition == "main", "{job:?}");
    ensure!(matches!(job.left, TimeLeft::Some(left) if left <= 5 * MINUTE), "{job:?}");
    let job = of(waiting.id)?;
    ensure!(job.phase() == Phase::Waiting && job.nodes.is_empty(), "{job:?}");
    ensure!(job.excluded.to_string() == "n3", "{job:?}");

    let (n2, none) = (["n2".to_owned()].into(), [].into());
    ensure!(commands.exclude_nodes(waiting.id, &n2, &none).await?, "it was excluded before");
    let job = commands.job(waiting.id).await?.context("it waits")?;
    ensure!(job.excluded.to_string() == "n[2-3]" && job.reason == "JobHeldUser", "{job:?}");
    ensure!(job.user == USER && job.constraints == "ssd&moreIOPS", "{job:?}");
    let n3 = ["n3".to_owned()].into();
    ensure!(commands.exclude_nodes(waiting.id, &none, &(&n2 | &n3)).await?, "it is excluded");
    let job = commands.job(waiting.id).await?.context("it waits")?;
    ensure!(job.excluded.is_empty(), "{job:?}");
    let in_full = commands.jobs_in_full().await?;
    ensure!(in_full.contains(&job) && in_full.len() == 2, "{in_full:?}");

    commands.comment_on_job(running.id, "rampool: n3 says \"x=1\", try later").await?;
    commands.requeue_and_hold(running.id).await?;
    let held = commands.job(running.id).await?.context("it is held")?;
    let shown = slurm.slurm(&["scontrol", "-o", "show", "job", &running.id.to_string()])?;
    ensure!(shown.contains("AdminComment=rampool: n3 says 'x=1', try later"), "{shown}");
    ensure!(held.phase() != Phase::Over, "{held:?}");
    for job in [running.id, waiting.id] {
        slurm.slurm(&["scancel", &job.to_string()])?;
    }
    slurm.until_idle(MINUTE)
}

/// A node that we drain, and one that somebody else did.
async fn nodes(slurm: &SlurmCluster, commands: &Commands) -> Result<()> {
    let names: Vec<_> = commands.nodes().await?.into_iter().map(|node| node.name).collect();
    ensure!(names == ["n2", "n3"], "{names:?}");
    let why = "memory of job 7 not known to be free: a=b [c] \"d\" State=IDLE";
    ensure!(commands.drain_node("n2", why).await? == Drained::Ours, "n2 was drained");
    let node = commands.node("n2").await?;
    ensure!(node.state.is_drained() && node.real_memory_mib > 0, "{node:?}");
    ensure!(node.reason == format!("rampool: {}", why.replace('"', "'")), "{node:?}");
    ensure!(commands.resume_node("n2").await? == Resumed::Now, "n2 is ours");
    ensure!(!commands.node("n2").await?.state.is_drained(), "n2 is resumed");
    ensure!(commands.resume_node("n2").await? == Resumed::Before, "it was resumed already");

    slurm.slurm(&["scontrol", "update", "nodename=n3", "state=drain", "reason=the fan"])?;
    let theirs = "the fan".to_owned();
    ensure!(commands.drain_node("n3", why).await? == Drained::Before(theirs.clone()), "the fan");
    ensure!(commands.resume_node("n3").await? == Resumed::NotOurs(theirs), "the fan");
    slurm.slurm(&["scontrol", "update", "nodename=n3", "state=resume"])?;
    ensure!(commands.node("n9").await.is_err(), "there is no n9");

    slurm.slurm(&["pkill", "-x", "slurmctld"])?;
    ensure!(commands.jobs().await.is_err(), "silence is not the absence of jobs");
    ensure!(commands.job(7).await.is_err(), "silence is not the absence of a job");
    ensure!(commands.drain_node("n2", why).await.is_err(), "nobody drained it");
    Ok(())
}
