//! The initramfs of every node: mounts the root image under a writable layer in memory, and goes there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use super::kernel::Kernel;

/// Where Debian's package `busybox-static` keeps its program.
pub const BUSYBOX: &str = "/usr/bin/busybox";

const INIT_HEAD: &str = "\
#!/busybox sh
# Process 1 until the root file system is there. The kernel runs it from memory; no other program exists yet.
b=/busybox
fail() { echo \"rampool-lab: initramfs: $*\"; exec $b poweroff -f; }
$b mount -t devtmpfs dev /dev || fail 'no /dev'
";

const INIT_TAIL: &str = "\
$b mount -t squashfs -o ro /dev/ubda /lower || fail 'cannot mount the root image'
$b mount -t tmpfs -o size=50%,mode=755 rampool-lab /upper || fail 'cannot mount a tmpfs'
$b mkdir /upper/data /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /root || fail 'no overlay'
r=/root
$b mkdir -p $r/dev $r/proc $r/sys $r/run $r/tmp $r/lib/modules $r/opt/rampool/bin $r/opt/rampool/node
$b mount -t hostfs -o /modules none $r/lib/modules || fail 'cannot mount the modules'
$b mount -t hostfs -o /bin none $r/opt/rampool/bin || fail 'cannot mount the binaries'
$b mount -t hostfs -o /nodes/$rampool_node none $r/opt/rampool/node || fail 'cannot mount the folder of the node'
$b mount --move /dev $r/dev
exec $b switch_root $r /opt/rampool/bin/rampool-lab guest-init
";

/// Makes the initramfs: a cpio archive, not compressed (memory to memory, a copy is faster).
///
/// # Errors
/// Names the package to install when busybox is missing, or the module that the kernel does not have.
pub fn make(kernel: &Kernel) -> Result<Vec<u8>> {
    let busybox = fs::read(BUSYBOX)
        .with_context(|| format!("cannot read {BUSYBOX}: apt-get install busybox-static"))?;
    ensure!(
        !needs_loader(&busybox),
        "{BUSYBOX} needs libraries, which an initramfs does not have: apt-get install busybox-static"
    );
    let mut archive = Cpio::default();
    for folder in ["dev", "proc", "lower", "upper", "root"] {
        archive.add(folder, 0o040_755, &[])?;
    }
    archive.add("busybox", 0o100_755, &busybox)?;
    let mut init = String::from(INIT_HEAD);
    for module in kernel.load_order(&["squashfs", "overlay", "configfs"])? {
        let name = file_name(&module)?;
        let bytes =
            fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
        archive.add(&name, 0o100_644, &bytes)?;
        init.push_str(&format!("$b insmod /{name} || fail 'cannot load {name}'\n"));
    }
    init.push_str(INIT_TAIL);
    archive.add("init", 0o100_755, init.as_bytes())?;
    archive.finish()
}

/// Whether a 64-bit ELF program names a loader for its libraries (a program header of type 3).
fn needs_loader(elf: &[u8]) -> bool {
    let number = |at: usize, size: usize| {
        let bytes = elf.get(at..at + size).unwrap_or_default();
        bytes.iter().rev().fold(0_usize, |value, &byte| value << 8 | usize::from(byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|header| number(table + header * size, 4) == 3)
}

fn file_name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    name.with_context(|| format!("{} has no usable file name", PathBuf::from(path).display()))
}

/// A cpio archive in the format that the kernel unpacks ("newc").
#[derive(Default)]
struct Cpio {
    bytes: Vec<u8>,
    entries: usize,
}

impl Cpio {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let Ok(size) = u32::try_from(content.len()) else {
            bail!("{name} is too large for an initramfs")
        };
        self.entries += 1;
        let inode = self.entries;
        let name_size = name.len() + 1;
        // Magic; inode, mode, uid, gid, links, mtime; size; four device numbers; length of the name; no checksum.
        let header = format!(
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{size:08x}{0:08x}{0:08x}{0:08x}{0:08x}{name_size:08x}{0:08x}",
            0, 1
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        self.add("TRAILER!!!", 0, &[])?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_aligned_and_ended() {
        let mut archive = Cpio::default();
        archive.add("init", 0o100_755, b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(&bytes[..6], b"070701");
        // Header of 110 bytes, "init\0" padded to 116, then the content.
        assert_eq!(&bytes[110..115], b"init\0");
        assert_eq!(&bytes[116..121], b"hello");
        assert_eq!(&bytes[124..130], b"070701");
        assert!(bytes.windows(10).any(|w| w == b"TRAILER!!!"));
    }
}
