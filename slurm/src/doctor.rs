//! What in slurm.conf stands in the way of jobs' pools, and the line that mends it. Pure: it reads
//! what `scontrol show config` said.

use std::time::Duration;

use rampool_proto::size::MIB;
use rampool_proto::v1::{Finding, Severity};

use crate::commands;
use crate::text::config::Config;
use crate::text::node::Node;
use crate::text::partition::Partition;

/// After its deadline an epilog looks at its node in Slurm and drains it: two commands.
const DRAINING: Duration = Duration::from_secs(2 * commands::DEADLINE.as_secs());

/// What the site lets the hooks wait: `deadline` and `node_deadline` of slurm.yaml.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For a job's pool to be made.
    pub start: Duration,
    /// For a node's memory to be free.
    pub node: Duration,
}

/// The findings; one that says so where all is well. `cluster` is what the site calls it;
/// `deadlines` are not compared where they are not known.
#[must_use]
pub fn examine(
    config: &Config,
    partitions: &[Partition],
    cluster: &str,
    deadlines: Option<Deadlines>,
) -> Vec<Finding> {
    let mut findings: Vec<_> = [
        name(config, cluster),
        memory(config),
        prolog_flags(config),
        deadlines.and_then(|deadlines| time_out(config, deadlines)),
        licenses(config),
        return_to_service(config),
        suspension(partitions),
    ]
    .into_iter()
    .flatten()
    .collect();
    if findings.is_empty() {
        findings.push(finding(Severity::Ok, "Slurm: fit for jobs that ask for a pool", ""));
    }
    if deadlines.is_none() {
        findings.push(finding(
            Severity::Ok,
            "Slurm: PrologEpilogTimeout was not compared with the hooks' deadlines, which this \
             host does not know",
            "rampool doctor, where Slurm's hooks have their /etc/rampool/slurm.yaml",
        ));
    }
    findings
}

/// What stands in the way on a node that has so much memory, in bytes, and keeps so much of it
/// from pools.
#[must_use]
pub fn examine_node(node: &Node, total: u64, floor: u64) -> Option<Finding> {
    let of_jobs = node.real_memory_mib.saturating_sub(node.mem_spec_limit_mib);
    let (total, floor) = (total / MIB, floor / MIB);
    let (severity, text) = if node.real_memory_mib > total {
        let text = format!(
            "Slurm: its RealMemory is {} MiB, and it has {total}: jobs are given what is not there",
            node.real_memory_mib
        );
        (Severity::Error, text)
    } else if of_jobs + floor > total {
        let text = format!(
            "Slurm: jobs are given {of_jobs} of its {total} MiB, which leaves less than its floor \
             of {floor}: its own programs may be short of memory"
        );
        (Severity::Warning, text)
    } else {
        return None;
    };
    let most = total.saturating_sub(floor) + node.mem_spec_limit_mib;
    let fix = format!(
        "slurm.conf: RealMemory={} or less for {}; scontrol reconfigure",
        most.min(total),
        node.name
    );
    Some(Finding { node: node.name.clone(), ..finding(severity, text, fix) })
}

fn finding(severity: Severity, text: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { node: String::new(), severity: severity.into(), text: text.into(), fix: fix.into() }
}

fn name(config: &Config, cluster: &str) -> Option<Finding> {
    (config.cluster() != cluster).then(|| {
        finding(
            Severity::Error,
            format!("Slurm: its ClusterName is {}, not {cluster}", config.cluster()),
            format!("write cluster: {} in rampool's configuration", config.cluster()),
        )
    })
}

fn memory(config: &Config) -> Option<Finding> {
    (!config.memory_is_consumable()).then(|| {
        finding(
            Severity::Error,
            "Slurm: memory is no consumable resource, so that what a job lends is given to others \
             too",
            "slurm.conf: SelectTypeParameters=CR_Core_Memory; restart slurmctld and every slurmd",
        )
    })
}

