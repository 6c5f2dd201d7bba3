//! What slurmctld answers at submission: job_submit.lua in its place, with facts about a cluster
//! larger than the lab's. No job starts: what is accepted is held, or only asked about.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use rampool_e2e::cluster::CONTROLLER;
use rampool_e2e::slurm::{SlurmCluster, site};
use rampool_proto::size::GIB;
use rampool_proto::v1::Redundancy;
use rampool_slurm::facts::{Facts, JobProfile, Lend, PoolSize, WaitBy};

const SCRIPT: &str = "#!/bin/sh\ncd $RAMPOOL_DIR\n";

fn facts() -> Facts {
    let profile = |name: &str, lend, redundancy| JobProfile {
        name: name.into(),
        lend,
        redundancy,
        size: match lend {
            Lend::Own => PoolSize::Unsaid,
            Lend::Pool => PoolSize::Whole(20 * GIB),
        },
        spares: 0,
    };
    Facts {
        written: SystemTime::now(),
        fresh_for: Duration::from_secs(3600),
        profiles: vec![
            profile("moreIOPS", Lend::Own, Redundancy::None),
            profile("moreIOPS_safe", Lend::Own, Redundancy::Mirror),
            profile("lake", Lend::Pool, Redundancy::None),
        ],
        complete: true,
        own: vec![16 * GIB; 2],
        pool: vec![100 * GIB; 4],
        // As many as slurm.conf has.
        wait_by: Some(WaitBy::Licences(1_000_000)),
        donors: 4,
        suspending: vec![site::SUSPENDING.to_owned()],
        exclusive: Vec::new(),
        defaults: Vec::new(),
        default_partition: None,
    }
}

#[test]
fn what_can_never_be_is_refused_with_a_sentence_and_all_else_is_accepted() -> Result<()> {
    SlurmCluster::builder("submission", 2).boot()?.run(|slurm| {
        let n1 = slurm.cluster.node(CONTROLLER);
        let tell = |facts: &Facts| n1.write_file(site::FACTS, 0o644, facts.to_string());
        tell(&facts())?;
        refused_scripts(slurm)?;
        refused_options(slurm)?;
        refused_without_a_script(slurm)?;
        accepted(slurm)?;
        accounted(slurm)?;

        // Facts that cannot be believed refuse nothing; a wrong line needs none to be refused.
        let old = facts().written - Duration::from_secs(7200);
        tell(&Facts { written: old, ..facts() })?;
        accepted_without_facts(slurm).context("with facts of two hours ago")?;
        n1.sh(&format!("rm {}", site::FACTS))?;
        accepted_without_facts(slurm).context("without facts")
    })
}

/// A job of donors outside takes licences; its comment has the size that they are for.
fn accounted(slurm: &SlurmCluster) -> Result<()> {
    for (options, licences) in [
        (&["-C", "lake"][..], "rampool:21"),
        (&["-C", "lake", "-L", "rampool:64"], "rampool:65"),
        (&["-C", "moreIOPS", "-L", "rampool:3"], "(null)"),
    ] {
        let job = slurm.submit(&[&["-H"], options].concat(), SCRIPT)?;
        let fields = job.show()?;
        ensure!(fields.get("Licenses") == licences, "{options:?}: wanted {licences}: {fields}");
        job.cancel()?;
    }
    Ok(())
}

fn ensure_said(said: &str, words: &str, what: &str) -> Result<()> {
    ensure!(said.contains(words), "{what}: wanted {words:?}, said {said:?}");
    ensure!(said.contains(": rampool: "), "{what}: {said}");
    Ok(())
}

fn refused_scripts(slurm: &SlurmCluster) -> Result<()> {
    for (lines, words) in [
        ("#RAMPOOL size=200", "write the unit, as in 200G"),
        ("#RAMPOOL size=1G\n#RAMPOOL size=2G", "\"size\" is given twice"),
        ("#RAMPOOL speed=9", "no option \"speed\": size and redundancy can be given"),
        ("#RAMPOOL redundancy=raid1", "mirror, parity or double-parity"),
        ("#RAMPOOL size=33G", "more than the nodes of this job can lend (32768 MiB"),
        ("#RAMPOOL size=17G redundancy=mirror", "ask for less, or for more nodes"),
        ("#RAMPOOL redundancy=parity", "needs at least 3 nodes: the job has 2"),
        ("#SBATCH -L rampool:33", "size=33G is more than"),
        ("#SBATCH hetjob\n#SBATCH -N1", "a heterogeneous job"),
        ("#SBATCH -L rampool:3\n#RAMPOOL size=3G", "both give a size"),
    ] {
        let script = format!("#!/bin/sh\n#SBATCH -N2 -C moreIOPS\n{lines}\ncd $RAMPOOL_DIR\n");
        ensure_said(&slurm.refusal(&[], &script)?, words, lines)?;
    }
    Ok(())
}

