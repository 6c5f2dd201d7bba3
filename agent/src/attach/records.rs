//! open-iscsi's records: an interface of the pool's own, which carries its initiator name, and
//! one node record a target. Written whole by rename, readable by root alone: secrets never
//! pass a command line.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::ChapSecrets;

use super::Whose;
use super::patience::Patience;
use crate::configfs;
use crate::names;
use crate::node::Node;
use crate::outcome::{Outcome, refused};

/// What a record says of one target.
pub(super) struct Record<'a> {
    pub(super) iqn: &'a str,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) portal_group: u32,
    pub(super) chap: &'a ChapSecrets,
}

/// How many commands may be under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commands {
    /// In one session, its own housekeeping included: a power of two.
    session: u32,
    /// To one disk.
    disk: u32,
}

/// As many as targets take.
pub(super) const USUAL: Commands = Commands { session: 512, disk: 128 };

/// To donors that use the pool themselves: a donor takes memory for each command, a mebibyte at
/// most, while its own users leave it none.
pub(super) const SPARING: Commands = Commands { session: 64, disk: 32 };

/// How a head talks to its donors.
pub(super) struct Manner<'a> {
    pub(super) initiator: &'a str,
    pub(super) patience: Patience,
    pub(super) commands: Commands,
}

/// Settings that are the same for every target. Where open-iscsi's default differs, why ours
/// does: discovery-less, no start at boot, disks only when asked for (`scan`), a dead donor
/// found within seconds, deep queues, large transfers as the target offers them.
const SETTINGS: [(&str, &str); 25] = [
    ("node.startup", "manual"),
    ("node.leading_login", "No"),
    ("node.conn[0].startup", "manual"),
    ("node.session.scan", "manual"),
    ("node.session.nr_sessions", "1"),
    ("node.session.auth.authmethod", "CHAP"),
    // A target takes the first it knows; MD5 and SHA1, the defaults' end, are not offered.
    ("node.session.auth.chap_algs", "SHA3-256,SHA256"),
    ("node.session.initial_login_retry_max", "1"),
    ("node.conn[0].timeo.login_timeout", "5"),
    ("node.conn[0].timeo.logout_timeout", "5"),
    ("node.session.err_timeo.abort_timeout", "5"),
    ("node.session.err_timeo.lu_reset_timeout", "5"),
    ("node.session.err_timeo.tgt_reset_timeout", "5"),
    ("node.session.xmit_thread_priority", "0"),
    ("node.session.iscsi.InitialR2T", "No"),
    ("node.session.iscsi.ImmediateData", "Yes"),
    ("node.session.iscsi.FirstBurstLength", "262144"),
    ("node.session.iscsi.MaxBurstLength", "1048576"),
    ("node.session.iscsi.DefaultTime2Retain", "0"),
    ("node.session.iscsi.DefaultTime2Wait", "0"),
    ("node.session.iscsi.MaxOutstandingR2T", "16"),
    ("node.conn[0].iscsi.MaxRecvDataSegmentLength", "262144"),
    ("node.conn[0].iscsi.HeaderDigest", "None"),
    ("node.conn[0].iscsi.DataDigest", "None"),
    ("node.conn[0].tcp.window_size", "524288"),
];

fn interface_lines(assembly: &Assembly, initiator: &str) -> Vec<(String, String)> {
    [
        ("iface.iscsi_ifacename", names::object(assembly).as_str()),
        ("iface.transport_name", "tcp"),
        ("iface.initiatorname", initiator),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn node_lines(
    assembly: &Assembly,
    manner: &Manner<'_>,
    record: &Record<'_>,
) -> Vec<(String, String)> {
    let mut lines = vec![
        ("node.name".to_owned(), record.iqn.to_owned()),
        ("node.tpgt".to_owned(), record.portal_group.to_string()),
    ];
    lines.extend(interface_lines(assembly, manner.initiator));
    let (chap, patience) = (record.chap, manner.patience);
    for (key, value) in [
        ("node.conn[0].address", record.address.to_string()),
        ("node.conn[0].port", record.port.to_string()),
        ("node.session.auth.username", chap.user.clone()),
        ("node.session.auth.password", chap.password.clone()),
        ("node.session.auth.username_in", chap.mutual_user.clone()),
        ("node.session.auth.password_in", chap.mutual_password.clone()),
        ("node.session.timeo.replacement_timeout", patience.replacement.to_string()),
        ("node.conn[0].timeo.noop_out_interval", patience.probe_interval.to_string()),
        ("node.conn[0].timeo.noop_out_timeout", patience.probe_timeout.to_string()),
        ("node.session.cmds_max", manner.commands.session.to_string()),
        ("node.session.queue_depth", manner.commands.disk.to_string()),
    ] {
        lines.push((key.to_owned(), value));
    }
    lines.extend(SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned())));
    lines
}

