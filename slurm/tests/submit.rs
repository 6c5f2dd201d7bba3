//! `lua/rampool.lua` as slurmctld runs it, but for slurmctld: a job is a table, as its binding
//! shows it, and Lua is 5.1.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mlua::{Function, Lua, Table};
use proptest::prelude::*;
use rampool_proto::size::{GIB, Size};
use rampool_proto::v1::Redundancy;
use rampool_slurm::constraint::asked;
use rampool_slurm::facts::{Facts, JobProfile, Lend, PoolSize, WaitBy};
use rampool_slurm::text::partition::MemoryShare;
use rampool_slurm::wish::Wish;

/// What slurmctld shows where nothing was given (`NO_VAL` of slurm.h).
const NO_VAL: u32 = 0xffff_fffe;

/// The script with a file of facts.
struct Submitter {
    lua: Lua,
    script: Table,
    folder: tempfile::TempDir,
}

/// What became of a job.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// With this comment.
    Accepted(String),
    Refused(String),
    /// Accepted, since the script itself went wrong.
    Mistaken(String),
}

fn facts() -> Facts {
    let profile = |name: &str, lend, redundancy| JobProfile {
        name: name.into(),
        lend,
        redundancy,
        size: match lend {
            Lend::Own => PoolSize::PerNode(8 * GIB),
            Lend::Pool => PoolSize::Whole(20 * GIB),
        },
        spares: 0,
    };
    Facts {
        written: SystemTime::now(),
        fresh_for: Duration::from_secs(120),
        profiles: vec![
            profile("moreIOPS", Lend::Own, Redundancy::None),
            profile("moreIOPS_safe", Lend::Own, Redundancy::Mirror),
            profile("lake", Lend::Pool, Redundancy::None),
        ],
        complete: true,
        own: [vec![16 * GIB; 6], vec![64 * GIB; 2]].concat(),
        pool: vec![100 * GIB; 4],
        donors: 4,
        wait_by: Some(WaitBy::Licences(390)),
        suspending: vec!["debug".to_owned()],
        exclusive: vec!["whole".to_owned()],
        defaults: vec![
            ("main".to_owned(), MemoryShare::PerNode(1000)),
            ("cpus".to_owned(), MemoryShare::PerCpu(2000)),
            ("whole".to_owned(), MemoryShare::PerCpu(2000)),
        ],
        default_partition: Some("main".to_owned()),
    }
}

impl Submitter {
    fn new(facts: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts");
        std::fs::write(&path, facts).unwrap();
        let lua = Lua::new();
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("lua/rampool.lua");
        let script: Table = lua.load(source).eval().unwrap();
        script.set("facts", path.to_str().unwrap()).unwrap();
        Self { lua, script, folder }
    }

    fn submit(&self, fields: &[(&str, &str)]) -> Outcome {
        self.submitted(fields).0
    }

    /// What became of it, and of its licences.
    fn submit_with_licences(&self, fields: &[(&str, &str)]) -> (Outcome, Option<String>) {
        let (outcome, job, _) = self.submitted(fields);
        (outcome, job.get("licenses").unwrap())
    }

    /// What became of a job, the job, and what its user is told.
    fn submitted(&self, fields: &[(&str, &str)]) -> (Outcome, Table, Option<String>) {
        let job = self.lua.create_table().unwrap();
        job.set("het_job_offset", NO_VAL).unwrap();
        for (name, value) in fields {
            match value.parse::<u32>() {
                Ok(number) => job.set(*name, number).unwrap(),
                Err(_) => job.set(*name, *value).unwrap(),
            }
        }
        let submit: Function = self.script.get("submit").unwrap();
        let (refusal, mistake, notice): (Option<String>, Option<String>, Option<String>) =
            submit.call(&job).unwrap();
        let outcome = match (refusal, mistake) {
            (Some(refusal), _) => Outcome::Refused(refusal),
            (None, Some(mistake)) => Outcome::Mistaken(mistake),
            (None, None) => {
                Outcome::Accepted(job.get::<Option<String>>("comment").unwrap().unwrap_or_default())
            }
        };
        (outcome, job, notice)
    }

