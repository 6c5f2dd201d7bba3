//! Who has files of a pool open by NFS, as /proc/fs/nfsd/clients tells, and the end of that.
//!
//! Since Linux 5.19 nfsd keeps what a dead client had open until somebody else needs it, and the
//! file system cannot be unmounted so long. A client has one identity for all that it mounts of
//! a server: only those are expired that hold something of the pool's own file system. One that
//! lives opens its other files anew by itself.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::configfs;
use crate::mount::table::DeviceNumber;
use crate::outcome::{Outcome, refused};
use crate::roots::Roots;

/// The kernel takes the word with its newline alone.
const EXPIRE: &str = "expire\n";

/// One client of this node's NFS server.
struct Client {
    folder: PathBuf,
    address: Option<IpAddr>,
}

fn list(roots: &Roots) -> Vec<Client> {
    let folder = roots.nfsd().join("clients");
    let client = |name: String| {
        let folder = folder.join(name);
        let info = fs::read_to_string(folder.join("info")).unwrap_or_default();
        Client { address: address(&info), folder }
    };
    configfs::names(&folder).into_iter().map(client).collect()
}

/// The addresses of all clients that the server knows, of whatever they use.
pub(super) fn connected(roots: &Roots) -> BTreeSet<IpAddr> {
    list(roots).into_iter().filter_map(|client| client.address).collect()
}

/// Expires the clients that hold anything on the file system, but for those `spared`.
pub(super) fn expire(
    roots: &Roots,
    device: DeviceNumber,
    spared: &BTreeSet<IpAddr>,
) -> Outcome<()> {
    for client in list(roots) {
        // What is gone meanwhile holds nothing.
        let states = fs::read_to_string(client.folder.join("states")).unwrap_or_default();
        if !holds(&states, device) || client.address.is_some_and(|from| spared.contains(&from)) {
            continue;
        }
        tracing::info!(client = ?client.address, "has files of the pool open: is expired");
        let control = client.folder.join("ctl");
        match fs::OpenOptions::new().write(true).open(&control) {
            Ok(mut file) => std::io::Write::write_all(&mut file, EXPIRE.as_bytes())
                .map_err(|error| refused(&control, "expire the client", error))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(refused(&control, "open it", error)),
        }
    }
    Ok(())
}

/// `address: "10.0.0.1:984"`, a line of a client's `info`.
fn address(info: &str) -> Option<IpAddr> {
    let line = info.lines().find_map(|line| line.strip_prefix("address: "))?;
    line.trim_matches('"').parse::<SocketAddr>().ok().map(|address| address.ip())
}

/// Opens, locks, delegations and layouts each name their file as `superblock: "07:03:12"`: the
/// device's numbers in hexadecimal, and the inode's.
fn holds(states: &str, (major, minor): DeviceNumber) -> bool {
    states.contains(&format!("superblock: \"{major:02x}:{minor:02x}:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: &str = "- 0x01: { type: deleg, access: r, superblock: \"fd:10:12\", filename: \"/f\" }\n\
        - 0x02: { type: open, access: -w, deny: --, superblock: \"07:03:13\", filename: \"/g\" }\n";

    #[test]
    fn a_client_holds_what_its_states_name_by_device() {
        assert!(holds(STATES, (253, 16)) && holds(STATES, (7, 3)));
        assert!(!holds(STATES, (253, 1)) && !holds(STATES, (7, 31)) && !holds("", (7, 3)));
    }

    #[test]
    fn addresses_are_read_in_both_families() {
        let info = "clientid: 0x1\naddress: \"10.77.0.12:984\"\ncallback address: 10.77.0.9:0\n";
        assert_eq!(address(info), Some("10.77.0.12".parse().unwrap()));
        assert_eq!(address("address: \"[fd00::1]:984\"\n"), Some("fd00::1".parse().unwrap()));
        assert_eq!(address("name: \"x\"\n"), None);
    }

    #[test]
    fn those_alone_are_expired_that_hold_the_pool_and_are_not_spared() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::fake(folder.path());
        for (name, address, states) in
            [("3", "10.0.0.3", STATES), ("4", "10.0.0.4", STATES), ("5", "10.0.0.5", "")]
        {
            let client = roots.nfsd().join("clients").join(name);
            fs::create_dir_all(&client).unwrap();
            fs::write(client.join("info"), format!("address: \"{address}:900\"\n")).unwrap();
            fs::write(client.join("states"), states).unwrap();
            fs::write(client.join("ctl"), "").unwrap();
        }
        assert_eq!(connected(&roots).len(), 3);
        expire(&roots, (7, 3), &BTreeSet::from(["10.0.0.4".parse().unwrap()])).unwrap();
        let told = |name: &str| {
            fs::read_to_string(roots.nfsd().join("clients").join(name).join("ctl")).unwrap()
        };
        assert_eq!([told("3"), told("4"), told("5")], ["expire\n", "", ""]);
    }
}
