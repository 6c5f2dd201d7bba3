//! What is not as it should be on a node, and the line that mends it. Pure: it reads what is
//! known of the node.

use std::collections::BTreeMap;

use rampool_proto::pool_name::Assembly;
use rampool_proto::size::Size;
use rampool_proto::tls::ENDS_SOON_DAYS;
use rampool_proto::v1::{Duty, Finding, Inventory, Severity};

use crate::clock::now_ms;
use crate::nodes::Known;
use crate::version;

/// A load per processor is not known here; a load average above this is worth a word.
const HIGH_LOAD: f64 = 100.0;

/// The findings of one node; one that says so where all is well. `is_known` says whether the
/// store knows an assembly.
#[must_use]
pub fn examine(node: &Known, is_known: impl Fn(&Assembly) -> bool) -> Vec<Finding> {
    let Some(inventory) = node.current() else {
        return vec![unreachable(node)];
    };
    let mut findings = programs(inventory);
    findings.extend(abilities(inventory));
    findings.extend(memory(node, inventory));
    findings.extend(orphans(&node.name, inventory, is_known));
    findings.extend(versions(inventory));
    let whose = format!("agent={}", node.name);
    findings.extend(certificate(inventory.certificate_ends_ms, now_ms(), &whose));
    let worst = findings.iter().map(Finding::severity).max().unwrap_or(Severity::Ok);
    if worst == Severity::Ok {
        findings.push(finding(Severity::Ok, "fit to be donor and head", ""));
    }
    for found in &mut findings {
        found.node.clone_from(&node.name);
    }
    findings
}

fn finding(severity: Severity, text: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { node: String::new(), severity: severity.into(), text: text.into(), fix: fix.into() }
}

fn unreachable(node: &Known) -> Finding {
    let name = &node.name;
    Finding {
        node: name.clone(),
        ..finding(
            Severity::Error,
            format!("unreachable: {}", node.why_not()),
            format!("on {name}: systemctl enable --now rampool-agent; journalctl -u rampool-agent"),
        )
    }
}

/// Without what a donor needs the node is of no use; without what a head needs it can lend.
fn severity_of(duty: Duty) -> Severity {
    match duty {
        Duty::Head => Severity::Warning,
        Duty::Donor | Duty::Unspecified => Severity::Error,
    }
}

fn duty_words(duty: Duty) -> &'static str {
    match duty {
        Duty::Head => "cannot be a head",
        Duty::Donor => "cannot be a donor",
        Duty::Unspecified => "cannot be used",
    }
}

/// One finding for each duty, with one line that installs all that it lacks.
fn programs(inventory: &Inventory) -> Vec<Finding> {
    let mut missing: BTreeMap<i32, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for program in inventory.programs.iter().filter(|program| program.path.is_empty()) {
        let (names, packages) = missing.entry(program.needed_for).or_default();
        names.push(&program.name);
        if !program.package.is_empty() && !packages.contains(&program.package.as_str()) {
            packages.push(&program.package);
        }
    }
    let words = |(duty, (names, packages)): (i32, (Vec<&str>, Vec<&str>))| {
        let duty = Duty::try_from(duty).unwrap_or_default();
        let text = format!("{}: missing {}", duty_words(duty), names.join(", "));
        let fix = if packages.is_empty() {
            String::new()
        } else {
            format!("apt-get install {}; systemctl restart rampool-agent", packages.join(" "))
        };
        finding(severity_of(duty), text, fix)
    };
    missing.into_iter().map(words).collect()
}

/// Abilities are alternatives more often than needs (md or lvm, one backend or another), so
/// that a missing one is a warning.
fn abilities(inventory: &Inventory) -> Vec<Finding> {
    // Keeping tmpfs out of swap matters only where there is swap.
    let matters = |name: &str| name != "tmpfs noswap" || inventory.swap_total_bytes > 0;
    let absent = inventory.abilities.iter().filter(|a| !a.present && matters(&a.name));
    absent
        .map(|ability| {
            finding(Severity::Warning, format!("no {}", ability.name), ability.detail.clone())
        })
        .collect()
}

