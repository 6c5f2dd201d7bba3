//! An md array as sysfs shows it (Documentation/admin-guide/md.rst): read, never asked of mdadm.

use std::path::{Path, PathBuf};

use rampool_proto::v1::Redundancy;

use crate::configfs;
use crate::names;
use crate::roots::Roots;

const SECTOR: u64 = 512;

/// An array with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Array {
    /// The kernel's name of its block device.
    pub(super) name: String,
    /// e.g. "raid10".
    pub(super) level: String,
    /// e.g. "clean", "active", "inactive", "broken".
    pub(super) state: String,
    /// Of the stripe, in bytes.
    pub(super) chunk_bytes: u64,
    /// How many members make it whole.
    pub(super) places: usize,
    /// What each member holds of the array, in bytes.
    pub(super) member_bytes: u64,
    /// All that are listed: in their places, replacing one, spare, or faulty.
    pub(super) members: Vec<Member>,
    /// What is being copied, if anything is.
    pub(super) sync: Option<Sync>,
}

/// One disk of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The kernel's name of the moment, e.g. "sdb".
    pub(super) disk: String,
    /// Which place of the array it has or is being given.
    pub(super) place: Option<usize>,
    /// How it is.
    pub(super) state: State,
    /// It is being filled to take the place of the member that has it now.
    pub(super) replacement: bool,
    /// It is to be replaced.
    pub(super) leaving: bool,
}

/// How md sees a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// All of it is right.
    InSync,
    /// It has a place, and is being filled.
    Rebuilding,
    /// It waits for a place.
    Spare,
    /// md uses it no more.
    Faulty,
}

/// A copy under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sync {
    /// The kernel's word: "recover", "resync", "check", ...
    pub(super) action: String,
    /// Of one member, in bytes.
    pub(crate) done: u64,
    /// Of one member, in bytes.
    pub(crate) total: u64,
    /// Of one member, in bytes; 0 where it is not known.
    pub(super) per_second: u64,
}

impl Array {
    /// The array behind the block device `name`.
    pub(super) fn read(roots: &Roots, name: &str) -> Self {
        let folder = folder(roots, name);
        let read = |file: &str| configfs::read(&folder.join(file)).unwrap_or_default();
        let number = |file: &str| read(file).parse::<u64>().unwrap_or(0);
        let member_bytes = number("component_size") * 1024;
        Self {
            name: name.to_owned(),
            level: read("level"),
            state: read("array_state"),
            chunk_bytes: number("chunk_size"),
            places: usize::try_from(number("raid_disks")).unwrap_or(0),
            member_bytes,
            members: members(&folder),
            sync: parse_sync(
                &read("sync_action"),
                &read("sync_completed"),
                &read("sync_speed"),
                member_bytes,
            ),
        }
    }

    /// Whether md gave it up, for good: a write failed on the last member that had the block
    /// (MD_BROKEN, drivers/md/md.c; shown once no write is under way).
    pub(super) fn is_broken(&self) -> bool {
        self.state == "broken"
    }

    /// The member that has a place now: not the one that is being filled to replace it.
    pub(super) fn holder(&self, place: usize) -> Option<&Member> {
        self.members.iter().find(|member| member.place == Some(place) && !member.replacement)
    }

    /// The member on the disk `name`.
    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.disk == name)
    }

    /// How many places have no member at all, not even one that is being filled.
    pub(super) fn vacant(&self) -> usize {
        let held =
            |place: &usize| self.holder(*place).is_some_and(|member| member.state != State::Faulty);
        self.places - (0..self.places).filter(held).count()
    }

    /// What its level bears.
    pub(super) fn redundancy(&self) -> Redundancy {
        match self.level.as_str() {
            "raid10" => Redundancy::Mirror,
            "raid5" => Redundancy::Parity,
            "raid6" => Redundancy::DoubleParity,
            _ => Redundancy::None,
        }
    }
}

/// The arrays whose members are disks, of the array `name`: itself, or the parity groups it is
/// striped over.
pub(super) fn of_disks(roots: &Roots, name: &str) -> Vec<Array> {
    let array = Array::read(roots, name);
    let groups: Vec<_> = (0..array.places)
        .filter_map(|place| array.holder(place))
        .filter(|member| names::parse_md_group(&member.disk).is_some())
        .map(|member| Array::read(roots, &member.disk))
        .collect();
    if groups.is_empty() { vec![array] } else { groups }
}

/// md's own folder of the block device `name`.
pub(super) fn folder(roots: &Roots, name: &str) -> PathBuf {
    roots.blocks().join(name).join("md")
}

fn members(folder: &Path) -> Vec<Member> {
    configfs::names(folder)
        .iter()
        .filter_map(|name| {
            let member = folder.join(name);
            let words = configfs::read(&member.join("state")).ok()?;
            let slot = configfs::read(&member.join("slot")).ok()?;
            Some(parse_member(name.strip_prefix("dev-")?, &words, &slot))
        })
        .collect()
}

pub(crate) fn parse_member(disk: &str, words: &str, slot: &str) -> Member {
    let is = |word: &str| words.split(',').any(|w| w == word);
    let place = slot.parse().ok();
    let state = match place {
        _ if is("faulty") => State::Faulty,
        _ if is("in_sync") => State::InSync,
        Some(_) => State::Rebuilding,
        None => State::Spare,
    };
    Member {
        disk: disk.to_owned(),
        place,
        state,
        replacement: is("replacement"),
        leaving: is("want_replacement"),
    }
}

