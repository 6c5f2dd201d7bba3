//! What a job lends to its own pool is its own: a job that fills its scratch and then takes all that
//! it may is ended by its own limit, however it asked for memory. Its node goes on, and so do the
//! other jobs there.

use anyhow::{Context, Result, ensure};
use rampool_e2e::slurm::{Job, SlurmCluster, site};
use rampool_e2e::until::until;

use crate::own::{SOON, boot};

/// What a node that lends 128 MiB has less: see `own::PROFILES`.
const TAKEN: u64 = 128 + 2;

/// Fills its scratch, then takes memory until it is ended; says how much it had.
const GREEDY: &str = "#!/bin/bash
cat /dev/zero >$RAMPOOL_DIR/fill 2>/dev/null
sync
echo \"free=$(df --output=avail $RAMPOOL_DIR | tail -n1)\"
perl -e '$| = 1; while (1) { push @had, \"x\" x (1 << 20); print \"had=\", scalar @had, \"\\n\" }'
echo \"perl ended with $?\"
";

/// Keeps something in its scratch until it is let go, and then compares it.
const BYSTANDER: &str = "#!/bin/bash
head -c 50M /dev/urandom >$RAMPOOL_DIR/kept
md5sum $RAMPOOL_DIR/kept >/tmp/sum
touch /tmp/ready
until [ -e /tmp/end ]; do sleep 0.3; done
md5sum -c /tmp/sum
";

#[test]
#[ignore = "minutes: `make test-slurm`"]
fn a_greedy_job_is_ended_by_its_own_limit() -> Result<()> {
    boot("memory", 2)?.run(|slurm| {
        let before = slurm.cluster.footprints()?;
        let alive = daemons(slurm)?;
        let bystander = start_bystander(slurm)?;
        // On its node, as far as there is room for both.
        for (asks, given) in [
            (&["--mem=100"][..], format!("MinMemoryNode={}M", 100 + TAKEN)),
            (&["--mem-per-cpu=50", "-c2"], format!("MinMemoryCPU={}M", 50 + TAKEN.div_ceil(2))),
            // What slurm.conf gives by default.
            (&[], format!("MinMemoryNode={}M", 100 + TAKEN)),
        ] {
            greedy(slurm, "n2", asks, &given, 100).with_context(|| format!("{asks:?}"))?;
        }
        let all = site::memory_for_jobs(640);
        greedy(slurm, "n3", &["--mem=0"], "MinMemoryNode=0", all - TAKEN).context("--mem=0")?;
        bypassed(slurm).context("without its TaskProlog")?;
        let_go(slurm, &bystander)?;
        ensure!(daemons(slurm)? == alive, "a daemon was ended");
        a_node_that_keeps_too_little_is_refused(slurm)?;
        slurm.ensure_given_back(&before, SOON)
    })
}

/// The daemons that a node cannot do without, by number.
fn daemons(slurm: &SlurmCluster) -> Result<Vec<String>> {
    let of = |node: &String| slurm.cluster.node(node).sh("pgrep -x 'slurmd|rampool-agent' | sort");
    slurm.compute().iter().map(of).collect()
}

fn start_bystander(slurm: &SlurmCluster) -> Result<Job<'_>> {
    let options = ["-N1", "-wn2", "-C", "moreIOPS", "--mem=80"];
    let job = slurm.submit(&options, BYSTANDER)?;
    until("the bystander is ready", SOON, || {
        let ready = slurm.cluster.node("n2").exec(["test", "-e", "/tmp/ready"])?.status.success();
        Ok(if ready { Ok(()) } else { Err(job.show()?) })
    })?;
    Ok(job)
}

fn let_go(slurm: &SlurmCluster, bystander: &Job<'_>) -> Result<()> {
    ensure!(limit(slurm, "n2", bystander.id)? == 80 << 20, "the bystander's limit");
    let n2 = slurm.cluster.node("n2");
    n2.sh("echo 3 >/proc/sys/vm/drop_caches; touch /tmp/end")?;
    let fields = bystander.until_over(SOON)?;
    let output = bystander.output()?;
    ensure!(
        fields.get("JobState") == "COMPLETED" && output.ends_with(": OK"),
        "{fields}\n{output}"
    );
    Ok(())
}