fn text(lines: &[(String, String)]) -> String {
    let mut text = String::from("# BEGIN RECORD 2.0\n");
    for (key, value) in lines {
        text.push_str(&format!("{key} = {value}\n"));
    }
    text.push_str("# END RECORD\n");
    text
}

fn interface_path(node: &Node, assembly: &Assembly) -> PathBuf {
    node.roots.iscsi.join("ifaces").join(names::object(assembly))
}

/// Writes the interface and the records of `targets`.
pub(super) fn write(
    node: &Node,
    assembly: &Assembly,
    manner: &Manner<'_>,
    targets: &[Record<'_>],
) -> Outcome<()> {
    let interface = text(&interface_lines(assembly, manner.initiator));
    write_whole(&interface_path(node, assembly), &interface)?;
    for target in targets {
        let portal = format!("{},{},{}", target.address, target.port, target.portal_group);
        let folder = node.roots.iscsi.join("nodes").join(target.iqn).join(portal);
        let lines = node_lines(assembly, manner, target);
        write_whole(&folder.join(names::object(assembly)), &text(&lines))?;
    }
    Ok(())
}

fn write_whole(path: &Path, text: &str) -> Outcome<()> {
    let folder = path.parent().expect("every record lies in a folder");
    let attempt = || -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // Begins with a dot: open-iscsi skips it, and `remove` finds what a crash left.
        let draft = folder.join(DRAFT);
        let _ = fs::remove_file(&draft);
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&draft, path)
    };
    attempt().map_err(|error| refused(path, "write it", error))
}

const DRAFT: &str = ".rampool-draft";

/// The node records of all pools, with whose they are: where the target's name and the
/// record's agree.
pub(super) fn list(node: &Node) -> Vec<(Assembly, PathBuf)> {
    let nodes = node.roots.iscsi.join("nodes");
    let mut found = Vec::new();
    for iqn in configfs::folders(&nodes) {
        let Some((assembly, _)) = names::parse_target(&node.config.authority, &iqn) else {
            continue;
        };
        for portal in configfs::folders(&nodes.join(&iqn)) {
            let record = nodes.join(&iqn).join(portal).join(names::object(&assembly));
            if record.exists() {
                found.push((assembly.clone(), record));
            }
        }
    }
    found
}

/// Whether anything of what is meant of `assembly` is on disk.
pub(super) fn any(node: &Node, assembly: &Assembly, whose: &Whose) -> bool {
    let interface = *whose == Whose::All && interface_path(node, assembly).exists();
    interface || !target_folders(node, assembly, whose).is_empty()
}

fn target_folders(node: &Node, assembly: &Assembly, whose: &Whose) -> Vec<PathBuf> {
    let nodes = node.roots.iscsi.join("nodes");
    let meant = |iqn: &String| {
        names::parse_target(&node.config.authority, iqn)
            .is_some_and(|(of, donor)| of == *assembly && whose.includes(donor))
    };
    configfs::folders(&nodes).into_iter().filter(meant).map(|iqn| nodes.join(iqn)).collect()
}

/// Removes the records that are meant, the folders that hold nothing any more, and the interface
/// if no other record needs it.
pub(super) fn remove(node: &Node, assembly: &Assembly, whose: &Whose) -> Outcome<()> {
    for target in target_folders(node, assembly, whose) {
        for portal in configfs::folders(&target) {
            let portal = target.join(portal);
            remove_file(&portal.join(names::object(assembly)))?;
            remove_file(&portal.join(DRAFT))?;
            remove_if_empty(&portal)?;
        }
        remove_if_empty(&target)?;
    }
    if *whose != Whose::All && list(node).iter().any(|(of, _)| of == assembly) {
        return Ok(());
    }
    let interface = interface_path(node, assembly);
    remove_file(&interface.with_file_name(DRAFT))?;
    remove_file(&interface)
}

