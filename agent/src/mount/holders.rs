//! Who holds a mount: processes with open files, working folders or mapped files on it, and
//! what no process shows (mounts below, loop devices, swap files, NFS exports).
//!
//! An open file is known by its mount's number, which /proc tells without touching the file:
//! a file on a dead network file system would hang whoever asks the file itself.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use rampool_proto::v1::Holder;

use super::table::{self, DeviceNumber};
use crate::configfs;
use crate::roots::Roots;

/// What is looked for.
pub(super) struct Held {
    /// The file system's device.
    pub(super) number: DeviceNumber,
    /// Names under which the device itself may be open.
    pub(super) devices: Vec<PathBuf>,
}

/// One look at all processes: the mounts of each mount namespace are read once.
struct Look<'a> {
    roots: &'a Roots,
    held: &'a Held,
    /// The mounts of the device, by mount namespace.
    namespaces: HashMap<PathBuf, Vec<table::Mount>>,
}

/// Processes that hold the device or its file system, ourselves left out.
pub(super) fn processes(roots: &Roots, held: &Held) -> Vec<Holder> {
    let pids: Vec<u32> =
        configfs::names(&roots.proc).iter().filter_map(|name| name.parse().ok()).collect();
    let mut look = Look { roots, held, namespaces: HashMap::new() };
    for pid in &pids {
        look.learn_namespace(*pid);
    }
    let ids: HashSet<u64> = look.namespaces.values().flatten().map(|mount| mount.id).collect();
    let ourselves = std::process::id();
    pids.into_iter()
        .filter(|pid| *pid != ourselves)
        .filter_map(|pid| Some(look.holder(pid, look.holds(pid, &ids)?)))
        .collect()
}

/// Mount namespaces other than ours in which the device is mounted, each with one of its
/// processes.
pub(super) fn elsewhere(roots: &Roots, held: &Held) -> Vec<String> {
    let ours = fs::read_link(roots.proc.join("self/ns/mnt")).unwrap_or_default();
    let mut seen = HashSet::from([ours]);
    let mut found = Vec::new();
    for name in configfs::names(&roots.proc) {
        let Ok(pid) = name.parse::<u32>() else { continue };
        let folder = roots.proc.join(&name);
        let Ok(namespace) = fs::read_link(folder.join("ns/mnt")) else { continue };
        if !seen.insert(namespace) {
            continue;
        }
        let mounts = table::parse(&fs::read(folder.join("mountinfo")).unwrap_or_default());
        if mounts.iter().any(|mount| mount.device == held.number) {
            let command = configfs::read(&folder.join("comm")).unwrap_or_default();
            found.push(format!("the mount namespace of pid {pid} ({command})"));
        }
    }
    found
}

/// What holds a mount at `point` and is no process.
pub(super) fn others(roots: &Roots, point: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mounts = table::read(&roots.proc).unwrap_or_default();
    for below in mounts.iter().filter(|m| m.point != point && m.point.starts_with(point)) {
        found.push(format!("{} is mounted on {}", below.source, below.point.display()));
    }
    for name in configfs::names(&roots.blocks()) {
        let backing = roots.blocks().join(&name).join("loop/backing_file");
        if let Ok(file) = configfs::read(&backing)
            && Path::new(&file).starts_with(point)
        {
            found.push(format!("/dev/{name} is made of {file}"));
        }
    }
    let first_fields = |path: PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().filter_map(|l| l.split_whitespace().next()).map(PathBuf::from).collect()
    };
    let swaps: Vec<PathBuf> = first_fields(roots.proc.join("swaps"));
    found.extend(under(swaps, point, "the node swaps to"));
    // The kernel's NFS server holds what clients have open, and is no process.
    let exports: Vec<PathBuf> = first_fields(roots.proc.join("fs/nfsd/exports"));
    found.extend(under(exports, point, "NFS clients use"));
    found
}

fn under<'a>(paths: Vec<PathBuf>, point: &'a Path, what: &'a str) -> impl Iterator<Item = String> {
    let within = paths.into_iter().filter(|path| path.starts_with(point));
    within.map(|path| format!("{what} {}", path.display())).collect::<Vec<_>>().into_iter()
}

