//! Who may mount what: by exportfs, whose table mountd answers the kernel from.
//!
//! A site's `exportfs -ra` drops what no file names, so each of ours is also in a file below
//! /etc/exports.d. The table is changed entry by entry: reading all files anew would drop what an
//! admin exported by hand. Ours are known by their `fsid`.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rampool_proto::v1::FailureKind;

use crate::command;
use crate::configfs;
use crate::node::Node;
use crate::outcome::{Change, Outcome, failure, refused};
use crate::roots::Roots;

/// exportfs writes a table and a few kernel files, and may wait for mountd's lock.
const DEADLINE: Duration = Duration::from_secs(10);

/// One entry of exportfs' table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What may be mounted.
    pub(super) path: PathBuf,
    /// By whom: an address, a network, a name, a pattern.
    pub(super) client: String,
    options: String,
}

impl Entry {
    pub(super) fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|one| one == option)
    }

    /// The client, where it is one address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.client.parse().ok()
    }
}

/// One thing that is exported to some clients, all in the same way.
pub(super) struct Export<'a> {
    /// What.
    pub(super) path: &'a Path,
    /// The `fsid` by which its entries are known, e.g. "fsid=0".
    pub(super) mark: String,
    /// Nobody else's entries have that mark: ours are known by it whatever their path.
    pub(super) is_unique: bool,
    /// How, the mark left out.
    pub(super) options: &'a str,
    /// The file that keeps it, below /etc/exports.d.
    pub(super) file: String,
}

impl Export<'_> {
    fn has_made(&self, entry: &Entry) -> bool {
        entry.has(&self.mark) && (self.is_unique || entry.path == self.path)
    }
}

/// exportfs' table; empty where nothing was ever exported.
pub(super) fn table(roots: &Roots) -> Outcome<Vec<Entry>> {
    match fs::read(&roots.etab) {
        Ok(bytes) => Ok(bytes.split(|byte| *byte == b'\n').filter_map(parse).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(refused(&roots.etab, "read it", error)),
    }
}

/// `/path<TAB>client(options)`
pub(crate) fn parse(line: &[u8]) -> Option<Entry> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let (client, options) =
        std::str::from_utf8(&line[tab + 1..]).ok()?.trim_end().split_once('(')?;
    let path = std::ffi::OsString::from_vec(crate::mount::table::unescape(&line[..tab]));
    let options = options.strip_suffix(')')?.to_owned();
    Some(Entry { path: path.into(), client: client.to_owned(), options })
}

/// Makes `clients` those, and those alone, who may mount it; none: its file goes too.
pub(super) fn settle(
    node: &Node,
    export: &Export<'_>,
    clients: &BTreeSet<IpAddr>,
) -> Outcome<Change> {
    // The file before the table, both ways: whoever has exportfs read all files meanwhile gets
    // what is wanted.
    let kept = keep(node, export, clients)?;
    let table = table(&node.roots)?;
    let ours: Vec<_> = table.into_iter().filter(|entry| export.has_made(entry)).collect();
    let stays = |entry: &Entry| {
        entry.path == export.path && entry.address().is_some_and(|from| clients.contains(&from))
    };
    let there: BTreeSet<IpAddr> =
        ours.iter().filter(|entry| stays(entry)).filter_map(Entry::address).collect();
    let gone: Vec<_> = ours.iter().filter(|entry| !stays(entry)).collect();
    let new: Vec<_> = clients.difference(&there).collect();
    if !gone.is_empty() {
        exportfs(node, &["-u"], gone.iter().map(|e| argument(&e.client, &e.path)))?;
    }
    if !new.is_empty() {
        let options = format!("{},{}", export.options, export.mark);
        let each = new.iter().map(|client| argument(&client.to_string(), export.path));
        exportfs(node, &["-o", &options], each)?;
    }
    let same = kept == Change::Already && gone.is_empty() && new.is_empty();
    Ok(if same { Change::Already } else { Change::Made })
}

fn exportfs(node: &Node, how: &[&str], each: impl Iterator<Item = String>) -> Outcome<()> {
    let each: Vec<_> = each.collect();
    let arguments: Vec<&str> = how.iter().copied().chain(each.iter().map(String::as_str)).collect();
    command::succeed(node.programs.exportfs.path()?, &arguments, DEADLINE).map(drop)
}

/// As exportfs wants it on its command line: IPv6 addresses in brackets, the path as it is.
fn argument(client: &str, path: &Path) -> String {
    let path = path.display();
    if client.contains(':') { format!("[{client}]:{path}") } else { format!("{client}:{path}") }
}

fn keep(node: &Node, export: &Export<'_>, clients: &BTreeSet<IpAddr>) -> Outcome<Change> {
    let file = node.roots.exports.join(&export.file);
    if clients.is_empty() {
        return forget(&file);
    }
    let text = text(export, clients);
    if fs::read_to_string(&file).is_ok_and(|now| now == text) {
        return Ok(Change::Already);
    }
    // Renamed into its place, so that exportfs never reads half of it; it reads no other names.
    let half = file.with_extension("half");
    fs::create_dir_all(&node.roots.exports)
        .and_then(|()| fs::write(&half, text))
        .and_then(|()| fs::rename(&half, &file))
        .map_err(|error| refused(&file, "write it", error))?;
    Ok(Change::Made)
}

/// The kernel's caches of who may mount what: each entry holds what it names.
const CACHES: [&str; 2] = ["net/rpc/nfsd.fh", "net/rpc/nfsd.export"];