    /// What a job of a profile that takes 8 GiB of each node asks for in the end, in MiB: of each
    /// node, and for each CPU.
    fn memory(&self, fields: &[(&str, &str)]) -> (Option<u32>, Option<u32>) {
        let asked = [("features", "moreIOPS"), ("min_nodes", "2"), ("max_nodes", "2")];
        let (outcome, job, notice) = self.submitted(&[&asked, fields].concat());
        assert!(matches!(outcome, Outcome::Accepted(_)), "{fields:?}: {outcome:?}");
        let (of_node, of_cpu) =
            (job.get("min_mem_per_node").unwrap(), job.get("min_mem_per_cpu").unwrap());
        let before = |name| fields.iter().find(|f| f.0 == name).map(|f| f.1.parse().unwrap());
        let is_raised =
            (of_node, of_cpu) != (before("min_mem_per_node"), before("min_mem_per_cpu"));
        assert_eq!(notice.is_some(), is_raised, "{fields:?}: {notice:?}");
        (of_node, of_cpu)
    }
}

const SCRIPT: &str = "#!/bin/bash\n#SBATCH --nodes=4\n#RAMPOOL size=30G redundancy=mirror\n\n\
                      # work\ncd $RAMPOOL_DIR\n#RAMPOOL size=wrong\n";

#[test]
fn what_a_job_asks_for_is_one_word_of_its_comment() {
    let submitter = Submitter::new(&facts().to_string());
    let nodes = [("features", "moreIOPS"), ("min_nodes", "4"), ("max_nodes", "4")];
    for (more, comment) in [
        (&[][..], ""),
        (&[("comment", "for paper 7")], "for paper 7"),
        (&[("script", SCRIPT)], "rampool:size=30G,redundancy=mirror"),
        (
            &[("script", SCRIPT), ("comment", "for  paper 7")],
            "for paper 7 rampool:size=30G,redundancy=mirror",
        ),
        (&[("comment", "rampool:size=1.5G mine")], "mine rampool:size=1.5G"),
        (&[("licenses", "matlab:2,rampool:64")], "rampool:size=64G"),
        (&[("licenses", "rampool@ours:64")], "rampool:size=64G"),
    ] {
        let outcome = submitter.submit(&[&nodes[..], more].concat());
        assert_eq!(outcome, Outcome::Accepted(comment.to_owned()), "{more:?}");
        Wish::of_comment(comment).unwrap();
    }
    let wish = Wish::of_comment("rampool:size=30G,redundancy=mirror").unwrap();
    assert_eq!(wish.size, Some(Size(30 * GIB)));
    assert_eq!(wish.redundancy, Some(Redundancy::Mirror));
}

/// What a node that lends 8 GiB has less: one part in a hundred is its kernel's.
const TAKEN: u32 = 8192 + 82;

#[test]
fn a_job_asks_for_what_its_nodes_lend_besides_its_own() {
    let submitter = Submitter::new(&facts().to_string());
    let of_node = |mib| (Some(mib), None);
    let of_cpu = |mib| (None, Some(mib));
    for (job, asks) in [
        // By --mem, and by nothing at all: what the partition gives.
        (&[("min_mem_per_node", "500")][..], of_node(500 + TAKEN)),
        (&[], of_node(1000 + TAKEN)),
        (&[("partition", "cpus")], of_cpu(2000 + TAKEN)),
        (&[("partition", "cpus"), ("cpus_per_task", "4")], of_cpu(2000 + TAKEN.div_ceil(4))),
        // By --mem-per-cpu, with as many CPUs on each node for certain.
        (&[("min_mem_per_cpu", "500"), ("num_tasks", "2")], of_cpu(500 + TAKEN)),
        (
            &[("min_mem_per_cpu", "500"), ("num_tasks", "8"), ("ntasks_per_node", "4")],
            of_cpu(500 + TAKEN.div_ceil(4)),
        ),
        (
            &[("min_mem_per_cpu", "500"), ("ntasks_per_node", "3"), ("cpus_per_task", "2")],
            of_cpu(500 + TAKEN.div_ceil(6)),
        ),
        (
            &[("min_mem_per_cpu", "9"), ("num_tasks", "5"), ("min_nodes", "1"), ("max_nodes", "1")],
            of_cpu(9 + TAKEN.div_ceil(5)),
        ),
        (&[("min_mem_per_cpu", "9"), ("pn_min_cpus", "16")], of_cpu(9 + TAKEN.div_ceil(16))),
        // A size of the job's own, which its two nodes share.
        (
            &[("min_mem_per_node", "500"), ("comment", "rampool:size=20G")],
            of_node(500 + 10_241 + 103),
        ),
        (
            &[("min_mem_per_node", "500"), ("comment", "rampool:size=5G,redundancy=mirror")],
            of_node(500 + 5_121 + 52),
        ),
    ] {
        assert_eq!(submitter.memory(job), asks, "{job:?}");
    }
}

