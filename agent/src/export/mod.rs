//! A ramdisk on its way to the head: an iSCSI target for another node, a local SCSI disk for
//! this one.

mod chap;
mod fences;
mod local;
mod target;

use std::path::PathBuf;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{Export, Failure, FailureKind, Holding, HoldingKind, PoolId};

use crate::names;
use crate::node::Node;
use crate::outcome::{Change, During, Outcome, failure};
use crate::ramdisk;

pub(crate) use fences::Fences;

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
    /// To nobody yet, by iSCSI.
    Reserved,
}

/// What a donor is asked to export.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Under whose name, which is the target's.
    pub assembly: Assembly,
    /// What. Its assembly is the one that it was carved for: this one, an earlier one of the
    /// pool, whose head is gone, or a number of its own, later than this one.
    pub ramdisk: ramdisk::Wanted,
    /// To whom.
    pub way: Way,
}

impl Wanted {
    fn is_earlier(&self) -> bool {
        self.ramdisk.assembly.generation < self.assembly.generation
    }
}

/// One target of ours, whichever fabric it belongs to.
struct WayOut {
    assembly: Assembly,
    path: PathBuf,
    /// The objects behind its units.
    objects: Vec<PathBuf>,
    local: bool,
}

impl WayOut {
    fn shows(&self, carved: &Assembly) -> bool {
        self.objects.iter().any(|object| ramdisk::of_object(object).as_ref() == Some(carved))
    }

    fn refuse_in_use(&self, node: &Node) -> Outcome<()> {
        if self.local {
            local::refuse_in_use(node, &self.objects)
        } else {
            target::refuse_in_use(&self.path)
        }
    }

    fn remove(&self) -> Outcome<()> {
        if self.local {
            local::remove(&self.path).during("remove the local disk")
        } else {
            target::remove(&self.path).during("remove the export")
        }
    }
}

fn ways_out(node: &Node) -> Vec<WayOut> {
    let fabrics = [(node.roots.targets(), false), (node.roots.loopbacks(), true)];
    let mut found = Vec::new();
    for (fabric, local) in fabrics {
        for (assembly, name) in target::named_as_ours(node, &fabric) {
            let path = fabric.join(name);
            found.push(WayOut { assembly, objects: target::objects(&path), path, local });
        }
    }
    found
}

/// Reserves the memory, unless it is an earlier assembly's, and exports it. Where nothing was
/// there before and a step fails, nothing is left.
pub fn create(node: &Node, wanted: &Wanted, progress: &dyn Fn(u64)) -> Outcome<Export> {
    // No fence is put up meanwhile: what a donor lends to one pool is changed by one call at a time.
    node.fences.refuse(&wanted.assembly)?;
    let carved = &wanted.ramdisk.assembly;
    let had_memory = ramdisk::find(node, carved)?.is_some();
    let had_way = ways_out(node).iter().any(|way| way.assembly == wanted.assembly);
    create_in_steps(node, wanted, progress).map_err(|mut why| {
        let undone = match (had_memory, had_way) {
            (false, _) => destroy(node, &wanted.assembly, carved, true).map(drop),
            (true, false) => close(node, &wanted.assembly).map(drop),
            (true, true) => Ok(()),
        };
        if let Err(remains) = undone {
            why.said = format!("{}; taking it back failed too: {remains}", why.said);
        }
        why
    })
}

fn create_in_steps(node: &Node, wanted: &Wanted, progress: &dyn Fn(u64)) -> Outcome<Export> {
    let carved = &wanted.ramdisk.assembly;
    let (reserved, object) = if wanted.is_earlier() {
        (Change::Already, ramdisk::require(node, &wanted.ramdisk)?)
    } else {
        ramdisk::reserve(node, &wanted.ramdisk, progress)?
    };
    let turn = node.lio_turn();
    refuse_other_way(node, wanted)?;
    let (exported, target) = match &wanted.way {
        Way::Initiator(initiator) => {
            let (change, target) = target::make(node, &wanted.assembly, &object, initiator)
                .during("export the ramdisk")?;
            (change, Some(target))
        }
        Way::Local => {
            let change = local::make(node, &wanted.assembly, &object)
                .during("offer the ramdisk to this node")?;
            (change, None)
        }
        Way::Reserved => {
            let change = target::prepare(node, &wanted.assembly, &object)
                .during("prepare the ramdisk's export")?;
            (change, None)
        }
    };
    drop(turn);
    Ok(Export {
        donor: node.config.node.clone(),
        bytes: wanted.ramdisk.bytes,
        serial: names::serial(carved, &node.config.node),
        target,
        already: reserved == Change::Already && exported == Change::Already,
        carved: if *carved == wanted.assembly { 0 } else { carved.generation },
    })
}

