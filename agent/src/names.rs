//! The names of kernel objects, and back: what does not read back exactly is not ours and is
//! never touched.
//!
//! | object | name |
//! | --- | --- |
//! | backstore object, tmpfs mount source, iface record, volume group, md superblock | `rp.<pool>.<gen>` |
//! | iSCSI target, local SCSI target | `<authority>:<pool>.<gen>.<donor>` |
//! | md's block device | `md_rp.<pool>.<gen>` |
//! | one parity group of several, in md's superblock | `g<n>.<pool>.<gen>`, one digit of 36 |
//! | its block device | `md_g<n>.<pool>.<gen>` |
//! | file in /etc/exports.d | `rp.<pool>.<gen>.exports` |
//! | share mounted on a client | `rp.<pool>.<gen>:<path>` |
//! | LVM's block device | `rp.<pool>.<gen>-scratch`, the pool's hyphens doubled |

use rampool_proto::pool_name::Assembly;
use uuid::Uuid;

/// Begins the name of every object that has room for a prefix.
const PREFIX: &str = "rp.";

/// Ends the names of files that exportfs reads.
const EXPORTS: &str = ".exports";

/// The one logical volume of a pool's volume group.
pub const LOGICAL_VOLUME: &str = "scratch";

/// The longest iSCSI name (RFC 7143, section 4.2.7).
const LONGEST_IQN: usize = 223;

/// The longest host name the kernel keeps (`HOST_NAME_MAX`).
const LONGEST_NODE: usize = 64;

/// Makes our UUIDs differ from everyone else's of the same text. Drawn once, at random.
const NAMESPACE: Uuid = Uuid::from_u128(0x1d3f_5c0a_8b7e_4f52_9a64_c1e0_7726_02a9);

/// `rp.<pool>.<gen>`.
#[must_use]
pub fn object(assembly: &Assembly) -> String {
    format!("{PREFIX}{assembly}")
}

/// The assembly an object's name speaks of.
#[must_use]
pub fn parse_object(name: &str) -> Option<Assembly> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// The iSCSI name of a donor's target.
#[must_use]
pub fn target(authority: &str, assembly: &Assembly, donor: &str) -> String {
    format!("{authority}:{assembly}.{donor}")
}

/// The assembly and donor a target's name speaks of.
#[must_use]
pub fn parse_target<'a>(authority: &str, iqn: &'a str) -> Option<(Assembly, &'a str)> {
    let rest = iqn.strip_prefix(authority)?.strip_prefix(':')?;
    let (second_dot, _) = rest.match_indices('.').nth(1)?;
    let (assembly, donor) = (&rest[..second_dot], &rest[second_dot + 1..]);
    is_node(donor).then_some(())?;
    Some((assembly.parse().ok()?, donor))
}

/// md's name for the pool's array, under /dev and /sys/block.
#[must_use]
pub fn md_device(assembly: &Assembly) -> String {
    format!("md_{}", object(assembly))
}

/// The assembly md's device speaks of.
#[must_use]
pub fn parse_md_device(name: &str) -> Option<Assembly> {
    parse_object(name.strip_prefix("md_")?)
}

/// Whether a block device's name is that of an array of ours, or of a part of one.
#[must_use]
pub fn is_md_device(name: &str) -> bool {
    name.strip_prefix("md_").is_some_and(|rest| rest.starts_with(PREFIX))
}

/// As many parity groups as one digit counts: a block device's name has room for no more.
pub const MOST_GROUPS: u32 = 36;

/// The name of a volume's parity group.
#[must_use]
pub fn group(assembly: &Assembly, number: u32) -> String {
    let digit = char::from_digit(number % MOST_GROUPS, MOST_GROUPS).unwrap_or('0');
    format!("g{digit}.{assembly}")
}

/// The assembly and number that a parity group's name speaks of.
#[must_use]
pub fn parse_group(name: &str) -> Option<(Assembly, u32)> {
    let (digit, assembly) = name.strip_prefix('g')?.split_once('.')?;
    let number = digit.chars().next()?.to_digit(MOST_GROUPS)?;
    let assembly = assembly.parse().ok()?;
    (group(&assembly, number) == name).then_some((assembly, number))
}