#[test]
fn a_job_gives_of_its_own_where_it_has_all_or_nobody_knows_how_much_more() {
    let submitter = Submitter::new(&facts().to_string());
    for (job, asks) in [
        // --mem=0: all of its nodes; and nothing, where that is what Slurm gives then.
        (&[("min_mem_per_node", "0")][..], (Some(0), None)),
        (&[("min_mem_per_cpu", "0")], (None, Some(0))),
        (&[("partition", "large")], (None, None)),
        (&[("partition", "main,cpus")], (None, None)),
        // Five CPUs of two nodes: two and three, or one and four.
        (&[("min_mem_per_cpu", "500"), ("num_tasks", "5")], (None, Some(500))),
        (
            &[("min_mem_per_cpu", "500"), ("num_tasks", "5"), ("ntasks_per_node", "4")],
            (None, Some(500)),
        ),
        (&[("min_mem_per_cpu", "500"), ("shared", "0")], (None, Some(500))),
        (&[("min_mem_per_cpu", "500"), ("partition", "whole")], (None, Some(500))),
        (&[("mem_per_tres", "gres:gpu:500")], (None, None)),
        // How many nodes share the size is for Slurm to say.
        (
            &[("min_mem_per_node", "500"), ("comment", "rampool:size=20G"), ("max_nodes", "4")],
            (Some(500), None),
        ),
        (&[("features", "lake"), ("min_mem_per_node", "500")], (Some(500), None)),
        (&[("features", "ssd"), ("min_mem_per_node", "500")], (Some(500), None)),
    ] {
        assert_eq!(submitter.memory(job), asks, "{job:?}");
    }
}

#[test]
fn a_user_is_told_what_the_job_asks_for() {
    let submitter = Submitter::new(&facts().to_string());
    let fields = [("features", "moreIOPS"), ("min_mem_per_node", "500")];
    let (_, _, notice) = submitter.submitted(&fields);
    let told = notice.unwrap();
    assert!(told.contains("lends 8192 MiB") && told.ends_with("asks for --mem=8774M"), "{told}");
}

#[test]
fn a_pool_that_a_profile_sizes_as_a_whole_is_shared_by_the_nodes_without_its_spares() {
    let mut facts = facts();
    facts.profiles[1] =
        JobProfile { size: PoolSize::Whole(6 * GIB), spares: 1, ..facts.profiles[1].clone() };
    let submitter = Submitter::new(&facts.to_string());
    let job = [("features", "moreIOPS_safe"), ("min_nodes", "5"), ("max_nodes", "5")];
    let (_, job, _) = submitter.submitted(&[&job[..], &[("min_mem_per_node", "500")]].concat());
    assert_eq!(job.get::<u32>("min_mem_per_node").unwrap(), 500 + 3073 + 31);
}

#[test]
fn a_job_without_a_pool_is_none_of_its_business() {
    let submitter = Submitter::new(&facts().to_string());
    for job in [
        &[][..],
        &[("features", "ssd|moreIOPS_2"), ("partition", "debug"), ("het_job_offset", "0")],
        &[("prefer", "ssd&moreIOPS_2")],
        &[("script", "#!/bin/sh\necho '#RAMPOOL size=1'\n"), ("comment", "rampool is nice")],
    ] {
        let before = job.iter().find(|(name, _)| *name == "comment").map_or("", |(_, value)| value);
        assert_eq!(submitter.submit(job), Outcome::Accepted(before.to_owned()), "{job:?}");
    }
}