fn memory(node: &Known, inventory: &Inventory) -> Vec<Finding> {
    let Some(memory) = &inventory.memory else {
        return vec![finding(Severity::Error, "does not say what memory it has", "")];
    };
    let mut findings = Vec::new();
    if let Some((available, floor)) = node.pressure() {
        let lends = memory.lent_bytes > 0;
        let fix = if lends { format!("rampool evacuate {}", node.name) } else { String::new() };
        findings.push(finding(
            Severity::Warning,
            format!("only {} available, less than its floor of {}", Size(available), Size(floor)),
            fix,
        ));
    } else if memory.lendable_bytes == 0 {
        findings.push(finding(
            Severity::Warning,
            format!("can lend nothing: its floor is {}", Size(memory.floor_bytes)),
            "see the memory policy in /etc/rampool/agent.yaml",
        ));
    }
    if inventory.load.first().is_some_and(|load| *load > HIGH_LOAD) {
        findings.push(finding(
            Severity::Warning,
            format!("its load is {:.0}", inventory.load[0]),
            "",
        ));
    }
    findings
}

fn orphans(
    node: &str,
    inventory: &Inventory,
    is_known: impl Fn(&Assembly) -> bool,
) -> Vec<Finding> {
    let mut unknown: BTreeMap<Assembly, (usize, u64)> = BTreeMap::new();
    for holding in &inventory.holdings {
        let Some(Ok(assembly)) = holding.pool.as_ref().map(Assembly::try_from) else { continue };
        if !is_known(&assembly) {
            let (objects, bytes) = unknown.entry(assembly).or_default();
            *objects += 1;
            *bytes = bytes.saturating_add(holding.bytes);
        }
    }
    let words = |(assembly, (objects, bytes)): (Assembly, (usize, u64))| {
        finding(
            Severity::Warning,
            format!(
                "holds {objects} objects ({}) of {assembly}, which this controller does not \
                 know; kept",
                Size(bytes)
            ),
            format!("rampool reap {node}, or rampool recover if it is a pool in use"),
        )
    };
    unknown.into_iter().map(words).collect()
}

/// Agents of the same major and minor version serve; others get no new pieces.
fn versions(inventory: &Inventory) -> Option<Finding> {
    let agent = &inventory.agent_version;
    let (severity, what) = match version::goes_with(agent) {
        _ if agent == version::OWN => return None,
        true => (Severity::Warning, "which serves"),
        false => (Severity::Error, "and gets no new pieces"),
    };
    let text = format!("its agent is version {agent}, the controller {}, {what}", version::OWN);
    Some(finding(severity, text, "install the same version everywhere"))
}

/// A certificate that ends soon, or whose file cannot be read: with its end nobody takes its holder
/// in any more. `whose` is what `rampool pki` calls it.
#[must_use]
pub fn certificate(ends_ms: u64, now_ms: u64, whose: &str) -> Option<Finding> {
    let days = ends_ms.saturating_sub(now_ms) / MS_A_DAY;
    let text = match ends_ms {
        0 => format!("the certificate of {whose} cannot be read"),
        _ if days >= ENDS_SOON_DAYS.into() => return None,
        _ => format!("the certificate of {whose} ends in {days} days"),
    };
    let fix = "rampool pki renew --dir DIR, and its new files in the places of the former: they are \
               read without a restart";
    Some(finding(Severity::Warning, text, fix))
}

