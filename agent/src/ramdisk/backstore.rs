//! LIO's storage objects: `core/<plugin>_<index>/rp.<pool>.<gen>`, one object a folder ("HBA"),
//! so that no two of them touch.

use std::path::{Path, PathBuf};

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::Backend;

use super::Ramdisk;
use crate::configfs;
use crate::names;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, refused};
use crate::roots::Roots;

/// What our disks call their maker: at most 8 characters (SPC-4, standard INQUIRY data).
pub(crate) const VENDOR: &str = "RAMPOOL";

/// HBA indices from here on are ours, so that a site's own tools, which take the lowest free
/// one, keep theirs. The number only has to be unlikely.
const FIRST_INDEX: u32 = 7_702_000;

/// How many indices are tried.
const INDICES: u32 = 100_000;

/// An LIO storage plugin: what its HBA folders begin with, and whose memory it serves.
const PLUGINS: [(&str, Backend); 3] =
    [("rd_mcp", Backend::RdMcp), ("fileio", Backend::Tmpfs), ("iblock", Backend::Brd)];

/// A disk of 4 KiB blocks needs no partial writes under file systems of the same block size.
const BLOCK_SIZE: &str = "4096";

fn plugin(backend: Backend) -> &'static str {
    PLUGINS.iter().find(|(_, b)| *b == backend).map_or("", |(name, _)| *name)
}

/// Every storage object that carries a name of ours.
pub(super) fn list(roots: &Roots) -> Vec<Ramdisk> {
    let core = roots.backstores();
    let mut found = Vec::new();
    for hba in configfs::folders(&core) {
        let Some((_, backend)) = hba
            .rsplit_once('_')
            .and_then(|(name, _)| PLUGINS.iter().find(|(plugin, _)| *plugin == name))
        else {
            continue;
        };
        for name in configfs::folders(&core.join(&hba)) {
            let Some(assembly) = names::parse_object(&name) else { continue };
            found.push(describe(roots, assembly, *backend, core.join(&hba).join(name)));
        }
    }
    found
}

/// The assembly for which the ramdisk behind an object was carved.
pub(crate) fn of_object(object: &Path) -> Option<Assembly> {
    names::parse_object(object.file_name()?.to_str()?)
}

/// An object's unit serial. A donor that was given another name since keeps the old one here.
pub(crate) fn serial_of_object(object: &Path) -> Option<String> {
    // `T10 VPD Unit Serial Number: <serial>`
    let text = configfs::read(&object.join("wwn/vpd_unit_serial")).ok()?;
    Some(text.rsplit_once(": ")?.1.trim().to_owned())
}

fn describe(roots: &Roots, assembly: Assembly, backend: Backend, object: PathBuf) -> Ramdisk {
    let ready = configfs::read(&object.join("enable")).is_ok_and(|value| value == "1");
    let info = configfs::read(&object.join("info")).unwrap_or_default();
    let bytes = match backend {
        _ if !ready => 0,
        Backend::RdMcp => rd_mcp_bytes(&info).unwrap_or(0),
        Backend::Tmpfs => fileio_bytes(&info).unwrap_or(0),
        _ => super::brd::bytes(roots),
    };
    Ramdisk { assembly, backend, bytes, object: Some(object), ready }
}

/// `PAGES/PAGE_SIZE: 16384*4096`
fn rd_mcp_bytes(info: &str) -> Option<u64> {
    let (_, rest) = info.split_once("PAGES/PAGE_SIZE: ")?;
    let (pages, size) = rest.split_whitespace().next()?.split_once('*')?;
    pages.parse::<u64>().ok()?.checked_mul(size.parse().ok()?)
}