#[test]
fn what_can_never_be_is_refused_with_what_to_change() {
    let submitter = Submitter::new(&facts().to_string());
    for (job, words) in [
        (&[("features", "moreIOPS"), ("script", "#RAMPOOL size=200\n")][..], "write the unit"),
        (&[("features", "moreIOPS"), ("script", "#RAMPOOL size=0.5B\n")], "whole number of bytes"),
        (&[("features", "moreIOPS"), ("script", "#RAMPOOL big\n")], "NAME=VALUE"),
        (&[("features", "moreIOPS"), ("script", "#RAMPOOL speed=9\n")], "no option \"speed\""),
        (&[("features", "moreIOPS"), ("comment", "rampool:redundancy=raid1")], "mirror, parity"),
        (&[("features", "moreIOPS"), ("script", "#RAMPOOL size=1G size=2G\n")], "given twice"),
        (
            &[("features", "moreIOPS"), ("licenses", "rampool:2"), ("comment", "rampool:size=3G")],
            "both give a size",
        ),
        (&[("script", "#RAMPOOL size=1G\n")], "add --constraint=moreIOPS"),
        (&[("features", "ssd|moreIOPS")], "moreIOPS&(the rest)"),
        (&[("features", "moreIOPS&lake")], "name one of them"),
        (&[("prefer", "ssd|moreIOPS*2")], "ask for it by --constraint=moreIOPS"),
        (&[("features", "moreIOPS"), ("prefer", "lake")], "--prefer=lake gives no pool"),
        (&[("features", "moreIOPS"), ("het_job_offset", "1")], "one component"),
        (&[("features", "moreIOPS"), ("partition", "main,debug")], "partition debug suspends"),
        (
            &[("features", "moreIOPS"), ("max_nodes", "2"), ("comment", "rampool:size=129G")],
            "can lend (131072 MiB",
        ),
        (
            &[("features", "moreIOPS_safe"), ("max_nodes", "2"), ("comment", "rampool:size=65G")],
            "or for more nodes",
        ),
        (&[("features", "moreIOPS_safe"), ("max_nodes", "1")], "needs at least 2 nodes"),
        (&[("features", "lake"), ("comment", "rampool:size=401G")], "all donors together"),
    ] {
        let Outcome::Refused(said) = submitter.submit(job) else { panic!("accepted: {job:?}") };
        assert!(said.contains(words) && said.starts_with("rampool: "), "{job:?}: {said}");
    }
}

#[test]
fn a_job_of_donors_outside_takes_a_licence_for_each_gib_of_their_memory() {
    let submitter = Submitter::new(&facts().to_string());
    let lake = ("features", "lake");
    // Four donors keep 8 MiB of a pool together.
    for (more, comment, licences) in [
        (&[][..], "rampool:size=20480M", "rampool:21"),
        (&[("comment", "rampool:size=300M mine")], "mine rampool:size=300M", "rampool:1"),
        (&[("comment", "rampool:size=1G")], "rampool:size=1G", "rampool:2"),
        (&[("licenses", "matlab:2,rampool:64,a@b")], "rampool:size=64G", "matlab:2,a@b,rampool:65"),
        (
            &[("comment", "rampool:size=10G,redundancy=mirror")],
            "rampool:size=10G,redundancy=mirror",
            "rampool:21",
        ),
        (
            &[("comment", "rampool:size=10G,redundancy=parity")],
            "rampool:size=10G,redundancy=parity",
            "rampool:16",
        ),
    ] {
        let (outcome, said) = submitter.submit_with_licences(&[&[lake], more].concat());
        assert_eq!(outcome, Outcome::Accepted(comment.to_owned()), "{more:?}");
        assert_eq!(said.as_deref(), Some(licences), "{more:?}");
        // What the hooks take for the size, whatever licences they are told.
        let wish = Wish::of_comment(comment).unwrap();
        assert_eq!(wish.with_licences(licences).unwrap().size, wish.size);
    }
    let most = submitter.submit(&[lake, ("comment", "rampool:size=390G")]);
    let Outcome::Refused(said) = most else { panic!("{most:?}") };
    assert!(said.contains("up to 391 GiB") && said.contains("jobs may have 390"), "{said}");
}

