//! What is in the root image. Everything here is part of the image's name, so a change makes a new image.

use std::fmt::Write as _;

use anyhow::{Context, Result};

/// Raised when the way of building changes in a manner that the lists below do not show.
const VERSION: u32 = 2;

/// Debian packages in the image, beside the essential ones.
pub const PACKAGES: [&str; 25] = [
    "dbus",
    "e2fsprogs",
    "fio",
    "iproute2",
    "iputils-ping",
    "kmod",
    "lvm2",
    "mdadm",
    "multipath-tools",
    "munge",
    "nfs-common",
    "nfs-kernel-server",
    "open-iscsi",
    "procps",
    "psmisc",
    "python3-rtslib-fb",
    "slurm-client",
    "slurmctld",
    "slurmd",
    "systemd",
    "systemd-sysv",
    "targetcli-fb",
    "udev",
    "util-linux",
    "xfsprogs",
];

/// Paths that dpkg leaves out: nobody reads manuals in a node that lives for minutes.
pub const LEFT_OUT: [&str; 5] = [
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/lintian/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
];

/// What of the finished tree does not go into the image (as wildcards of mksquashfs).
pub const PRUNED: [&str; 7] = [
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*",
    "usr/share/bash-completion/*",
    "dev/*",
    "proc/*",
    "sys/*",
];

/// An ordinary user of every node: name and user id.
pub const USER: (&str, u32) = ("alice", 1001);

/// How the image is compressed: the words for mksquashfs.
pub const COMPRESSION: [&str; 4] = ["-comp", "zstd", "-Xcompression-level", "3"];

/// One image's recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The Debian release, the same as the machine's: programs built here run there.
    pub suite: String,
    /// The UML kernel's release.
    pub kernel: String,
}

impl Recipe {
    /// The recipe for a machine with this `/etc/os-release` and this UML kernel.
    ///
    /// # Errors
    /// When the machine does not say which release it is.
    pub fn for_machine(os_release: &str, kernel: &str) -> Result<Self> {
        let suite = os_release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .map(|name| name.trim_matches('"').to_owned())
            .context("/etc/os-release has no VERSION_CODENAME: the lab is made for Debian")?;
        Ok(Self { suite, kernel: kernel.to_owned() })
    }

    /// The image's file name.
    #[must_use]
    pub fn file_name(&self) -> String {
        let mut text = format!("{VERSION}\n{}\n{}\n{USER:?}\n", self.suite, self.kernel);
        for list in [&PACKAGES[..], &LEFT_OUT, &PRUNED, &COMPRESSION] {
            let _ = writeln!(text, "{}", list.join(" "));
        }
        format!("image-{:016x}.squashfs", fnv1a(text.as_bytes()))
    }
}

/// The 64-bit FNV-1a hash: short, and the same in every build of this program.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The part of the machine's apt sources that the image is built from: Debian's own, for this release.
///
/// Other vendors' sources need keys and packages that the image has no use for. They are told apart by their suite and
/// component: Debian's are `<suite>`, `<suite>-updates` and `<suite>-security`, component `main`.
#[must_use]
pub fn debian_sources(text: &str, suite: &str) -> String {
    let suites = [suite.to_owned(), format!("{suite}-updates"), format!("{suite}-security")];
    let ours = |words: &str| {
        words.split_whitespace().any(|w| suites.iter().any(|s| s == w.trim_end_matches('/')))
    };
    let mut kept = String::new();
    for line in text.lines().filter(|line| line.starts_with("deb ")) {
        if ours(line) && line.split_whitespace().any(|word| word == "main") {
            let _ = writeln!(kept, "{line}");
        }
    }
    if !kept.is_empty() {
        return kept;
    }
    for stanza in text.split("\n\n") {
        let lines: Vec<&str> = stanza.lines().filter(|line| !line.starts_with('#')).collect();
        let field =
            |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let enabled = field("Enabled:").trim() != "no";
        let has_main = field("Components:").split_whitespace().any(|c| c == "main");
        let binary = field("Types:").split_whitespace().any(|t| t == "deb");
        if enabled && has_main && binary && ours(field("Suites:")) {
            let _ = writeln!(kept, "{}\n", lines.join("\n"));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_follows_the_recipe() {
        let recipe =
            Recipe::for_machine("ID=debian\nVERSION_CODENAME=bookworm\n", "6.1.1").unwrap();
        assert_eq!(recipe.suite, "bookworm");
        assert_eq!(recipe.file_name(), recipe.clone().file_name());
        let other = Recipe { kernel: "6.1.2".to_owned(), ..recipe.clone() };
        assert_ne!(recipe.file_name(), other.file_name());
        assert!(Recipe::for_machine("ID=other\n", "6.1.1").is_err());
    }

    #[test]
    fn hashing_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn only_debians_own_sources_are_used() {
        let stanzas = "# a comment\nTypes: deb\nURIs: http://mirror.invalid/debian\nSuites: bookworm bookworm-updates\n\
                       Components: main contrib\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://vendor.invalid\n\
                       Suites: bookworm\nComponents: stable\n";
        let kept = debian_sources(stanzas, "bookworm");
        assert!(kept.contains("mirror.invalid") && !kept.contains("vendor.invalid"), "{kept}");

        let lines = "deb http://mirror.invalid/debian bookworm main\ndeb http://vendor.invalid bookworm stable\n\
                     deb-src http://mirror.invalid/debian bookworm main\n# deb http://x bookworm main\n";
        assert_eq!(
            debian_sources(lines, "bookworm"),
            "deb http://mirror.invalid/debian bookworm main\n"
        );
        assert_eq!(debian_sources(lines, "trixie"), "");
    }
}