/// Without `Alloc` a node's prolog runs only with the first step there; without `DeferBatch` a job
/// begins before all of its nodes are ready.
fn prolog_flags(config: &Config) -> Option<Finding> {
    const KEY: &str = "PrologFlags";
    let given = |flag| config.has(KEY, flag);
    // These bring Alloc with them.
    let allocates = ["Alloc", "Contain", "X11"].into_iter().any(given);
    let missing: Vec<_> = [("Alloc", allocates), ("DeferBatch", given("DeferBatch"))]
        .into_iter()
        .filter_map(|(flag, is_there)| (!is_there).then_some(flag))
        .collect();
    let all: Vec<_> = config.get(KEY).into_iter().chain(missing.iter().copied()).collect();
    (!missing.is_empty()).then(|| {
        finding(
            Severity::Error,
            format!("Slurm: {KEY} lacks {}, so that jobs begin too early", missing.join(" and ")),
            format!("slurm.conf: {KEY}={}; scontrol reconfigure", all.join(",")),
        )
    })
}

/// Slurm kills a hook at its own time-out, and drains a node whose hook it killed: ours end first.
fn time_out(config: &Config, deadlines: Deadlines) -> Option<Finding> {
    let limit = config.prolog_epilog_timeout()?;
    let hooks = [("deadline", deadlines.start), ("node_deadline", deadlines.node + DRAINING)];
    let (name, longest) = hooks.into_iter().max_by_key(|(_, time)| *time)?;
    let and_draining = if name == "deadline" { "" } else { " and the draining of a node" };
    (longest >= limit).then(|| {
        finding(
            Severity::Error,
            format!(
                "Slurm: PrologEpilogTimeout is {} s, and the hooks' {name}{and_draining} {} s: \
                 Slurm would kill them before they end",
                limit.as_secs(),
                longest.as_secs(),
            ),
            format!(
                "slurm.conf: PrologEpilogTimeout={}; scontrol reconfigure; or a shorter {name} in \
                 slurm.yaml",
                longest.as_secs() + DRAINING.as_secs(),
            ),
        )
    })
}

fn licenses(config: &Config) -> Option<Finding> {
    config.has("SchedulerParameters", "bf_licenses").then(|| {
        finding(
            Severity::Warning,
            "Slurm: bf_licenses lets jobs start on licences of jobs that still hold their memory",
            "slurm.conf: leave bf_licenses out of SchedulerParameters; scontrol reconfigure",
        )
    })
}

fn return_to_service(config: &Config) -> Option<Finding> {
    (config.get("ReturnToService") == Some("2")).then(|| {
        finding(
            Severity::Warning,
            "Slurm: with ReturnToService=2 a node that lost its memory by a quick reboot goes on \
             with its jobs as if nothing had been",
            "slurm.conf: ReturnToService=1; scontrol reconfigure",
        )
    })
}