impl Look<'_> {
    fn folder(&self, pid: u32) -> PathBuf {
        self.roots.proc.join(pid.to_string())
    }

    fn learn_namespace(&mut self, pid: u32) {
        let folder = self.folder(pid);
        let Ok(namespace) = fs::read_link(folder.join("ns/mnt")) else { return };
        let number = self.held.number;
        self.namespaces.entry(namespace).or_insert_with(|| {
            let mounts = table::parse(&fs::read(folder.join("mountinfo")).unwrap_or_default());
            mounts.into_iter().filter(|mount| mount.device == number).collect()
        });
    }

    /// What `pid` holds, if it holds anything. A process that ends meanwhile holds nothing.
    fn holds(&self, pid: u32, ids: &HashSet<u64>) -> Option<String> {
        let folder = self.folder(pid);
        self.open_file(&folder, ids)
            .or_else(|| self.standing(&folder))
            .or_else(|| self.mapped(&folder))
    }

    fn open_file(&self, folder: &Path, ids: &HashSet<u64>) -> Option<String> {
        for name in configfs::names(&folder.join("fd")) {
            let path = fs::read_link(folder.join("fd").join(&name)).unwrap_or_default();
            let info = configfs::read(&folder.join("fdinfo").join(&name)).unwrap_or_default();
            let on_mount = mount_id(&info).is_some_and(|id| ids.contains(&id));
            if on_mount || self.held.devices.contains(&path) {
                return Some(path.display().to_string());
            }
        }
        None
    }

    /// Its working folder or its root is on the mount, as its own namespace sees it.
    fn standing(&self, folder: &Path) -> Option<String> {
        let namespace = fs::read_link(folder.join("ns/mnt")).ok()?;
        let points = self.namespaces.get(&namespace)?;
        ["cwd", "root"].into_iter().find_map(|link| {
            let path = fs::read_link(folder.join(link)).ok()?;
            let on_mount = points.iter().any(|mount| path.starts_with(&mount.point));
            on_mount.then(|| format!("{} ({link})", path.display()))
        })
    }

    /// A file it runs or maps is on the mount.
    fn mapped(&self, folder: &Path) -> Option<String> {
        let maps = fs::read(folder.join("maps")).ok()?;
        let maps = String::from_utf8_lossy(&maps);
        maps.lines().find_map(|line| {
            let mut fields = line.split_whitespace().skip(3);
            (parse_hex_device(fields.next()?)? == self.held.number).then_some(())?;
            Some(format!("{} (mapped)", fields.nth(1).unwrap_or("a deleted file")))
        })
    }

    fn holder(&self, pid: u32, holds: String) -> Holder {
        let folder = self.folder(pid);
        let command = configfs::read(&folder.join("comm")).unwrap_or_default();
        Holder { pid, command, user: user(&folder), holds }
    }
}

/// `mnt_id:\t23`, a line of /proc/<pid>/fdinfo/<n>.
pub(crate) fn mount_id(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

/// `fe:01` as /proc/<pid>/maps writes device numbers.
pub(crate) fn parse_hex_device(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.split_once(':')?;
    Some((u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?))
}

fn user(folder: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let Ok(uid) = fs::metadata(folder).map(|folder| folder.uid()) else { return String::new() };
    match nix::unistd::User::from_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const HELD: DeviceNumber = (254, 3);

    /// A process as /proc would show it, written by hand.
    struct Process<'a> {
        roots: &'a Roots,
        pid: u32,
    }

    impl Process<'_> {
        fn write(&self, namespace: &str, cwd: &str, maps: &str) -> &Self {
            let folder = self.roots.proc.join(self.pid.to_string());
            for part in ["fd", "fdinfo", "ns"] {
                fs::create_dir_all(folder.join(part)).unwrap();
            }
            symlink(namespace, folder.join("ns/mnt")).unwrap();
            symlink(cwd, folder.join("cwd")).unwrap();
            symlink("/", folder.join("root")).unwrap();
            fs::write(folder.join("comm"), "prog\n").unwrap();
            fs::write(folder.join("maps"), maps).unwrap();
            fs::write(
                folder.join("mountinfo"),
                "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                 77 20 254:3 / /rampool/demo rw - xfs /dev/md_rp.demo.3 rw\n",
            )
            .unwrap();
            self
        }

        fn open(&self, path: &str, mount: u64) {
            let folder = self.roots.proc.join(self.pid.to_string());
            symlink(path, folder.join("fd/3")).unwrap();
            fs::write(folder.join("fdinfo/3"), format!("pos:\t0\nmnt_id:\t{mount}\n")).unwrap();
        }
    }

    #[test]
    fn every_way_to_hold_a_mount_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::fake(folder.path());
        let maps = "7f00-7f01 r-xp 00000000 fe:03 99 /rampool/demo/prog\n";
        // Numbers beyond any real process's: the test's own is left out.
        let process = |pid| Process { roots: &roots, pid };
        process(90_000_001).write("mnt:[1]", "/home", "");
        process(90_000_002).write("mnt:[1]", "/home", "").open("/rampool/demo/f", 77);
        process(90_000_003).write("mnt:[1]", "/rampool/demo/d", "");
        process(90_000_004).write("mnt:[1]", "/rampool/demonstration", maps);
        process(90_000_005).write("mnt:[1]", "/", "").open("/dev/md_rp.demo.3", 20);
        let held = Held { number: HELD, devices: vec!["/dev/md_rp.demo.3".into()] };
        let found: Vec<_> =
            processes(&roots, &held).into_iter().map(|h| (h.pid - 90_000_000, h.holds)).collect();
        assert_eq!(
            found,
            [
                (2, "/rampool/demo/f".to_owned()),
                (3, "/rampool/demo/d (cwd)".to_owned()),
                (4, "/rampool/demo/prog (mapped)".to_owned()),
                (5, "/dev/md_rp.demo.3".to_owned()),
            ]
        );
    }

    #[test]
    fn what_is_no_process_is_named_too() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::fake(folder.path());
        fs::create_dir_all(roots.proc.join("self")).unwrap();
        fs::write(
            roots.proc.join("self/mountinfo"),
            "77 20 254:3 / /p rw - xfs /dev/x rw\n78 77 7:0 / /p/image rw - ext4 /dev/loop0 rw\n",
        )
        .unwrap();
        fs::create_dir_all(roots.blocks().join("loop0/loop")).unwrap();
        fs::write(roots.blocks().join("loop0/loop/backing_file"), "/p/file\n").unwrap();
        fs::write(roots.proc.join("swaps"), "Filename Type\n/p/swap file 1 0 -2\n").unwrap();
        let found = others(&roots, Path::new("/p"));
        assert_eq!(
            found,
            [
                "/dev/loop0 is mounted on /p/image",
                "/dev/loop0 is made of /p/file",
                "the node swaps to /p/swap",
            ]
        );
    }
}