/// A ramdisk has one way out, and an assembly one target a donor: two heads never write to one
/// memory.
fn refuse_other_way(node: &Node, wanted: &Wanted) -> Outcome<()> {
    let iqn = names::target(&node.config.authority, &wanted.assembly, &node.config.node);
    let own = match wanted.way {
        Way::Initiator(_) | Way::Reserved => node.roots.targets().join(iqn),
        Way::Local => node.roots.loopbacks().join(iqn),
    };
    let carved = &wanted.ramdisk.assembly;
    let other = ways_out(node)
        .into_iter()
        .find(|way| way.path != own && (way.assembly == wanted.assembly || way.shows(carved)));
    let Some(other) = other else { return Ok(()) };
    let (said, advice) = if other.assembly != wanted.assembly {
        let said = format!("shows the memory of {carved} to the head of {}", other.assembly);
        (said, format!("fence {} first: its head may still write", other.assembly))
    } else {
        let whom = if other.local { "to this node itself" } else { "by iSCSI" };
        (format!("is exported {whom} already"), "destroy this export first".to_owned())
    };
    let program = other.path.display().to_string();
    Err(failure(FailureKind::Conflict, said).by(program).advising(advice).into())
}

/// Ends the access of the head of `assembly`, and keeps the memory. The kernel removes an ACL
/// only when its session has ended, and a session ends when its last command has: afterwards
/// nothing of that head is written any more. It does not come back: a request from before that
/// arrives late is refused.
pub fn fence(node: &Node, assembly: &Assembly) -> Outcome<Change> {
    node.fences.put_up(assembly);
    close(node, assembly)
}

/// Takes every way out of the memory to the head of `assembly` away.
fn close(node: &Node, assembly: &Assembly) -> Outcome<Change> {
    let _turn = node.lio_turn();
    let of = |node: &Node| ways_out(node).into_iter().filter(|way| way.assembly == *assembly);
    let mut change = Change::Already;
    for way in of(node) {
        way.remove()?;
        change = Change::Made;
    }
    match of(node).next() {
        None => Ok(change),
        Some(left) => Err(still_there(&left.path.display().to_string())),
    }
}

/// Takes every way out of the memory carved for `carved` away, and what is half made of the
/// target of `assembly`; then gives the memory back and answers how much it was. What is in use
/// is refused unless `force`. A target that shows other memory stays: the node may lend to the
/// pool again since.
pub fn destroy(
    node: &Node,
    assembly: &Assembly,
    carved: &Assembly,
    force: bool,
) -> Outcome<(Change, u64)> {
    let concerned = |way: &WayOut| {
        let half_made =
            way.objects.is_empty() && (way.assembly == *assembly || way.assembly == *carved);
        half_made || way.shows(carved)
    };
    let turn = node.lio_turn();
    let ways: Vec<_> = ways_out(node).into_iter().filter(concerned).collect();
    if !force {
        ways.iter().try_for_each(|way| way.refuse_in_use(node))?;
    }
    ways.iter().try_for_each(WayOut::remove)?;
    drop(turn);
    let had_memory = ramdisk::find(node, carved)?.is_some();
    let freed = ramdisk::free(node, carved).during("free the memory")?;
    if let Some(left) = ways_out(node).into_iter().find(concerned) {
        return Err(still_there(&left.path.display().to_string()));
    }
    let is_of_pool = |held: &ramdisk::Ramdisk| held.assembly.name == assembly.name;
    if !ramdisk::list(node)?.iter().any(is_of_pool) {
        node.fences.forget(assembly);
    }
    let nothing = ways.is_empty() && !had_memory;
    Ok((if nothing { Change::Already } else { Change::Made }, freed))
}

fn still_there(what: &str) -> Box<Failure> {
    failure(FailureKind::Failed, format!("{what} is still there")).during("verify").into()
}

/// Every export of every pool.
#[must_use]
pub fn list(node: &Node) -> Vec<Holding> {
    ways_out(node)
        .into_iter()
        .map(|way| Holding {
            pool: Some(PoolId::from(&way.assembly)),
            kind: HoldingKind::Export.into(),
            name: way.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            detail: if way.local { "local disk".to_owned() } else { target::describe(&way.path) },
            ..Holding::default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::assembly;
    use crate::node::tests::fake;
    use std::fs;

    #[test]
    fn a_fence_stands_as_long_as_the_node_has_memory_of_its_pool() {
        let folder = tempfile::tempdir().unwrap();
        let node = fake(folder.path());
        fs::create_dir_all(node.roots.proc.join("self")).unwrap();
        fs::write(node.roots.proc.join("self/mountinfo"), "").unwrap();
        // Mount points that their mounts have left already.
        for carved in ["demo.1", "demo.2", "other.1"] {
            fs::create_dir_all(node.ramdisk_folder().join(carved)).unwrap();
        }
        let head = assembly("demo.3");
        fence(&node, &head).unwrap();
        destroy(&node, &head, &assembly("demo.2"), false).unwrap();
        assert!(node.fences.refuse(&head).is_err(), "what demo.1 was carved for is still here");
        destroy(&node, &head, &assembly("demo.1"), false).unwrap();
        assert!(node.fences.refuse(&head).is_ok());
    }
}
