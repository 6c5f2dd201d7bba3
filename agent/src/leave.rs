//! What a node does when the whole system shuts down: a head unmounts its pools, and a client its
//! shares, while there is still a network, so that nothing waits for what is gone; a donor keeps
//! its memory to the end, because only the head can do without it.
//!
//! Run by the unit `rampool-shutdown`, whose place in systemd's order is the point of it: an
//! agent that is merely restarted lets nothing go.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Holding, HoldingKind};

use crate::attach::{self, Whose};
use crate::command;
use crate::fail::{self, Impatience};
use crate::holdings;
use crate::node::Node;
use crate::outcome::{During, Outcome};
use crate::share;
use crate::volume;

/// systemd answers at once, or not at all.
const DEADLINE: Duration = Duration::from_secs(5);

/// Of the 45 s that systemd gives the unit.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(20);

/// Lets everything go that this node heads, all pools side by side, if the system is shutting
/// down. Says what could not be let go; nothing of that keeps the system from going down.
pub fn let_go(node: &Arc<Node>) -> Outcome<()> {
    if !shutting_down(node)? {
        tracing::info!("the system is not shutting down: nothing is let go");
        return Ok(());
    }
    let holdings = holdings::list(node)?;
    warn_of_loans(&holdings);
    let handle = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        for assembly in headed(&holdings) {
            let handle = handle.clone();
            scope.spawn(move || {
                let _runtime = handle.enter();
                let began = Instant::now();
                match leave(node, &assembly) {
                    Ok(()) => tracing::info!(%assembly, took = ?began.elapsed(), "let go"),
                    Err(failure) => tracing::error!(%assembly, %failure, "cannot be let go"),
                }
            });
        }
    });
    Ok(())
}

fn shutting_down(node: &Node) -> Outcome<bool> {
    if !Path::new("/run/systemd/system").exists() {
        return Ok(false);
    }
    // Its exit code tells of anything but a system in good order.
    let output = command::run(node.programs.systemctl.path()?, &["is-system-running"], DEADLINE)?;
    Ok(output.stdout.trim() == "stopping")
}

/// The assemblies of which this node has more than memory and exports.
fn headed(holdings: &[Holding]) -> BTreeSet<Assembly> {
    // A job is told by nothing but its note, which the reboot takes.
    let lent = [HoldingKind::Ramdisk, HoldingKind::Export, HoldingKind::Job];
    let headed = holdings.iter().filter(|holding| !lent.contains(&holding.kind()));
    headed.filter_map(|holding| Assembly::try_from(holding.pool.as_ref()?).ok()).collect()
}

fn leave(node: &Arc<Node>, assembly: &Assembly) -> Outcome<()> {
    let _impatience = Impatience::begin(node, assembly);
    unmount(node, assembly).during("unmount the pool")?;
    volume::stop(node, assembly).during("stop the volume")?;
    attach::detach(node, assembly, &Whose::All).during("detach the exports").map(drop)
}

/// Others come and go while everything ends; whoever stays to the last must not make the system
/// wait for disks that are about to go.
fn unmount(node: &Node, assembly: &Assembly) -> Outcome<()> {
    let patience = Instant::now() + UNMOUNT_PATIENCE;
    loop {
        match share::unmount_all(node, assembly, true) {
            Ok((_, ended)) => {
                for holder in ended {
                    tracing::warn!(%assembly, pid = holder.pid, command = holder.command, "ended");
                }
                return Ok(());
            }
            Err(failure) if Instant::now() < patience => {
                tracing::warn!(%assembly, %failure, "is tried again");
            }
            Err(failure) => {
                tracing::error!(%assembly, "stays mounted, and is shut down as it is");
                fail::volume(node, assembly)?;
                return Err(failure);
            }
        }
    }
}

/// For the log, and whoever reads it: the pools that lose a donor.
fn warn_of_loans(holdings: &[Holding]) {
    for export in holdings.iter().filter(|holding| holding.kind() == HoldingKind::Export) {
        tracing::warn!(
            export = export.name,
            detail = export.detail,
            "this node shuts down, and its memory with it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;
    use rampool_proto::v1::PoolId;

    #[test]
    fn what_a_node_lends_is_not_let_go() {
        let holding = |kind: HoldingKind, of: &str| Holding {
            pool: Some(PoolId::from(&assembly(of))),
            kind: kind.into(),
            ..Holding::default()
        };
        let holdings = [
            holding(HoldingKind::Ramdisk, "lent.1"),
            holding(HoldingKind::Export, "lent.1"),
            holding(HoldingKind::Session, "demo.3"),
            holding(HoldingKind::Mount, "demo.3"),
            holding(HoldingKind::Job, "job-17-1.1"),
            holding(HoldingKind::NodeRecord, "other.1"),
        ];
        let headed = headed(&holdings).into_iter().collect::<Vec<_>>();
        assert_eq!(headed, [assembly("demo.3"), assembly("other.1")]);
    }
}