/// The assembly and number that md's device of a parity group speaks of.
#[must_use]
pub fn parse_md_group(name: &str) -> Option<(Assembly, u32)> {
    parse_group(name.strip_prefix("md_")?)
}

/// The device mapper's name for the pool's logical volume: LVM doubles the hyphens of a group's
/// name to tell them from the one before the volume's.
#[must_use]
pub fn dm_device(assembly: &Assembly) -> String {
    format!("{}-{LOGICAL_VOLUME}", object(assembly).replace('-', "--"))
}

/// The device mapper's name for what LVM makes while it moves a disk of the pool to another.
#[must_use]
pub fn dm_move(assembly: &Assembly) -> String {
    format!("{}-pvmove0", object(assembly).replace('-', "--"))
}

/// The assembly a device mapper's name speaks of.
#[must_use]
pub fn parse_dm_device(name: &str) -> Option<Assembly> {
    let group = name.strip_suffix(LOGICAL_VOLUME)?.strip_suffix('-')?;
    let assembly = parse_object(&group.replace("--", "-"))?;
    (dm_device(&assembly) == name).then_some(assembly)
}

/// The unit serial of a donor's disk: the same for each call of one assembly, another for any
/// other assembly or donor. LIO makes the disk's NAA identifier of its hexadecimal digits.
#[must_use]
pub fn serial(assembly: &Assembly, donor: &str) -> String {
    Uuid::new_v5(&NAMESPACE, format!("disk {assembly}.{donor}").as_bytes()).to_string()
}

/// The UUID of the pool's file system: how a file system is known as this assembly's.
#[must_use]
pub fn filesystem_uuid(assembly: &Assembly) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("filesystem {assembly}").as_bytes())
}

/// The file that makes a share outlast the site's own `exportfs -ra`.
#[must_use]
pub fn exports_file(assembly: &Assembly) -> String {
    format!("{}{EXPORTS}", object(assembly))
}

/// The assembly such a file's name speaks of.
#[must_use]
pub fn parse_exports_file(name: &str) -> Option<Assembly> {
    parse_object(name.strip_suffix(EXPORTS)?)
}

/// What a client mounts. The kernel calls the address that it is told apart from this name: it
/// keeps the name for whoever reads the mount table.
#[must_use]
pub fn share_source(assembly: &Assembly, path: &str) -> String {
    format!("{}:{path}", object(assembly))
}

/// The assembly and path that a mount's source speaks of.
#[must_use]
pub fn parse_share_source(source: &str) -> Option<(Assembly, &str)> {
    let (host, path) = source.split_once(':')?;
    Some((parse_object(host)?, path))
}

/// How NFS clients and servers know a share: no other assembly's, and no file system's own UUID.
#[must_use]
pub fn share_uuid(assembly: &Assembly) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("share {assembly}").as_bytes())
}

/// Whether a node may have this name: it becomes part of iSCSI names, which know lower-case
/// letters, digits, dots and hyphens alone.
#[must_use]
pub fn is_node(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= LONGEST_NODE
        && edge(name.chars().next())
        && edge(name.chars().last())
        && name.chars().all(is_iqn_character)
}

/// Whether a text has the form of an iSCSI qualified name, and none of the characters that
/// would be special in a path or a record.
#[must_use]
pub fn is_iqn(name: &str) -> bool {
    let Some((authority, unique)) = name.split_once(':') else { return false };
    is_authority(authority)
        && !unique.is_empty()
        && name.len() <= LONGEST_IQN
        && unique.chars().all(|c| is_iqn_character(c) || c == ':')
}

/// Whether a text may stand before the colon of an iSCSI name: `iqn.`, year and month, and a
/// reversed domain name.
#[must_use]
pub fn is_authority(text: &str) -> bool {
    let Some((date, domain)) = text.strip_prefix("iqn.").and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let dated = date.split_once('-').is_some_and(|(y, m)| digits(y, 4) && digits(m, 2));
    // Room for `:<pool>.<gen>.<donor>`.
    dated && is_node(domain) && text.len() + 16 + 7 + 3 + LONGEST_NODE <= LONGEST_IQN
}