fn suspension(partitions: &[Partition]) -> Option<Finding> {
    let suspending = partitions.iter().filter(|partition| partition.suspends);
    let names: Vec<_> = suspending.map(|partition| partition.name.as_str()).collect();
    (!names.is_empty()).then(|| {
        finding(
            Severity::Warning,
            format!(
                "Slurm: jobs in {} may be suspended and would keep their memory: those that ask \
                 for a pool are refused there",
                names.join(", ")
            ),
            "slurm.conf: PreemptMode=REQUEUE or CANCEL for these partitions, or leave it so",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: &str = "ClusterName = spike\nPrologEpilogTimeout = 300\n\
                        PrologFlags = Alloc,DeferBatch\nReturnToService = 1\n\
                        SchedulerParameters = bf_interval=3\nSelectTypeParameters = CR_CORE_MEMORY\n";

    const DEADLINES: Deadlines =
        Deadlines { start: Duration::from_secs(120), node: Duration::from_secs(60) };

    fn findings(instead: &[(&str, &str)]) -> Vec<Finding> {
        let text = instead.iter().fold(WELL.to_owned(), |text, (old, new)| {
            assert!(text.contains(old), "{old}");
            text.replace(old, new)
        });
        examine(&Config::read(&text).unwrap(), &[], "spike", Some(DEADLINES))
    }

    fn one(old: &str, new: &str) -> Finding {
        let mut found = findings(&[(old, new)]);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn a_fit_configuration_is_said_to_be_one() {
        let found = findings(&[]);
        assert_eq!((found.len(), found[0].severity()), (1, Severity::Ok));
        let no_end = one("PrologEpilogTimeout = 300", "PrologEpilogTimeout = 65534");
        assert_eq!(no_end.severity(), Severity::Ok);
        assert_eq!(one("Alloc,DeferBatch", "Contain,DeferBatch").severity(), Severity::Ok);
    }

    #[test]
    fn what_makes_jobs_fail_is_an_error_with_its_line() {
        for (old, new, words, fix) in [
            ("CR_CORE_MEMORY", "CR_CORE", "no consumable resource", "CR_Core_Memory"),
            ("Alloc,DeferBatch", "X11", "lacks DeferBatch", "PrologFlags=X11,DeferBatch"),
            ("Alloc,DeferBatch", "(null)", "Alloc and DeferBatch", "PrologFlags=Alloc,DeferBatch"),
            ("Timeout = 300", "Timeout = 120", "hooks' deadline 120 s", "PrologEpilogTimeout=150"),
            ("spike", "other", "ClusterName is other, not spike", "cluster: other"),
        ] {
            let found = one(old, new);
            assert_eq!(found.severity(), Severity::Error, "{found:?}");
            assert!(found.text.contains(words) && found.fix.contains(fix), "{found:?}");
        }
    }

    #[test]
    fn a_node_needs_time_to_be_drained_too() {
        let config = Config::read(&WELL.replace("= 300", "= 90")).unwrap();
        let start = Duration::from_secs(30);
        let examine = |node| examine(&config, &[], "spike", Some(Deadlines { start, node }));
        assert_eq!(examine(Duration::from_secs(59))[0].severity(), Severity::Ok);
        let found = &examine(Duration::from_secs(60))[0];
        assert!(found.text.contains("node_deadline and the draining of a node 90 s"), "{found:?}");
    }

    #[test]
    fn what_is_a_risk_is_a_warning() {
        for (old, new, words) in [
            ("bf_interval=3", "bf_interval=3,bf_licenses", "bf_licenses"),
            ("ReturnToService = 1", "ReturnToService = 2", "quick reboot"),
        ] {
            let found = one(old, new);
            assert_eq!(found.severity(), Severity::Warning);
            assert!(found.text.contains(words) && !found.fix.is_empty(), "{found:?}");
        }
        let partition = |name: &str, suspends| Partition {
            name: name.to_owned(),
            suspends,
            gives_whole_nodes: false,
            is_default: false,
            default_memory: None,
        };
        let partitions = [partition("main", false), partition("low", true)];
        let found = examine(&Config::read(WELL).unwrap(), &partitions, "spike", Some(DEADLINES));
        assert_eq!(found[0].severity(), Severity::Warning);
        assert!(found[0].text.contains("jobs in low may be"), "{found:?}");
    }

    #[test]
    fn deadlines_that_are_not_known_are_said_not_to_be() {
        let config = Config::read(&WELL.replace("= 300", "= 1")).unwrap();
        let found = examine(&config, &[], "spike", None);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|found| found.severity() == Severity::Ok), "{found:?}");
        assert!(found[1].text.contains("not compared") && !found[1].fix.is_empty(), "{found:?}");
    }

    #[test]
    fn a_node_keeps_its_floor_beside_what_jobs_are_given() {
        let found = |real, spec, total: u64, floor: u64| {
            let line = format!("NodeName=n2 RealMemory={real} MemSpecLimit={spec} State=IDLE");
            let node = Node::read_all(&line).unwrap().remove(0);
            examine_node(&node, total * MIB, floor * MIB)
        };
        assert_eq!(found(900, 0, 1000, 100), None);
        assert_eq!(found(1000, 100, 1000, 100), None);
        let short = found(901, 0, 1000, 100).unwrap();
        assert_eq!((short.severity(), short.node.as_str()), (Severity::Warning, "n2"));
        assert!(short.text.contains("901 of its 1000 MiB"), "{short:?}");
        assert!(short.fix.contains("RealMemory=900 or less for n2"), "{short:?}");
        let absent = found(1001, 500, 1000, 100).unwrap();
        assert_eq!(absent.severity(), Severity::Error);
        assert!(absent.fix.contains("RealMemory=1000 or less"), "{absent:?}");
    }
}