/// A job's limit, in bytes.
fn limit(slurm: &SlurmCluster, node: &str, job: u32) -> Result<u64> {
    let file = format!("/sys/fs/cgroup/system.slice/*slurmstepd.scope/job_{job}/memory.max");
    Ok(slurm.cluster.node(node).sh(&format!("cat {file}"))?.parse()?)
}

/// Asks for memory so, is `given` it, and keeps `kept` MiB for its programs, and no more.
fn greedy(slurm: &SlurmCluster, node: &str, asks: &[&str], given: &str, kept: u64) -> Result<()> {
    let on = format!("-w{node}");
    let options = [&["-N1", &on, "-C", "moreIOPS"], asks].concat();
    slurm.cluster.node(node).sh("dmesg --clear")?;
    let job = slurm.submit(&options, GREEDY)?;
    let fields = job.until_over(SOON)?;
    let output = job.output()?;
    ensure!(fields.get("JobState") == "OUT_OF_MEMORY", "{fields}\n{output}");
    ensure!(fields.to_string().contains(&format!(" {given} ")), "{given}: {fields}");
    let free = output.lines().find_map(|line| line.strip_prefix("free="));
    ensure!(free.map(str::trim) == Some("0"), "its scratch is not full: {output}");
    let had = output.lines().filter_map(|line| line.strip_prefix("had=")?.parse().ok()).max();
    let had: u64 = had.with_context(|| output.clone())?;
    println!("{asks:?}: {given}, had {had} of {kept} MiB");
    // Perl, bash, slurmstepd and pages of files have the rest.
    ensure!(had <= kept && had * 2 > kept, "it had {had} MiB of {kept}");
    let log = slurm.cluster.node(node).sh("dmesg | grep -o 'constraint=[A-Z_]*' | sort -u")?;
    ensure!(log == "constraint=CONSTRAINT_MEMCG", "who ran out of memory: {log:?}");
    Ok(())
}

/// Alone, and with others: before anything is made.
fn a_node_that_keeps_too_little_is_refused(slurm: &SlurmCluster) -> Result<()> {
    slurm.until_idle(SOON)?;
    let n3 = slurm.cluster.node("n3");
    let restart = |floor: &str| -> Result<()> {
        n3.sh(&format!("sed -i 's/^  floor: .*/  floor: {floor}/' /etc/rampool/agent.yaml"))?;
        slurm.cluster.kill_program("n3", "rampool-agent")?;
        slurm.cluster.start_agent("n3")
    };
    let floor = n3.sh("sed -n 's/^  floor: //p' /etc/rampool/agent.yaml")?;
    restart("16MiB")?;
    for options in [&["-N1", "-wn3"][..], &["-N2"]] {
        let job = slurm.submit(&[options, &["-C", "moreIOPS"]].concat(), GREEDY)?;
        let fields = job.until("refused", SOON, |fields| {
            fields.get("AdminComment").contains("keeps 16 MiB of its memory for itself")
        })?;
        ensure!(fields.get("AdminComment").contains("memory.floor"), "{fields}");
        job.cancel()?;
        job.until_over(SOON)?;
    }
    restart(&floor)
}

/// The user has the program that asks for each task do nothing, as he may: it runs as himself.
fn bypassed(slurm: &SlurmCluster) -> Result<()> {
    let hook = "/usr/lib/rampool/slurm/task-prolog";
    let n3 = slurm.cluster.node("n3");
    let own = n3.sh(&format!("cat {hook}"))? + "\n";
    n3.sh(&format!("rm {hook}"))?;
    n3.write_file(hook, 0o755, "#!/bin/sh\necho export RAMPOOL_DIR=/rampool/$SLURM_JOB_ID\n")?;
    greedy(slurm, "n3", &["--mem=200"], &format!("MinMemoryNode={}M", 200 + TAKEN), 200)?;
    n3.sh(&format!("rm {hook}"))?;
    n3.write_file(hook, 0o755, own)
}