fn is_iqn_character(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-'
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    const AUTHORITY: &str = "iqn.2026-11.org.rampool";

    pub(crate) fn assembly(text: &str) -> Assembly {
        text.parse().unwrap()
    }

    prop_compose! {
        fn any_assembly()(
            name in "[a-z]([a-z0-9-]{0,14}[a-z0-9])?", generation in 1u32..=9_999_999
        ) -> Assembly {
            Assembly { name: name.parse().unwrap(), generation }
        }
    }

    proptest! {
        #[test]
        fn every_name_reads_back_as_written(
            assembly in any_assembly(), donor in "[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?"
        ) {
            prop_assert_eq!(parse_object(&object(&assembly)), Some(assembly.clone()));
            prop_assert_eq!(parse_md_device(&md_device(&assembly)), Some(assembly.clone()));
            prop_assert_eq!(parse_dm_device(&dm_device(&assembly)), Some(assembly.clone()));
            prop_assert_eq!(
                parse_exports_file(&exports_file(&assembly)), Some(assembly.clone())
            );
            let source = share_source(&assembly, "/a:b");
            prop_assert_eq!(parse_share_source(&source), Some((assembly.clone(), "/a:b")));
            let iqn = target(AUTHORITY, &assembly, &donor);
            prop_assert!(is_iqn(&iqn), "{}", iqn);
            prop_assert_eq!(parse_target(AUTHORITY, &iqn), Some((assembly, donor.as_str())));
        }

        #[test]
        fn what_reads_as_ours_is_exactly_what_we_write(text in "(rp|md_rp|iqn.2026-11.org.rampool:|.)[a-z0-9.:-]{0,30}(-scratch)?") {
            if let Some(assembly) = parse_object(&text) {
                prop_assert_eq!(object(&assembly), text.clone());
            }
            if let Some(assembly) = parse_dm_device(&text) {
                prop_assert_eq!(dm_device(&assembly), text.clone());
            }
            if let Some((assembly, donor)) = parse_target(AUTHORITY, &text) {
                prop_assert_eq!(target(AUTHORITY, &assembly, donor), text.clone());
            }
        }

        #[test]
        fn two_donors_or_assemblies_never_share_a_serial(
            one in any_assembly(), other in any_assembly(), a in "[a-z]{1,5}", b in "[a-z]{1,5}"
        ) {
            prop_assert_eq!(
                serial(&one, &a) == serial(&other, &b),
                one == other && a == b
            );
        }
    }

    #[test]
    fn hyphens_in_a_pools_name_do_not_confuse_lvm_names() {
        assert_eq!(dm_device(&assembly("my-pool.3")), "rp.my--pool.3-scratch");
        assert_eq!(parse_dm_device("rp.my-pool.3-scratch"), None);
    }

    #[test]
    fn other_peoples_objects_are_not_ours() {
        for name in ["rp.", "rp.demo", "rp.demo.007", "demo.3", "rp.demo.3.4", "RP.demo.3"] {
            assert_eq!(parse_object(name), None, "{name}");
        }
        for name in ["md_rp.demo.3p1", "md127", "md_rp.demo"] {
            assert_eq!(parse_md_device(name), None, "{name}");
        }
        for iqn in [
            "iqn.2026-11.org.rampool:demo.3",
            "iqn.2026-11.org.rampool:demo.3.",
            "iqn.2026-11.org.rampool:demo.3.UPPER",
            "iqn.2026-11.org.rampoolx:demo.3.n1",
            "iqn.2003-01.org.linux-iscsi.n1:sn.1234",
        ] {
            assert_eq!(parse_target(AUTHORITY, iqn), None, "{iqn}");
        }
    }

    #[test]
    fn authorities_and_nodes_have_their_rules() {
        assert!(is_authority(AUTHORITY));
        for bad in ["iqn.26-11.org.x", "iqn.2026-11.", "eui.1234", "iqn.2026-11.org.X", ""] {
            assert!(!is_authority(bad), "{bad}");
        }
        assert!(is_node("n1") && is_node("node-1.example.org"));
        for bad in ["", "N1", "a b", "-a", "a/b", "a.", "a_b"] {
            assert!(!is_node(bad), "{bad}");
        }
        assert!(!is_iqn("iqn.2026-11.org.rampool:a/../b"));
    }
}
