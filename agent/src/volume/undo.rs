//! Undoes a move whose new disk is gone, in LVM's own record of the group.
//!
//! LVM ends no move while its group misses a disk, and forgets no disk that a move writes to. The
//! old disk has all of the data until the record says otherwise, so the record is written as it
//! was before the move: without the move, without the disk.

use std::fs;
use std::path::Path;

use rampool_proto::pool_name::Assembly;

use super::group::{self, Missing, Physical};
use super::lvm;
use crate::attach::disks::OurDisk;
use crate::names::{self, LOGICAL_VOLUME};
use crate::node::Node;
use crate::outcome::{Change, Outcome, refused};

/// What LVM calls what it moves.
const MOVE: &str = "pvmove0";

/// Undoes it in `group`, if its new disk is missing and nothing else is. `seen` are the disks that
/// were reported.
pub(super) fn on_disks(
    node: &Node,
    group: &str,
    seen: &[OurDisk],
    report: &[Physical],
) -> Outcome<Change> {
    if group::missing(report, group) != Missing::Data {
        return Ok(Change::Already);
    }
    let path = node.roots.run.join(format!("lvm.{group}"));
    let undone = restore(node, group, seen, &path);
    // It is of no use to anybody else.
    let _ = fs::remove_file(&path);
    undone
}

fn restore(node: &Node, group: &str, seen: &[OurDisk], path: &Path) -> Outcome<Change> {
    let file = path.display().to_string();
    let run = |words: &[&str]| lvm::must(node, &lvm::lvm(node, group, seen, words, &[group])?);
    run(&["vgcfgbackup", "--file", &file])?;
    let record = fs::read_to_string(path).map_err(|error| refused(path, "read it", error))?;
    let Some(before) = before_the_move(&record) else { return Ok(Change::Already) };
    tracing::warn!(group, "the new disk of a move is gone: the move is undone");
    fs::write(path, before).map_err(|error| refused(path, "write it", error))?;
    run(&["vgcfgrestore", "--yes", "--file", &file])?;
    Ok(Change::Made)
}

/// Has a volume in use follow its record: the device mapper copies no more.
pub(super) fn in_kernel(node: &Node, assembly: &Assembly, seen: &[OurDisk]) -> Outcome<()> {
    let group = names::object(assembly);
    let volume = format!("{group}/{LOGICAL_VOLUME}");
    lvm::must(node, &lvm::lvm(node, &group, seen, &["lvchange", "--refresh"], &[&volume])?)?;
    lvm::stop_moving(node, assembly).map(drop)
}

/// A group's record without the move in it and without the disk that was to be filled; none if
/// it is not that disk alone that is missing, or there is more to it than a move of one piece.
fn before_the_move(record: &str) -> Option<String> {
    let moving = block(record, MOVE)?;
    let (_, rest) = moving.split_once("mirrors = [")?;
    let (places, rest) = rest.split_once(']')?;
    let places: Vec<_> = places.split(',').map(|word| word.trim().trim_matches('"')).collect();
    let [old, at, new, _] = places.as_slice() else { return None };
    let (old_disk, new_disk) = (block(record, old)?, block(record, new)?);
    if rest.contains("segment") || is_missing(old_disk) || !is_missing(new_disk) {
        return None;
    }
    let before = record
        .replacen(moving, "", 1)
        .replacen(new_disk, "", 1)
        .replace(&format!("\"{MOVE}\", 0"), &format!("\"{old}\", {at}"))
        .replace(", \"LOCKED\"", "");
    let is_whole = |text: &str| !text.contains(MOVE) && !text.contains("\"MISSING\"");
    is_whole(&before).then_some(before)
}

fn is_missing(disk: &str) -> bool {
    disk.contains("\"MISSING\"")
}

/// What a record says of the disk or volume `name`.
fn block<'a>(record: &'a str, name: &str) -> Option<&'a str> {
    const END: &str = "\n\t\t}\n";
    let begin = record.find(&format!("\n\t\t{name} {{\n"))?;
    let end = begin + record[begin..].find(END)? + END.len() - 1;
    record.get(begin..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, flags: &str) -> String {
        format!("\n\t\t{name} {{\n\t\t\tid = \"{name}\"\n\t\t\tflags = [{flags}]\n\t\t}}\n")
    }

    fn volume(name: &str, status: &str, segment: &str) -> String {
        format!(
            "\n\t\t{name} {{\n\t\t\tstatus = [{status}]\n\t\t\tsegment_count = 1\n\n\
             \t\t\tsegment1 {{\n\t\t\t\t{segment}\n\t\t\t}}\n\t\t}}\n"
        )
    }

    /// As LVM 2.03 writes it, but for what does not matter here.
    fn record(flags: [&str; 3], middle: &str, status: &str, moving: &str) -> String {
        let disks: String = ["pv0", "pv1", "pv2"]
            .iter()
            .zip(flags)
            .map(|(name, flags)| disk(name, flags))
            .collect();
        let stripes = format!("stripes = [\n\t\t\t\t\t\"pv0\", 0,\n\t\t\t\t\t{middle}\n\t\t\t\t]");
        let scratch = volume("scratch", status, &stripes);
        format!(
            "rp.demo.1 {{\n\tphysical_volumes {{\n{disks}\t}}\n\n\tlogical_volumes {{\n\
             {scratch}{moving}\t}}\n\n}}\n"
        )
    }

    const LOCKED: &str = "\"READ\", \"WRITE\", \"VISIBLE\", \"LOCKED\"";
    const MIRRORS: &str = "mirrors = [\n\t\t\t\t\t\"pv1\", 0,\n\t\t\t\t\t\"pv2\", 0\n\t\t\t\t]";

    #[test]
    fn a_move_to_a_missing_disk_is_as_if_it_had_not_begun() {
        let moving = volume(MOVE, "\"PVMOVE\", \"LOCKED\"", MIRRORS);
        let under_way = record(["", "", "\"MISSING\""], "\"pvmove0\", 0", LOCKED, &moving);
        let before = before_the_move(&under_way).unwrap();
        let gone = disk("pv2", "\"MISSING\"");
        let open = "\"READ\", \"WRITE\", \"VISIBLE\"";
        let wanted = record(["", "", "\"MISSING\""], "\"pv1\", 0", open, "").replace(&gone, "\n");
        assert_eq!(before.replace("\n\n", "\n"), wanted.replace("\n\n", "\n"));
    }

    #[test]
    fn whatever_else_is_missing_is_left_alone() {
        let moving = volume(MOVE, "\"PVMOVE\", \"LOCKED\"", MIRRORS);
        let gone = "\"MISSING\"";
        for flags in [["", "", ""], ["", gone, ""], ["", gone, gone], [gone, "", gone]] {
            let record = record(flags, "\"pvmove0\", 0", LOCKED, &moving);
            assert_eq!(before_the_move(&record), None, "{flags:?}");
        }
        assert_eq!(before_the_move(&record(["", "", gone], "\"pv1\", 0", LOCKED, "")), None);
        let odd = record(["", "", gone], "\"pvmove0\", 7", LOCKED, &moving);
        assert_eq!(before_the_move(&odd), None);
    }
}
