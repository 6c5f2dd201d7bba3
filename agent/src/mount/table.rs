//! The mount table, read from `/proc/<pid>/mountinfo` (its format: proc_pid_mountinfo(5)).

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::outcome::{Outcome, refused};

/// A device's number: major and minor.
pub type DeviceNumber = (u32, u32);

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The kernel's number for the mount, unique over all namespaces.
    pub id: u64,
    /// Of the file system's device.
    pub device: DeviceNumber,
    /// Which folder of the file system is mounted: `/` unless it is a bind mount.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// e.g. "xfs".
    pub kind: String,
    /// What the one who mounted called the source.
    pub source: String,
    /// Of the file system, e.g. "rw,vers=4.2,addr=10.0.0.1".
    pub options: String,
}

/// The mounts this process sees.
pub fn read(proc: &Path) -> Outcome<Vec<Mount>> {
    let path = proc.join("self/mountinfo");
    // Mount points are bytes, not text: one odd one must not hide all others.
    let bytes = fs::read(&path).map_err(|error| refused(&path, "read it", error))?;
    Ok(parse(&bytes))
}

/// The mounts that a `mountinfo` lists; lines that are none are skipped.
#[must_use]
pub fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut text = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
    let id = text()?.parse().ok()?;
    let _parent = text()?;
    let device = parse_device(text()?)?;
    let root = unescape_path(fields.next()?);
    let point = unescape_path(fields.next()?);
    // Options, then any number of optional fields, end with a lone hyphen.
    fields.by_ref().find(|field| *field == b"-")?;
    let kind = String::from_utf8_lossy(&unescape(fields.next()?)).into_owned();
    let source = String::from_utf8_lossy(&unescape(fields.next()?)).into_owned();
    let options = String::from_utf8_lossy(fields.next().unwrap_or_default()).into_owned();
    Some(Mount { id, device, root, point, kind, source, options })
}

/// `8:16` as sysfs and mountinfo write device numbers.
#[must_use]
pub fn parse_device(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn unescape_path(field: &[u8]) -> PathBuf {
    std::ffi::OsString::from_vec(unescape(field)).into()
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits.
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            _ => {
                plain.push(*first);
                tail
            }
        };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mounts_are_read_with_optional_fields_and_escapes() {
        let text = b"36 35 98:0 / /mnt/a\\040b rw,noatime master:1 shared:2 - ext4 /dev/root rw\n\
            22 1 0:21 / /proc rw - proc proc rw\n\
            nonsense\n\
            50 22 0:44 /sub /run/rampool/ramdisk/demo.3 rw - tmpfs rp.demo.3 rw,size=1k\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[0].point, Path::new("/mnt/a b"));
        assert_eq!((mounts[0].id, mounts[0].device), (36, (98, 0)));
        assert_eq!((mounts[0].kind.as_str(), mounts[0].source.as_str()), ("ext4", "/dev/root"));
        assert_eq!(mounts[2].options, "rw,size=1k");
        assert_eq!(mounts[2].source, "rp.demo.3");
        assert_eq!(mounts[2].root, Path::new("/sub"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_mount_point_reads_back(name in "[ -~\t]{1,30}") {
            let escaped: String = name.bytes().map(|byte| match byte {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}"),
                byte => char::from(byte).to_string(),
            }).collect();
            let line = format!("1 2 8:16 / /{escaped} rw - xfs /dev/sdb rw");
            let mounts = parse(line.as_bytes());
            prop_assert_eq!(&mounts[0].point, &Path::new("/").join(name.trim_start_matches('/')));
        }
    }
}