#[test]
fn licences_mean_nothing_to_jobs_whose_own_nodes_lend_nor_where_slurm_has_none() {
    let submitter = Submitter::new(&facts().to_string());
    for (licences, left) in [("rampool:64", ""), ("rampool:64,matlab:2", "matlab:2")] {
        let job = [("features", "moreIOPS"), ("licenses", licences)];
        let (outcome, said) = submitter.submit_with_licences(&job);
        assert_eq!(outcome, Outcome::Accepted("rampool:size=64G".to_owned()));
        assert_eq!(said.as_deref(), Some(left));
    }
    let without = Submitter::new(&Facts { wait_by: None, ..facts() }.to_string());
    let (outcome, said) = without.submit_with_licences(&[("features", "lake")]);
    assert_eq!((outcome, said), (Outcome::Accepted(String::new()), None));
}

#[test]
fn what_some_nodes_could_give_is_accepted() {
    let submitter = Submitter::new(&facts().to_string());
    for job in [
        // Two of 64 GiB.
        &[("features", "moreIOPS"), ("max_nodes", "2"), ("comment", "rampool:size=128G")][..],
        // Eight of 16 GiB; no more than that many are asked for.
        &[("features", "moreIOPS"), ("min_nodes", "8"), ("comment", "rampool:size=128G")],
        &[("features", "lake"), ("max_nodes", "1"), ("comment", "rampool:size=389G")],
    ] {
        assert!(matches!(submitter.submit(job), Outcome::Accepted(_)), "{job:?}");
    }
    // As many equal pieces: the smallest of the nodes decides.
    let eight = [("features", "moreIOPS"), ("min_nodes", "8"), ("comment", "rampool:size=129G")];
    assert!(matches!(submitter.submit(&eight), Outcome::Refused(_)));
}

#[test]
fn facts_that_cannot_be_believed_refuse_nothing() {
    let text = facts().to_string();
    let old = Facts { written: SystemTime::now() - Duration::from_secs(300), ..facts() };
    let torn = text.strip_suffix("end\n").unwrap().to_owned();
    let newer = text.replace("rampool-facts 3", "rampool-facts 4");
    for facts in [String::new(), torn, newer, old.to_string()] {
        let impossible = [("features", "moreIOPS"), ("comment", "rampool:size=9P")];
        let accepted = Outcome::Accepted("rampool:size=9P".to_owned());
        assert_eq!(Submitter::new(&facts).submit(&impossible), accepted, "{facts}");
    }
    let gone = Submitter::new(&text);
    std::fs::remove_file(gone.folder.path().join("facts")).unwrap();
    assert_eq!(gone.submit(&[("features", "moreIOPS|a")]), Outcome::Accepted(String::new()));
    // A wrong line is refused all the same: that needs no facts.
    let wrong = gone.submit(&[("features", "moreIOPS"), ("comment", "rampool:size=1")]);
    assert!(matches!(wrong, Outcome::Refused(_)), "{wrong:?}");
}

#[test]
fn where_a_node_was_never_heard_of_nothing_is_too_large() {
    let submitter = Submitter::new(&Facts { complete: false, ..facts() }.to_string());
    let large = [("features", "moreIOPS"), ("comment", "rampool:size=9P")];
    assert_eq!(submitter.submit(&large), Outcome::Accepted("rampool:size=9P".to_owned()));
    assert!(matches!(submitter.submit(&[("features", "moreIOPS|ssd")]), Outcome::Refused(_)));
    assert_eq!(submitter.memory(&[("min_mem_per_node", "500")]), (Some(500 + TAKEN), None));
}