/// `File: /run/...  Size: 67108864  Mode: ...`
fn fileio_bytes(info: &str) -> Option<u64> {
    // Not the "SectorSize: " before it.
    let (_, rest) = info.split_once("File: ")?.1.split_once(" Size: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The object of `assembly`, made if it is not there, told what it is by `control`, not enabled.
pub(super) fn make(
    node: &Node,
    backend: Backend,
    assembly: &Assembly,
    control: &str,
) -> Outcome<PathBuf> {
    let _turn = node.lio_turn();
    let present = list(&node.roots).into_iter().find(|found| found.assembly == *assembly);
    let object = match present.and_then(|found| found.object) {
        Some(object) => object,
        None => {
            let object = free_hba(node, backend)?.join(names::object(assembly));
            configfs::make(&object).during("make the backstore")?;
            object
        }
    };
    configfs::write(&object.join("control"), control).during("describe the backstore")?;
    Ok(object)
}

/// An HBA folder of our own with nothing in it: a new one, or one whose object was never made.
fn free_hba(node: &Node, backend: Backend) -> Outcome<PathBuf> {
    let core = node.roots.backstores();
    for index in FIRST_INDEX..FIRST_INDEX + INDICES {
        let hba = core.join(format!("{}_{index}", plugin(backend)));
        let made = configfs::make(&hba).during("make the backstore's folder")?;
        if made == Change::Made || configfs::folders(&hba).is_empty() {
            return Ok(hba);
        }
    }
    Err(refused(&core, "find a free backstore index", format!("{INDICES} are taken")))
}

/// Gives the enabled object its identity and its limits: before anything links to it.
pub(super) fn identify(node: &Node, object: &Path, backend: Backend, serial: &str) -> Outcome<()> {
    let _turn = node.lio_turn();
    let wwn = object.join("wwn");
    let unit_serial = wwn.join("vpd_unit_serial");
    // It reads back as a sentence that ends in the serial.
    if !configfs::read(&unit_serial)?.ends_with(serial) {
        configfs::write(&unit_serial, serial)?;
    }
    configfs::set(&wwn.join("vendor_id"), VENDOR)?;
    let attributes = object.join("attrib");
    if backend != Backend::Brd {
        configfs::set(&attributes.join("block_size"), BLOCK_SIZE)?;
    }
    configfs::set(&attributes.join("is_nonrot"), "1")?;
    // Copy offload and compare-and-write serve clusters; here they are only more to attack.
    configfs::set(&attributes.join("emulate_3pc"), "0")?;
    configfs::set(&attributes.join("emulate_caw"), "0")
}

/// Removes an object that nothing links to any more, and its folder.
pub(super) fn remove(node: &Node, object: &Path) -> Outcome<()> {
    let _turn = node.lio_turn();
    configfs::remove(object).during("remove the backstore")?;
    Ok(())
}

/// Removes folders of ours that hold nothing: a crash, or the removal of their object, left them.
pub(super) fn sweep(node: &Node) {
    let _turn = node.lio_turn();
    let core = node.roots.backstores();
    for hba in configfs::folders(&core) {
        let ours = hba.rsplit_once('_').is_some_and(|(name, index)| {
            let known = PLUGINS.iter().any(|(plugin, _)| *plugin == name);
            let range = FIRST_INDEX..FIRST_INDEX + INDICES;
            known && index.parse().is_ok_and(|index: u32| range.contains(&index))
        });
        if ours && configfs::folders(&core.join(&hba)).is_empty() {
            // An object may have been made in it this moment by another tool: then it stays.
            if let Err(failure) = configfs::remove(&core.join(&hba)) {
                tracing::info!(%failure, "an empty backstore folder stays");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;
    use std::fs;

    /// A tree as configfs would show it, written by hand.
    fn write_object(roots: &Roots, path: &str, enable: &str, info: &str) {
        let object = roots.backstores().join(path);
        fs::create_dir_all(&object).unwrap();
        fs::write(object.join("enable"), format!("{enable}\n")).unwrap();
        fs::write(object.join("info"), info).unwrap();
    }

    #[test]
    fn only_objects_of_our_name_are_listed_with_their_size() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::fake(folder.path());
        let rd_mcp = "Status: ACTIVATED  Max Queue Depth: 0\n        TCM RamDisk ID: 0  \
            RamDisk Makeup: rd_mcp\n        PAGES/PAGE_SIZE: 16384*4096  SG_table_count: 1\n";
        let fileio = "Status: ACTIVATED  SectorSize: 4096\n        TCM FILEIO ID: 0        File: /run/x  Size: 67108864  Mode: Buffered-WCE\n";
        write_object(&roots, "rd_mcp_0/site-disk", "1", rd_mcp);
        write_object(&roots, "rd_mcp_7702000/rp.demo.3", "1", rd_mcp);
        write_object(&roots, "fileio_7702000/rp.other.1", "1", fileio);
        write_object(&roots, "rd_mcp_7702001/rp.half.1", "0", "Status: DEACTIVATED\n");
        write_object(&roots, "pscsi_0/rp.demo.9", "1", "");
        write_object(&roots, "alua/lu_gps", "1", "");
        let found: Vec<_> =
            list(&roots).into_iter().map(|r| (r.assembly, r.backend, r.bytes, r.ready)).collect();
        assert_eq!(
            found,
            [
                (assembly("other.1"), Backend::Tmpfs, 64 << 20, true),
                (assembly("demo.3"), Backend::RdMcp, 64 << 20, true),
                (assembly("half.1"), Backend::RdMcp, 0, false),
            ]
        );
    }

    #[test]
    fn odd_words_of_the_kernel_are_no_size() {
        for info in ["", "PAGES/PAGE_SIZE: ", "PAGES/PAGE_SIZE: 1x4096", "Size: lots"] {
            assert_eq!(rd_mcp_bytes(info), None, "{info}");
            assert_eq!(fileio_bytes(info), None, "{info}");
        }
    }
}
