//! What the node's own NFS server must be before it can share. It is never started, stopped or
//! configured here: it is the site's.

use std::fs;

use rampool_proto::v1::{Failure, FailureKind};

use crate::configfs;
use crate::node::Node;
use crate::outcome::{Outcome, failure};

/// The programs of which one must run: the kernel asks them who a client is.
const MOUNT_DAEMONS: [&str; 2] = ["rpc.mountd", "nfsv4.exportd"];

/// Refuses with the first thing that the node's NFS server lacks.
pub(super) fn require(node: &Node) -> Outcome<()> {
    node.programs.exportfs.path()?;
    let nfsd = node.roots.nfsd();
    let read = |file: &str| fs::read_to_string(nfsd.join(file)).unwrap_or_default();
    let threads = read("threads").trim().parse::<u32>().unwrap_or(0);
    if threads == 0 {
        return lacking("this node's NFS server does not run", "systemctl enable --now nfs-server");
    }
    if !speaks(&read("versions"), "4.2") {
        let advice = "set vers4.2=y below [nfsd] in /etc/nfs.conf, then restart nfs-server";
        return lacking("this node's NFS server does not speak version 4.2", advice);
    }
    if !nfsd.join("clients").is_dir() {
        return lacking(
            "this kernel cannot end a client of its NFS server",
            "use Linux 5.3 or later",
        );
    }
    if !answers(node) {
        let said = format!("none of {} runs: clients are not known", MOUNT_DAEMONS.join(", "));
        return lacking(&said, "systemctl restart nfs-mountd");
    }
    Ok(())
}

/// After its start nfsd lets clients take back what they had open before, and for that long opens
/// nothing new.
pub(super) fn refuse_grace(node: &Node) -> Outcome<()> {
    let nfsd = node.roots.nfsd();
    let read = |file: &str| configfs::read(&nfsd.join(file)).unwrap_or_default();
    if read("v4_end_grace") != "N" {
        return Ok(());
    }
    let most = read("nfsv4gracetime");
    let said =
        "this node's NFS server was started just now and opens no files yet (its grace time)";
    lacking(said, &format!("try again in {most} s at most; start nfs-server before pools are used"))
}

fn lacking<T>(said: &str, advice: &str) -> Outcome<T> {
    let failure: Failure = failure(FailureKind::NotNow, said).by("nfsd").advising(advice);
    Err(failure.into())
}

/// `-3 +4 +4.1 +4.2`
fn speaks(versions: &str, version: &str) -> bool {
    versions.split_whitespace().any(|word| word.strip_prefix('+') == Some(version))
}

fn answers(node: &Node) -> bool {
    configfs::names(&node.roots.proc).iter().any(|name| {
        name.bytes().all(|byte| byte.is_ascii_digit())
            && configfs::read(&node.roots.proc.join(name).join("comm"))
                .is_ok_and(|command| MOUNT_DAEMONS.contains(&command.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::fake;

    #[test]
    fn a_version_is_spoken_where_it_has_a_plus() {
        assert!(speaks("-3 +4 +4.1 +4.2\n", "4.2"));
        assert!(!speaks("+3 +4 +4.1 -4.2\n", "4.2"));
        assert!(!speaks("", "4.2"));
    }

    #[test]
    fn a_server_just_started_opens_nothing_yet() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        fs::create_dir_all(node.roots.nfsd()).unwrap();
        fs::write(node.roots.nfsd().join("nfsv4gracetime"), "90\n").unwrap();
        fs::write(node.roots.nfsd().join("v4_end_grace"), "Y\n").unwrap();
        refuse_grace(&node).unwrap();
        fs::write(node.roots.nfsd().join("v4_end_grace"), "N\n").unwrap();
        let told = refuse_grace(&node).unwrap_err();
        assert!(told.kind() == FailureKind::NotNow && told.advice.contains("90 s"), "{told}");
    }
}