/// A flush that comes within a second of another one only marks what is to go: it counts as one
/// of the next second, and nothing goes before. exportfs flushes at each of its runs, so that
/// sharing and unsharing many pools at once takes about as many seconds.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);

/// Returns when nfsd holds none of `paths` for any export; does `again` before each look.
pub(super) fn await_forgotten(
    roots: &Roots,
    paths: &BTreeSet<PathBuf>,
    again: impl Fn() -> Outcome<()>,
) -> Outcome<()> {
    let patience = Instant::now() + FLUSH_PATIENCE;
    loop {
        again()?;
        let caches: Vec<_> = CACHES.iter().map(|cache| roots.proc.join(cache)).collect();
        let content = |cache: &PathBuf| fs::read(cache.join("content")).unwrap_or_default();
        if !caches.iter().any(|cache| mentions(&content(cache), paths)) {
            return Ok(());
        }
        if Instant::now() > patience {
            let said = format!("nfsd does not forget what is no export any more: {paths:?}");
            return Err(failure(FailureKind::TimedOut, said).advising("try again").into());
        }
        for cache in &caches {
            flush(&cache.join("flush"))?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Empties a cache, if the second of its last flush is over. mountd is asked anew by whoever
/// comes next.
fn flush(file: &Path) -> Outcome<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let last = configfs::read(file)?.trim().parse().unwrap_or(0);
    if now > last { configfs::write(file, &format!("{now}\n")) } else { Ok(()) }
}

fn mentions(content: &[u8], paths: &BTreeSet<PathBuf>) -> bool {
    content.split(u8::is_ascii_whitespace).any(|word| {
        let plain = std::ffi::OsString::from_vec(crate::mount::table::unescape(word));
        word.first() == Some(&b'/') && paths.contains(Path::new(&plain))
    })
}

/// Removes a file of ours.
pub(super) fn forget(file: &Path) -> Outcome<Change> {
    match fs::remove_file(file) {
        Ok(()) => Ok(Change::Made),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Change::Already),
        Err(error) => Err(refused(file, "remove it", error)),
    }
}

fn text(export: &Export<'_>, clients: &BTreeSet<IpAddr>) -> String {
    let Export { options, mark, .. } = export;
    let each: Vec<_> = clients.iter().map(|client| format!("{client}({options},{mark})")).collect();
    let path = escaped(export.path);
    format!("# Made by rampool-agent, and removed with the pool.\n{path} {}\n", each.join(" "))
}

/// The path in a file of ours.
pub(super) fn path_in(text: &[u8]) -> Option<PathBuf> {
    let line = text.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"/"))?;
    let path = line.split(|byte| *byte == b' ').next()?;
    Some(std::ffi::OsString::from_vec(crate::mount::table::unescape(path)).into())
}

/// As exports(5) wants whatever is not plain: three octal digits after a backslash.
fn escaped(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let each = path.as_os_str().as_bytes().iter().map(|byte| match *byte {
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("\\{byte:03o}"),
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_table_is_read_with_its_escapes() {
        let line = b"/scratch/a\\040b\t10.0.0.2(rw,sync,fsid=0,sec=sys,rw)";
        let entry = parse(line).unwrap();
        assert_eq!(entry.path, Path::new("/scratch/a b"));
        assert_eq!(entry.address(), Some("10.0.0.2".parse().unwrap()));
        assert!(entry.has("fsid=0") && !entry.has("fsid=01"));
        assert_eq!(parse(b"/srv\t*.site(ro)").unwrap().address(), None);
        for odd in [&b""[..], b"/srv", b"/srv\tclient", b"# comment"] {
            assert_eq!(parse(odd), None);
        }
    }

    #[test]
    fn a_file_names_every_client_and_reads_back() {
        let path = Path::new("/scratch/my pool\\x");
        let export = Export {
            path,
            mark: "fsid=7".into(),
            is_unique: true,
            options: "rw,sync",
            file: "x.exports".into(),
        };
        let text = text(&export, &addresses(&["10.0.0.2", "fd00::1"]));
        let line = text.lines().last().unwrap();
        assert_eq!(
            line,
            "/scratch/my\\040pool\\134x 10.0.0.2(rw,sync,fsid=7) fd00::1(rw,sync,fsid=7)"
        );
        assert_eq!(path_in(text.as_bytes()).unwrap(), path);
    }

    #[test]
    fn the_sites_root_is_not_taken_for_ours() {
        let site = parse(b"/srv\t10.0.0.2(ro,fsid=0)").unwrap();
        let path = Path::new("/run/rampool/share/root");
        let export = |is_unique| Export {
            path,
            mark: "fsid=0".into(),
            is_unique,
            options: "ro",
            file: "x.exports".into(),
        };
        assert!(!export(false).has_made(&site));
        assert!(export(true).has_made(&site));
        assert!(export(false).has_made(&Entry { path: path.to_owned(), ..site }));
    }

    #[test]
    fn what_a_cache_holds_is_found_valid_or_not() {
        let paths = BTreeSet::from([PathBuf::from("/p/a b")]);
        assert!(mentions(b"# /p/a\\040b\t10.0.0.2(rw)\n", &paths));
        assert!(mentions(b"10.0.0.2 6 0x4cec01 /p/a\\040b\n", &paths));
        assert!(!mentions(b"/p/a\t10.0.0.2(rw)\n/p\tx(rw)\n", &paths));
    }

    #[test]
    fn addresses_of_both_families_are_written_as_exportfs_reads_them() {
        assert_eq!(argument("10.0.0.2", Path::new("/a b")), "10.0.0.2:/a b");
        assert_eq!(argument("fd00::1", Path::new("/a")), "[fd00::1]:/a");
    }
}
