//! A ramdisk on its way to the head: an iSCSI target for another node, a local SCSI disk for
//! this one.

mod chap;
mod local;
mod target;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Export, FailureKind, Holding, HoldingKind, PoolId};

use crate::names;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure};
use crate::ramdisk::{self, Wanted};

/// The logical unit that carries the data. Never 0: when a mapped unit 0 disappears under a
/// live session, LIO answers reads from a dummy unit 0 of its own, with zeros and success.
pub(crate) const LUN: u32 = 1;

/// Whom a ramdisk is exported to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the initiator of this name, by iSCSI.
    Initiator(String),
    /// To this node itself.
    Local,
}

/// Reserves the memory and exports it. Where nothing was there before and a step fails,
/// nothing is left.
pub fn create(node: &Node, wanted: &Wanted, way: &Way, progress: &dyn Fn(u64)) -> Outcome<Export> {
    let fresh = ramdisk::find(node, &wanted.assembly)?.is_none();
    create_in_steps(node, wanted, way, progress).map_err(|mut why| {
        if fresh && let Err(remains) = destroy(node, &wanted.assembly, true) {
            why.said = format!("{}; taking it back failed too: {remains}", why.said);
        }
        why
    })
}

fn create_in_steps(
    node: &Node,
    wanted: &Wanted,
    way: &Way,
    progress: &dyn Fn(u64),
) -> Outcome<Export> {
    let (reserved, object) = ramdisk::reserve(node, wanted, progress)?;
    let turn = node.lio_turn();
    let (exported, target) = match way {
        Way::Initiator(initiator) => {
            local::refuse_other_way(node, &wanted.assembly)?;
            let (change, target) = target::make(node, &wanted.assembly, &object, initiator)
                .during("export the ramdisk")?;
            (change, Some(target))
        }
        Way::Local => {
            target::refuse_other_way(node, &wanted.assembly)?;
            let change = local::make(node, &wanted.assembly, &object)
                .during("offer the ramdisk to this node")?;
            (change, None)
        }
    };
    drop(turn);
    Ok(Export {
        donor: node.config.node.clone(),
        bytes: wanted.bytes,
        serial: names::serial(&wanted.assembly, &node.config.node),
        target,
        already: reserved == Change::Already && exported == Change::Already,
        carved: 0,
    })
}

/// Takes the export away and gives the memory back; answers how much it was. An export in use
/// is refused unless `force`.
pub fn destroy(node: &Node, assembly: &Assembly, force: bool) -> Outcome<(Change, u64)> {
    if !force {
        target::refuse_in_use(node, assembly)?;
        local::refuse_in_use(node, assembly)?;
    }
    let turn = node.lio_turn();
    let target = target::remove(node, assembly).during("remove the export")?;
    let local = local::remove(node, assembly).during("remove the local disk")?;
    drop(turn);
    let had_memory = ramdisk::find(node, assembly)?.is_some();
    let freed = ramdisk::free(node, assembly).during("free the memory")?;
    let left: Vec<_> = list(node).into_iter().filter(|h| is_of(h, assembly)).collect();
    if let Some(left) = left.first() {
        let said = format!("{} is still there", left.name);
        return Err(failure(FailureKind::Failed, said).during("verify").into());
    }
    let nothing = target == Change::Already && local == Change::Already && !had_memory;
    Ok((if nothing { Change::Already } else { Change::Made }, freed))
}

fn is_of(holding: &Holding, assembly: &Assembly) -> bool {
    holding.pool.as_ref() == Some(&PoolId::from(assembly))
}

/// Every export of every pool.
#[must_use]
pub fn list(node: &Node) -> Vec<Holding> {
    let targets = target::list(node).into_iter().map(|(assembly, iqn)| {
        let detail = target::describe(node, &iqn);
        (assembly, iqn, detail)
    });
    let locals = local::list(node).into_iter().map(|(a, iqn)| (a, iqn, "local disk".to_owned()));
    targets
        .chain(locals)
        .map(|(assembly, name, detail)| Holding {
            pool: Some(PoolId::from(&assembly)),
            kind: HoldingKind::Export.into(),
            name,
            detail,
            ..Holding::default()
        })
        .collect()
}
