//! What changes without a call: a donor falls silent, an array loses a member or has it back.
//!
//! Nothing tells of all of it, so sysfs and the kernel's log are asked once a second, and only
//! while this node holds sessions or arrays. No disk is touched.

use std::sync::Arc;
use std::time::Duration;

use crate::attach::sessions::{self, Session};
use crate::configfs;
use crate::names;
use crate::node::Node;

/// How late watchers may hear.
const GLANCE: Duration = Duration::from_secs(1);

/// Tells watchers of such changes, until the agent ends.
pub async fn watch(node: Arc<Node>) {
    let mut changes = node.changes();
    let mut before = None;
    loop {
        changes.borrow_and_update();
        let look = |node: &Node| Ok(states(node));
        let now = node.read("look at sessions and arrays", look).await.unwrap_or_default();
        let nothing = now.is_empty();
        if before.replace(now.clone()).is_some_and(|before| before != now) {
            node.tell_change();
        }
        tokio::select! {
            () = node.stopped() => return,
            () = tokio::time::sleep(GLANCE), if !nothing => {}
            // What appears, appears by a call of ours.
            _ = changes.changed(), if nothing => {}
        }
    }
}

/// One line for each thing that has a state; none where there is nothing to watch.
fn states(node: &Node) -> Vec<String> {
    let sessions = sessions::list(node);
    let ran_out = node.ran_out.sessions(node);
    let line = |session: Session| {
        format!("{} {} {}", session.target, session.state, ran_out.contains(&session.id))
    };
    let mut lines: Vec<_> = sessions.into_iter().map(line).collect();
    for name in configfs::names(&node.roots.blocks()) {
        if names::is_md_device(&name) {
            lines.extend(array(node, &name));
        }
    }
    lines
}

/// The states of an array and its members. How far a copy has come is no news.
fn array(node: &Node, name: &str) -> Vec<String> {
    let folder = node.roots.blocks().join(name).join("md");
    let read = |file: &str| configfs::read(&folder.join(file)).unwrap_or_default();
    let mut lines = vec![format!(
        "{name} {} {} {}",
        condition(&read("array_state")),
        read("degraded"),
        read("sync_action")
    )];
    for entry in configfs::names(&folder).iter().filter(|entry| entry.starts_with("dev-")) {
        lines.push(format!("{name} {entry} {}", read(&format!("{entry}/state"))));
    }
    lines
}

/// An array in use goes to and fro between these states with every pause of its writers.
fn condition(state: &str) -> &str {
    match state {
        "clean" | "active" | "active-idle" | "write-pending" => "works",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::fake;
    use std::fs;

    #[test]
    fn a_members_state_is_news_and_an_idle_array_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        assert!(states(&node).is_empty());
        let md = node.roots.blocks().join("md_rp.demo.3/md");
        fs::create_dir_all(md.join("dev-sdb")).unwrap();
        let write = |file: &str, value: &str| fs::write(md.join(file), value).unwrap();
        write("array_state", "active\n");
        write("degraded", "0\n");
        write("dev-sdb/state", "in_sync\n");
        let busy = states(&node);
        assert_eq!(busy, ["md_rp.demo.3 works 0 ", "md_rp.demo.3 dev-sdb in_sync"]);
        write("array_state", "clean\n");
        assert_eq!(states(&node), busy);
        write("dev-sdb/state", "faulty\n");
        assert_ne!(states(&node), busy);
        // A site's own array is none of ours.
        fs::create_dir_all(node.roots.blocks().join("md127/md")).unwrap();
        assert_eq!(states(&node).len(), 2);
    }

    #[tokio::test]
    async fn watchers_hear_of_a_change_that_no_call_made() {
        let folder = tempfile::tempdir().unwrap();
        let node = Arc::new(fake(folder.path()));
        let md = node.roots.blocks().join("md_rp.demo.3/md");
        fs::create_dir_all(&md).unwrap();
        fs::write(md.join("degraded"), "0\n").unwrap();
        let mut changes = node.changes();
        let watch = tokio::spawn(watch(Arc::clone(&node)));
        tokio::time::sleep(Duration::from_millis(200)).await;
        fs::write(md.join("degraded"), "1\n").unwrap();
        tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
        node.stop();
        watch.await.unwrap();
    }
}