/// `completed` is "done / total" in sectors: of one member while a member is filled, of the
/// whole array while a mirror is resynchronised. Both are told as shares of one member.
pub(crate) fn parse_sync(
    action: &str,
    completed: &str,
    speed: &str,
    member_bytes: u64,
) -> Option<Sync> {
    if matches!(action, "" | "idle" | "frozen") {
        return None;
    }
    let numbers = completed.split_once(" / ").map(|(done, total)| (done.parse(), total.parse()));
    let (done, total): (u64, u64) = match numbers {
        Some((Ok(done), Ok(total))) if total > 0 => (done, total),
        // It is about to begin or to end.
        _ => (0, 0),
    };
    let share = |sectors: u64| match total {
        0 => 0,
        total => scale(member_bytes, sectors.min(total), total),
    };
    let speed: u64 = speed.parse().unwrap_or(0);
    Some(Sync {
        action: action.to_owned(),
        done: share(done),
        total: member_bytes,
        per_second: match total {
            0 => 0,
            total => scale(speed.saturating_mul(1024), member_bytes, total.saturating_mul(SECTOR)),
        },
    })
}

/// `value * part / whole`, with no overflow between.
fn scale(value: u64, part: u64, whole: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    /// An array as sysfs would show it, written by hand: each member as `(disk, state, slot)`.
    pub(in crate::volume) fn write_array(
        roots: &Roots,
        name: &str,
        level: &str,
        places: usize,
        members: &[(&str, &str, &str)],
    ) {
        let md = folder(roots, name);
        for (disk, state, slot) in members {
            let member = md.join(format!("dev-{disk}"));
            fs::create_dir_all(&member).unwrap();
            fs::write(member.join("state"), format!("{state}\n")).unwrap();
            fs::write(member.join("slot"), format!("{slot}\n")).unwrap();
        }
        let places = places.to_string();
        for (file, value) in [
            ("level", level),
            ("array_state", "clean"),
            ("chunk_size", "65536"),
            ("component_size", "64512"),
            ("raid_disks", &places),
        ] {
            fs::write(md.join(file), format!("{value}\n")).unwrap();
        }
        fs::write(md.join("../size"), "262144\n").unwrap();
        fs::write(md.join("../dev"), "254:3\n").unwrap();
    }

    #[test]
    fn a_member_is_what_its_words_and_place_say() {
        for (words, slot, place, state, replacement, leaving) in [
            ("in_sync", "2", Some(2), State::InSync, false, false),
            ("in_sync,want_replacement", "1", Some(1), State::InSync, false, true),
            ("spare", "none", None, State::Spare, false, false),
            ("spare", "3", Some(3), State::Rebuilding, false, false),
            ("spare,replacement", "1", Some(1), State::Rebuilding, true, false),
            ("faulty", "none", None, State::Faulty, false, false),
            ("faulty,write_error,blocked", "0", Some(0), State::Faulty, false, false),
        ] {
            let read = parse_member("sdb", words, slot);
            let wanted = Member { disk: "sdb".into(), place, state, replacement, leaving };
            assert_eq!(read, wanted, "{words} {slot}");
        }
    }

    #[test]
    fn an_array_is_read_with_its_vacant_places() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::fake(folder.path());
        let members = [
            ("sdb", "in_sync", "0"),
            ("sdc", "faulty", "none"),
            ("sdd", "spare,replacement", "0"),
            ("sde", "spare", "2"),
        ];
        write_array(&roots, "md_rp.demo.3", "raid10", 4, &members);
        let array = Array::read(&roots, "md_rp.demo.3");
        assert_eq!(array.redundancy(), Redundancy::Mirror);
        assert_eq!((array.vacant(), array.member_bytes, array.sync), (2, 64512 << 10, None));
    }

    #[test]
    fn a_copy_is_told_as_a_share_of_one_member() {
        let of_member = parse_sync("recover", "2048 / 4096", "1000", 2 << 20).unwrap();
        assert_eq!((of_member.done, of_member.total), (1 << 20, 2 << 20));
        assert_eq!(of_member.per_second, 1000 << 10);
        let of_array = parse_sync("resync", "2048 / 8192", "1000", 2 << 20).unwrap();
        assert_eq!((of_array.done, of_array.per_second), (1 << 19, 500 << 10));
        let begun = parse_sync("recover", "none", "none", 2 << 20).unwrap();
        assert_eq!((begun.done, begun.total, begun.per_second), (0, 2 << 20, 0));
        assert_eq!(parse_sync("idle", "none", "none", 1), None);
        assert_eq!(parse_sync("recover", "delayed", "none", 1).unwrap().done, 0);
    }

    proptest! {
        #[test]
        fn progress_never_passes_the_whole(
            done: u64, total: u64, speed: u64, bytes: u64
        ) {
            let completed = format!("{done} / {total}");
            let sync = parse_sync("recover", &completed, &speed.to_string(), bytes).unwrap();
            prop_assert!(sync.done <= sync.total);
        }
    }
}