const MS_A_DAY: u64 = 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::nodes::Contact;
    use rampool_proto::v1::{Ability, Holding, HoldingKind, Memory, PoolId, Program};

    fn well() -> Inventory {
        Inventory {
            node: "n1".into(),
            agent_version: version::OWN.into(),
            certificate_ends_ms: now_ms() + 100 * MS_A_DAY,
            memory: Some(Memory {
                available_bytes: 9,
                lendable_bytes: 5,
                floor_bytes: 4,
                ..Memory::default()
            }),
            ..Inventory::default()
        }
    }

    fn findings(inventory: Inventory) -> Vec<Finding> {
        let node = Known {
            name: "n1".into(),
            contact: Contact::Reachable { since_ms: 1 },
            inventory: Some(Arc::new(inventory)),
            last_seen_ms: 1,
        };
        examine(&node, |assembly| assembly.name.as_str() == "known")
    }

    #[test]
    fn a_node_on_which_all_is_well_says_so_in_one_line() {
        let found = findings(well());
        assert_eq!((found.len(), found[0].severity()), (1, Severity::Ok));
        assert_eq!(found[0].node, "n1");
    }

    #[test]
    fn an_unreachable_node_has_one_finding_with_its_reason() {
        let node = Known {
            name: "n1".into(),
            contact: Contact::Unreachable { why: "connection refused".into(), since_ms: 1 },
            inventory: Some(Arc::new(well())),
            last_seen_ms: 1,
        };
        let found = examine(&node, |_| true);
        assert_eq!((found.len(), found[0].severity()), (1, Severity::Error));
        assert!(found[0].text.contains("connection refused"));
    }

    #[test]
    fn a_certificate_is_spoken_of_a_month_before_its_end() {
        let now = 1_000 * MS_A_DAY;
        assert_eq!(certificate(now + 30 * MS_A_DAY, now, "agent=n1"), None);
        let soon = certificate(now + 30 * MS_A_DAY - 1, now, "agent=n1").unwrap();
        assert_eq!(soon.text, "the certificate of agent=n1 ends in 29 days");
        assert!(certificate(0, now, "agent=n1").unwrap().text.contains("cannot be read"));
        let found = findings(Inventory { certificate_ends_ms: now_ms(), ..well() });
        assert_eq!((found.len(), found[0].severity()), (1, Severity::Warning));
    }

    #[test]
    fn missing_programs_are_named_with_the_one_line_that_installs_them() {
        let program = |name: &str, package: &str, duty: Duty| Program {
            name: name.into(),
            path: String::new(),
            package: package.into(),
            needed_for: duty.into(),
        };
        let found = findings(Inventory {
            programs: vec![
                program("iscsiadm", "open-iscsi", Duty::Head),
                program("iscsid", "open-iscsi", Duty::Head),
                program("mdadm", "mdadm", Duty::Head),
                Program {
                    path: "/sbin/modprobe".into(),
                    ..program("modprobe", "kmod", Duty::Donor)
                },
            ],
            ..well()
        });
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity(), Severity::Warning, "it can still lend");
        assert!(found[0].text.contains("cannot be a head: missing iscsiadm, iscsid, mdadm"));
        assert!(found[0].fix.starts_with("apt-get install open-iscsi mdadm;"));
    }

    #[test]
    fn absent_abilities_low_memory_and_other_versions_are_findings() {
        let found = findings(Inventory {
            agent_version: "99.0.0".into(),
            abilities: vec![Ability {
                name: "md raid0".into(),
                detail: "modprobe raid0".into(),
                ..Ability::default()
            }],
            memory: Some(Memory { available_bytes: 1, floor_bytes: 4, ..Memory::default() }),
            ..well()
        });
        let text: String = found.iter().map(|f| format!("{} {}\n", f.text, f.fix)).collect();
        for word in ["no md raid0", "modprobe raid0", "floor", "version 99.0.0", "no new pieces"] {
            assert!(text.contains(word), "{word} is missing in {text}");
        }
    }

    #[test]
    fn what_the_store_does_not_know_is_shown_once_for_each_assembly() {
        let holding = |name: &str, kind: HoldingKind| Holding {
            pool: Some(PoolId { name: name.into(), generation: 3 }),
            kind: kind.into(),
            bytes: 1 << 20,
            ..Holding::default()
        };
        let found = findings(Inventory {
            holdings: vec![
                holding("known", HoldingKind::Export),
                holding("lost", HoldingKind::Export),
                holding("lost", HoldingKind::Ramdisk),
            ],
            ..well()
        });
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("2 objects") && found[0].text.contains("lost.3"));
        assert!(found[0].fix.starts_with("rampool reap n1"), "{}", found[0].fix);
    }
}
