//! Our SCSI disks, found through sysfs by maker and unit serial: never by a name like `sdb`,
//! which is another disk's after the next login.

use std::fs;
use std::path::{Path, PathBuf};

use rampool_proto::v1::{Failure, FailureKind};

use crate::configfs;
use crate::mount::table::{self, DeviceNumber};
use crate::outcome::Outcome;
use crate::ramdisk::VENDOR;
use crate::roots::Roots;

/// One disk of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurDisk {
    /// The kernel's name of the moment, e.g. "sdb".
    pub name: String,
    /// The unit serial, which is the donor's.
    pub serial: String,
    /// Its size.
    pub bytes: u64,
}

impl OurDisk {
    /// Its device node.
    #[must_use]
    pub fn device(&self, roots: &Roots) -> PathBuf {
        roots.dev.join(&self.name)
    }
}

/// Every disk whose maker is rampool.
#[must_use]
pub fn all(roots: &Roots) -> Vec<OurDisk> {
    configfs::names(&roots.blocks()).into_iter().filter_map(|name| by_name(roots, name)).collect()
}

/// The disk with this serial.
#[must_use]
pub fn by_serial(roots: &Roots, serial: &str) -> Option<OurDisk> {
    all(roots).into_iter().find(|disk| disk.serial == serial)
}

/// The disk of this name, if it is ours.
pub(crate) fn by_name(roots: &Roots, name: String) -> Option<OurDisk> {
    let block = roots.blocks().join(&name);
    let vendor = configfs::read(&block.join("device/vendor")).ok()?;
    if vendor.trim() != VENDOR {
        return None;
    }
    let serial = serial_of_page(&fs::read(block.join("device/vpd_pg80")).ok()?)?;
    let sectors: u64 = configfs::read(&block.join("size")).ok()?.parse().ok()?;
    Some(OurDisk { name, serial, bytes: sectors * 512 })
}

/// The text of the unit serial number page (SPC-4, 7.8.15): a header of four bytes, the last
/// two of which are the text's length.
fn serial_of_page(page: &[u8]) -> Option<String> {
    let [_, 0x80, high, low, text @ ..] = page else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low])).min(text.len());
    let text = std::str::from_utf8(&text[..length]).ok()?;
    Some(text.trim_matches(['\0', ' ']).to_owned())
}

/// The number of a block device by its kernel name.
pub(crate) fn number(roots: &Roots, name: &str) -> Option<DeviceNumber> {
    table::parse_device(&configfs::read(&roots.blocks().join(name).join("dev")).ok()?)
}

/// The arrays and logical volumes that the block device `name` is a part of.
pub(super) fn holders(roots: &Roots, name: &str) -> Vec<String> {
    configfs::names(&roots.blocks().join(name).join("holders"))
}

/// Refuses if an array, a logical volume or a mount sits on the block device `name`.
pub(crate) fn refuse_device_in_use(roots: &Roots, name: &str) -> Outcome<()> {
    let holders = holders(roots, name);
    let said = if holders.is_empty() {
        let number = number(roots, name);
        let mounts = table::read(&roots.proc)?;
        let Some(mount) = mounts.iter().find(|mount| Some(mount.device) == number) else {
            return Ok(());
        };
        format!("it is mounted on {}", mount.point.display())
    } else {
        format!("it is part of {}", holders.join(", "))
    };
    Err(Failure::new(FailureKind::Busy, "")
        .by(roots.dev.join(name).display().to_string())
        .saying(said)
        .advising("unmount the pool and stop its volume first")
        .into())
}

/// Refuses if something uses `disk`.
pub(crate) fn refuse_in_use(roots: &Roots, disk: &OurDisk) -> Outcome<()> {
    refuse_device_in_use(roots, &disk.name)
}

/// Whether commands reach the disk `name` now, as far as its session knows.
pub(crate) fn is_running(roots: &Roots, name: &str) -> bool {
    scsi_state(roots, name).is_some_and(|state| state == "running")
}

/// Whether the disk `name` is gone, or its session is past its patience: whatever is asked of it
/// fails. One that is waited for ("blocked") is not lost yet.
pub(crate) fn is_lost(roots: &Roots, name: &str) -> bool {
    scsi_state(roots, name).is_none_or(|state| {
        matches!(state.as_str(), "offline" | "transport-offline" | "cancel" | "deleted")
    })
}

