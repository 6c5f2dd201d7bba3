//! Lets md copy again where mdadm left an array frozen.
//!
//! mdadm keeps md from copying while it changes an array. One that was killed meanwhile, by
//! itself or with its agent, never lets go: what is to be filled waits for ever, and an mdadm that
//! finds an array so leaves it so.

use super::array;
use crate::configfs;
use crate::names;
use crate::node::Node;
use crate::outcome::{During, Outcome};

/// Ends the freeze of the array behind the block device `name`, if there is one. The assembly's
/// turn is the caller's: no mdadm of ours is at work.
pub(super) fn thaw(node: &Node, name: &str) -> Outcome<()> {
    let action = array::folder(&node.roots, name).join("sync_action");
    // A stripe has nothing to copy, and no such file.
    if !configfs::read(&action).is_ok_and(|now| now == "frozen") {
        return Ok(());
    }
    tracing::warn!(array = name, "was frozen by an mdadm that was killed: it copies again");
    configfs::write(&action, "idle").during("let md copy again")
}

/// The same for all arrays of ours; when the agent starts, nothing of ours is at work.
pub(super) fn thaw_all(node: &Node) {
    for name in configfs::names(&node.roots.blocks()) {
        if names::parse_md_device(&name).is_none() && names::parse_md_group(&name).is_none() {
            continue;
        }
        if let Err(failure) = thaw(node, &name) {
            tracing::warn!(%failure, "an array stays frozen");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::fake;
    use std::fs;

    #[test]
    fn only_frozen_arrays_of_ours_are_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        let action = |name: &str| array::folder(&node.roots, name).join("sync_action");
        let arrays = [
            ("md_rp.demo.3", "frozen", "idle"),
            ("md_g1.demo.3", "frozen", "idle"),
            ("md_rp.other.1", "recover", "recover"),
            ("md127", "frozen", "frozen"),
        ];
        for (name, now, _) in arrays {
            fs::create_dir_all(array::folder(&node.roots, name)).unwrap();
            fs::write(action(name), format!("{now}\n")).unwrap();
        }
        fs::create_dir_all(array::folder(&node.roots, "md_rp.stripe.1")).unwrap();
        thaw_all(&node);
        for (name, _, then) in arrays {
            assert!(fs::read_to_string(action(name)).unwrap().starts_with(then), "{name}");
        }
    }
}