#[test]
fn a_mistake_of_the_script_itself_refuses_nobody() {
    let odd = facts().to_string().replace("lendable-mib own", "lendable-mib own odd");
    let outcome = Submitter::new(&odd).submit(&[("features", "moreIOPS")]);
    let Outcome::Mistaken(said) = outcome else { panic!("{outcome:?}") };
    assert!(said.starts_with("rampool: job_submit: "), "{said}");
}

proptest! {
    #[test]
    fn lua_and_rust_read_a_constraint_alike(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("moreIOPS"), Just("lake"), Just("ssd"), Just("&"), Just("|"), Just(","),
                Just("("), Just(")"), Just("["), Just("]"), Just("*2"), Just("!"),
            ],
            0..12,
        ),
    ) {
        let expression = parts.concat();
        let submitter = Submitter::new(&facts().to_string());
        // The refusal of this partition names the profile.
        let outcome = submitter.submit(&[("features", &expression), ("partition", "debug")]);
        let is_profile = |name: &str| ["moreIOPS", "moreIOPS_safe", "lake"].contains(&name);
        match asked(&expression, is_profile) {
            Ok(None) => prop_assert_eq!(outcome, Outcome::Accepted(String::new())),
            Ok(Some(profile)) => {
                let Outcome::Refused(said) = outcome else { panic!("{expression}: {outcome:?}") };
                prop_assert!(said.ends_with(&format!("or leave {profile} out")), "{}", said);
            }
            Err(unclear) => {
                prop_assert_eq!(outcome, Outcome::Refused(format!("rampool: {unclear}")));
            }
        }
    }

    #[test]
    fn the_hooks_can_read_every_size_that_was_accepted(
        size in "[0-9]{1,4}(\\.[0-9]{1,4})?[KMGTPEk]?i?B?|[0-9.KMGTiBx,=]{1,10}",
    ) {
        let missing = Submitter::new("");
        if let Outcome::Accepted(comment) = missing.submit(&[("script", &format!("#RAMPOOL size={size}\n"))]) {
            prop_assert!(Wish::of_comment(&comment).is_ok(), "{}", comment);
        }
    }
}

fn buffered(total: u64, free: u64) -> Facts {
    let wait_by = WaitBy::BurstBuffer { total: total * GIB, free: free * GIB };
    Facts { wait_by: Some(wait_by), ..facts() }
}

#[test]
fn where_jobs_wait_by_the_burst_buffer_they_take_a_share_of_it_and_no_licences() {
    let submitter = Submitter::new(&buffered(390, 100).to_string());
    for (more, comment, share) in [
        (&[][..], "rampool:size=20480M", 20 * 1024 + 8),
        (&[("script", "#!/bin/sh\n#RAMPOOL size=2G\n")], "rampool:size=2G", 2048 + 8),
        (&[("licenses", "rampool:3,matlab:1")], "rampool:size=3G", 3 * 1024 + 8),
        (
            &[("comment", "rampool:size=2G,redundancy=parity")],
            "rampool:size=2G,redundancy=parity",
            3072 + 8,
        ),
    ] {
        let (outcome, job, _) = submitter.submitted(&[&[("features", "lake")], more].concat());
        assert_eq!(outcome, Outcome::Accepted(comment.to_owned()));
        let buffer: String = job.get("burst_buffer").unwrap();
        assert_eq!(buffer, format!("#RAMPOOL pool=rampool capacity={share}M"), "{more:?}");
        let licences = job.get::<Option<String>>("licenses").unwrap().unwrap_or_default();
        assert!(!licences.contains("rampool"), "{licences}");
    }
    let own = submitter.submitted(&[("features", "moreIOPS")]).1;
    assert_eq!(own.get::<Option<String>>("burst_buffer").unwrap(), None);
    let large = submitter.submit(&[("features", "lake"), ("comment", "rampool:size=390G")]);
    let Outcome::Refused(told) = large else { panic!("{large:?}") };
    assert!(told.contains("takes up to 399368 MiB") && told.contains("may have 399360"), "{told}");
}

/// `lua/burst_buffer.lua` as slurmctld loads it, but for slurmctld.
struct Buffer {
    submitter: Submitter,
}