/// The kernel's word (`sdev_states`, drivers/scsi/scsi_sysfs.c); none where the disk is gone.
fn scsi_state(roots: &Roots, name: &str) -> Option<String> {
    configfs::read(&roots.blocks().join(name).join("device/state")).ok()
}

/// How our disks are queued: no scheduler of ours between two others', completions on the CPU
/// that asked, no seeks to avoid. What a kernel does not offer is left as it is.
pub(crate) fn tune(roots: &Roots, disk: &OurDisk) {
    let queue = roots.blocks().join(&disk.name).join("queue");
    for (file, value) in
        [("scheduler", "none"), ("rq_affinity", "2"), ("rotational", "0"), ("add_random", "0")]
    {
        set_or_say(&queue.join(file), value);
    }
}

fn set_or_say(path: &Path, value: &str) {
    if let Err(failure) = configfs::write(path, value) {
        tracing::debug!(%failure, "a queue keeps its setting");
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A disk as sysfs would show it, written by hand.
    pub(crate) fn write_disk(roots: &Roots, name: &str, vendor: &str, serial: &str, number: &str) {
        let block = roots.blocks().join(name);
        fs::create_dir_all(block.join("device")).unwrap();
        fs::create_dir_all(block.join("holders")).unwrap();
        fs::write(block.join("device/vendor"), format!("{vendor:8}\n")).unwrap();
        fs::write(block.join("device/state"), "running\n").unwrap();
        let mut page = vec![0, 0x80, 0, u8::try_from(serial.len() + 1).unwrap()];
        page.extend(serial.bytes());
        page.push(0);
        fs::write(block.join("device/vpd_pg80"), page).unwrap();
        fs::write(block.join("size"), "131072\n").unwrap();
        fs::write(block.join("dev"), format!("{number}\n")).unwrap();
    }

    fn roots() -> (tempfile::TempDir, Roots) {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::fake(folder.path());
        fs::create_dir_all(roots.proc.join("self")).unwrap();
        fs::write(roots.proc.join("self/mountinfo"), "").unwrap();
        (folder, roots)
    }

    #[test]
    fn disks_are_found_by_maker_and_serial() {
        let (_folder, roots) = roots();
        write_disk(&roots, "sda", "ATA", "our-serial", "8:0");
        write_disk(&roots, "sdb", VENDOR, "our-serial", "8:16");
        let disk = by_serial(&roots, "our-serial").unwrap();
        assert_eq!((disk.name.as_str(), disk.bytes), ("sdb", 64 << 20));
        assert_eq!(by_serial(&roots, "other"), None);
        assert_eq!(all(&roots).len(), 1);
    }

    #[test]
    fn a_disk_in_an_array_or_mounted_is_in_use() {
        let (_folder, roots) = roots();
        write_disk(&roots, "sdb", VENDOR, "s", "8:16");
        assert!(refuse_device_in_use(&roots, "sdb").is_ok());
        fs::write(roots.proc.join("self/mountinfo"), "1 2 8:16 / /mnt rw - xfs /dev/sdb rw\n")
            .unwrap();
        let told = refuse_device_in_use(&roots, "sdb").unwrap_err();
        assert_eq!((told.kind(), told.said.as_str()), (FailureKind::Busy, "it is mounted on /mnt"));
        fs::create_dir(roots.blocks().join("sdb/holders/md127")).unwrap();
        let told = refuse_device_in_use(&roots, "sdb").unwrap_err();
        assert_eq!(told.said, "it is part of md127");
    }

    #[test]
    fn a_disk_past_its_patience_is_lost_and_one_that_is_waited_for_is_not() {
        let (_folder, roots) = roots();
        write_disk(&roots, "sdb", VENDOR, "s", "8:16");
        for (state, running, lost) in [
            ("running", true, false),
            ("blocked", false, false),
            ("transport-offline", false, true),
            ("offline", false, true),
        ] {
            fs::write(roots.blocks().join("sdb/device/state"), format!("{state}\n")).unwrap();
            let now = (is_running(&roots, "sdb"), is_lost(&roots, "sdb"));
            assert_eq!(now, (running, lost), "{state}");
        }
        assert_eq!((is_running(&roots, "sdc"), is_lost(&roots, "sdc")), (false, true));
    }

    #[test]
    fn odd_pages_are_no_serial() {
        for page in [&[][..], &[0, 0x83, 0, 1, b'x'], &[0, 0x80, 0]] {
            assert_eq!(serial_of_page(page), None);
        }
        assert_eq!(serial_of_page(&[0, 0x80, 0, 9, b'x']), Some("x".into()));
    }
}
