//! A watch that ends sessions as soon as their donors are found to be silent, while something
//! is under way that must not wait for them.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rampool_proto::pool_name::Assembly;

use crate::attach;
use crate::attach::sessions::{self, Session};
use crate::node::Node;

/// How often sysfs is asked for the sessions' states: nothing tells.
const GLANCE: Duration = Duration::from_millis(200);

/// Twice the longest probe, and some: by then a donor that was silent from the beginning is
/// known to be.
const LINGER: Duration = Duration::from_secs(12);

/// No session of the assembly keeps anybody waiting while this, or a clone of it, lives.
#[derive(Clone)]
pub struct Impatience(#[allow(dead_code)] Arc<()>);

impl Impatience {
    /// Begins it.
    #[must_use]
    pub fn begin(node: &Arc<Node>, assembly: &Assembly) -> Self {
        let alive = Arc::new(());
        watch(node, assembly, Arc::downgrade(&alive), Duration::ZERO);
        Self(alive)
    }

    /// Begins it for as long as a silent donor may go undetected.
    pub fn linger(node: &Arc<Node>, assembly: &Assembly) {
        watch(node, assembly, Weak::new(), LINGER);
    }
}

/// Only of sessions that are there when it begins: one that comes later is not silent, but about
/// to log in.
fn watch(node: &Arc<Node>, assembly: &Assembly, alive: Weak<()>, at_least: Duration) {
    let (node, assembly) = (Arc::clone(node), assembly.clone());
    let until = Instant::now() + at_least;
    tokio::task::spawn_blocking(move || {
        let ids: BTreeSet<u32> = sessions::of(&node, &assembly).iter().map(|s| s.id).collect();
        while alive.upgrade().is_some() || Instant::now() < until {
            let mut left = sessions::of(&node, &assembly);
            left.retain(|session| ids.contains(&session.id));
            if left.is_empty() {
                return;
            }
            left.retain(|session| !session.is_up());
            end(&node, &assembly, &left);
            std::thread::sleep(GLANCE);
        }
    });
}

fn end(node: &Node, assembly: &Assembly, silent: &[Session]) {
    for session in silent {
        tracing::info!(%assembly, donor = session.donor, "is silent: its session ends");
    }
    if let Err(failure) = attach::end(node, silent) {
        tracing::warn!(%failure, "a silent donor is still waited for");
    }
}
