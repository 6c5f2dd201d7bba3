//! What reads texts and blocks that the kernel and its tools write, and into which others may have
//! written: the paths of a node's users, a disk of another's. For `tests/fuzz`.

use crate::attach::ran_out;
use crate::filesystem::signature;
use crate::mount::{holders, table};
use crate::share::exports;
use crate::volume::{array, group, mapped, members};

/// Reads `data` as each of them.
///
/// # Panics
/// Never: that is what is tried.
pub fn kernel_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    _ = (table::parse(data), exports::parse(data), members::parse_superblock(data));
    if let Some(block) = data.first_chunk() {
        _ = signature::parse(block);
    }
    _ = (group::parse(&text), mapped::parse_status(&text), holders::mount_id(&text));
    for line in text.lines() {
        _ = (ran_out::parse(line), holders::parse_hex_device(line));
        let mut words = line.splitn(3, ';');
        let mut word = || words.next().unwrap_or_default();
        let (one, other, last) = (word(), word(), word());
        _ = array::parse_member(one, other, last);
        if let Some(sync) = array::parse_sync(one, other, last, data.len() as u64) {
            assert!(sync.done <= sync.total, "{sync:?}");
        }
    }
}
