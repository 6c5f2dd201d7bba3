//! Logging in and out, by iscsiadm; what came of it is read from sysfs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Failure, FailureKind};

use super::sessions::Session;
use crate::command::{self, Output};
use crate::names;
use crate::node::Node;
use crate::outcome::{Outcome, refused};

/// All logins run side by side, each with its own five seconds twice; the rest is for a busy node.
/// Donors that are busy themselves have as long again.
const LOGIN_DEADLINE: Duration = Duration::from_secs(30);

/// Logging out of a silent donor takes half a second once it is known to be silent, and the
/// five seconds of `logout_timeout` before.
const LOGOUT_DEADLINE: Duration = Duration::from_secs(30);

/// The socket on which iscsiadm speaks to iscsid.
const ISCSID: &str = "@ISCSIADM_ABSTRACT_NAMESPACE";

/// Whether somebody listens where iscsid would: iscsid itself, or systemd, which starts it.
pub(crate) fn iscsid_listens(proc: &Path) -> Outcome<bool> {
    let path = proc.join("net/unix");
    let text = std::fs::read_to_string(&path).map_err(|e| refused(&path, "read it", e))?;
    Ok(text.lines().any(|line| line.trim_end().ends_with(ISCSID)))
}

pub(super) fn require_iscsid(node: &Node) -> Outcome<()> {
    if iscsid_listens(&node.roots.proc)? {
        return Ok(());
    }
    Err(Failure::new(FailureKind::NotNow, "reach iscsid")
        .by("iscsid")
        .saying("it does not run, and nobody would start it")
        .advising("systemctl enable --now iscsid.socket")
        .into())
}

/// Logs in to every target that has a record of this assembly, in one go; answers what was
/// said.
pub(super) fn login_to_all(node: &Node, assembly: &Assembly) -> Outcome<String> {
    let iscsiadm = node.programs.iscsiadm.path()?;
    let interface = names::object(assembly);
    let output =
        command::run(iscsiadm, &["-m", "node", "-I", &interface, "--login"], LOGIN_DEADLINE)?;
    Ok(words(&output))
}

/// Logs in to these targets alone, side by side; answers what was said.
pub(super) fn login_to(node: &Node, assembly: &Assembly, targets: &[&str]) -> Outcome<String> {
    let iscsiadm = node.programs.iscsiadm.path()?;
    let interface = names::object(assembly);
    let arguments = |target: &&str| {
        ["-m", "node", "-I", &interface, "-T", target, "--login"].map(str::to_owned).into()
    };
    let each = targets.iter().map(arguments).collect();
    let outputs = command::run_each(iscsiadm, each, LOGIN_DEADLINE)?;
    Ok(outputs.iter().map(words).collect())
}

fn words(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

/// Logs out of every target that has a record of this assembly.
pub(super) fn logout(node: &Node, assembly: &Assembly) -> Outcome<Output> {
    let iscsiadm = node.programs.iscsiadm.path()?;
    let interface = names::object(assembly);
    command::run(iscsiadm, &["-m", "node", "-I", &interface, "--logout"], LOGOUT_DEADLINE)
}

/// Logs out of these sessions, record or none, side by side; answers the last one's words. What
/// each held back fails at once.
pub(super) fn logout_sessions(node: &Node, sessions: &[Session]) -> Outcome<String> {
    let iscsiadm = node.programs.iscsiadm.path()?;
    let arguments = |session: &Session| {
        let id = session.id.to_string();
        ["-m", "session", "-r", &id, "-u"].map(str::to_owned).into()
    };
    let each = sessions.iter().map(arguments).collect();
    let outputs = command::run_each(iscsiadm, each, LOGOUT_DEADLINE)?;
    Ok(outputs.last().map(Output::said).unwrap_or_default())
}

/// What iscsiadm says of each target it could not log in to: two lines, the target's and the
/// reason's.
pub(super) fn refusals(output: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut target = None;
    for line in output.lines() {
        if let Some((_, rest)) = line.split_once("Could not login to [") {
            target = rest.split_once("target: ").and_then(|(_, rest)| rest.split_once(','));
        } else if let (Some((iqn, _)), Some((_, reason))) =
            (target, line.split_once("initiator reported error "))
        {
            let reason = reason.trim().trim_start_matches('(').trim_end_matches(')');
            found.insert(iqn.to_owned(), reason.to_owned());
            target = None;
        }
    }
    found
}

/// Whether a donor took the connection and did not answer the login within its time (iscsiadm's
/// `ISCSI_ERR_PDU_TIMEOUT`): one that is down is not even connected to.
pub(super) fn is_busy(reason: &str) -> bool {
    reason.split_once(' ').is_some_and(|(code, _)| code == "11")
}

/// What to do about a reason that iscsiadm gave; the numbers are its exit codes.
pub(super) fn advice(reason: &str, donor: &str) -> String {
    match reason.split_once(' ').map(|(code, _)| code) {
        Some("24") => format!(
            "the target refused the initiator or its secret, or does not exist: was {donor}'s \
             export made for this pool and generation?"
        ),
        Some("4" | "8" | "11") => format!(
            "can this node reach {donor}'s data address? (`ping`, the cable, a firewall between)"
        ),
        Some("19") => format!("{donor}'s target refuses for good: look at its kernel log"),
        Some("20") => "iscsid does not answer: systemctl restart iscsid".to_owned(),
        _ => format!("look at the journal of iscsid here and at the kernel log of {donor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_words_of_iscsiadm_make_it_panic(
            said in "(iscsiadm: |Could not login to \\[|target: |initiator reported error |[(), \n]|.){0,30}"
        ) {
            for (target, reason) in refusals(&said) {
                prop_assert!(said.contains(&target));
                let _ = advice(&reason, "n1");
            }
        }
    }

    #[test]
    fn each_refused_target_is_found_with_its_reason() {
        let said = "iscsiadm: Could not login to [iface: rp.demo.3, target: \
            iqn.2026-11.org.rampool:demo.3.n2, portal: 10.0.0.2,3260].\n\
            iscsiadm: initiator reported error (24 - iSCSI login failed due to authorization \
            failure)\n\
            iscsiadm: Could not login to [iface: rp.demo.3, target: \
            iqn.2026-11.org.rampool:demo.3.n3, portal: 10.0.0.3,3260].\n\
            iscsiadm: initiator reported error (8 - connection timed out)\n\
            iscsiadm: Could not log into all portals\n";
        let refusals = refusals(said);
        assert_eq!(refusals.len(), 2);
        assert!(refusals["iqn.2026-11.org.rampool:demo.3.n2"].starts_with("24 - "));
        assert!(!is_busy(&refusals["iqn.2026-11.org.rampool:demo.3.n2"]));
        let words = |code| (code, is_busy(&format!("{code} - iSCSI PDU timed out")));
        assert_eq!([8, 11, 111].map(words), [(8, false), (11, true), (111, false)]);
        let reason = &refusals["iqn.2026-11.org.rampool:demo.3.n3"];
        assert_eq!(reason, "8 - connection timed out");
        assert!(advice(reason, "n3").contains("n3's data address"));
    }

    #[test]
    fn iscsid_is_known_by_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("net")).unwrap();
        let path = folder.path().join("net/unix");
        std::fs::write(&path, "Num RefCount\n0: 2 0 1 1 1 55 /run/udev/control\n").unwrap();
        assert!(!iscsid_listens(folder.path()).unwrap());
        std::fs::write(&path, format!("0: 2 0 1 1 1 55 {ISCSID}\n")).unwrap();
        assert!(iscsid_listens(folder.path()).unwrap());
    }
}