impl Buffer {
    fn new(facts: &str) -> Self {
        let submitter = Submitter::new(facts);
        let lua = &submitter.lua;
        let globals = lua.globals();
        let module = submitter.script.clone();
        let dofile = lua.create_function(move |_, _: String| Ok(module.clone())).unwrap();
        globals.set("dofile", dofile).unwrap();
        let slurm = lua.create_table().unwrap();
        slurm.set("SUCCESS", 0).unwrap();
        slurm.set("ERROR", -1).unwrap();
        globals.set("slurm", slurm).unwrap();
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("lua/burst_buffer.lua");
        assert_eq!(lua.load(source).eval::<i64>().unwrap(), 0);
        Self { submitter }
    }

    fn call(&self, name: &str, with: impl mlua::IntoLuaMulti) -> (i64, String) {
        let function: Function = self.submitter.lua.globals().get(name).unwrap();
        function.call(with).unwrap()
    }

    fn process(&self, script: &str) -> (i64, String) {
        let path = self.submitter.folder.path().join("script");
        std::fs::write(&path, script).unwrap();
        self.call("slurm_bb_job_process", path.to_str().unwrap())
    }
}

#[test]
fn the_pool_is_what_the_facts_say_and_always_says_what_is_free() {
    let said = |facts: &str| Buffer::new(facts).call("slurm_bb_pools", ()).1;
    let pool = |all: u64, free: u64| {
        format!(
            "{{\"pools\":[{{\"id\":\"rampool\",\"granularity\":1048576,\
             \"quantity\":{},\"free\":{}}}]}}",
            all * 1024,
            free * 1024
        )
    };
    assert_eq!(said(&buffered(390, 100).to_string()), pool(390, 100));
    assert_eq!(said(&buffered(1, 2).to_string()), pool(1, 1), "Slurm refuses more");
    let old = Facts { written: SystemTime::now() - Duration::from_secs(300), ..buffered(390, 9) };
    for without in [facts().to_string(), old.to_string(), String::new()] {
        assert_eq!(said(&without), pool(0, 0));
    }
}

#[test]
fn a_share_that_there_will_never_be_is_refused_and_so_is_a_wrong_line() {
    let buffer = Buffer::new(&buffered(1, 1).to_string());
    let of = |lines: &str| buffer.process(&format!("#!/bin/sh\n{lines}\nhostname\n#RAMPOOL x\n"));
    let fine = "#RAMPOOL size=1000M redundancy=mirror\n#RAMPOOL pool=rampool capacity=1024M";
    assert_eq!(of(fine), (0, String::new()));
    for (lines, words) in [
        ("#RAMPOOL pool=rampool capacity=1025M", "1025 MiB of the donors' memory are asked for"),
        ("#RAMPOOL size=x", "no size"),
        ("#RAMPOOL pool=other capacity=1M", "there is no option \"pool\""),
    ] {
        let (code, said) = of(lines);
        assert!(code != 0 && said.starts_with("rampool: ") && said.contains(words), "{said}");
    }
}

#[test]
fn nothing_but_numbers_of_slurms_comes_to_a_shell() {
    let buffer = Buffer::new("");
    for odd in ["7;id", "", "$(id)", "-1"] {
        let (code, said) = buffer.call("slurm_bb_setup", (odd, "1", "1", "rampool", "9", "/x"));
        assert!(code != 0 && said.contains("not a number"), "{odd}: {said}");
        assert_ne!(buffer.call("slurm_bb_job_teardown", (odd, "/x", "true")).0, 0);
    }
    // Where there is no such program, that is what is said.
    let (code, said) = buffer.call("slurm_bb_setup", ("7", "1", "1"));
    assert!(code != 0 && said.contains("rampool"), "{said}");
}

#[test]
fn every_function_is_there_that_slurm_asks_for() {
    let buffer = Buffer::new("");
    let needed = "data_in real_size paths pre_run post_run data_out get_status test_data_in \
                  test_data_out";
    for name in needed.split(' ') {
        assert_eq!(buffer.call(&format!("slurm_bb_{name}"), ("7", "/script")).0, 0, "{name}");
    }
}