fn refused_options(slurm: &SlurmCluster) -> Result<()> {
    for (options, words) in [
        (&["-C", "ssd|moreIOPS"][..], "write moreIOPS&(the rest)"),
        (&["-C", "[ssd|moreIOPS]"], "write moreIOPS&(the rest)"),
        (&["-N2", "-C", "[moreIOPS*1&ssd*1]"], "on some nodes"),
        (&["-C", "moreIOPS&lake"], "name one of them"),
        (&["--prefer=moreIOPS"], "--prefer=moreIOPS gives no pool"),
        (&["-C", "moreIOPS_safe", "-N1"], "needs at least 2 nodes"),
        (&["-C", "moreIOPS", "-p", site::SUSPENDING], "partition debug suspends jobs"),
        (&["-C", "moreIOPS", "-p", "main,debug"], "partition debug suspends jobs"),
        (&["-C", "lake", "--comment=rampool:size=401G"], "all donors together"),
        (&["--comment=rampool:size=1G"], "add --constraint=moreIOPS"),
        (&["-N1", "-C", "moreIOPS", ":", "-N1"], "a heterogeneous job"),
        (&["-N1", ":", "-N1", "-C", "moreIOPS"], "a heterogeneous job"),
        (&["-C", "moreIOPS", "--array=1-3", "--comment=rampool:size=1"], "write the unit"),
    ] {
        ensure_said(&slurm.refusal(options, SCRIPT)?, words, &options.join(" "))?;
    }
    Ok(())
}

fn refused_without_a_script(slurm: &SlurmCluster) -> Result<()> {
    for command in [&["srun"][..], &["salloc", "--no-shell"], &["srun", "--test-only"]] {
        let wanted = ["-N2", "-C", "moreIOPS", "--comment=rampool:size=33G", "hostname"];
        let said = slurm.refused(&[command, &wanted].concat(), "")?;
        ensure_said(&said, "more than the nodes of this job can lend", &command.join(" "))?;
    }
    Ok(())
}

fn accepted(slurm: &SlurmCluster) -> Result<()> {
    for (options, lines, comment) in [
        (&["-C", "moreIOPS"][..], "", "(null)"),
        (&["-C", "moreIOPS"], "#RAMPOOL size=3G", "rampool:size=3G"),
        (&["-C", "moreIOPS", "-L", "rampool:3"], "", "rampool:size=3G"),
        (&["-C", "moreIOPS&ssd", "--comment=mine"], "#RAMPOOL size=3G", "mine rampool:size=3G"),
        (&["-C", "ssd,moreIOPS", "-N2", "--comment=rampool:size=32G"], "", "rampool:size=32G"),
        (&["-C", "(ssd|notmoreIOPS)&moreIOPS"], "", "(null)"),
        (&["-C", "moreIOPS", "--array=1-3"], "#RAMPOOL size=3G", "rampool:size=3G"),
        // None of rampool's business.
        (&["-C", "notmoreIOPS", "-p", site::SUSPENDING], "", "(null)"),
        (&["-C", "[ssd|notmoreIOPS]", "--comment=mine"], "", "mine"),
        (&["--comment=rampool is nice"], "echo\n#RAMPOOL size=1", "rampool is nice"),
    ] {
        let script = format!("#!/bin/sh\n{lines}\ncd $RAMPOOL_DIR\n");
        ensure_accepted(slurm, options, &script, comment)?;
    }
    // Of a heterogeneous job without a pool.
    slurm.as_user(&["sbatch", "-H", "-N1", ":", "-N1", "-C", "ssd"], SCRIPT)?.ok()?;
    slurm.slurm(&["scancel", "-u", rampool_e2e::slurm::cluster::USER]).map(drop)
}

fn accepted_without_facts(slurm: &SlurmCluster) -> Result<()> {
    let too_large = ["-C", "[ssd|moreIOPS]", "--comment=rampool:size=9P"];
    ensure_accepted(slurm, &too_large, SCRIPT, "rampool:size=9P")?;
    let wrong = ["-C", "moreIOPS", "--comment=rampool:size=1"];
    ensure_said(&slurm.refusal(&wrong, SCRIPT)?, "write the unit", "without facts")
}

/// Held, so that it does not start.
fn ensure_accepted(
    slurm: &SlurmCluster,
    options: &[&str],
    script: &str,
    comment: &str,
) -> Result<()> {
    let what = || options.join(" ");
    let job = slurm.submit(&[&["-H"], options].concat(), script).with_context(what)?;
    let fields = job.show()?;
    let said = if fields.get("Comment").is_empty() { "(null)" } else { fields.get("Comment") };
    ensure!(said == comment, "{}: wanted comment {comment}: {fields}", what());
    job.cancel()
}