fn remove_file(path: &Path) -> Outcome<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(refused(path, "remove it", error)),
        _ => Ok(()),
    }
}

/// A record that is not ours keeps its folder.
fn remove_if_empty(path: &Path) -> Outcome<()> {
    match fs::remove_dir(path) {
        Err(error)
            if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) =>
        {
            Err(refused(path, "remove it", error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;
    use crate::node::tests::fake;
    use std::os::unix::fs::PermissionsExt;

    const IQN: &str = "iqn.2026-11.org.rampool:demo.3.n2";
    const INITIATOR: &str = "iqn.2026-11.org.rampool:demo.3.head";

    fn write_one(node: &Node) {
        let chap = ChapSecrets {
            user: "user".into(),
            password: "secret-out".into(),
            mutual_user: "back".into(),
            mutual_password: "secret-in".into(),
        };
        let address = "fd00::2".parse().unwrap();
        let record = Record { iqn: IQN, address, port: 3260, portal_group: 1, chap: &chap };
        let patience = Patience::split(20).unwrap();
        let manner = Manner { initiator: INITIATOR, patience, commands: SPARING };
        write(node, &assembly("demo.3"), &manner, &[record]).unwrap();
    }

    #[test]
    fn a_record_says_all_and_only_root_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        write_one(&node);
        let path = node.roots.iscsi.join("nodes").join(IQN).join("fd00::2,3260,1/rp.demo.3");
        let text = fs::read_to_string(&path).unwrap();
        for line in [
            "node.name = iqn.2026-11.org.rampool:demo.3.n2",
            "iface.initiatorname = iqn.2026-11.org.rampool:demo.3.head",
            "node.conn[0].address = fd00::2",
            "node.session.auth.password = secret-out",
            "node.session.auth.password_in = secret-in",
            "node.session.timeo.replacement_timeout = 10",
            "node.session.cmds_max = 64",
            "node.session.queue_depth = 32",
            "node.startup = manual",
            "node.session.scan = manual",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(list(&node), [(assembly("demo.3"), path)]);
    }

    #[test]
    fn the_interface_goes_with_the_last_donors_record() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        write_one(&node);
        let demo = assembly("demo.3");
        let other = Whose::Donors(vec!["n9".into()]);
        assert!(!any(&node, &demo, &other));
        remove(&node, &demo, &other).unwrap();
        assert!(interface_path(&node, &demo).exists() && list(&node).len() == 1);
        let last = Whose::Donors(vec!["n2".into()]);
        assert!(any(&node, &demo, &last));
        remove(&node, &demo, &last).unwrap();
        assert!(!interface_path(&node, &demo).exists() && list(&node).is_empty());
    }

    #[test]
    fn removing_leaves_other_peoples_records_and_generations() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        write_one(&node);
        let nodes = node.roots.iscsi.join("nodes");
        let theirs = [
            nodes.join("iqn.2003-01.org.site:x/10.0.0.1,3260,1/default"),
            nodes.join("iqn.2026-11.org.rampool:demo.4.n2/10.0.0.2,3260,1/rp.demo.4"),
            nodes.join(IQN).join("fd00::2,3260,1/default"),
            node.roots.iscsi.join("ifaces/default"),
        ];
        for path in &theirs {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        // What a crash while writing leaves.
        fs::write(nodes.join(IQN).join("fd00::2,3260,1").join(DRAFT), "").unwrap();
        assert!(any(&node, &assembly("demo.3"), &Whose::All));
        remove(&node, &assembly("demo.3"), &Whose::All).unwrap();
        remove(&node, &assembly("demo.3"), &Whose::All).unwrap();
        assert!(theirs.iter().all(|path| path.exists()));
        assert_eq!(list(&node).len(), 1);
        assert!(!nodes.join(IQN).join("fd00::2,3260,1").join(DRAFT).exists());
    }
}
